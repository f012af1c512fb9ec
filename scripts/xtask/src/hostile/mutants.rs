// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the lab finds anything: mistakes that are made in the abstraction on
//! purpose have to show.

use std::fs;

use anyhow::Result;
use hostile::case::{self, Layout, Transport};

use super::row::{Driver, Row, Run};
use super::{add_changed, runner, Setup};
use crate::report::Entry;

const PREFIX: &str = "hostile.mutant.";

pub fn names() -> Result<Vec<String>> {
    let all = mutants()?;
    Ok(all.iter().map(name).collect())
}

fn mutants() -> Result<Vec<case::Kernel>> {
    let mut all = case::kernels()?;
    all.retain(|kernel| !kernel.caught_by.is_empty());
    Ok(all)
}

fn name(kernel: &case::Kernel) -> String {
    format!("{PREFIX}{}", kernel.name)
}

/// Those whose results are wanted.
pub fn run(setup: &mut Setup, wants: impl Fn(&str) -> bool) -> Result<Vec<Entry>> {
    let wanted = mutants()?.into_iter().filter(|kernel| wants(&name(kernel)));
    wanted.map(|kernel| one(setup, &kernel)).collect()
}

fn one(setup: &mut Setup, kernel: &case::Kernel) -> Result<Entry> {
    let tools = setup.lab.tools;
    add_changed(setup, tools, kernel)?;
    let mut cases = case::all()?;
    cases.retain(|case| kernel.caught_by.contains(&case.name));
    let runs = |change: Option<String>| {
        let run = |case: &case::Case| Run {
            case: case::Case {
                kernel: change.clone(),
                ..case.clone()
            },
            driver: Driver::Rust,
            layout: Layout::Split,
            transport: Transport::Uml,
        };
        cases.iter().map(run).collect::<Vec<_>>()
    };
    let entry = Entry::new(name(kernel));
    // With the kernel as it is, the same cases end well: it is the mistake that shows.
    let without = runner::run(&mut setup.lab, runs(None), None)?;
    if let Some(bad) = without.iter().find(|row| !row.is_good()) {
        let bad = bad.entry();
        return Ok(entry.fail(format!("without it: {}: {}", bad.name, bad.detail)));
    }
    let with = runner::run_expecting_bad(&mut setup.lab, runs(Some(kernel.name.clone())))?;
    if let Some(void) = with.iter().find_map(|row| row.void.as_ref()) {
        return Ok(entry.fail(format!("proves nothing: {void}")));
    }
    let out = &setup.lab.ctx.out;
    let shows = kernel.shows.as_deref().unwrap_or_default();
    let is_it = |row: &&Row| {
        let console = fs::read(out.join(&row.log)).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        !row.as_demanded() && (row.detail.contains(shows) || console.contains(shows))
    };
    let found: Vec<_> = with.iter().filter(is_it).collect();
    Ok(match found.first() {
        None => {
            let seen = with.iter().map(|row| row.detail.clone());
            let seen: Vec<_> = seen.collect();
            entry.fail(format!(
                "nobody noticed that {}: {}",
                kernel.what,
                seen.join("; ")
            ))
        }
        Some(first) => {
            let seen = first.entry();
            let detail = format!("{}: {}: {}", seen.name, seen.unit, first.detail);
            entry.pass(found.len() as f64, "cases", detail)
        }
    })
}
