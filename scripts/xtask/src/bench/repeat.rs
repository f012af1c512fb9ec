// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether counting twice gives the same: rows of a machine that counts are
//! compared with those of an earlier run, if that was of the same tree.

use super::figures::{Figures, Row};
use super::rows::COUNTED;
use crate::report::Entry;

/// In percent.
const BAR: f64 = 1.0;
/// The ways of a request there and back: what an operation costs is both together.
const HALVES: [&str; 2] = [".submit", ".complete"];

/// How much the rows of two runs differ, at most.
pub fn entry(now: &Figures, earlier: Option<&Figures>) -> Entry {
    let entry = Entry::new(format!("repeat.{COUNTED}"));
    let Some(earlier) = earlier.filter(|earlier| earlier.tree == now.tree) else {
        return entry.skip("no earlier run of the same tree to compare with: run it again");
    };
    let pairs = counted(now).filter_map(|row| {
        let same = |other: &&Row| other.of == row.of && other.shape == row.shape;
        let other = counted(earlier).find(same)?;
        Some((difference(row, other)?, row))
    });
    let all: Vec<_> = pairs.collect();
    if all.len() < counted(now).count() {
        return entry.skip("the earlier run did not count all that this one did: run it again");
    }
    let Some((most, row)) = all.iter().max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return entry.skip("this run has counted nothing");
    };
    let detail = format!(
        "{} operations, and those of {}: {} of {} bytes, {} in flight, differs most",
        all.len(),
        earlier.date,
        row.of,
        row.shape.size,
        row.shape.depth
    );
    entry.pass(*most, "%", detail).at_most(BAR)
}

fn counted(figures: &Figures) -> impl Iterator<Item = &Row> {
    let is_half = |row: &Row| HALVES.iter().any(|half| row.of.ends_with(half));
    let is_counted = |row: &Row| row.machine == COUNTED && row.unit == "instructions";
    figures
        .rows
        .iter()
        .filter(move |row| is_counted(row) && !is_half(row))
}

/// Of the sides that both have, in percent.
fn difference(row: &Row, other: &Row) -> Option<f64> {
    let sides = row.sides.iter().filter_map(|(side, summary)| {
        let (a, b) = (summary.median, other.sides.get(side)?.median);
        Some((a - b).abs() / a.max(b).max(1.0) * 100.0)
    });
    sides.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::super::plot::invented;
    use super::*;

    #[test]
    fn the_largest_difference_counts() {
        let earlier = invented::figures();
        let mut now = earlier.clone();
        let same = entry(&now, Some(&earlier));
        assert!(same.ok && same.skipped.is_none() && same.value == 0.0);
        let row = now.rows.iter_mut().find(|row| row.machine == COUNTED);
        for summary in row.unwrap().sides.values_mut() {
            summary.median *= 1.02;
        }
        let other = entry(&now, Some(&earlier));
        assert!(!other.ok, "{}", other.detail);
        assert!((other.value - 100.0 * 0.02 / 1.02).abs() < 1e-6);
    }

    #[test]
    fn another_tree_is_not_compared() {
        let earlier = invented::figures();
        let mut now = earlier.clone();
        assert!(entry(&now, None).skipped.is_some());
        now.tree = "another".into();
        assert!(entry(&now, Some(&earlier)).skipped.is_some());
    }
}
