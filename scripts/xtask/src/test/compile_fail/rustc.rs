// SPDX-License-Identifier: MIT OR Apache-2.0

//! rustc as Kbuild calls it for a module that is a driver: the call is taken
//! from what Kbuild noted beside the module's object.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::case::{Case, Expected};
use super::diagnostics::Said;
use crate::bail_help;
use crate::command::Command;
use crate::doctor::Toolchain;
use crate::process_group::check_interrupt;

/// The note of the module whose call is taken over.
const NOTE: &str = "drivers/char/hw_random/.virtio_rng_rust.o.cmd";
/// As the kernel's Makefile exports it to all of its calls.
const NIGHTLY_FEATURES: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

pub struct Rustc {
    command: Command,
    /// For what it makes.
    out: TempDir,
}

impl Rustc {
    pub fn of_a_module(build_dir: &Path, tools: &Toolchain) -> Result<Self> {
        let path = build_dir.join(NOTE);
        let note = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let Some(call) = Call::parse(&note) else {
            bail_help!(
                format!("{} does not hold a call of rustc", path.display()),
                "build the kernel again; if Kbuild writes its notes in another way now, see \
                 scripts/xtask/src/test/compile_fail/rustc.rs"
            );
        };
        let envs = call.envs.iter().map(|(key, value)| (key, value));
        let command = envs.fold(Command::new(&call.program), |command, (key, value)| {
            command.env(key, value)
        });
        let (key, value) = NIGHTLY_FEATURES;
        Ok(Self {
            command: command
                .args(&call.args)
                .args(["--error-format=json", "--check-cfg=cfg(fixed)"])
                .envs(&tools.envs)
                .env(key, value)
                .dir(build_dir),
            out: tempfile::tempdir().context("cannot make a temporary directory")?,
        })
    }

    pub fn compile(&self, source: &Path, case: &Case, fixed: bool) -> Result<Said> {
        let mut command = self.command.clone().args(self.emit(&case.expected));
        if fixed {
            command = command.args(["--cfg", "fixed"]);
        }
        let mut lines = Vec::new();
        let result = command
            .args(["--crate-name", "compile_fail"])
            .arg(source)
            .lines(|line| lines.push(line.to_owned()));
        check_interrupt()?;
        if let (Err(error), true) = (&result, lines.is_empty()) {
            lines.push(format!("{error:#}"));
        }
        Ok(Said::parse(result.is_ok(), &lines))
    }

    /// A constant with parameters is evaluated only where code is generated, and
    /// that of a small function would be left to its callers, of whom there are
    /// none.
    fn emit(&self, expected: &Expected) -> Vec<String> {
        let path = |name: &str| self.out.path().join(name).display().to_string();
        match expected {
            Expected::Const => vec![
                format!("--emit=obj={}", path("case.o")),
                "-Zcross-crate-inline-threshold=never".into(),
            ],
            Expected::Code(_) | Expected::Words(_) => {
                vec![format!("--emit=metadata={}", path("case.rmeta"))]
            }
        }
    }
}

/// A call of rustc without what it is called for.
#[derive(Debug, Default, PartialEq)]
struct Call {
    envs: Vec<(String, String)>,
    program: PathBuf,
    args: Vec<String>,
}

impl Call {
    /// The first line of a note is `savedcmd_PATH := COMMAND`.
    fn parse(note: &str) -> Option<Self> {
        let first = note.lines().next()?;
        let (_, line) = first.strip_prefix("savedcmd_")?.split_once(" := ")?;
        let mut words = words(line)?.into_iter().peekable();
        let mut call = Self::default();
        while let Some((key, value)) = words.peek().and_then(|word| word.split_once('=')) {
            call.envs.push((key.to_owned(), value.to_owned()));
            words.next();
        }
        call.program = words.next()?.into();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--out-dir" => drop(words.next()?),
                emit if emit.starts_with("--emit=") => (),
                source if source.ends_with(".rs") && !source.starts_with('-') => (),
                _ => call.args.push(word),
            }
        }
        let is_rustc = call
            .program
            .file_name()?
            .to_string_lossy()
            .contains("rustc");
        (is_rustc && !call.args.is_empty()).then_some(call)
    }
}

/// Splits a command as a shell does, as far as Kbuild's notes need it; `None`
/// for whatever else a shell would have to do.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        end if end == c => break,
                        other => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            ';' | '|' | '&' | '$' | '<' | '>' | '`' => return None,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_taken_without_its_source_and_its_products() {
        let note = "savedcmd_drivers/a.o := OBJTREE=/b RUST_MODFILE=drivers/a rustc \
                    --edition=2021 -Zcrate-attr='feature(a,b)' @./include/cfg --extern kernel \
                    --out-dir drivers/ --emit=dep-info=drivers/.a.o.d --emit=obj=drivers/a.o \
                    /t/drivers/a.rs  \n\nsource_drivers/a.o := /t/drivers/a.rs\n";
        let call = Call::parse(note).unwrap();
        assert_eq!(call.envs[1], ("RUST_MODFILE".into(), "drivers/a".into()));
        assert_eq!(call.program, Path::new("rustc"));
        let expected = [
            "--edition=2021",
            "-Zcrate-attr=feature(a,b)",
            "@./include/cfg",
            "--extern",
            "kernel",
        ];
        assert_eq!(call.args, expected);
    }

    #[test]
    fn another_note_is_none() {
        for note in [
            "",
            "savedcmd_a.o := ",
            "savedcmd_a.o := clang -c a.c\n",
            "savedcmd_a.o := rustc 'a\n",
            "savedcmd_a.o := rustc -a; objtool a.o\n",
        ] {
            assert_eq!(Call::parse(note), None, "{note}");
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        let split = words("a  'b c'd \"e f\" g\\ h ''").unwrap();
        assert_eq!(split, ["a", "b cd", "e f", "g h", ""]);
        assert_eq!(words("a $b"), None);
    }
}
