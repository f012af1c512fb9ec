// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel that `make test` tests on user-mode Linux, by other compilers:
//! built without a warning about our files, booted, all suites passed.

use anyhow::{Context as _, Result};

use super::kernel::{self, Built, Recipe};
use super::tools::{Set, Tools};
use crate::assemble::Tree;
use crate::build::{products, Variant};
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::guest::Lab;
use crate::report::{Counts, Entry};
use crate::scenario::{self, Platform};

/// The results of one set of tools.
pub fn names(set: Set) -> Vec<String> {
    let of = match set {
        Set::Gcc => "matrix.compiler.gcc".into(),
        _ => format!("matrix.toolchain.{}", set.name()),
    };
    vec![format!("{of}.build"), format!("{of}.boot")]
}

pub fn fragments(ctx: &Context) -> Vec<std::path::PathBuf> {
    // Of user-mode Linux, without the file system that only disks in guests are for.
    let names = ["common", "uml"];
    names.map(|name| kernel::fragment(&ctx.repo, name)).into()
}

pub fn run(
    ctx: &Context,
    machine: &Toolchain,
    tools: &Tools,
    tree: &Tree,
    set: Set,
) -> Result<Vec<Entry>> {
    let [build, boot]: [Entry; 2] = [0, 1].map(|number| Entry::new(&names(set)[number]));
    let recipe = Recipe {
        name: &build.name.clone(),
        variant: Variant::Uml,
        dir: &format!("toolchain-{}", set.name()),
        fragments: &fragments(ctx),
        wishes: &[],
        boots: false,
        anew: true,
    };
    let built = match kernel::build(ctx, tools, tree, &recipe)? {
        Ok(built) => built,
        Err(broken) => {
            let boot = boot.fail("there is no kernel to boot");
            return Ok(vec![build.fail(broken.why).excerpt(broken.excerpt), boot]);
        }
    };
    let detail = format!("{}; {}", tools.summary, built.summary());
    let build = build.pass(built.objects as f64, "objects", detail);
    Ok(vec![
        build,
        run_suites(ctx, machine, tools, &built, set, boot)?,
    ])
}

fn run_suites(
    ctx: &Context,
    machine: &Toolchain,
    tools: &Tools,
    built: &Built,
    set: Set,
    entry: Entry,
) -> Result<Entry> {
    let mut lab = Lab::new(ctx, machine, log_prefix(set));
    lab.wrapper.clone_from(&tools.wrapper);
    lab.add(products::kernel(&built.kbuild).context("the kernel is not there")?)?;
    let results = lab.run(&scenario::kunit(Platform::Uml))?;
    let tests = results.iter().filter(|entry| entry.unit == "tests");
    let (suites, passed) = tests.fold((0, 0.0), |(suites, passed), entry| {
        (suites + 1, passed + entry.value)
    });
    let bad: Vec<_> = results.iter().filter(|entry| !entry.ok).collect();
    if let Some(first) = bad.first() {
        let counts = Counts::of(&results);
        return Ok(entry
            .fail(format!("{counts}; {}: {}", first.name, first.detail))
            .excerpt(first.excerpt.clone()));
    }
    let detail = format!(
        "{suites} suites, and {} other checks",
        results.len() - suites
    );
    Ok(entry.pass(passed, "tests", detail).at_least(1.0))
}

fn log_prefix(set: Set) -> &'static str {
    match set {
        Set::Machine => "matrix-machine",
        Set::Min => "matrix-min",
        Set::Newer => "matrix-newer",
        Set::Gcc => "matrix-gcc",
    }
}
