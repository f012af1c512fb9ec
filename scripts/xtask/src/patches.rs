// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make patches`: the series as mails that only have to be sent.

mod cover;
mod lab;
mod mail;
mod recipients;
mod results;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::assemble::{self, Tree};
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::{self, Need};
use crate::report::{Entry, Report};
use crate::series::{self, isolated_git, Options, Series, Topic, TopicCommits};
use crate::source::{self, Source};
pub use cover::needed;
use cover::Cover;
use mail::Mail;
use recipients::Recipients;
use results::Kept;

/// What `make patches` is asked for.
#[derive(clap::Args, Debug)]
pub struct Posting {
    /// The number of this posting
    #[arg(long = "posting", value_name = "N", default_value_t = 1)]
    pub version: u32,
    /// Add the submitter's Signed-off-by, from their git configuration
    #[arg(long)]
    pub signoff: bool,
    /// The commit of this checkout that was the posting before, for range-diffs
    #[arg(long, value_name = "COMMIT")]
    pub since: Option<String>,
}

impl Default for Posting {
    fn default() -> Self {
        Self {
            version: 1,
            signoff: false,
            since: None,
        }
    }
}

/// One topic as files.
pub struct Thread {
    pub name: String,
    pub dir: PathBuf,
    /// The cover letter first.
    pub files: Vec<PathBuf>,
}

/// The patches of all topics, and what they were made from.
pub struct Patches {
    pub series: Series,
    pub dir: PathBuf,
    pub threads: Vec<Thread>,
    /// Whether a cover letter lacks a measurement.
    lacks_results: bool,
    /// By which commands measurements were taken that are not of this series.
    outdated: BTreeSet<String>,
}

/// The command `patches`.
pub fn run(ctx: &Context, posting: &Posting) -> Result<()> {
    let started = Instant::now();
    doctor::ensure(ctx, &[Need::Source])?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let has_new_results = results::update(ctx)?;
    let patches = make(ctx, &source, &tree, posting, &ctx.out.join("patches"))?;
    let seconds = started.elapsed().as_secs_f64();
    let mut results: Vec<_> = patches
        .threads
        .iter()
        .map(|thread| {
            let count = thread.files.len() as f64 - 1.0;
            let entry = Entry::new(format!("patches.{}", thread.name));
            entry.pass(count, "patches", thread.dir.display().to_string())
        })
        .collect();
    results.push(
        Entry::new("patches.time")
            .pass(seconds, "s", "with a warm cache")
            .at_most(20.0),
    );
    let release = &source.kernel_version;
    Report::new("patches", release, &source, Vec::new(), &results).write(ctx)?;
    conclude(ctx, posting, &patches);
    if has_new_results {
        let note = format!("{} has what was measured since: commit it.", results::FILE);
        ctx.ui.print(&note);
    }
    Ok(())
}

/// Writes the mails of each topic into a directory of `out`.
pub fn make(
    ctx: &Context,
    source: &Source,
    tree: &Tree,
    posting: &Posting,
    out: &Path,
) -> Result<Patches> {
    if posting.version == 0 {
        bail_help!("there is no posting 0", "the first is V=1");
    }
    let options = Options {
        version: posting.version,
        signoff: posting.signoff,
    };
    let series = series::make(ctx, &ctx.repo, source, options)?;
    if posting.signoff && series.identity.is_placeholder {
        bail_help!(
            "SIGNOFF=1: git does not know who you are",
            "git config user.name and user.email say who signs off"
        );
    }
    let before = match &posting.since {
        Some(since) => Some(earlier(ctx, source, since, posting)?),
        None => None,
    };
    let maker = Maker {
        posting,
        series: &series,
        source,
    };
    if let (Some(before), Some(since)) = (&before, &posting.since) {
        maker.check_changes(before, since)?;
    }
    let kept = results::read(&ctx.repo);
    let covers = maker.covers(&kept)?;
    let lacks_results = lacks_results(&covers, posting)?;
    let outdated = outdated(&kept, tree);
    if posting.signoff && !outdated.is_empty() {
        bail_help!(
            "SIGNOFF=1: a cover letter quotes results of another state of the series",
            format!("to take them again: {}", commands(&outdated))
        );
    }
    let threads = maker.threads(ctx, &tree.dir, before.as_deref(), &covers, out)?;
    Ok(Patches {
        series,
        dir: out.to_owned(),
        threads,
        lacks_results,
        outdated,
    })
}

