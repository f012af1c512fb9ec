// SPDX-License-Identifier: MIT OR Apache-2.0

//! Directories compared with what git has.

use std::path::Path;

use anyhow::Result;

use crate::command::Command;
use crate::process_group::check_interrupt;
use crate::stamp;

/// The index of the work tree, in the cache.
pub const WORK_TREE_INDEX: &str = "work-tree.index";

/// The files in which a directory is not the tree `tree`. `git` makes a command
/// for it, with that directory as work tree and `index` as index, which is kept,
/// so that the next time only what changed is read.
pub fn differences(
    git: impl Fn(&[&str]) -> Command,
    tree: &str,
    index: &Path,
) -> Result<Vec<String>> {
    // Left behind by a run that was ended; only one runs at a time.
    stamp::remove(&index.with_extension("index.lock"))?;
    let read = match index.exists() {
        true => git(&["read-tree", "-m", tree]).run(),
        false => git(&["read-tree", tree]).run(),
    };
    // An index that cannot be used is not worth more than its time.
    if read.is_err() {
        check_interrupt()?;
        stamp::remove(index)?;
        git(&["read-tree", tree]).run()?;
    }
    // Fails where files differ; which they are is asked next.
    let _ = git(&["update-index", "-q", "--refresh"]).output();
    check_interrupt()?;
    let changed = git(&["diff-files", "--name-only", "--no-renames", "-z"]).output()?;
    let extra = git(&["ls-files", "--others", "-z"]).output()?;
    let names = changed.split_terminator('\0');
    let names = names.chain(extra.split_terminator('\0'));
    Ok(names.map(str::to_owned).collect())
}

/// What makes a sparse checkout hold just the files that `git diff -z` named.
pub fn sparse_patterns(touched: &str) -> String {
    let patterns = touched.split_terminator('\0').map(pattern);
    patterns.map(|pattern| pattern + "\n").collect()
}

/// Matches just this file.
fn pattern(path: &str) -> String {
    let special = |c: char| "*?[\\".contains(c);
    let quoted: String = path
        .chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect();
    format!("/{quoted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_one_file() {
        assert_eq!(pattern("rust/kernel/virtio.rs"), "/rust/kernel/virtio.rs");
        assert_eq!(pattern("a[1]*"), "/a\\[1]\\*");
    }
}
