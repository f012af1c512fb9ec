// SPDX-License-Identifier: MIT OR Apache-2.0

//! The suites that are built in, run and read by the kernel's own `kunit.py`:
//! a second opinion on what our reader of KTAP says.

use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::assemble::Tree;
use crate::build::Kernel;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::guest::uml;
use crate::process_group::check_interrupt;
use crate::report::Entry;

pub const NAME: &str = "kunit.kunitpy";
const PROGRAM: &str = "tools/testing/kunit/kunit.py";
/// What a kernel may take, in seconds.
const TIMEOUT: &str = "300";
/// For what the program does around it, too.
const LIMIT: Duration = Duration::from_secs(360);

/// Runs the suites of a UML `kernel`.
pub fn run(ctx: &Context, tools: &Toolchain, tree: &Tree, kernel: &Kernel) -> Result<Entry> {
    let stage = ctx.ui.stage("kunit.py");
    // It writes into its build directory, and UML into the home directory.
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    symlink(&kernel.image, dir.path().join("linux"))?;
    symlink(kernel.build_dir.join(".config"), dir.path().join(".config"))?;
    let mut lines = Vec::new();
    let result = Command::new(tree.dir.join(PROGRAM))
        .arg("exec")
        .arg("--build_dir")
        .arg(dir.path())
        .args(["--timeout", TIMEOUT])
        .envs(&tools.envs)
        .env("HOME", dir.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .without_envs(uml::TEMPORARY)
        .dir(&tree.dir)
        .limit(LIMIT)
        .log(ctx.log("kunit-py"))
        .lines(|line| lines.push(line.to_owned()));
    check_interrupt()?;
    let entry = judge(NAME, result.err().map(|error| format!("{error:#}")), &lines);
    match entry.ok {
        true => stage.finish(&entry.detail),
        false => stage.line(&entry.detail),
    }
    Ok(entry)
}

/// The verdict of `kunit.py` as a result of that name.
pub fn judge(name: &str, error: Option<String>, lines: &[String]) -> Entry {
    let entry = Entry::new(name);
    let last = lines.iter().rev().take(10).rev().cloned().collect();
    let Some((verdict, passed)) = lines.iter().rev().find_map(|line| parse(line)) else {
        let why = error.as_deref().and_then(|error| error.lines().next());
        let why = why.unwrap_or("it ended in good order");
        return entry
            .fail(format!("kunit.py gave no verdict: {why}"))
            .excerpt(last);
    };
    match (error, passed) {
        (None, 1..) => entry.pass(passed as f64, "tests", format!("built in: {verdict}")),
        _ => entry.fail(verdict).excerpt(last),
    }
}

/// `[12:52:05] Testing complete. Ran 357 tests: passed: 356, skipped: 1`.
fn parse(line: &str) -> Option<(String, u64)> {
    let (_, verdict) = line.split_once("Testing complete. ")?;
    let passed = verdict
        .split([' ', ','])
        .skip_while(|word| *word != "passed:");
    let passed = passed.into_iter().nth(1).and_then(|word| word.parse().ok());
    Some((verdict.trim().to_owned(), passed.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(error: Option<&str>, last: &str) -> Entry {
        let lines = ["[12:52:05] Starting KUnit Kernel (1/1)...", last].map(str::to_owned);
        judge(NAME, error.map(str::to_owned), &lines)
    }

    #[test]
    fn the_last_line_is_the_verdict() {
        let last = "[12:52:05] Testing complete. Ran 357 tests: passed: 356, skipped: 1";
        let entry = judged(None, last);
        assert!(entry.ok);
        assert_eq!(entry.value, 356.0);
        assert!(entry
            .detail
            .ends_with("Ran 357 tests: passed: 356, skipped: 1"));
        assert!(!judged(Some("failed"), last).ok);
    }

    #[test]
    fn no_test_and_no_verdict_are_failures() {
        let none = judged(None, "[12:52:05] Testing complete. Ran 0 tests:");
        assert!(!none.ok);
        let silent = judged(Some("kunit.py failed (exit status: 1):\nx"), "Traceback");
        assert!(silent.detail.contains("no verdict: kunit.py failed"));
        assert_eq!(silent.excerpt.len(), 2);
    }
}
