// SPDX-License-Identifier: MIT OR Apache-2.0

//! Other machines: the whole kernel, booted, with the tests that run in guests.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use super::kernel;
use crate::assemble::Tree;
use crate::build::{self, Kernel, Variant};
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::guest::Lab;
use crate::process_group::check_interrupt;
use crate::report::{Counts, Entry};
use crate::scenario::{self, Boot, Platform};
use crate::ui;

/// A machine that `make test` does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// QEMU interprets it, so how fast it is would say nothing.
    Arm64,
    /// The checkers, and several processors. This cannot be suspended.
    Smp,
}

impl Machine {
    pub const ALL: [Self; 2] = [Self::Arm64, Self::Smp];

    pub fn variant(self) -> Variant {
        match self {
            Self::Arm64 => Variant::Arm64Boot,
            Self::Smp => Variant::UmlSmp,
        }
    }

    fn build(self) -> String {
        match self {
            Self::Arm64 => "matrix.arm64.build".to_owned(),
            Self::Smp => "matrix.smp.build".to_owned(),
        }
    }

    /// One result for each boot, by its name.
    fn boots(self) -> Vec<(String, Boot)> {
        match self {
            Self::Arm64 => arm64(),
            Self::Smp => smp(),
        }
    }

    /// The names of all results.
    pub fn names(self) -> Vec<String> {
        let boots = self.boots().into_iter().map(|(name, _)| name);
        std::iter::once(self.build()).chain(boots).collect()
    }

    /// What it is configured with, as for `make build` and `make shell`.
    pub fn fragments(self, ctx: &Context) -> Vec<PathBuf> {
        let names = self.variant().fragments().iter();
        names
            .map(|name| kernel::fragment(&ctx.repo, name))
            .collect()
    }
}

fn arm64() -> Vec<(String, Boot)> {
    use Platform::{Arm64, Arm64Mmio};
    let mut boots = vec![("matrix.arm64.kunit".to_owned(), scenario::kunit(Arm64))];
    for (bus, platform) in [("pci", Arm64), ("mmio", Arm64Mmio)] {
        for boot in [
            scenario::rng(platform),
            scenario::slow(platform),
            scenario::suspend(platform),
            scenario::blk(platform),
        ] {
            boots.push((format!("matrix.arm64.{}-{bus}", boot.scenario), boot));
        }
    }
    boots
}

fn smp() -> Vec<(String, Boot)> {
    use Platform::UmlSmp;
    let boots = [
        scenario::kunit(UmlSmp),
        scenario::rng(UmlSmp),
        scenario::slow(UmlSmp),
        scenario::backend_dies(UmlSmp),
        scenario::blk(UmlSmp),
        scenario::blk_backend_dies(UmlSmp),
        scenario::blk_backend_restarts(UmlSmp),
        scenario::blk_power_cut(UmlSmp),
    ];
    let named = |boot: Boot| (format!("matrix.smp.{}", boot.scenario), boot);
    boots.into_iter().map(named).collect()
}

/// Builds it, and boots it for each result.
pub fn run(ctx: &Context, tools: &Toolchain, tree: &Tree, machine: Machine) -> Result<Vec<Entry>> {
    let boots = machine.boots();
    let started = Instant::now();
    let kernel = build::ensure(ctx, tools, tree, machine.variant());
    check_interrupt()?;
    let compilers = format!("rustc {}, LLVM {}", tools.rustc_version, tools.llvm_version);
    let entry = Entry::new(machine.build());
    let mut results = vec![built(entry, &kernel, &compilers, started)];
    let Ok(kernel) = kernel else {
        let not_built = |(name, _)| Entry::new(name).fail("the kernel was not built");
        results.extend(boots.into_iter().map(not_built));
        return Ok(results);
    };
    let mut lab = Lab::new(ctx, tools, "matrix");
    lab.add(kernel)?;
    for (name, boot) in &boots {
        results.push(one(name, &lab.run(boot)?));
    }
    Ok(results)
}

fn built(entry: Entry, kernel: &Result<Kernel>, compilers: &str, started: Instant) -> Entry {
    let took = ui::duration(started.elapsed());
    match kernel {
        Ok(kernel) => {
            let modules = kernel.modules.len();
            let detail = format!(
                "Linux {} for {}, {compilers}, brought up to date in {took}",
                kernel.release,
                kernel.variant.name()
            );
            entry.pass(modules as f64, "modules", detail)
        }
        Err(error) => {
            let text = format!("{error:#}");
            let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
            let rest = rest.lines().map(str::to_owned).collect();
            entry.fail(first).excerpt(rest)
        }
    }
}

/// The results of one boot as one: good if all are, and it tells what was not
/// tested.
fn one(name: &str, results: &[Entry]) -> Entry {
    let entry = Entry::new(name);
    let counts = Counts::of(results);
    let bad: Vec<_> = results.iter().filter(|result| !result.ok).collect();
    if let Some(first) = bad.first() {
        let names: Vec<_> = bad.iter().map(|result| result.name.as_str()).collect();
        let names = names.join(", ");
        return entry
            .fail(format!(
                "{counts}: {names}; {}: {}",
                first.name, first.detail
            ))
            .excerpt(first.excerpt.clone());
    }
    if counts.passed == 0 {
        return entry.fail("nothing was tested");
    }
    // Of suites there are too many to name.
    let is_total = |result: &&Entry| result.name.ends_with(".total");
    let detail = match results.iter().find(is_total) {
        Some(total) => total.detail.clone(),
        None => results.iter().map(brief).collect::<Vec<_>>().join(", "),
    };
    entry.pass(counts.passed as f64, "checks", detail)
}

/// The end of the name, and why it was skipped if it was.
fn brief(result: &Entry) -> String {
    let check = match result.name.splitn(3, '.').nth(2) {
        Some(check) => check,
        None => &result.name,
    };
    match &result.skipped {
        Some(reason) => format!("{check} skipped ({reason})"),
        None => check.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_boot_is_as_good_as_its_worst_result() {
        let good = Entry::new("rng.arm64.bind").pass(2.0, "devices", "");
        let skipped = Entry::new("rng.arm64.fips").skip("no rngtest");
        let bad = Entry::new("rng.arm64.read").fail("stuck");
        let passed = one("x", &[good.clone(), skipped.clone()]);
        assert!(passed.ok && passed.value == 1.0);
        assert_eq!(passed.detail, "bind, fips skipped (no rngtest)");
        let failed = one("x", &[good, bad]);
        assert!(!failed.ok);
        assert_eq!(
            failed.detail,
            "1 passed, 1 failed: rng.arm64.read; rng.arm64.read: stuck"
        );
        assert!(!one("x", &[skipped]).ok);
    }

    #[test]
    fn each_boot_has_a_name_of_its_own() {
        for machine in Machine::ALL {
            let boots = machine.boots();
            let mut names: Vec<_> = boots.iter().map(|(name, _)| name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), boots.len());
            let logs: BTreeSet<_> = boots.iter().map(|(_, boot)| boot.id()).collect();
            assert_eq!(logs.len(), boots.len());
        }
    }
}
