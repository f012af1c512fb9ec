// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the mails are applied: a repository that borrows the objects of the
//! series' own and has just those files checked out that the series touches.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cage::Cage;
use super::mbox::GIT_FORMAT;
use super::topic::Topic;
use crate::bail_help;
use crate::command::Command;
use crate::process_group::check_interrupt;
use crate::series;

/// The pristine kernel, in the repository of the series.
const BASE: &str = "refs/heads/base";
/// Who applies: `b4` does not work for somebody without a name. What to do about
/// a conflict is not for the log.
const SETTINGS: &[(&str, &str)] = &[
    ("user.name", "send-test"),
    ("user.email", "send-test@localhost"),
    ("advice.mergeConflict", "false"),
];
const AM_LIMIT: Duration = Duration::from_secs(30 * 60);
const TREE_LIMIT: Duration = Duration::from_secs(30 * 60);

pub struct Repository {
    cage: Cage,
    pub dir: PathBuf,
    /// The commits that the topics lead to, after the base.
    tips: Vec<String>,
}

impl Repository {
    /// Makes it in `dir`, which is emptied.
    pub fn make(cage: &Cage, dir: &Path, series: &Path, topics: &[Topic]) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let mut this = Self {
            cage: cage.clone(),
            dir: dir.to_owned(),
            tips: Vec::new(),
        };
        let references = topics.iter().map(Topic::reference);
        for name in std::iter::once(BASE.to_owned()).chain(references) {
            this.tips.push(this.commit_in(series, &name)?);
        }
        // No templates: a hook or a setting in one could change what is applied.
        this.git(&["init", "-q", "--template="]).run()?;
        for (key, value) in SETTINGS {
            this.git(&["config", key, value]).run()?;
        }
        let objects = series.join("objects").display().to_string() + "\n";
        this.write("objects/info/alternates", &objects)?;
        this.check_out()?;
        Ok(this)
    }

    fn commit_in(&self, series: &Path, name: &str) -> Result<String> {
        let git = self.cage.command("git").arg("--git-dir").arg(series);
        let commit = format!("{name}^{{commit}}");
        match git.args(["rev-parse", "--verify", "-q", &commit]).output() {
            Ok(id) => Ok(id.trim().to_owned()),
            Err(_) => bail_help!(
                format!("there is no {name} in {}", series.display()),
                "run make patches"
            ),
        }
    }

    /// A whole kernel would take minutes.
    fn check_out(&self) -> Result<()> {
        let (base, last) = (&self.tips[0], &self.tips[self.tips.len() - 1]);
        let touched = self
            .git(&["diff", "--name-only", "--no-renames", "-z", base, last])
            .output()?;
        self.write("info/sparse-checkout", &series::sparse_patterns(&touched))?;
        self.git(&["config", "core.sparseCheckout", "true"]).run()?;
        self.start(0)
    }

    /// Puts the commit that `topic` builds on in place.
    pub fn start(&self, topic: usize) -> Result<()> {
        // What an earlier one may have left behind; mostly there is nothing.
        let _ = self.git(&["am", "--abort"]).output();
        check_interrupt()?;
        self.git(&["checkout", "-q", "-f", "--detach", &self.tips[topic]])
            .limit(TREE_LIMIT)
            .run()
    }

    /// Applies all patches in `mbox`; `on_patch` hears of each.
    pub fn am(&self, mbox: &Path, log: &Path, mut on_patch: impl FnMut()) -> Result<()> {
        // There is no patch in a cover letter.
        self.git(&["am", "--whitespace=error", "--no-3way", "--empty=drop"])
            .arg(GIT_FORMAT)
            .arg(mbox)
            .limit(AM_LIMIT)
            .log(log)
            .lines(|line| {
                if line.starts_with("Applying: ") {
                    on_patch();
                }
            })
    }

    /// The tree that is there now.
    pub fn tree(&self) -> Result<String> {
        self.tree_of("HEAD")
    }

    /// The tree at the tip of `topic`.
    pub fn tip_tree(&self, topic: usize) -> Result<String> {
        self.tree_of(&self.tips[topic + 1])
    }

    fn tree_of(&self, commit: &str) -> Result<String> {
        let id = self.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
        Ok(id.output()?.trim().to_owned())
    }

    /// The commits that were made for `topic`, and those that it has in the
    /// series: of each the tree, the author and the message.
    pub fn commits(&self, topic: usize) -> Result<(Vec<String>, Vec<String>)> {
        let base = &self.tips[topic];
        let made = self.commits_between(base, "HEAD")?;
        Ok((made, self.commits_between(base, &self.tips[topic + 1])?))
    }

    fn commits_between(&self, base: &str, tip: &str) -> Result<Vec<String>> {
        let said = self
            .git(&["log", "-z", "--reverse", "--format=%T %an <%ae>%n%B"])
            .arg(format!("{base}..{tip}"))
            .output()?;
        Ok(said.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The files in which the directory `work` is not the tree `tree`. The index
    /// in `index` is kept, so that the next time only what changed is read.
    pub fn differences(&self, work: &Path, tree: &str, index: &Path) -> Result<Vec<String>> {
        let git = |args: &[&str]| {
            self.cage
                .command_with(&[("GIT_INDEX_FILE", index)], "git")
                .arg("--git-dir")
                .arg(self.dir.join(".git"))
                .arg("--work-tree")
                .arg(work)
                .args(["-c", "core.sparseCheckout=false"])
                .args(args)
                .dir(work)
                .limit(TREE_LIMIT)
        };
        series::differences(git, tree, index)
    }

    fn git(&self, args: &[&str]) -> Command {
        // The cache may lie inside a checkout, whose settings do not count here.
        let ceiling = self.dir.parent().unwrap_or(&self.dir);
        self.cage
            .command_with(&[("GIT_CEILING_DIRECTORIES", ceiling)], "git")
            .args(args)
            .dir(&self.dir)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(".git").join(name);
        crate::stamp::write_atomically(&path, text.as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::super::topic::tests::topic;
    use super::*;

    fn cage() -> Cage {
        let envs = [("PATH".to_owned(), std::env::var("PATH").unwrap())];
        Cage::new(Path::new("/nowhere"), &envs)
    }

    /// A repository with a base and a topic of one commit on it.
    fn series(dir: &Path) {
        let git = |args: &str| {
            let settings = SETTINGS.iter().take(2);
            let settings =
                settings.flat_map(|(key, value)| ["-c".into(), format!("{key}={value}")]);
            let git = cage().command("git").args(settings).dir(dir);
            git.args(args.split(' ')).run().unwrap();
        };
        fs::create_dir_all(dir.join("sub")).unwrap();
        git("init -q -b base");
        for (file, text) in [("a", "1\n"), ("sub/b", "1\n"), ("a", "2\n")] {
            fs::write(dir.join(file), text).unwrap();
            git("add .");
            git("commit -q -m x");
        }
        git(&format!("update-ref {} HEAD", topic().reference()));
        git("update-ref refs/heads/base HEAD~1");
    }

    #[test]
    fn a_directory_is_a_tree_or_its_differences_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("series");
        series(&work);
        let am = dir.path().join("am");
        let repository = Repository::make(&cage(), &am, &work.join(".git"), &[topic()]).unwrap();
        assert_eq!(fs::read_to_string(am.join("a")).unwrap(), "1\n");
        assert!(!am.join("sub").exists(), "only what is touched is there");
        let index = dir.path().join("work.index");
        let tree = repository.tip_tree(0).unwrap();
        let plain = dir.path().join("plain");
        fs::create_dir_all(plain.join("sub")).unwrap();
        let write = |file: &str, text: &str| fs::write(plain.join(file), text).unwrap();
        write("a", "2\n");
        write("sub/b", "1\n");
        let differences = || repository.differences(&plain, &tree, &index).unwrap();
        assert!(differences().is_empty());
        write("a", "3\n");
        write("extra", "");
        fs::write(dir.path().join("work.index.lock"), "").unwrap();
        assert_eq!(differences(), ["a", "extra"]);
        write("a", "2\n");
        fs::remove_file(plain.join("extra")).unwrap();
        fs::remove_file(plain.join("sub/b")).unwrap();
        assert_eq!(differences(), ["sub/b"]);
    }

    #[test]
    fn a_topic_that_the_series_does_not_have_is_told() {
        let dir = tempfile::tempdir().unwrap();
        series(&dir.path().join("series"));
        let mut topic = topic();
        topic.version = 7;
        let series = dir.path().join("series/.git");
        let made = Repository::make(&cage(), &dir.path().join("am"), &series, &[topic]);
        let error = made.err().unwrap().to_string();
        assert!(error.contains("no refs/series/10-topic/v7"), "{error}");
    }
}
