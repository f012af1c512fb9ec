// SPDX-License-Identifier: MIT OR Apache-2.0

//! What files a tree holds, without reading them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use crate::command::Command;
use crate::process_group::check_interrupt;
use crate::source::Source;
use crate::stamp::Fingerprint;

/// What is compared to tell whether a file changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub size: u64,
    /// In nanoseconds since the epoch; 0 for a link, whose own time says nothing.
    pub mtime: i64,
    pub executable: bool,
    /// Where a symbolic link points.
    pub link: Option<PathBuf>,
}

/// All files of a tree by their path in it.
pub type Listing = BTreeMap<PathBuf, Entry>;

impl Entry {
    fn read(path: &Path, meta: &Metadata) -> Result<Self> {
        let is_link = meta.file_type().is_symlink();
        let link = is_link.then(|| fs::read_link(path)).transpose()?;
        Ok(Self {
            size: if is_link { 0 } else { meta.size() },
            mtime: if is_link { 0 } else { mtime_of(meta) },
            executable: !is_link && meta.mode() & 0o100 != 0,
            link,
        })
    }

    pub fn mode(&self) -> u32 {
        match self.executable {
            true => 0o755,
            false => 0o644,
        }
    }
}

pub fn mtime_of(meta: &Metadata) -> i64 {
    meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
}

/// A short name for the state of a whole tree.
pub fn fingerprint(listing: &Listing) -> String {
    let mut fingerprint = Fingerprint::default();
    for (path, entry) in listing {
        fingerprint
            .add(path.as_os_str().as_encoded_bytes())
            .add(entry.size.to_le_bytes())
            .add(entry.mtime.to_le_bytes());
    }
    fingerprint.finish()
}

/// The files of `source` that belong to the kernel.
pub fn of_source(source: &Source) -> Result<Listing> {
    if !source.own {
        return of_dir(&source.dir, |_| true);
    }
    match tracked(&source.dir) {
        Some(paths) => of_paths(&source.dir, paths),
        None => of_dir(&source.dir, |path| !is_build_product(path)),
    }
}

/// All files under `dir` whose path in it `keep` likes.
pub fn of_dir(dir: &Path, keep: impl Fn(&Path) -> bool) -> Result<Listing> {
    let mut listing = Listing::new();
    let walk = WalkDir::new(dir).min_depth(1).into_iter();
    let inside = |path: &Path| path.strip_prefix(dir).unwrap_or(path).to_owned();
    for item in walk.filter_entry(|item| item.depth() == 0 || keep(&inside(item.path()))) {
        let item = item.with_context(|| format!("cannot read {}", dir.display()))?;
        if item.file_type().is_dir() {
            check_interrupt()?;
            continue;
        }
        let path = item.path();
        let entry = Entry::read(path, &item.metadata()?)
            .with_context(|| format!("cannot read {}", path.display()))?;
        listing.insert(inside(path), entry);
    }
    Ok(listing)
}

fn of_paths(dir: &Path, paths: Vec<PathBuf>) -> Result<Listing> {
    let mut listing = Listing::new();
    for path in paths {
        let full = dir.join(&path);
        // Tracked and not there: deleted and not committed yet.
        let Ok(meta) = fs::symlink_metadata(&full) else {
            continue;
        };
        if meta.is_dir() {
            continue;
        }
        let entry =
            Entry::read(&full, &meta).with_context(|| format!("cannot read {}", full.display()))?;
        listing.insert(path, entry);
    }
    Ok(listing)
}

/// What git tracks in a checkout; `None` if this is none.
fn tracked(dir: &Path) -> Option<Vec<PathBuf>> {
    if !dir.join(".git").exists() {
        return None;
    }
    git_files(dir, &["--cached"])
}

/// `git ls-files` in `dir`, which may belong to another user.
pub fn git_files(dir: &Path, options: &[&str]) -> Option<Vec<PathBuf>> {
    let safe = format!("safe.directory={}", dir.display());
    let said = Command::new("git")
        .args(["-c", &safe, "ls-files", "-z"])
        .args(options)
        .dir(dir)
        .output()
        .ok()?;
    let paths = said.split('\0').filter(|path| !path.is_empty());
    Some(paths.map(PathBuf::from).collect())
}

/// What a build inside the tree leaves behind: copied, it would make the kernel
/// refuse to be built elsewhere.
fn is_build_product(path: &Path) -> bool {
    const TREES: &[&str] = &["include/config", "include/generated", ".git"];
    const TOP: &[&str] = &[
        ".config",
        ".config.old",
        ".version",
        ".tmp_versions",
        "vmlinux",
        "System.map",
        "Module.symvers",
        "linux",
    ];
    const SUFFIXES: &[&str] = &[
        ".o", ".ko", ".a", ".cmd", ".mod", ".mod.c", ".order", ".rmeta", ".orig", ".rej",
    ];
    let text = path.to_string_lossy();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let arch_headers = text.starts_with("arch/") && text.ends_with("include/generated");
    arch_headers
        || TREES.contains(&&*text)
        || TOP.contains(&&*text)
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_products_are_told_from_sources() {
        for product in [
            ".config",
            "init/main.o",
            "include/generated",
            "arch/x86/include/generated",
            "drivers/.built-in.a.cmd",
        ] {
            assert!(is_build_product(Path::new(product)), "{product}");
        }
        for source in [
            "init/main.c",
            "arch/x86/configs/x86_64_defconfig",
            "include/linux/config.h",
            "tools/testing/selftests/.gitignore",
        ] {
            assert!(!is_build_product(Path::new(source)), "{source}");
        }
    }

    #[test]
    fn links_are_listed_as_links() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        let listing = of_dir(dir.path(), |_| true).unwrap();
        let link = &listing[Path::new("link")];
        assert_eq!(link.link.as_deref(), Some(Path::new("nowhere")));
    }
}
