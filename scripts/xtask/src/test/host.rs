// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests of these tools themselves, run by cargo.

use anyhow::Result;

use crate::command::Command;
use crate::context::Context;
use crate::report::Entry;

/// What a test prints that cannot run here.
const SKIP: &str = "skipped: ";

pub fn run(ctx: &Context) -> Result<Vec<Entry>> {
    let stage = ctx.ui.stage("tests of tools");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut parser = Parser::default();
    let command = Command::new(cargo)
        .args([
            "test",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--manifest-path",
        ])
        .arg(ctx.repo.join("scripts/Cargo.toml"))
        .args(["--", "--show-output"])
        .env("CARGO_TARGET_DIR", ctx.cargo_target())
        .log(ctx.log("tests-of-tools"));
    let result = command.lines(|line| {
        parser.feed(line);
        stage.message(&format!("{} done", parser.entries.len()));
    });
    let mut entries = parser.finish();
    if let Err(error) = result {
        crate::process_group::check_interrupt()?;
        // A test that failed is a result; anything else is one, too.
        if entries.iter().all(|entry| entry.ok) {
            entries.push(Entry::new("tools.cargo-test").fail(format!("{error:#}")));
        }
    }
    for entry in entries.iter().filter(|entry| !entry.ok) {
        stage.line(&format!("{}: {}", entry.name, entry.detail));
    }
    if entries.iter().all(|entry| entry.ok) {
        stage.finish(&format!("{} results, all good", entries.len()));
    }
    Ok(entries)
}

/// Reads what `cargo test` prints.
#[derive(Default)]
struct Parser {
    /// Which of the workspace's binaries is running.
    binary: String,
    entries: Vec<Entry>,
    /// The test whose output is being shown.
    showing: Option<String>,
}

impl Parser {
    fn feed(&mut self, line: &str) {
        let text = line.trim();
        if let Some(path) = text.strip_prefix("Running ") {
            self.binary = binary_name(path);
        } else if let Some(name) = text.strip_prefix("Doc-tests ") {
            self.binary = format!("{name}-doc");
        } else if let Some(result) = text.strip_prefix("test ") {
            self.test(result);
        } else if let Some(name) = shown(text) {
            self.showing = Some(self.name(name));
        } else if let Some(reason) = text.strip_prefix(SKIP) {
            self.skip(reason);
        } else if text.contains("panicked at") {
            self.explain(text);
        }
    }

    fn name(&self, test: &str) -> String {
        let test = test.replace(' ', "-").replace("::tests::", "::");
        format!("tools.{}.{test}", self.binary)
    }

    fn test(&mut self, result: &str) {
        let Some((name, verdict)) = result.rsplit_once(" ... ") else {
            return;
        };
        let entry = Entry::new(self.name(name));
        self.entries.push(match verdict {
            "ok" => entry.pass(1.0, "test", ""),
            "FAILED" => entry.fail("failed; cargo test shows more"),
            other => entry.skip(other),
        });
    }

    fn skip(&mut self, reason: &str) {
        if let Some(entry) = self.shown_entry() {
            *entry = entry.clone().skip(reason);
        }
    }

    fn explain(&mut self, text: &str) {
        if let Some(entry) = self.shown_entry() {
            entry.detail = text.to_owned();
        }
    }

    fn shown_entry(&mut self) -> Option<&mut Entry> {
        let name = self.showing.as_ref()?;
        self.entries.iter_mut().find(|entry| entry.name == *name)
    }

    fn finish(self) -> Vec<Entry> {
        self.entries
    }
}

/// `---- module::tests::name stdout ----`
fn shown(text: &str) -> Option<&str> {
    text.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `unittests src/main.rs (target/debug/deps/xtask-0123456789abcdef)`
fn binary_name(path: &str) -> String {
    let file = path.rsplit(['/', '(']).next().unwrap_or(path);
    let name = file.trim_end_matches(')');
    name.rsplit_once('-')
        .map_or(name, |(name, _)| name)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
     Running unittests src/main.rs (/c/cargo-target/debug/deps/xtask-0a1b2c3d4e5f6071)

running 3 tests
test ui::tests::durations_read_well ... ok
test command::tests::limit ... FAILED
test report::tests::slow ... ignored, too slow

failures:

---- command::tests::limit stdout ----

thread 'command::tests::limit' panicked at xtask/src/command.rs:300:9:
assertion failed: false

     Running tests/failures.rs (/c/cargo-target/debug/deps/failures-0a1b2c3d4e5f6071)
test full_disk ... ok

successes:

---- full_disk stdout ----
skipped: cannot mount a tmpfs: Operation not permitted

   Doc-tests protocol
test protocol/src/lib.rs - encode (line 3) ... ok
";

    #[test]
    fn cargo_tests_are_counted_one_by_one() {
        let mut parser = Parser::default();
        OUTPUT.lines().for_each(|line| parser.feed(line));
        let entries = parser.finish();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "tools.xtask.ui::durations_read_well",
                "tools.xtask.command::limit",
                "tools.xtask.report::slow",
                "tools.failures.full_disk",
                "tools.protocol-doc.protocol/src/lib.rs---encode-(line-3)",
            ]
        );
        assert!(!entries[1].ok);
        assert!(entries[1].detail.contains("command.rs:300"));
        assert_eq!(entries[2].skipped.as_deref(), Some("ignored, too slow"));
        let skipped = entries[3].skipped.as_deref().unwrap();
        assert!(skipped.starts_with("cannot mount"), "{skipped}");
    }
}
