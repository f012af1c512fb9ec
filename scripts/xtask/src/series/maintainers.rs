// SPDX-License-Identifier: MIT OR Apache-2.0

//! How our entries in MAINTAINERS grow with the series.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::assemble::{merge_maintainers, Content, Contents};
use crate::bail_help;
use crate::source::Source;

pub const FILE: &str = "MAINTAINERS";

/// Every file of ours has somebody who looks after it.
pub fn check(repo: &Path, ours: &Contents) -> Result<()> {
    let path = repo.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let patterns: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("F:\t"))
        .collect();
    let covered = |file: &&PathBuf| patterns.iter().any(|pattern| covers(pattern, file));
    if let Some(file) = ours.keys().find(|file| !covered(file)) {
        bail_help!(
            format!("no entry in MAINTAINERS covers {}", file.display()),
            "add it to an entry of ours"
        );
    }
    Ok(())
}

/// MAINTAINERS, as far as what it names is there: an entry comes with the first
/// of its files, each of its lines with the first file that it covers.
pub struct Maintainers {
    theirs: String,
    ours: String,
    last: String,
}

impl Maintainers {
    pub fn read(repo: &Path, source: &Source) -> Result<Self> {
        let read =
            |path: PathBuf| fs::read_to_string(&path).with_context(|| path.display().to_string());
        let theirs = read(source.dir.join(FILE))?;
        Ok(Self {
            last: theirs.clone(),
            ours: read(repo.join(FILE))?,
            theirs,
        })
    }

    /// The file with what covers `files`, if that is new.
    pub fn after(&mut self, files: &BTreeSet<PathBuf>) -> Result<Option<Content>> {
        let entries: Vec<_> = self
            .ours
            .split("\n\n")
            .filter_map(|entry| covering(entry, files))
            .collect();
        let merged = match entries.is_empty() {
            true => self.theirs.clone(),
            false => merge_maintainers(&self.theirs, &entries.join("\n\n"))?,
        };
        if merged == self.last {
            return Ok(None);
        }
        self.last.clone_from(&merged);
        Ok(Some(Content {
            bytes: merged.into_bytes(),
            mode: 0o644,
        }))
    }
}

/// The entry with those of its `F:` lines that cover one of `files`.
fn covering(entry: &str, files: &BTreeSet<PathBuf>) -> Option<String> {
    let wanted = |line: &&str| match line.strip_prefix("F:\t") {
        Some(pattern) => files.iter().any(|file| covers(pattern, file)),
        None => true,
    };
    let lines: Vec<_> = entry.lines().filter(wanted).collect();
    let any = lines.iter().any(|line| line.starts_with("F:\t"));
    any.then(|| lines.join("\n"))
}

/// As get_maintainer.pl reads a pattern: a directory covers all below it; a star
/// matches within one name.
fn covers(pattern: &str, file: &Path) -> bool {
    let file = file.to_string_lossy();
    if pattern.ends_with('/') {
        return file.starts_with(pattern);
    }
    let mut pieces = pattern.split('*');
    let Some(mut rest) = file.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        let found = match pieces.peek() {
            None => rest.ends_with(piece).then(|| rest.len() - piece.len()),
            Some(_) => rest.find(piece),
        };
        let Some(at) = found else { return false };
        if rest[..at].contains('/') {
            return false;
        }
        rest = &rest[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_as_in_maintainers() {
        let covers = |pattern: &str, file: &str| covers(pattern, Path::new(file));
        assert!(covers("rust/kernel/virtio/", "rust/kernel/virtio/ring.rs"));
        assert!(!covers("rust/kernel/virtio/", "rust/kernel/virtio.rs"));
        assert!(covers(
            "drivers/virtio/virtio_sim*",
            "drivers/virtio/virtio_sim_map.c"
        ));
        assert!(!covers(
            "drivers/virtio/virtio_sim*",
            "drivers/virtio/virtio_sim/map.c"
        ));
        assert!(covers("a/b*.rs", "a/b_kunit.rs"));
        assert!(!covers("a/b*.rs", "a/b_kunit.c"));
        assert!(!covers("a/b.rs", "a/b.rsx"));
    }

    #[test]
    fn an_entry_has_only_the_lines_whose_files_are_there() {
        let files = [PathBuf::from("a/x.rs")].into();
        let entry = "TITLE\nL:\tlist\nF:\ta/\nF:\tb/";
        assert_eq!(covering(entry, &files).unwrap(), "TITLE\nL:\tlist\nF:\ta/");
        assert_eq!(covering("TITLE\nF:\tb/", &files), None);
    }
}
