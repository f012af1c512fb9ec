// SPDX-License-Identifier: MIT OR Apache-2.0

//! Applies what arrived, as it is and as `b4` prepares it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use super::cage::Cage;
use super::repository::Repository;
use super::topic::Topic;
use crate::doctor::MailTools;
use crate::process_group::check_interrupt;
use crate::report::Entry;

const B4_LIMIT: Duration = Duration::from_secs(10 * 60);

/// One topic that arrived.
pub struct Arrived<'a> {
    pub topic: &'a Topic,
    /// Its place among all topics.
    pub place: usize,
    pub mbox: &'a Path,
    /// Where logs go.
    pub logs: &'a Path,
}

impl Arrived<'_> {
    /// Applies the mails. The tree that they lead to is returned if it is the
    /// right one.
    pub fn am(
        &self,
        repository: &Repository,
        on_patch: impl FnMut(),
    ) -> Result<(Option<String>, Vec<Entry>)> {
        let log = self.log("am");
        repository.start(self.place)?;
        let entry = self.entry("git-am");
        if let Err(error) = repository.am(self.mbox, &log, on_patch) {
            check_interrupt()?;
            let commits = self.entry("commits").fail("git am did not come to its end");
            return Ok((None, vec![failed(entry, &error), commits]));
        }
        let entry = self.judge_tree(repository, entry)?;
        let tree = entry.ok.then(|| repository.tree()).transpose()?;
        let commits = self.entry("commits");
        let (made, meant) = repository.commits(self.place)?;
        Ok((tree, vec![entry, judge_commits(commits, &made, &meant)]))
    }

    /// Lets `b4` make of the mails what it would hand to `git am`; applies that.
    pub fn b4(
        &self,
        repository: &Repository,
        cage: &Cage,
        tools: &MailTools,
        on_patch: impl FnMut(),
    ) -> Result<Entry> {
        let entry = self.entry("b4-am");
        let b4 = match &tools.b4 {
            Ok(b4) => b4,
            Err(reason) => return Ok(entry.skip(reason)),
        };
        repository.start(self.place)?;
        let prepared = match self.prepare(repository, cage, b4) {
            Ok(mbox) => mbox,
            Err(error) => {
                check_interrupt()?;
                return Ok(match only_for_network(&error) {
                    Some(reason) => entry.skip(&reason),
                    None => failed(entry, &error),
                });
            }
        };
        let log = self.log("b4-git-am");
        if let Err(error) = repository.am(&prepared, &log, on_patch) {
            check_interrupt()?;
            return Ok(failed(entry, &error));
        }
        self.judge_tree(repository, entry)
    }

    fn prepare(&self, repository: &Repository, cage: &Cage, b4: &Path) -> Result<PathBuf> {
        let out = tempfile::tempdir_in(self.logs).context("cannot make a directory for b4")?;
        let out = out.keep();
        let mut said = Vec::new();
        let ran = cage
            .command(b4)
            .args(["--offline-mode", "am", "--no-cover", "-m"])
            .arg(self.mbox)
            .arg("-o")
            .arg(&out)
            .arg(self.topic.cover().id.trim_matches(['<', '>']))
            .dir(&repository.dir)
            .log(self.log("b4"))
            .limit(B4_LIMIT)
            .lines(|line| said.push(line.to_owned()));
        let made = newest(&out, "mbx");
        let kept = self.logs.join(format!("{}.b4.mbox", self.topic.name));
        if let Some(made) = &made {
            fs::rename(made, &kept).with_context(|| kept.display().to_string())?;
        }
        fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
        ran?;
        made.map(|_| kept)
            .ok_or_else(|| anyhow!("b4 made nothing of it:\n{}", said.join("\n")))
    }

    fn judge_tree(&self, repository: &Repository, entry: Entry) -> Result<Entry> {
        let (made, meant) = (repository.tree()?, repository.tip_tree(self.place)?);
        let patches = self.topic.patches().len() as f64;
        Ok(match made == meant {
            true => entry.pass(patches, "patches", format!("tree {meant}")),
            false => entry.fail(format!(
                "the tree is {made}, that of {} is {meant}",
                self.topic.reference()
            )),
        })
    }

    fn entry(&self, name: &str) -> Entry {
        Entry::new(format!("send-test.{}.{name}", self.topic.name))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{}.{name}.log", self.topic.name))
    }
}

