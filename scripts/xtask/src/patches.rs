// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make patches`: the series as mails that only have to be sent.

mod cover;
mod mail;
mod recipients;
mod results;

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
use mail::Mail;

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
}

/// The command `patches`.
pub fn run(ctx: &Context, posting: &Posting) -> Result<()> {
    let started = Instant::now();
    doctor::ensure(ctx, &[Need::Source])?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
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
    let stage = ctx.ui.stage("patches");
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| out.display().to_string())?;
    }
    let mut threads = Vec::new();
    for (topic, declared) in series.topics.iter().zip(&series.declared) {
        stage.message(&topic.name);
        let before = before
            .as_ref()
            .and_then(|before| before.iter().find(|old| old.name == topic.name));
        let maker = Maker {
            ctx,
            posting,
            series: &series,
            source,
            tree: &tree.dir,
        };
        threads.push(maker.thread(&out.join(&topic.name), topic, declared, before)?);
    }
    stage.finish(&out.display().to_string());
    Ok(Patches {
        series,
        dir: out.to_owned(),
        threads,
    })
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
    ctx: &'a Context,
    posting: &'a Posting,
    series: &'a Series,
    source: &'a Source,
    tree: &'a Path,
}

impl Maker<'_> {
    fn thread(
        &self,
        dir: &Path,
        topic: &TopicCommits,
        declared: &Topic,
        before: Option<&TopicCommits>,
    ) -> Result<Thread> {
        let files = self.format(dir, topic, before)?;
        let mut mails: Vec<_> = files
            .iter()
            .map(|path| Mail::read(path))
            .collect::<Result<_>>()?;
        let recipients = recipients::of(self.tree, &files[1..], &declared.also_ask)?;
        // git names a cover letter by the second in which it was made.
        let (plain, unique) = ("<cover.", format!("<cover.{}.", topic.name));
        mails
            .iter_mut()
            .for_each(|mail| mail.rename_thread(plain, &unique));
        for (mail, recipients) in mails[1..].iter_mut().zip(&recipients) {
            mail.address(recipients);
        }
        let cover = cover::Cover {
            ctx: self.ctx,
            series: self.series,
            source: self.source,
            topic: declared,
            version: self.posting.version,
        };
        mails[0].replace("*** SUBJECT HERE ***", &declared.subject);
        mails[0].replace("*** BLURB HERE ***", &cover.text()?);
        mails[0].replace_base(&cover.base(topic)?);
        mails[0].address(&recipients::union(&recipients));
        for (mail, path) in mails.iter().zip(&files) {
            mail.write(path)?;
        }
        Ok(Thread {
            name: topic.name.clone(),
            dir: dir.to_owned(),
            files,
        })
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
            .args([
                "format-patch",
                "--quiet",
                "--cover-letter",
                "--thread=shallow",
                "--encode-email-headers",
            ])
            .args([
                "--no-signature",
                "--diff-algorithm=histogram",
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
    if !results::are_there(ctx) {
        ctx.ui
            .print("The cover letters lack measurements: `make run` and `make test` take them.");
    }
    if posting.version > 1 && posting.since.is_none() {
        ctx.ui
            .print("No range-diff: SINCE= names the commit that was posted before.");
    }
}
