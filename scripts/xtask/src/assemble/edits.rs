// SPDX-License-Identifier: MIT OR Apache-2.0

//! Our edits to files that Linux has: unified diffs that apply exactly or not
//! at all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};
use tempfile::TempDir;

use super::listing::Listing;
use super::ours::{Content, Contents};
use crate::bail_help;
use crate::command::Command;
use crate::source::Source;

/// Where the edits are kept in the checkout.
pub const DIR: &str = "scripts/series/edits";

/// The edited files, whole.
pub fn apply(repo: &Path, source: &Source, listing: &Listing) -> Result<Contents> {
    let mut patcher = Patcher::new(repo, source, listing)?;
    let mut contents = Contents::new();
    for edit in files(repo)? {
        contents.extend(patcher.apply(&edit)?);
    }
    Ok(contents)
}

/// Applies one edit after the other.
pub struct Patcher<'a> {
    repo: &'a Path,
    source: &'a Source,
    listing: &'a Listing,
    /// Holds the files that are edited.
    scratch: TempDir,
    touched: BTreeSet<PathBuf>,
}

impl<'a> Patcher<'a> {
    pub fn new(repo: &'a Path, source: &'a Source, listing: &'a Listing) -> Result<Self> {
        Ok(Self {
            repo,
            source,
            listing,
            scratch: tempfile::tempdir().context("cannot create a scratch directory")?,
            touched: BTreeSet::new(),
        })
    }

    /// The files that `edit` names, as they are after it.
    pub fn apply(&mut self, edit: &Path) -> Result<Contents> {
        let (repo, scratch) = (self.repo, self.scratch.path());
        let text = fs::read_to_string(edit).with_context(|| edit.display().to_string())?;
        let files = touched_files(&text).with_context(|| shown(repo, edit))?;
        for file in &files {
            if !self.listing.contains_key(file) {
                bail_help!(
                    format!(
                        "{} edits {}, which the source does not have",
                        shown(repo, edit),
                        file.display()
                    ),
                    advice(self.source)
                );
            }
            if self.touched.insert(file.clone()) {
                copy(&self.source.dir, scratch, file)?;
            }
        }
        patch(repo, edit, scratch, self.source)?;
        let read = |file: PathBuf| {
            let bytes = fs::read(scratch.join(&file))?;
            let mode = self.listing[&file].mode();
            Ok((file, Content { bytes, mode }))
        };
        files.into_iter().map(read).collect()
    }
}

/// In the order of their names.
pub fn files(repo: &Path) -> Result<Vec<PathBuf>> {
    let dir = repo.join(DIR);
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = dir.read_dir().with_context(|| dir.display().to_string())?;
    let mut edits: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "patch")
        })
        .collect();
    edits.sort();
    Ok(edits)
}

/// All files of Linux that are edited.
pub fn touched(repo: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for edit in files(repo)? {
        let text = fs::read_to_string(&edit).with_context(|| edit.display().to_string())?;
        all.extend(touched_files(&text).with_context(|| shown(repo, &edit))?);
    }
    Ok(all)
}

/// The files that a diff names. It may neither add nor delete a file: a new one
/// lies whole in the checkout, and none of Linux's is ours to delete.
pub fn touched_files(diff: &str) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut lines = diff.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(old) = line.strip_prefix("--- ") else {
            continue;
        };
        let Some(new) = lines.peek().and_then(|next| next.strip_prefix("+++ ")) else {
            continue;
        };
        let (old, new) = (path_of(old), path_of(new));
        if old != new {
            return Err(anyhow!(
                "an edit must name one file of Linux: {old:?}, {new:?}"
            ));
        }
        files.extend(new);
    }
    match files.is_empty() {
        true => Err(anyhow!("this is not a unified diff")),
        false => Ok(files),
    }
}

/// As `patch -p1` reads it; a path that leads out of the tree is none.
fn path_of(field: &str) -> Option<PathBuf> {
    let name = field.split('\t').next()?.trim_end();
    let path: PathBuf = Path::new(name).components().skip(1).collect();
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (inside && name != "/dev/null").then_some(path)
}

fn copy(from: &Path, to: &Path, file: &Path) -> Result<()> {
    let target = to.join(file);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from.join(file), &target)
        .map(|_| ())
        .with_context(|| format!("cannot read {}", file.display()))
}

fn patch(repo: &Path, edit: &Path, dir: &Path, source: &Source) -> Result<()> {
    let result = Command::new("patch")
        .args(["-p1", "--fuzz=0", "--forward", "--no-backup-if-mismatch"])
        .args(["--reject-format=unified", "--input"])
        .arg(edit)
        .dir(dir)
        .run();
    let rejects = rejects(dir)?;
    if rejects.is_empty() {
        return result.with_context(|| shown(repo, edit));
    }
    let files: Vec<_> = rejects.iter().map(|(file, _)| file.as_str()).collect();
    let hunks: Vec<_> = rejects.iter().map(|(_, hunk)| hunk.trim_end()).collect();
    bail_help!(
        format!(
            "{} does not apply to {}:\n{}",
            shown(repo, edit),
            files.join(", "),
            hunks.join("\n")
        ),
        advice(source)
    )
}

/// The hunks that did not apply, and what file each is for.
fn rejects(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut rejects = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "rej") {
            let file = path.strip_prefix(dir).unwrap_or(path).with_extension("");
            rejects.push((file.display().to_string(), fs::read_to_string(path)?));
        }
    }
    Ok(rejects)
}

fn shown(repo: &Path, edit: &Path) -> String {
    edit.strip_prefix(repo)
        .unwrap_or(edit)
        .display()
        .to_string()
}

fn advice(source: &Source) -> String {
    format!(
        "the source is Linux {} ({}): change the edit so that it fits there, or use the \
         version that it was written for",
        source.kernel_version, source.package
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_files_are_read_from_the_headers() {
        let diff = "Why.\n\n--- a/rust/kernel/lib.rs\t2026-01-01\n+++ b/rust/kernel/lib.rs\n\
                    @@ -1,1 +1,2 @@\n a\n+b\n--- a/MAINTAINERS\n+++ b/MAINTAINERS\n";
        let files: Vec<_> = touched_files(diff).unwrap().into_iter().collect();
        assert_eq!(
            files,
            [Path::new("MAINTAINERS"), Path::new("rust/kernel/lib.rs")]
        );
    }

    #[test]
    fn all_edits_are_read_for_what_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let edits = dir.path().join(DIR);
        fs::create_dir_all(&edits).unwrap();
        for (name, file) in [("1.patch", "a.c"), ("2.patch", "b.c"), ("3.patch", "a.c")] {
            let diff = format!("--- a/{file}\n+++ b/{file}\n@@ -1,1 +1,2 @@\n a\n+b\n");
            fs::write(edits.join(name), diff).unwrap();
        }
        let files: Vec<_> = touched(dir.path()).unwrap().into_iter().collect();
        assert_eq!(files, [Path::new("a.c"), Path::new("b.c")]);
    }

    #[test]
    fn an_edit_neither_adds_nor_renames_nor_escapes() {
        for diff in [
            "--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+x\n",
            "--- a/old.c\n+++ b/new.c\n@@ -1 +1 @@\n-x\n+y\n",
            "--- a/../../x\n+++ b/../../x\n@@ -1 +1 @@\n-x\n+y\n",
            "only words\n",
        ] {
            assert!(touched_files(diff).is_err(), "{diff}");
        }
    }
}