fn newest(dir: &Path, extension: &str) -> Option<PathBuf> {
    let files = dir.read_dir().ok()?.flatten().map(|entry| entry.path());
    let mut files = files.filter(|path| path.extension().is_some_and(|it| it == extension));
    files.next()
}

/// What `b4` says where it would have to ask a server.
fn only_for_network(error: &anyhow::Error) -> Option<String> {
    let text = format!("{error:#}");
    let line = text
        .lines()
        .find(|line| line.contains("in offline mode") || line.contains("--offline-mode"))?;
    Some(format!("b4 cannot do it offline: {}", line.trim()))
}

/// What the program calls an error says more than that it failed.
fn failed(entry: Entry, error: &anyhow::Error) -> Entry {
    let text = format!("{error:#}");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let is_telling = |line: &&String| {
        let starts = ["error: ", "fatal: ", "CRITICAL: "];
        starts.iter().any(|start| line.starts_with(start))
    };
    let first = lines.iter().find(is_telling).or(lines.first());
    entry
        .fail(first.cloned().unwrap_or_default())
        .excerpt(lines)
}

/// Not only the end is the same: each step on the way is, with its words.
fn judge_commits(entry: Entry, made: &[String], meant: &[String]) -> Entry {
    let first_line = |commit: &String| commit.lines().nth(1).unwrap_or_default().to_owned();
    let different = made.iter().zip(meant).find(|(made, meant)| made != meant);
    match different {
        Some((made, meant)) => entry.fail(format!(
            "{:?} became {:?}: tree, author or message differ",
            first_line(meant),
            first_line(made)
        )),
        None if made.len() != meant.len() => entry.fail(format!(
            "{} commits were made of {}",
            made.len(),
            meant.len()
        )),
        None => entry.pass(
            made.len() as f64,
            "commits",
            "tree, author and message of each",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(made: &[&str], meant: &[&str]) -> Entry {
        let owned = |commits: &[&str]| -> Vec<_> {
            commits.iter().map(|commit| (*commit).to_owned()).collect()
        };
        judge_commits(Entry::new("x"), &owned(made), &owned(meant))
    }

    #[test]
    fn commits_have_to_be_the_same_one_by_one() {
        let meant = ["t1 A <a@x>\none\n", "t2 A <a@x>\ntwo\n"];
        assert_eq!(judged(&meant, &meant).value, 2.0);
        assert!(!judged(&meant[..1], &meant).ok);
        assert!(!judged(&meant, &meant[..1]).ok);
        let other = ["t1 A <a@x>\none\n", "t2 B <b@x>\ntwo\n"];
        assert!(judged(&other, &meant).detail.contains("\"two\" became"));
    }

    #[test]
    fn the_error_is_what_git_calls_one() {
        let error =
            anyhow!("nsenter failed (exit status: 128):\nwarning: a\nerror: b\nApplying: c");
        let entry = failed(Entry::new("x"), &error);
        assert_eq!(entry.detail, "error: b");
        assert_eq!(entry.excerpt.len(), 4);
        assert_eq!(failed(Entry::new("x"), &anyhow!("c")).detail, "c");
    }

    #[test]
    fn only_what_needs_a_network_is_skipped() {
        let offline = anyhow!("b4 failed:\nCannot retrieve threads from remote in offline mode");
        assert!(only_for_network(&offline).unwrap().contains("retrieve"));
        assert_eq!(only_for_network(&anyhow!("b4 failed: KeyError")), None);
    }
}
