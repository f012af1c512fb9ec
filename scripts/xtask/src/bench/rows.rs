// SPDX-License-Identifier: MIT OR Apache-2.0

//! From what guests measured to rows: sides next to each other, turn by turn,
//! and against the bars.

use std::collections::BTreeMap;

use protocol::bench::{Sample, Shape, Side};
use protocol::stats::Summary;

use super::figures::{Better, Row};
use crate::report::Entry;
use crate::run::{QEMU_BAR, UML_BAR};
use crate::scenario::Limit;
use crate::test::{BLK_COST_BAR, COST_BAR};

/// The machine that counts instructions.
pub const COUNTED: &str = "counted";
/// What needs no machine.
pub const BUILD: &str = "build";

/// How many times the C driver's throughput on user-mode Linux and a simulated disk.
const SIMULATED_BAR: f64 = 1.02;
/// As fast as C, on disks of others; it is no miss while a quarter of the turns say so.
const AS_FAST: f64 = 1.0;
/// The size of the module's code, in times that of C's.
const TEXT_BAR: f64 = 1.5;

/// A bar, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bar {
    Median(Limit),
    /// Of a noisy machine: three quarters of the turns have to miss it.
    WithinSpread(f64),
}

/// All rows of what one machine measured.
pub fn rows(machine: &str, samples: &[Sample]) -> Vec<Row> {
    let mut groups: BTreeMap<(&str, &str, Shape), BTreeMap<Side, &[f64]>> = BTreeMap::new();
    for sample in samples {
        let group = (&*sample.of, &*sample.unit, sample.shape);
        let sides = groups.entry(group).or_default();
        sides.insert(sample.side, &sample.values);
    }
    let row = |((of, unit, shape), sides): (_, BTreeMap<_, &[f64]>)| {
        row(machine, of, unit, shape, &sides)
    };
    groups.into_iter().map(row).collect()
}

fn row(machine: &str, of: &str, unit: &str, shape: Shape, sides: &BTreeMap<Side, &[f64]>) -> Row {
    let better = match unit {
        "requests/s" | "MB/s" => Better::More,
        _ => Better::Less,
    };
    // The simulated device is no side.
    let ratios = match of.ends_with(".device") {
        true => Vec::new(),
        false => ratios(sides),
    };
    let bar = bar(machine, of, unit, shape);
    Row {
        of: of.into(),
        machine: machine.into(),
        unit: unit.into(),
        better,
        shape,
        turns: sides.values().map(|values| values.len()).max().unwrap_or(0),
        sides: sides
            .iter()
            .filter_map(|(side, values)| Some((*side, Summary::of(values)?)))
            .collect(),
        ratio: Summary::of(&ratios),
        bar: bar.map(tell),
        ok: bar.is_none_or(|bar| clears(&ratios, bar)),
    }
}

/// Of each turn: Rust by C, or with scrubbing by without.
fn ratios(sides: &BTreeMap<Side, &[f64]>) -> Vec<f64> {
    let of = |side| sides.get(&side).copied().unwrap_or_default();
    let (above, below) = match sides.contains_key(&Side::C) {
        true => (of(Side::Rust), of(Side::C)),
        false => (of(Side::Scrub), of(Side::Rust)),
    };
    let pairs = above.iter().zip(below).filter(|(_, below)| **below > 0.0);
    pairs.map(|(above, below)| above / below).collect()
}

fn bar(machine: &str, of: &str, unit: &str, shape: Shape) -> Option<Bar> {
    let at_most = |limit| Some(Bar::Median(Limit::AtMost(limit)));
    let at_least = |limit| Some(Bar::Median(Limit::AtLeast(limit)));
    let is_usual = shape.size == 4096
        && shape.devices == 1
        && shape.queues <= 2
        && [1, 32].contains(&shape.depth);
    match (machine, of, unit) {
        (COUNTED, of, "instructions") if of.starts_with("queue.") => at_most(COST_BAR),
        (COUNTED, "blk.read", "instructions") if is_usual => at_most(BLK_COST_BAR),
        ("uml", "blk.read", "ns") if is_usual => at_most(1.0 / SIMULATED_BAR),
        ("uml", "rng.read", "MB/s") => at_least(UML_BAR),
        ("qemu", "rng.read", "MB/s") => at_least(QEMU_BAR),
        (_, "blk.scrub", _) => None,
        (_, of, "requests/s") if of.starts_with("blk.") => Some(Bar::WithinSpread(AS_FAST)),
        (BUILD, "blk.text", _) => at_most(TEXT_BAR),
        _ => None,
    }
}

fn tell(bar: Bar) -> String {
    match bar {
        Bar::Median(Limit::AtMost(limit)) => format!("<= {limit:.2}"),
        Bar::Median(Limit::AtLeast(limit)) => format!(">= {limit:.2}"),
        Bar::WithinSpread(limit) => format!(">= {limit:.2} in a quarter of the turns"),
    }
}

fn clears(ratios: &[f64], bar: Bar) -> bool {
    let median = Summary::of(ratios).map(|summary| summary.median);
    match bar {
        Bar::Median(Limit::AtMost(limit)) => median.is_some_and(|median| median <= limit),
        Bar::Median(Limit::AtLeast(limit)) => median.is_some_and(|median| median >= limit),
        Bar::WithinSpread(limit) => {
            let above = ratios.iter().filter(|ratio| **ratio >= limit).count();
            !ratios.is_empty() && above * 4 >= ratios.len()
        }
    }
}

