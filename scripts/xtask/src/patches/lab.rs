// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table of lies: what a device of another process told both drivers, and what
//! came of it.

use anyhow::Result;
use hostile::case::{self, Case, Layout, Outcome, Transport};
use hostile::model::Device;

use super::results::{lie, Kept};
use super::tables::{fold, indented, none, row, taken};
use crate::hostile::{case_name, Driver};
use crate::report::table;

/// How wide the columns are.
const LIE: usize = 38;
const OUTCOME: usize = 14;

const HOW: &str =
    "a device in another process lies to each driver in a guest of its own, on split \
                   and packed rings. hang: something never ends; leak: what was in memory reaches \
                   the reader; wrong data: so does what nobody sent; lost: the device cannot be \
                   bound again; broken: all requests fail from then on; clean: nobody notices";

/// What came of one lie with one driver.
struct Cell<'a> {
    /// The different outcomes, by name.
    outcomes: Vec<&'a str>,
    quoted: Vec<&'a Kept>,
}

impl<'a> Cell<'a> {
    fn new(kept: &'a [Kept], case: &Case, driver: Driver) -> Self {
        let mut cell = Self {
            outcomes: Vec::new(),
            quoted: Vec::new(),
        };
        for transport in [Transport::Uml, Transport::Qemu] {
            for layout in Layout::ALL {
                let name = case_name(case, transport);
                let wanted = (name.as_str(), driver.name(), layout.name());
                let mut found = kept.iter();
                if let Some(found) = found.find(|kept| lie(&kept.entry.name) == Some(wanted)) {
                    cell.quoted.push(found);
                    let outcome = found.entry.unit.as_str();
                    if !cell.outcomes.contains(&outcome) {
                        cell.outcomes.push(outcome);
                    }
                }
            }
        }
        cell
    }

    /// Whether nothing came of it but what is demanded.
    fn is_good(&self, case: &Case) -> bool {
        let good = |outcome: &&str| case.must.iter().any(|must| must.name() == *outcome);
        self.outcomes.iter().all(good)
    }
}

/// Those of the lies to the drivers of one kind of device that were told last.
pub fn lies(kept: &[Kept], device: Device) -> Result<String> {
    let mut rows = vec![row(["what the device does", "C", "Rust"])];
    let (mut quoted, mut well) = (Vec::new(), Vec::new());
    for case in case::all()? {
        // On other kernels it is these that are measured.
        if case.devices != [device] || case.is_honest() || case.kernel.is_some() {
            continue;
        }
        let [c, rust] = Driver::ALL.map(|driver| Cell::new(kept, &case, driver));
        if c.outcomes.is_empty() || rust.outcomes.is_empty() {
            continue;
        }
        if c.is_good(&case) && rust.is_good(&case) {
            // A control, which has to show what it is to be kept from, is no feat.
            if case.must.iter().all(|must| *must < Outcome::Corrupt) {
                well.push(case.lie.clone());
            }
        } else {
            let outcome = |cell: &Cell| cell.outcomes.join(" or ");
            let ours = match rust.is_good(&case) {
                true => outcome(&rust),
                false => format!("{}, MUST NOT BE", outcome(&rust)),
            };
            rows.extend(lines(&case.lie, &outcome(&c), &ours));
        }
        quoted.extend(c.quoted.iter().chain(&rust.quoted).copied());
    }
    if quoted.is_empty() {
        return Ok(none("hostile"));
    }
    let mut text = format!("{}\n{}", taken(&quoted, HOW), indented(&table(&rows)));
    if !well.is_empty() {
        text += "\nBoth drivers bear, as they should:\n\n";
        for lie in well {
            let lines = fold(&lie, 68);
            text += &format!("- {}\n", lines.join("\n  "));
        }
    }
    Ok(text)
}

/// A row of the table, in as many lines as it takes.
fn lines(lie: &str, c: &str, rust: &str) -> Vec<Vec<String>> {
    let mut lie = fold(lie, LIE - 2);
    for line in lie.iter_mut().skip(1) {
        line.insert_str(0, "  ");
    }
    let cells = [lie, fold(c, OUTCOME), fold(rust, OUTCOME)];
    let count = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |number| {
        let cell = |cell: &Vec<String>| cell.get(number).cloned().unwrap_or_default();
        cells.iter().map(cell).collect()
    };
    (0..count).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::kept;
    use super::*;
    use crate::report::Entry;

    fn told(name: &str, outcome: &str) -> Kept {
        let entry = Entry::new(format!("hostile.{name}"));
        kept("2026-01-02", entry.pass(1.0, outcome, ""))
    }

    #[test]
    fn what_differs_is_a_row_and_the_rest_a_list() {
        let all = [
            told("used-id-out-of-range-blk.c.split", "hang"),
            told("used-id-out-of-range-blk.c.packed", "splat"),
            told("used-id-out-of-range-blk.rust.split", "broken"),
            told("used-id-out-of-range-blk-qemu.rust.split", "broken"),
            told("used-out-of-order.c.split", "clean"),
            told("used-out-of-order.rust.split", "clean"),
            told("used-id-out-of-range.c.split", "crash"),
            told("blk-wce-out-of-range.c.split", "clean"),
            told("blk-read-nothing-full-len-unscrubbed.c.split", "leak"),
            told("blk-read-nothing-full-len-unscrubbed.rust.split", "leak"),
        ];
        let text = lies(&all, Device::Blk).unwrap();
        assert!(text.contains("`make test`, 2026-01-02, Linux"), "{text}");
        assert!(
            text.contains("\n  the id of a used buffer is the size  hang or splat  broken\n"),
            "{text}"
        );
        assert!(text.contains("\n    of the ring\n"), "{text}");
        assert!(
            text.contains("\n- buffers are returned by threes"),
            "{text}"
        );
        assert!(!text.contains("crash"), "{text}");
        assert!(!text.contains("not to scrub"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 75), "{text}");
        assert!(lies(&[], Device::Rng).unwrap().contains("make hostile"));
    }

    #[test]
    fn what_must_not_be_shows() {
        let all = [
            told("used-duplicate-blk.c.split", "broken"),
            told("used-duplicate-blk.rust.split", "wrong data"),
        ];
        let text = lies(&all, Device::Blk).unwrap();
        assert!(
            text.contains("wrong data,") && text.contains("MUST NOT BE"),
            "{text}"
        );
    }
}