/// Whether a cover letter quotes what was not measured, which nobody signs off.
fn lacks_results(covers: &[String], posting: &Posting) -> Result<bool> {
    let lacks = covers.iter().any(|cover| cover.contains(tables::NONE));
    if lacks && posting.signoff {
        bail_help!(
            "SIGNOFF=1: a cover letter quotes what was not measured",
            "the letters made without SIGNOFF=1 show where, and which command measures it"
        );
    }
    Ok(lacks)
}

/// What a topic was in an earlier posting, if it was there.
fn earlier_topic<'a>(
    before: Option<&'a [TopicCommits]>,
    topic: &TopicCommits,
) -> Option<&'a TopicCommits> {
    before?.iter().find(|old| old.name == topic.name)
}

/// The series as it was at another commit of this checkout.
fn earlier(
    ctx: &Context,
    source: &Source,
    since: &str,
    posting: &Posting,
) -> Result<Vec<TopicCommits>> {
    if posting.version < 2 {
        bail_help!(
            "SINCE= compares with an earlier posting",
            "say which one this is: V=2"
        );
    }
    let old = tempfile::tempdir().context("cannot create a scratch directory")?;
    let archive = old.path().join("old.tar");
    let advice = "SINCE= is the commit of this checkout that was posted before";
    let archived = isolated_git()
        .args([
            "-c",
            &format!("safe.directory={}", ctx.repo.display()),
            "archive",
            "--output",
        ])
        .arg(&archive)
        .arg(since)
        .dir(&ctx.repo)
        .output();
    if let Err(error) = archived {
        bail_help!(format!("{since}: {error:#}"), advice);
    }
    Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(old.path())
        .run()?;
    fs::remove_file(&archive)?;
    if !old.path().join(series::DIR).is_dir() {
        bail_help!(format!("{since} declares no series"), advice);
    }
    let options = Options {
        version: posting.version - 1,
        signoff: posting.signoff,
    };
    Ok(series::make(ctx, old.path(), source, options)?.topics)
}

struct Maker<'a> {
    posting: &'a Posting,
    series: &'a Series,
    source: &'a Source,
}

