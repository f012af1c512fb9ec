// SPDX-License-Identifier: MIT OR Apache-2.0

//! The matrix: other compilers, configurations and machines than those of
//! `make test`. It takes hours, so each result is kept in the repository, with
//! its date, and good for as long as what it is of stays the same.

mod arch;
mod cell;
mod choices;
mod kernel;
mod machine;
mod random;
mod record;
mod roots;
mod toolchain;
mod tools;
mod users;
mod virtio;

use std::collections::HashMap;

use anyhow::Result;

use crate::assemble::{self, Tree};
use crate::bail_help;
use crate::context::Context;
use crate::doctor::{self, Need, Toolchain};
use crate::process_group::check_interrupt;
use crate::report::{now, table, Entry, Report};
use crate::source::{self, Source};
use crate::stamp::Fingerprint;
use cell::Cell;
use machine::Machine;
use record::{Record, Subject};
use tools::{Set, Tools};

/// How much of a detail the table shows.
const WIDTH: usize = 100;

/// The command `matrix`.
pub fn run(ctx: &Context, filter: Option<&str>, again: bool) -> Result<()> {
    let part = filter.unwrap_or_default();
    let wanted = |cell: &Cell| cell.names().iter().any(|name| name.contains(part));
    let cells: Vec<_> = Cell::all().into_iter().filter(wanted).collect();
    if cells.is_empty() {
        bail_help!(
            format!("no cell of the matrix has {part:?} in its name"),
            "leave the filter out to see all names"
        );
    }
    let machine = doctor::ensure(ctx, &needs(&cells))?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let mut bench = Bench {
        ctx,
        machine,
        source,
        tree,
        sets: HashMap::new(),
    };
    let mut results = Vec::new();
    for (number, cell) in (1..).zip(&cells) {
        ctx.ui.note(&format!("cell {number} of {}", cells.len()));
        results.extend(bench.result(cell, again)?);
    }
    ctx.ui.print(&format!("\n{}", table(&rows(&results))));
    let source = &bench.source;
    let report = Report::new(
        "matrix",
        &source.kernel_version,
        source,
        Vec::new(),
        &results,
    );
    report.conclude(ctx, Some("kept in scripts/series/matrix.json"))
}

/// In the place of results, for the tests: they leave the matrix out.
pub fn left_out(ctx: &Context, tree: &Tree) -> Entry {
    let kept = record::summary(&ctx.repo, &tree.digest);
    Entry::new("matrix.all").skip(&format!("left out, `make matrix` takes hours; {kept}"))
}

/// Only for what was chosen: roots, for one, are root's.
fn needs(cells: &[Cell]) -> Vec<Need> {
    let mut needs = vec![Need::Source, Need::Kernel, Need::Matrix];
    if cells.iter().any(|cell| cell.set().is_in_a_root()) {
        needs.push(Need::Roots);
    }
    if cells.iter().any(|cell| matches!(cell, Cell::Toolchain(_))) {
        needs.extend([Need::Guest, Need::Uml]);
    }
    if cells.contains(&Cell::Machine(Machine::Arm64)) {
        needs.push(Need::Arm64);
    }
    if cells.contains(&Cell::Machine(Machine::Smp)) {
        needs.extend([Need::Guest, Need::Uml, Need::Disks]);
    }
    if cells.contains(&Cell::Users) {
        needs.extend([Need::Guest, Need::Qemu]);
    }
    needs
}

/// What all cells share.
struct Bench<'a> {
    ctx: &'a Context,
    machine: Toolchain,
    source: Source,
    tree: Tree,
    sets: HashMap<Set, std::result::Result<Tools, String>>,
}

impl Bench<'_> {
    /// The kept results of a cell, or new ones, which are kept.
    fn result(&mut self, cell: &Cell, again: bool) -> Result<Vec<Entry>> {
        let ctx = self.ctx;
        let tools = match self.tools(cell.set())? {
            Ok(tools) => tools,
            Err(reason) => {
                let names = cell.names().into_iter();
                return Ok(names.map(|name| Entry::new(name).skip(&reason)).collect());
            }
        };
        let of = self.subject(cell, &tools)?;
        if let (Some(kept), false) = (record::kept(ctx, &cell.names(), &of.inputs), again) {
            return Ok(kept);
        }
        let results = cell.run(self, &tools)?;
        check_interrupt()?;
        let records = results.iter().map(|entry| Record::new(entry, &of));
        record::keep(ctx, records.collect())?;
        Ok(results)
    }

    /// A set of tools, or why it would show nothing.
    fn tools(&mut self, set: Set) -> Result<std::result::Result<Tools, String>> {
        if let Some(known) = self.sets.get(&set) {
            return Ok(known.clone());
        }
        let found = self.find(set)?;
        self.sets.insert(set, found.clone());
        Ok(found)
    }

    fn find(&self, set: Set) -> Result<std::result::Result<Tools, String>> {
        if set.is_in_a_root() && !nix::unistd::geteuid().is_root() {
            return Ok(Err(
                "only root can build in a root directory of its own".into()
            ));
        }
        let find = |set: Set| set.find(self.ctx, &self.machine, &self.tree);
        let tools = find(set)?;
        if set == Set::Newer {
            if let Some(reason) = tools.is_no_newer_than(&find(Set::Machine)?) {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(tools))
    }

    fn subject(&self, cell: &Cell, tools: &Tools) -> Result<Subject> {
        let mut inputs = Fingerprint::default();
        inputs
            .add(&self.tree.digest)
            .add(&tools.summary)
            .add(cell.configuration(self.ctx)?);
        Ok(Subject {
            date: now(),
            kernel_source: self.source.package.clone(),
            tools: tools.summary.clone(),
            tree: self.tree.digest.clone(),
            inputs: inputs.finish(),
        })
    }
}

fn rows(results: &[Entry]) -> Vec<Vec<String>> {
    let heading = ["cell", "", "value", "what"].map(str::to_owned).to_vec();
    let row = |entry: &Entry| {
        let (verdict, text) = match (&entry.skipped, entry.ok) {
            (Some(reason), _) => ("skipped", reason),
            (None, true) => ("ok", &entry.detail),
            (None, false) => ("FAILED", &entry.detail),
        };
        let name = entry.name.trim_start_matches("matrix.").to_owned();
        let value = format!("{} {}", entry.value, entry.unit);
        let text = match text.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.clone(),
        };
        vec![name, verdict.to_owned(), value, text]
    };
    std::iter::once(heading)
        .chain(results.iter().map(row))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_ask_for_what_they_use() {
        assert!(!needs(&[Cell::Random(1)]).contains(&Need::Roots));
        assert!(!needs(&[Cell::Toolchain(Set::Machine)]).contains(&Need::Roots));
        assert!(needs(&Cell::all()).contains(&Need::Roots));
        assert!(needs(&[Cell::Users]).contains(&Need::Qemu));
    }

    #[test]
    fn the_table_has_a_row_for_each_result() {
        let results = [
            Entry::new("matrix.a").pass(3.0, "objects", "é".repeat(200)),
            Entry::new("matrix.b").fail("it does not build"),
            Entry::new("matrix.c").skip("no newer rustc"),
        ];
        let text = table(&rows(&results));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[2].starts_with("a     ok       3 objects"), "{text}");
        assert!(lines[2].ends_with("é..."), "{text}");
        assert!(lines[4].ends_with("no newer rustc"), "{text}");
    }
}
