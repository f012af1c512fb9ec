// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be said of our kernel sources without building them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::assemble::{our_files, Tree};
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::report::Entry;
use crate::unsafe_density::{of_ours, of_peers, Count};

/// Where no `unsafe` may be.
const SAFE_DIRS: &[&str] = &["drivers", "samples"];
/// Files that are program text and so name their licence in the first lines.
const LICENSED: &[&str] = &["rs", "c", "h", "rst", "sh", "S"];

struct Sources<'a> {
    repo: &'a Path,
    tree: &'a Path,
    tools: &'a Toolchain,
    /// Paths below the top of a tree.
    files: Vec<PathBuf>,
}

pub fn run(
    ctx: &Context,
    tools: &Toolchain,
    tree: &Tree,
    wants: impl Fn(&str) -> bool,
) -> Result<Vec<Entry>> {
    type Check = fn(&Sources) -> Result<Entry>;
    let checks: &[(&str, Check)] = &[
        ("sources.unsafe", no_unsafe),
        ("sources.unsafe-density", unsafe_density),
        ("sources.spdx", spdx),
        ("sources.rustfmt", rustfmt),
        ("sources.checkpatch", checkpatch),
    ];
    let wanted: Vec<_> = checks.iter().filter(|(name, _)| wants(name)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let stage = ctx.ui.stage("sources");
    let sources = Sources {
        repo: &ctx.repo,
        tree: &tree.dir,
        tools,
        files: our_files(&ctx.repo)?,
    };
    let mut entries = Vec::new();
    for (name, check) in wanted {
        stage.message(name);
        let entry = check(&sources)?;
        if !entry.ok {
            stage.line(&format!("{name}: {}", entry.detail));
        }
        entries.push(entry);
    }
    if entries.iter().all(|entry| entry.ok) {
        stage.finish(&format!("{} files, all good", sources.files.len()));
    }
    Ok(entries)
}

impl Sources<'_> {
    fn with_extension(&self, extension: &str) -> Vec<&PathBuf> {
        let wanted = |path: &&PathBuf| path.extension().is_some_and(|ext| ext == extension);
        self.files.iter().filter(wanted).collect()
    }

    fn read(&self, path: &Path) -> Result<String> {
        let path = self.repo.join(path);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

/// One result of a check of many files: the complaints, or how many are good.
fn verdict(name: &str, files: usize, complaints: Vec<String>) -> Entry {
    let entry = Entry::new(name);
    match complaints.len() {
        0 => entry.pass(0.0, "complaints", format!("{files} files")),
        count => entry
            .fail(format!("{count} complaints, the first: {}", complaints[0]))
            .excerpt(complaints.into_iter().take(40).collect()),
    }
}

fn no_unsafe(sources: &Sources) -> Result<Entry> {
    let in_safe_dir = |path: &&&PathBuf| SAFE_DIRS.iter().any(|dir| path.starts_with(dir));
    let files = sources.with_extension("rs");
    let files: Vec<_> = files.iter().filter(in_safe_dir).collect();
    let mut complaints = Vec::new();
    for path in &files {
        let text = sources.read(path)?;
        let lines = unsafe_lines(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        complaints.extend(
            lines
                .iter()
                .map(|line| format!("{}:{line}", path.display())),
        );
    }
    Ok(verdict("sources.unsafe", files.len(), complaints))
}

/// For information: it has no bar.
fn unsafe_density(sources: &Sources) -> Result<Entry> {
    let ours: Count = of_ours(sources.repo)?.iter().map(|(_, count)| *count).sum();
    let peers = of_peers(sources.tree)?;
    let peers = peers
        .iter()
        .map(|(path, count)| format!("{:.1} in {}", count.density(), path.display()));
    let detail = format!(
        "{} in {} lines that are not empty; {}",
        ours.total(),
        ours.lines,
        peers.collect::<Vec<_>>().join(", ")
    );
    let entry = Entry::new("sources.unsafe-density");
    Ok(entry.pass(ours.density(), "per 1000 lines", detail))
}

/// Where the word `unsafe` is code, not comment or text.
fn unsafe_lines(text: &str) -> Result<Vec<usize>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
    let mut lines = Vec::new();
    let mut pending = vec![tokens];
    while let Some(stream) = pending.pop() {
        for token in stream {
            match token {
                TokenTree::Group(group) => pending.push(group.stream()),
                TokenTree::Ident(word) if word == "unsafe" => {
                    lines.push(word.span().start().line);
                }
                _ => (),
            }
        }
    }
    lines.sort_unstable();
    Ok(lines)
}

fn spdx(sources: &Sources) -> Result<Entry> {
    let is_text = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default();
        let extension = path.extension().unwrap_or_default();
        LICENSED.iter().any(|known| extension == *known) || name == "Kconfig" || name == "Makefile"
    };
    let files: Vec<_> = sources.files.iter().filter(is_text).collect();
    let mut complaints = Vec::new();
    for path in &files {
        let text = sources.read(path)?;
        // A script has its interpreter in the first line.
        if !text
            .lines()
            .take(2)
            .any(|line| line.contains("SPDX-License-Identifier: "))
        {
            complaints.push(format!("{} names no licence", path.display()));
        }
    }
    Ok(verdict("sources.spdx", files.len(), complaints))
}

/// What a checker says that ends with an error; if it says nothing, the error.
fn said_by(checker: Command) -> Vec<String> {
    let mut said = Vec::new();
    match checker.lines(|line| said.push(line.to_owned())) {
        Ok(()) => Vec::new(),
        Err(error) if said.is_empty() => vec![format!("{error:#}")],
        Err(_) => said,
    }
}

/// By the tree's own rules.
fn rustfmt(sources: &Sources) -> Result<Entry> {
    let files = sources.with_extension("rs");
    let mut complaints = Vec::new();
    if !files.is_empty() {
        let command = Command::new("rustfmt")
            .args(["--check", "--edition", "2021", "--config-path"])
            .arg(sources.tree.join(".rustfmt.toml"))
            .args(&files)
            .envs(&sources.tools.envs)
            .dir(sources.tree);
        complaints = said_by(command);
    }
    Ok(verdict("sources.rustfmt", files.len(), complaints))
}

fn checkpatch(sources: &Sources) -> Result<Entry> {
    let mut complaints = Vec::new();
    if !sources.files.is_empty() {
        let command = Command::new("perl")
            .args([
                "scripts/checkpatch.pl",
                "--strict",
                "--terse",
                "--no-summary",
            ])
            .args(["--showfile", "--file"])
            .args(&sources.files)
            .dir(sources.tree);
        complaints = said_by(command);
    }
    Ok(verdict(
        "sources.checkpatch",
        sources.files.len(),
        complaints,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_in_code_only() {
        let text = r#"
//! Not unsafe.
/* unsafe */
fn f() {
    let text = "unsafe { }";
    let c = 'u'; // unsafe
    unsafe { g() }
}
macro_rules! m { () => { unsafe { g() } }; }
#[unsafe(no_mangle)]
fn unsafe_name() {}
"#;
        assert_eq!(unsafe_lines(text).unwrap(), [7, 9, 10]);
    }

    #[test]
    fn a_checker_that_fails_has_complaints() {
        assert!(said_by(Command::new("true")).is_empty());
        assert_eq!(said_by(Command::new("false")).len(), 1);
        assert_eq!(said_by(Command::new("/nonexistent/checker")).len(), 1);
        let talks = Command::new("sh").args(["-c", "echo a; echo b; exit 1"]);
        assert_eq!(said_by(talks), ["a", "b"]);
    }

    #[test]
    fn complaints_make_the_result() {
        assert!(verdict("x", 3, Vec::new()).ok);
        let bad = verdict("x", 3, vec!["a.rs:1".into()]);
        assert!(!bad.ok);
        assert!(bad.detail.contains("a.rs:1"));
    }
}
