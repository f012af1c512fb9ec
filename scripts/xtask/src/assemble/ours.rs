// SPDX-License-Identifier: MIT OR Apache-2.0

//! Our whole new files: they lie in the checkout where they will lie in Linux.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::listing::{self, Listing};
use crate::bail_help;

/// The directories of the checkout that are parts of Linux.
const DIRS: &[&str] = &[
    "rust",
    "drivers",
    "include",
    "Documentation",
    "samples",
    "tools/testing",
];

/// A file that the assembler answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// Files by their path in the tree.
pub type Contents = BTreeMap<PathBuf, Content>;

/// Reads all of our files.
///
/// # Errors
/// When the source has a file of the same name: that must be an edit then.
pub fn read(repo: &Path, source: &Listing) -> Result<Contents> {
    let mut contents = Contents::new();
    for path in list(repo)? {
        if source.contains_key(&path) {
            bail_help!(
                format!(
                    "{} is a file of ours, and the source has it already",
                    path.display()
                ),
                "make it an edit in scripts/series/edits, or give it another name"
            );
        }
        let full = repo.join(&path);
        let meta = fs::symlink_metadata(&full).with_context(|| full.display().to_string())?;
        let bytes = fs::read(&full).with_context(|| full.display().to_string())?;
        let mode = match meta.permissions().mode() & 0o100 {
            0 => 0o644,
            _ => 0o755,
        };
        contents.insert(path, Content { bytes, mode });
    }
    Ok(contents)
}

/// Our files, by their paths below the top of a tree.
///
/// Tracked or not, but not ignored: an editor's backup is no part of Linux.
/// A checkout that is no git repository holds nothing but what was released.
pub fn list(repo: &Path) -> Result<Vec<PathBuf>> {
    let there: Vec<&str> = DIRS
        .iter()
        .copied()
        .filter(|dir| repo.join(dir).is_dir())
        .collect();
    let options = ["--cached", "--others", "--exclude-standard", "--"];
    let options: Vec<&str> = options.into_iter().chain(there.iter().copied()).collect();
    let listed = match repo.join(".git").exists() && !there.is_empty() {
        true => listing::git_files(repo, &options),
        false => None,
    };
    let mut paths = match listed {
        Some(paths) => paths,
        None => walk(repo, &there)?,
    };
    paths.retain(|path| is_regular(&repo.join(path)));
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn walk(repo: &Path, dirs: &[&str]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for dir in dirs {
        let listing = listing::of_dir(&repo.join(dir), |_| true)?;
        paths.extend(listing.into_keys().map(|path| Path::new(dir).join(path)));
    }
    Ok(paths)
}

fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}