impl Maker<'_> {
    /// What changed since the posting before has to be said.
    fn check_changes(&self, before: &[TopicCommits], since: &str) -> Result<()> {
        let posting = format!("v{}", self.posting.version);
        let silent = silent(&self.series.declared, &posting, |name| {
            let topic = self.series.topics.iter().find(|topic| topic.name == name);
            topic.map_or(Ok(false), |topic| {
                self.differs(topic, earlier_topic(Some(before), topic))
            })
        })?;
        if silent.is_empty() {
            return Ok(());
        }
        bail_help!(
            format!(
                "nothing says how these topics changed since {since}: {}",
                silent.join(", ")
            ),
            format!(
                "say it in {}/NAME.toml, under [changes]: {posting} = '...'",
                series::DIR
            )
        )
    }

    /// Whether a topic has other patches than before, or other messages.
    fn differs(&self, topic: &TopicCommits, before: Option<&TopicCommits>) -> Result<bool> {
        let Some(before) = before else {
            return Ok(true);
        };
        let repository = &self.series.repository;
        let [old, new] = [before, topic].map(|topic| format!("{}..{}", topic.base, topic.tip()));
        let pairs = repository.git(&["range-diff", "--no-color", "--no-patch", &old, &new])?;
        Ok(has_differences(&pairs))
    }

    /// The text of each cover letter.
    fn covers(&self, kept: &[Kept]) -> Result<Vec<String>> {
        let declared = self.series.declared.iter();
        declared.map(|topic| self.cover(topic).text(kept)).collect()
    }

    fn cover<'a>(&'a self, topic: &'a Topic) -> Cover<'a> {
        Cover {
            series: self.series,
            source: self.source,
            topic,
            version: self.posting.version,
        }
    }

    /// Writes all mails, in the place of those that were there.
    fn threads(
        &self,
        ctx: &Context,
        tree: &Path,
        before: Option<&[TopicCommits]>,
        covers: &[String],
        out: &Path,
    ) -> Result<Vec<Thread>> {
        let stage = ctx.ui.stage("patches");
        if out.exists() {
            fs::remove_dir_all(out).with_context(|| out.display().to_string())?;
        }
        let mut threads = Vec::new();
        for topic in &self.series.topics {
            stage.message(&topic.name);
            let dir = out.join(&topic.name);
            threads.push(Thread {
                name: topic.name.clone(),
                files: self.format(&dir, topic, earlier_topic(before, topic))?,
                dir,
            });
        }
        stage.message("get_maintainer.pl");
        let requests = threads.iter().zip(&self.series.declared);
        let requests: Vec<_> = requests
            .map(|(thread, declared)| recipients::Request {
                patches: &thread.files[1..],
                also: &declared.also_ask,
            })
            .collect();
        let recipients = recipients::of(ctx, tree, &requests)?;
        let names = names(&threads)?;
        for (number, thread) in threads.iter().enumerate() {
            let cover = with_names(&covers[number], &names);
            self.complete(number, thread, &cover, &recipients[number])?;
        }
        stage.finish(&out.display().to_string());
        Ok(threads)
    }

    /// Puts into the mails what git does not know.
    fn complete(
        &self,
        number: usize,
        thread: &Thread,
        cover: &str,
        recipients: &[Recipients],
    ) -> Result<()> {
        let (topic, declared) = (&self.series.topics[number], &self.series.declared[number]);
        let mut mails: Vec<_> = thread
            .files
            .iter()
            .map(|path| Mail::read(path))
            .collect::<Result<_>>()?;
        let unique = unique(&topic.name);
        mails
            .iter_mut()
            .for_each(|mail| mail.rename_thread(PLAIN, &unique));
        for (mail, recipients) in mails[1..].iter_mut().zip(recipients) {
            mail.address(recipients);
        }
        let base = self
            .cover(declared)
            .base(topic, &mails[0].prerequisites())?;
        mails[0].replace_base(&base);
        mails[0].replace("*** SUBJECT HERE ***", &declared.subject);
        mails[0].replace("*** BLURB HERE ***", cover);
        mails[0].address(&recipients::union(recipients));
        for (mail, path) in mails.iter().zip(&thread.files) {
            mail.write(path)?;
        }
        Ok(())
    }

    /// Lets git write the files, the cover letter first.
    fn format(
        &self,
        dir: &Path,
        topic: &TopicCommits,
        before: Option<&TopicCommits>,
    ) -> Result<Vec<PathBuf>> {
        let identity = &self.series.identity;
        let mut command = self
            .series
            .repository
            .command()
            .args(["-c", &format!("user.name={}", identity.name)])
            .args(["-c", &format!("user.email={}", identity.email)])
            // Unlike the option, this is for the ids of the patches before, too.
            .args(["-c", "diff.algorithm=histogram"])
            .args([
                "format-patch",
                "--quiet",
                "--cover-letter",
                "--thread=shallow",
                "--encode-email-headers",
            ])
            .args([
                "--no-signature",
                "--stat=72",
                "--cover-from-description=none",
            ])
            .arg(format!("--base={}", self.series.repository.base))
            .arg("-o")
            .arg(dir);
        if self.posting.version > 1 {
            command = command.arg(format!("--reroll-count={}", self.posting.version));
        }
        if let Some(before) = before {
            command = command.arg(format!("--range-diff={}..{}", before.base, before.tip()));
        }
        command
            .arg(format!("{}..{}", topic.base, topic.tip()))
            .output()?;
        let mut files: Vec<_> = dir
            .read_dir()
            .with_context(|| dir.display().to_string())?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        Ok(files)
    }
}

/// How git begins the name of a cover letter, which goes on with the second in which
/// it was made.
const PLAIN: &str = "<cover.";

/// How ours begins: several are made in one second.
fn unique(topic: &str) -> String {
    format!("{PLAIN}{topic}.")
}

/// The topics, and what their cover letters will be called.
fn names(threads: &[Thread]) -> Result<Vec<(String, String)>> {
    let name = |thread: &Thread| {
        let cover = Mail::read(&thread.files[0])?;
        let id = cover.message_id().context("a cover letter has no name")?;
        let id = id.replace(PLAIN, &unique(&thread.name));
        Ok((thread.name.clone(), id))
    };
    threads.iter().map(name).collect()
}

/// A cover letter that names the threads of other topics.
fn with_names(cover: &str, names: &[(String, String)]) -> String {
    let mut text = cover.to_owned();
    for (topic, id) in names {
        text = text.replace(&cover::thread(topic), id);
    }
    text
}

/// By which commands results were taken that are not of this state of the series.
fn outdated(kept: &[Kept], tree: &Tree) -> BTreeSet<String> {
    let of_another = |kept: &&Kept| kept.of.tree.as_deref() != Some(tree.digest.as_str());
    let outdated = kept.iter().filter(of_another);
    outdated
        .map(|kept| format!("`make {}`", kept.of.command))
        .collect()
}

fn commands(all: &BTreeSet<String>) -> String {
    Vec::from_iter(all.iter().map(String::as_str)).join(" and ")
}

