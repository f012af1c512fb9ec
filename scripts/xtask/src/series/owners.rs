// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which patch each file and each edit belongs to: one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::declaration::{Patch, DIR};
use crate::assemble::{edit_files, Contents, EDITS};
use crate::bail_help;
use crate::failure::Failure;

/// Every file and every edit belongs to one patch.
pub fn check(repo: &Path, ours: &Contents, plan: &[&Patch]) -> Result<()> {
    let edits = edit_files(repo)?;
    let edits: BTreeSet<_> = edits.iter().cloned().collect();
    let mut owners: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for patch in plan {
        let named = patch.files.iter().cloned();
        let named = named.chain(patch.edits.iter().map(|edit| edit_path(repo, edit)));
        for path in named {
            if !ours.contains_key(&path) && !edits.contains(&path) {
                return Err(refused(
                    patch,
                    &format!("names {}, which is not there", path.display()),
                ));
            }
            *owners.entry(path).or_default() += 1;
        }
    }
    let all = ours.keys().chain(&edits);
    let wrong: Vec<_> = all
        .filter_map(|path| match owners.get(path) {
            None => Some(format!("  {} belongs to no patch", path.display())),
            Some(1) => None,
            Some(_) => Some(format!("  {} belongs to two patches", path.display())),
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail_help!(
        format!("the series is not the checkout:\n{}", wrong.join("\n")),
        format!("every file and every edit belongs to one patch: add it to a topic in {DIR}")
    )
}

pub fn edit_path(repo: &Path, name: &str) -> PathBuf {
    repo.join(EDITS).join(format!("{name}.patch"))
}

/// An error about the declaration of a patch.
pub fn refused(patch: &Patch, what: &str) -> anyhow::Error {
    Failure::new(
        format!("the patch {:?} {what}", patch.subject),
        format!("see {DIR}"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::Content;

    fn checked(files: &[&str], edits: &[&str], declared: &str) -> Result<()> {
        let repo = tempfile::tempdir().unwrap();
        let dir = repo.path().join(EDITS);
        std::fs::create_dir_all(&dir).unwrap();
        for edit in edits {
            std::fs::write(dir.join(format!("{edit}.patch")), "").unwrap();
        }
        let content = Content {
            bytes: Vec::new(),
            mode: 0o644,
        };
        let ours = files
            .iter()
            .map(|path| (path.into(), content.clone()))
            .collect();
        let patches: Vec<Patch> = declared
            .split(';')
            .map(|fields| {
                toml::from_str(&format!("subject = 's'\nmessage = 'm'\n{fields}")).unwrap()
            })
            .collect();
        check(repo.path(), &ours, &patches.iter().collect::<Vec<_>>())
    }

    #[test]
    fn each_file_and_edit_belongs_to_one_patch() {
        checked(
            &["a", "b"],
            &["e"],
            "files = ['a'];files = ['b']\nedits = ['e']",
        )
        .unwrap();
        let error = |result: Result<()>| result.unwrap_err().to_string();
        let none = error(checked(&["a", "b"], &[], "files = ['a']"));
        assert!(none.contains("b belongs to no patch"), "{none}");
        let none = error(checked(&["a"], &["e"], "files = ['a']"));
        assert!(none.contains("e.patch belongs to no patch"), "{none}");
        let two = error(checked(&["a"], &[], "files = ['a'];files = ['a']"));
        assert!(two.contains("a belongs to two patches"), "{two}");
        let absent = error(checked(&["a"], &[], "files = ['a', 'c']"));
        assert!(absent.contains("names c, which is not there"), "{absent}");
    }
}