/// Whether the median misses a bar that some turns clear.
pub fn is_only_within_spread(row: &Row) -> bool {
    let median = row.ratio.map(|ratio| ratio.median);
    let is_within = bar(&row.machine, &row.of, &row.unit, row.shape)
        .is_some_and(|bar| matches!(bar, Bar::WithinSpread(limit) if median < Some(limit)));
    row.ok && is_within
}

/// The result that a row is.
pub fn entry(row: &Row) -> Entry {
    let (subject, what) = row.of.split_once('.').unwrap_or((&row.of, "all"));
    let unit = match row.unit.strip_prefix("us ") {
        Some(percentile) => format!("-{}", percentile.replace('.', "")),
        None => String::new(),
    };
    let name = format!("{subject}.{}.{what}{}{unit}", row.machine, short(row.shape));
    let sides = row.sides.iter().map(|(side, summary)| {
        let Summary { median, min, max } = summary;
        let (median, min, max) = (number(*median), number(*min), number(*max));
        format!("{} {median} ({min} to {max})", side_name(*side))
    });
    let mut detail = format!("{}: {}", row.unit, sides.collect::<Vec<_>>().join(", "));
    let (value, unit) = match (row.ratio, row.sides.get(&Side::Rust)) {
        (Some(ratio), _) => {
            detail += &format!("; ratios {:.3} to {:.3}", ratio.min, ratio.max);
            (ratio.median, "x")
        }
        (None, Some(rust)) => (rust.median, &*row.unit),
        (None, None) => (0.0, &*row.unit),
    };
    Entry {
        bar: row.bar.clone(),
        ok: row.ok,
        ..Entry::new(name).pass(value, unit, detail)
    }
}

pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::C => "C",
        Side::Rust => "Rust",
        Side::Scrub => "Rust, scrubbing",
        Side::Empty => "virtqueue alone",
    }
}

/// `-4k-d32-q2-x16`: queues and devices if there are several, nothing if it is not
/// about requests.
fn short(shape: Shape) -> String {
    if shape.size == 0 {
        return String::new();
    }
    let size = match shape.size {
        size if size >= 1 << 20 => format!("{}m", size >> 20),
        size if size >= 1 << 10 && size % (1 << 10) == 0 => format!("{}k", size >> 10),
        size => size.to_string(),
    };
    let mut text = format!("-{size}-d{}", shape.depth);
    for (letter, number) in [('q', shape.queues), ('x', shape.devices)] {
        if number != 1 {
            text += &format!("-{letter}{number}");
        }
    }
    text
}

/// With three digits, or all before the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(of: &str, unit: &str, side: Side, values: &[f64]) -> Sample {
        Sample {
            of: of.into(),
            unit: unit.into(),
            side,
            shape: Shape::single(4096),
            values: values.to_vec(),
        }
    }

    #[test]
    fn sides_are_compared_turn_by_turn() {
        let samples = [
            sample("blk.read", "instructions", Side::C, &[100.0, 200.0, 400.0]),
            sample(
                "blk.read",
                "instructions",
                Side::Rust,
                &[90.0, 190.0, 300.0],
            ),
            sample("blk.read", "instructions", Side::Empty, &[30.0, 30.0, 30.0]),
        ];
        let rows = rows(COUNTED, &samples);
        assert_eq!(rows.len(), 1);
        let ratio = rows[0].ratio.unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.9, 0.75, 0.95));
        assert_eq!(rows[0].sides[&Side::Empty].median, 30.0);
        assert!(rows[0].ok);
        let entry = entry(&rows[0]);
        assert_eq!(entry.name, "blk.counted.read-4k-d1");
        assert_eq!((entry.value, &*entry.unit), (0.9, "x"));
        assert_eq!(entry.bar.as_deref(), Some("<= 0.98"));
    }

    #[test]
    fn a_missed_bar_is_a_failure() {
        let slow = [
            sample("blk.read", "instructions", Side::C, &[100.0]),
            sample("blk.read", "instructions", Side::Rust, &[99.0]),
        ];
        assert!(!entry(&rows(COUNTED, &slow)[0]).ok);
        // That machine has another bar, for another unit.
        assert!(rows("qemu", &slow)[0].bar.is_none());
    }

    #[test]
    fn noise_is_no_miss_while_a_quarter_of_the_turns_clears_the_bar() {
        let bar = Bar::WithinSpread(1.0);
        assert!(clears(&[0.9, 0.9, 0.9, 0.9, 0.9, 1.0, 1.1], bar));
        assert!(!clears(&[0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 1.1], bar));
        assert!(!clears(&[], bar));
    }

    #[test]
    fn a_bar_for_what_was_not_measured_is_missed() {
        let alone = [sample("blk.read", "instructions", Side::Rust, &[99.0])];
        assert!(!entry(&rows(COUNTED, &alone)[0]).ok);
    }

    #[test]
    fn scrubbing_is_compared_with_the_same_driver() {
        let samples = [
            sample("blk.scrub", "requests/s", Side::Rust, &[100.0]),
            sample("blk.scrub", "requests/s", Side::Scrub, &[80.0]),
        ];
        let rows = rows("uml", &samples);
        assert_eq!(rows[0].ratio.unwrap().median, 0.8);
        assert!(rows[0].ok && rows[0].bar.is_none());
    }

    #[test]
    fn names_tell_the_shape() {
        let shape = Shape {
            depth: 32,
            size: 1 << 20,
            queues: 4,
            devices: 16,
        };
        assert_eq!(short(shape), "-1m-d32-q4-x16");
        assert_eq!(short(Shape::single(0)), "");
        assert_eq!(short(Shape::single(4113)), "-4113-d1");
        assert_eq!(short(Shape::single(512)), "-512-d1");
    }
}
