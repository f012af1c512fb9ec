// SPDX-License-Identifier: MIT OR Apache-2.0

//! arm64: the whole kernel, booted in QEMU, with the tests that run in guests.

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

const BUILD: &str = "matrix.arm64.build";

/// One result for each boot, by its name. How fast it is would say nothing: an
/// x86-64 interprets it.
fn boots() -> Vec<(String, Boot)> {
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

/// The names of all results.
pub fn names() -> Vec<String> {
    let boots = boots().into_iter().map(|(name, _)| name);
    std::iter::once(BUILD.to_owned()).chain(boots).collect()
}

/// What it is configured with, as for `make build` and `make shell`.
pub fn fragments(ctx: &Context) -> Vec<PathBuf> {
    let names = Variant::Arm64Boot.fragments().iter();
    names
        .map(|name| kernel::fragment(&ctx.repo, name))
        .collect()
}

/// Builds it, and boots it for each result.
pub fn run(ctx: &Context, tools: &Toolchain, tree: &Tree) -> Result<Vec<Entry>> {
    let boots = boots();
    let started = Instant::now();
    let kernel = build::ensure(ctx, tools, tree, Variant::Arm64Boot);
    check_interrupt()?;
    let compilers = format!("rustc {}, LLVM {}", tools.rustc_version, tools.llvm_version);
    let mut results = vec![built(&kernel, &compilers, started)];
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

fn built(kernel: &Result<Kernel>, compilers: &str, started: Instant) -> Entry {
    let entry = Entry::new(BUILD);
    let took = ui::duration(started.elapsed());
    match kernel {
        Ok(kernel) => {
            let modules = kernel.modules.len();
            let detail = format!(
                "Linux {} for arm64, {compilers}, brought up to date in {took}",
                kernel.release
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
        let boots = boots();
        let mut names: Vec<_> = boots.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), boots.len());
        let logs: std::collections::BTreeSet<_> = boots.iter().map(|(_, boot)| boot.id()).collect();
        assert_eq!(logs.len(), boots.len());
    }
}
