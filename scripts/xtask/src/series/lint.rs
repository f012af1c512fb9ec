// SPDX-License-Identifier: MIT OR Apache-2.0

//! What we ask of each patch before anything is built.

use anyhow::Result;

use super::declaration::Kind;
use super::repository::{Commit, Repository};
use crate::bail_help;

/// How many lines a patch may add that is neither a driver nor a test.
const LIMIT: u64 = 700;

pub fn check(repository: &Repository, commit: &Commit) -> Result<()> {
    let changes = repository.git(&["show", "--numstat", "--format=", &commit.id])?;
    let (mut added, mut removes) = (0, false);
    for line in changes.lines() {
        let mut fields = line
            .split('\t')
            .map(|field| field.parse::<u64>().unwrap_or(0));
        added += fields.next().unwrap_or(0);
        removes |= fields.next().unwrap_or(0) > 0;
    }
    if changes.trim().is_empty() {
        bail_help!(
            format!("the patch {:?} changes nothing", commit.subject),
            "give it files, edits or lines, or take it out"
        );
    }
    if added > LIMIT && commit.kind == Kind::Core {
        bail_help!(
            format!("the patch {:?} adds {added} lines", commit.subject),
            format!("cut it: only a driver or a test may add more than {LIMIT}")
        );
    }
    if removes {
        check_removed(repository, commit)?;
    }
    Ok(())
}

/// What a patch removes or changes has to be Linux's: who edits what an earlier
/// patch of ours added has to edit that patch.
fn check_removed(repository: &Repository, commit: &Commit) -> Result<()> {
    let diff = repository.git(&["show", "-U0", "--format=", &commit.id])?;
    let parent = repository.git(&["rev-parse", &format!("{}^", commit.id)])?;
    if parent.trim() == repository.base {
        return Ok(());
    }
    // The lines of the base are marked, whichever commit they are from.
    let before = format!("{}..{}", repository.base, parent.trim());
    for (file, first, count) in removed(&diff) {
        let lines = format!("{first},+{count}");
        let blamed = repository.git(&["blame", "-s", "-l", "-L", &lines, &before, "--", &file])?;
        if let Some(line) = blamed.lines().find(|line| !line.starts_with('^')) {
            bail_help!(
                format!(
                    "the patch {:?} edits what an earlier one added: {file}: {line}",
                    commit.subject
                ),
                "put the final lines into the earlier patch"
            );
        }
    }
    Ok(())
}

/// File, first line and count of the old lines of each hunk of a diff.
fn removed(diff: &str) -> Vec<(String, u64, u64)> {
    let mut file = String::new();
    let mut found = Vec::new();
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("--- a/") {
            file = name.to_owned();
        }
        let Some((old, _)) = line
            .strip_prefix("@@ -")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let (first, count) = old.split_once(',').unwrap_or((old, "1"));
        if let (Ok(first), Ok(count @ 1..)) = (first.parse(), count.parse()) {
            found.push((file.clone(), first, count));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lines_are_read_from_the_hunks() {
        let diff = "--- a/x\n+++ b/x\n@@ -3 +3,2 @@ f\n-a\n+b\n+c\n@@ -9,0 +11 @@\n+d\n\
                    --- a/y\n+++ b/y\n@@ -4,2 +4 @@\n";
        assert_eq!(removed(diff), [("x".into(), 3, 1), ("y".into(), 4, 2)]);
    }

    /// A repository with a commit for each content of one file, the first as base.
    fn repository(dir: &std::path::Path, contents: &[String]) -> (Repository, Vec<Commit>) {
        let git = |args: &[&str]| {
            let git = super::super::isolated_git().dir(dir);
            git.args(["-c", "user.name=a", "-c", "user.email=a@b"])
                .args(args)
                .output()
                .unwrap()
        };
        git(&["init", "--quiet"]);
        let mut ids = Vec::new();
        for content in contents {
            std::fs::write(dir.join("file"), content).unwrap();
            git(&["add", "file"]);
            git(&["commit", "--quiet", "-m", "x"]);
            ids.push(git(&["rev-parse", "HEAD"]).trim().to_owned());
        }
        let commit = |id: &String| Commit {
            id: id.clone(),
            subject: "x".into(),
            kind: Kind::Core,
        };
        let repository = Repository {
            dir: dir.join(".git"),
            base: ids[0].clone(),
            base_is_public: false,
        };
        (repository, ids[1..].iter().map(commit).collect())
    }

    fn checked(contents: &[&str]) -> Vec<Result<()>> {
        let dir = tempfile::tempdir().unwrap();
        let contents: Vec<_> = contents.iter().map(|text| text.to_string()).collect();
        let (repository, commits) = repository(dir.path(), &contents);
        commits
            .iter()
            .map(|commit| check(&repository, commit))
            .collect()
    }

    #[test]
    fn only_lines_of_linux_may_be_edited() {
        let linux = checked(&["a\nb\n", "a\nb\nours\n", "A\nb\nours\n"]);
        assert!(linux.iter().all(Result::is_ok));
        let ours = checked(&["a\nb\n", "a\nb\nours\n", "a\nb\nours too\n"]);
        assert!(ours[0].is_ok());
        let error = ours[1].as_ref().unwrap_err().to_string();
        assert!(
            error.contains("edits what an earlier one added: file"),
            "{error}"
        );
    }

    #[test]
    fn long_patches_are_refused() {
        let long = "x\n".repeat(LIMIT as usize + 2);
        assert!(checked(&["x\n", &long])[0].is_err());
        assert!(checked(&["x\n", &long[4..]])[0].is_ok());
    }
}
