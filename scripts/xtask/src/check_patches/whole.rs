// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is asked of the tree after the last patch.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::build::{Builder, BUILTIN, MODULES};
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::guest::uml;
use crate::process_group::check_interrupt;
use crate::report::Entry;
use crate::series::{differences, isolated_git, Repository, WORK_TREE_INDEX};
use crate::test::judge_kunit_py;
use crate::ui::Stage;

const KUNIT_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Every byte of the work tree, compared by the names that git gives to contents.
pub fn equality(
    ctx: &Context,
    repository: &Repository,
    work_tree: &Path,
    tip: &str,
) -> Result<Entry> {
    let entry = Entry::new("check-patches.end-state");
    let index = ctx.cache.join(WORK_TREE_INDEX);
    let git = |args: &[&str]| {
        isolated_git()
            .env("GIT_INDEX_FILE", &index)
            .arg("--git-dir")
            .arg(&repository.dir)
            .arg("--work-tree")
            .arg(work_tree)
            .args(args)
            .dir(work_tree)
    };
    let different = differences(git, tip, &index)?;
    if different.is_empty() {
        let files = repository.git(&["ls-tree", "-r", "--name-only", tip])?;
        let tree = repository.git(&["rev-parse", &format!("{tip}^{{tree}}")])?;
        let count = files.lines().count() as f64;
        return Ok(entry.pass(count, "files", format!("git tree {}", tree.trim())));
    }
    Ok(entry
        .fail("the patches do not make the assembled tree")
        .excerpt(different))
}

/// The checks of the kernel's own make.
pub fn targets(builder: &Builder, stage: &Stage) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for target in ["rustfmtcheck", "rusttest"] {
        stage.message(target);
        let mut tests = 0_u64;
        let result = builder.command(&MODULES, &[target]).lines(|line| {
            let passed = line
                .strip_prefix("test result: ok. ")
                .and_then(|rest| rest.split(' ').next());
            tests += passed
                .and_then(|count| count.parse::<u64>().ok())
                .unwrap_or(0);
        });
        check_interrupt()?;
        let entry = Entry::new(format!("check-patches.{target}"));
        entries.push(match result {
            Ok(()) if target == "rusttest" => entry.pass(tests as f64, "tests", "").at_least(1.0),
            Ok(()) => entry.pass(1.0, "run", ""),
            Err(error) => entry.fail(format!("{error:#}")),
        });
    }
    Ok(entries)
}

/// Builds and runs all suites with all of the series built in, by `kunit.py run`.
pub fn kunit_py(
    ctx: &Context,
    tools: &Toolchain,
    builder: &Builder,
    stage: &Stage,
) -> Result<Entry> {
    stage.message("kunit.py run");
    let build_dir = builder.build_dir(&BUILTIN);
    let home = tempfile::tempdir().context("cannot make a temporary directory")?;
    let wanted = home.path().join("kunitconfig");
    fs::copy(build_dir.join(".config"), &wanted).context("there is no configuration")?;
    let mut lines = Vec::new();
    let result = Command::new(builder.tree.join("tools/testing/kunit/kunit.py"))
        .arg("run")
        .arg("--build_dir")
        .arg(&build_dir)
        .arg("--kunitconfig")
        .arg(&wanted)
        .args(["--make_options", &format!("LLVM={}", tools.llvm)])
        .args(BUILTIN.args.iter().flat_map(|arg| ["--make_options", arg]))
        // UML leaves its sockets there; by default in the home directory.
        .args([
            "--kernel_args",
            &format!("uml_dir={}/", home.path().display()),
        ])
        .args(["--jobs", &ctx.jobs.to_string(), "--timeout", "300"])
        .envs(&tools.envs)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .without_envs(uml::TEMPORARY)
        .dir(&builder.tree)
        .limit(KUNIT_LIMIT)
        .log(ctx.log("check-patches-kunit-py"))
        .lines(|line| lines.push(line.to_owned()));
    check_interrupt()?;
    let error = result.err().map(|error| format!("{error:#}"));
    Ok(judge_kunit_py("check-patches.kunit-py", error, &lines))
}
