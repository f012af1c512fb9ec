// SPDX-License-Identifier: MIT OR Apache-2.0

//! The other users of Rust in Linux: what they are built into, and all of their
//! tests, must be with the series as without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::kernel::{self, Built, Recipe};
use super::tools::Tools;
use crate::assemble::Tree;
use crate::build::{products, Variant};
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::guest::{ktap, Lab};
use crate::report::Entry;
use crate::scenario::{self, Boot, Platform};
use crate::source::Source;

const WITHOUT: &str = "matrix.users.without";
const WITH: &str = "matrix.users.with";
const SAME: &str = "matrix.users.same";
/// Interpreted, with hundreds of tests before the first process.
const LIMIT: Duration = Duration::from_secs(900);
/// How many names a result shows.
const SHOWN: usize = 20;

/// The results, in order.
pub fn names() -> Vec<String> {
    [WITHOUT, WITH, SAME].map(str::to_owned).into()
}

pub fn fragments(ctx: &Context) -> Vec<PathBuf> {
    ["matrix", "matrix-users"]
        .map(|name| kernel::fragment(&ctx.repo, name))
        .into()
}

pub fn wishes(ctx: &Context) -> PathBuf {
    kernel::fragment(&ctx.repo, "matrix-ours")
}

pub fn run(
    ctx: &Context,
    machine: &Toolchain,
    tools: &Tools,
    source: &Source,
    tree: &Tree,
) -> Result<Vec<Entry>> {
    let bare = Tree {
        dir: source.dir.clone(),
        digest: source.identity(),
        generation: source.identity(),
    };
    let (without, before) = side(ctx, machine, tools, &bare, WITHOUT)?;
    let (with, after) = side(ctx, machine, tools, tree, WITH)?;
    let same = Entry::new(SAME);
    let same = match (before, after) {
        (Some(before), Some(after)) => compare(same, &before, &after),
        _ => same.fail("there is nothing to compare"),
    };
    Ok(vec![without, with, same])
}

/// What one kernel showed.
#[derive(Debug, Default)]
struct Shown {
    /// Whether each test passed; those that were skipped are not there.
    tests: BTreeMap<String, bool>,
    /// What the host found wrong: failed suites, splats on the console.
    bad: BTreeSet<String>,
}

fn side(
    ctx: &Context,
    machine: &Toolchain,
    tools: &Tools,
    tree: &Tree,
    name: &'static str,
) -> Result<(Entry, Option<Shown>)> {
    let recipe = Recipe {
        name,
        variant: Variant::X86_64,
        dir: name.trim_start_matches("matrix."),
        fragments: &fragments(ctx),
        wishes: &[wishes(ctx)],
        boots: true,
        anew: true,
    };
    let entry = Entry::new(name);
    let built = match kernel::build(ctx, tools, tree, &recipe)? {
        Ok(built) => built,
        Err(broken) => return Ok((entry.fail(broken.why).excerpt(broken.excerpt), None)),
    };
    let shown = boot(ctx, machine, &built, name)?;
    let passed = shown.tests.values().filter(|ok| **ok).count();
    let bad: Vec<_> = shown.bad.iter().take(SHOWN).cloned().collect();
    let detail = match bad.is_empty() {
        true => format!("all good; {}", built.summary()),
        false => format!("not good: {}; {}", bad.join(", "), built.summary()),
    };
    // What Linux itself fails at is for the comparison to judge.
    let entry = entry.pass(passed as f64, "tests", detail).at_least(1.0);
    Ok((entry, Some(shown)))
}

fn boot(ctx: &Context, machine: &Toolchain, built: &Built, name: &'static str) -> Result<Shown> {
    let mut lab = Lab::new(ctx, machine, name);
    lab.add(products::kernel(&built.kbuild).context("the kernel is not there")?)?;
    let boot = Boot {
        kunit: true,
        limit: LIMIT,
        ..scenario::smoke(Platform::Qemu)
    };
    let results = lab.run(&boot)?;
    let log = lab.log_path(&boot.id());
    let log = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let lines: Vec<_> = log.lines().collect();
    let bad = results.iter().filter(|entry| !entry.ok);
    Ok(Shown {
        tests: ktap::cases(&lines),
        bad: bad.map(|entry| entry.name.clone()).collect(),
    })
}

fn compare(entry: Entry, before: &Shown, after: &Shown) -> Entry {
    let passed = before.tests.iter().filter(|(_, ok)| **ok);
    let (kept, lost): (Vec<_>, Vec<_>) = passed
        .map(|(name, _)| name)
        .partition(|name| after.tests.get(*name) == Some(&true));
    let worse: Vec<_> = after.bad.difference(&before.bad).collect();
    if lost.is_empty() && worse.is_empty() {
        let new = after.tests.len().saturating_sub(kept.len());
        let detail = format!("that passed without the series pass with it; {new} more with it");
        return entry.pass(kept.len() as f64, "tests", detail).at_least(1.0);
    }
    let names = lost.iter().chain(&worse).take(SHOWN);
    let names = names.map(|name| name.to_string()).collect();
    entry
        .fail(format!(
            "{} tests do not pass any more, {} results are worse",
            lost.len(),
            worse.len()
        ))
        .excerpt(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tests: &[(&str, bool)], bad: &[&str]) -> Shown {
        Shown {
            tests: tests
                .iter()
                .map(|(name, ok)| ((*name).into(), *ok))
                .collect(),
            bad: bad.iter().map(|name| (*name).into()).collect(),
        }
    }

    fn judged(before: &Shown, after: &Shown) -> Entry {
        compare(Entry::new(SAME), before, after)
    }

    #[test]
    fn what_failed_before_may_still_fail() {
        let before = shown(&[("a.x", true), ("a.y", false)], &["a"]);
        let after = shown(&[("a.x", true), ("a.y", false), ("b.z", true)], &["a"]);
        let entry = judged(&before, &after);
        assert!(entry.ok, "{entry:?}");
        assert_eq!(entry.value, 1.0);
    }

    #[test]
    fn what_passed_before_must_pass() {
        let before = shown(&[("a.x", true), ("a.y", true)], &[]);
        let gone = shown(&[("a.x", true)], &[]);
        let failed = shown(&[("a.x", true), ("a.y", false)], &[]);
        assert_eq!(judged(&before, &gone).excerpt, ["a.y"]);
        assert!(!judged(&before, &failed).ok);
        let splat = shown(&[("a.x", true), ("a.y", true)], &["console"]);
        assert!(!judged(&before, &splat).ok);
        assert!(!judged(&shown(&[], &[]), &shown(&[], &[])).ok);
    }
}