fn conclude(ctx: &Context, posting: &Posting, patches: &Patches) {
    let mut rows = vec![["topic", "patches", "mails"].map(str::to_owned).to_vec()];
    for thread in &patches.threads {
        let count = (thread.files.len() - 1).to_string();
        rows.push(vec![
            thread.name.clone(),
            count,
            thread.dir.display().to_string(),
        ]);
    }
    ctx.ui.print(&format!("\n{}", crate::report::table(&rows)));
    if !posting.signoff {
        ctx.ui.print(
            "The series is NOT signed off: only its submitter can do that, with SIGNOFF=1, \
             after reading all of it.",
        );
    }
    if patches.series.identity.is_placeholder {
        ctx.ui
            .print("The submitter is a placeholder: set user.name and user.email in git.");
    }
    if patches.lacks_results {
        ctx.ui
            .print("The cover letters lack measurements, and say which command takes them.");
    }
    if !patches.outdated.is_empty() {
        ctx.ui.print(&format!(
            "The cover letters quote results of another state of the series; to take them again: {}",
            commands(&patches.outdated)
        ));
    }
    if posting.version > 1 && posting.since.is_none() {
        ctx.ui.print(
            "No range-diff, and where [changes] tell nothing nobody knows if that is right: \
             SINCE= names the commit that was posted before.",
        );
    }
}

/// The topics that differ from what they were, and do not say how.
fn silent<'a>(
    declared: &'a [Topic],
    posting: &str,
    differs: impl Fn(&str) -> Result<bool>,
) -> Result<Vec<&'a str>> {
    let mut silent = Vec::new();
    for topic in declared {
        if !topic.changes.contains_key(posting) && differs(&topic.name)? {
            silent.push(topic.name.as_str());
        }
    }
    Ok(silent)
}

/// Whether `git range-diff`, of which these are the pairs, found any.
fn has_differences(pairs: &str) -> bool {
    // Such as `1:  ab12 = 1:  cd34 subject`.
    let is_same = |line: &str| line.split_whitespace().nth(2) == Some("=");
    !pairs.lines().all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_letters_are_signed_off() {
        let posting = |signoff| Posting {
            signoff,
            ..Posting::default()
        };
        let complete = ["text".to_owned()];
        let lacking = ["text".to_owned(), format!("a {}: b)", tables::NONE)];
        assert!(!lacks_results(&complete, &posting(true)).unwrap());
        assert!(lacks_results(&lacking, &posting(false)).unwrap());
        assert!(lacks_results(&lacking, &posting(true)).is_err());
    }

    #[test]
    fn threads_are_named_in_the_letters_of_others() {
        let names = [("10-a".to_owned(), "<cover.10-a.7@x>".to_owned())];
        let cover = format!(
            "needs\n  {}\n  {}\n",
            cover::thread("10-a"),
            cover::thread("1")
        );
        let text = with_names(&cover, &names);
        assert_eq!(text, "needs\n  <cover.10-a.7@x>\n  @thread 1@\n");
    }

    #[test]
    fn results_of_another_state_are_told_by_their_commands() {
        let of = |command: &str, tree: Option<&str>| {
            let mut kept = results::tests::kept("2026", Entry::new("a"));
            kept.of.command = command.into();
            kept.of.tree = tree.map(str::to_owned);
            kept
        };
        let tree = Tree {
            dir: PathBuf::new(),
            digest: "now".into(),
            generation: String::new(),
        };
        let kept = [
            of("test", Some("now")),
            of("bench", Some("then")),
            of("run", None),
        ];
        assert_eq!(
            commands(&outdated(&kept, &tree)),
            "`make bench` and `make run`"
        );
    }

    #[test]
    fn a_topic_that_differs_says_how() {
        let topic = |name: &str, changes: &str| Topic {
            name: name.into(),
            ..toml::from_str(&format!(
                "subject = 's'\ncover = 'c'\npatch = []\n{changes}"
            ))
            .unwrap()
        };
        let declared = [
            topic("same", ""),
            topic("said", "[changes]\nv2 = '- a'"),
            topic("of another posting", "[changes]\nv3 = '- a'"),
            topic("not said", ""),
        ];
        let silent = silent(&declared, "v2", |name| Ok(name != "same")).unwrap();
        assert_eq!(silent, ["of another posting", "not said"]);
    }

    #[test]
    fn differences_are_read_from_the_pairs() {
        let same = "1:  ab12 = 1:  cd34 a: b = c\n10:  ab13 = 10:  cd35 a: d\n";
        assert!(!has_differences(same));
        for pair in [
            "2:  ab12 ! 2:  cd34 a = b",
            "-:  ---- > 2:  cd34 a: b",
            "2:  ab12 < -:  ---- a: b",
        ] {
            assert!(has_differences(&format!("{same}{pair}\n")), "{pair}");
        }
    }
}
