// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sends the patches by mail as their submitter will, but to a server of our own
//! on loopback, and applies and builds what arrives there.

mod apply;
mod cage;
mod letter;
mod mbox;
mod office;
mod outcome;
mod repository;
mod send;
mod topic;
mod transit;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::assemble::{self, Tree};
use crate::bail_help;
use crate::context::Context;
use crate::doctor::{self, MailTools, Need, Toolchain};
use crate::process_group::check_interrupt;
use crate::report::{Counts, Entry, Report};
use crate::source;
use crate::stamp;
use crate::ui::Stage;
use apply::Arrived;
use cage::Cage;
use letter::Letter;
use office::Office;
use repository::Repository;
use topic::Topic;

pub const COMMAND: &str = "send-test";

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Folders of patches, one for each topic [default: out/patches]
    #[arg(long, value_name = "DIR")]
    patches: Option<PathBuf>,
    /// The repository that they were made from [default: series.git in the cache]
    #[arg(long, value_name = "DIR")]
    series: Option<PathBuf>,
    /// Only send and apply
    #[arg(long)]
    no_build: bool,
}

/// The command `send-test`.
pub fn run(ctx: &Context, options: &Options) -> Result<()> {
    let patches = absolute(options.patches.as_deref(), ctx.out.join("patches"))?;
    let series = absolute(options.series.as_deref(), ctx.cache.join("series.git"))?;
    // Before anything is installed for nothing.
    let topics = topic::read_all(&patches)?;
    check_series(&series)?;
    let needs: &[Need] = match options.no_build {
        true => &[Need::Source],
        false => &[Need::Source, Need::Kernel],
    };
    let tools = doctor::ensure(ctx, needs)?;
    let source = source::ensure(ctx)?;
    let tree = match options.no_build {
        true => None,
        false => Some(assemble::ensure(ctx, &source)?),
    };
    let build_with = tree.as_ref().map(|tree| (&tools, tree));
    let (machine, results) = check(ctx, build_with, &patches, &series)?;
    let mails: usize = topics.iter().map(|topic| topic.letters.len()).sum();
    let note = format!(
        "{} threads, {mails} mails, sent to 127.0.0.1 only",
        topics.len()
    );
    let report = Report::new(COMMAND, &source.kernel_version, &source, machine, &results);
    report.conclude(ctx, Some(&note))
}

/// Sends the patches in one folder, made from one repository, and builds what
/// arrives with the tools and the work tree for that. Also returns what sent them.
pub fn check(
    ctx: &Context,
    build_with: Option<(&Toolchain, &Tree)>,
    patches: &Path,
    series: &Path,
) -> Result<(Vec<String>, Vec<Entry>)> {
    let topics = topic::read_all(patches)?;
    check_series(series)?;
    let mail_tools = mail_tools(ctx)?;
    let mut post = Post::prepare(ctx, &mail_tools, series, &topics)?;
    let mut results = post.about_network();
    let applied = post.deliver(&mut results)?;
    results.extend(match build_with {
        None => outcome::left_out("left out with --no-build"),
        Some((tools, tree)) => {
            outcome::build(ctx, tools, tree, &post.repository, applied.as_deref())?
        }
    });
    let machine = vec![format!("git {}", git_version(&post.office.cage)?)];
    Ok((machine, results))
}

fn absolute(chosen: Option<&Path>, default: PathBuf) -> Result<PathBuf> {
    match chosen {
        None => Ok(default),
        Some(path) => std::path::absolute(path).with_context(|| path.display().to_string()),
    }
}

fn check_series(series: &Path) -> Result<()> {
    if !series.join("objects").is_dir() {
        bail_help!(
            format!("there is no git repository {}", series.display()),
            "run make patches"
        );
    }
    Ok(())
}

fn mail_tools(ctx: &Context) -> Result<MailTools> {
    let stage = ctx.ui.stage("mail tools");
    let tools = MailTools::ensure(ctx, &stage)?;
    stage.finish(match &tools.b4 {
        Ok(_) => "git send-email, aiosmtpd, b4",
        Err(_) => "git send-email, aiosmtpd",
    });
    Ok(tools)
}

fn git_version(cage: &Cage) -> Result<String> {
    let said = cage.command("git").arg("--version").output()?;
    Ok(said.trim().trim_start_matches("git version ").to_owned())
}

/// All that stands ready to send, to receive and to apply.
struct Post<'a> {
    ctx: &'a Context,
    tools: &'a MailTools,
    topics: &'a [Topic],
    office: Office,
    repository: Repository,
    /// Results that others read.
    out: PathBuf,
}

impl<'a> Post<'a> {
    fn prepare(
        ctx: &'a Context,
        tools: &'a MailTools,
        series: &Path,
        topics: &'a [Topic],
    ) -> Result<Self> {
        let stage = ctx.ui.stage("mail server");
        let dir = ctx.cache.join(COMMAND);
        let out = ctx.out.join(COMMAND);
        for stale in [dir.join("mail"), dir.join("home"), out.clone()] {
            if stale.exists() {
                fs::remove_dir_all(&stale).with_context(|| stale.display().to_string())?;
            }
        }
        for needed in [dir.join("home"), out.clone()] {
            fs::create_dir_all(&needed).with_context(|| needed.display().to_string())?;
        }
        let cage = Cage::new(&dir.join("home"), &tools.envs);
        let office = Office::open(&dir, &cage, tools)?;
        office.check()?;
        stage.message("checking out the files that the series touches");
        let repository = Repository::make(&office.cage, &dir.join("am"), series, topics)?;
        stage.finish(match office.shared {
            None => "ready, in a network of its own",
            Some(_) => "ready, on this machine's loopback",
        });
        Ok(Self {
            ctx,
            tools,
            topics,
            office,
            repository,
            out,
        })
    }

    /// That nothing can be sent elsewhere, because there is no way out.
    fn about_network(&self) -> Vec<Entry> {
        let entry = Entry::new("send-test.no-way-out");
        let up = &self.office.up;
        vec![match &self.office.shared {
            Some(reason) => entry.skip(&format!(
                "this machine allows no network of its own ({reason}); \
                 the server's token was checked all the same"
            )),
            None if up == &["lo"] => entry.pass(1.0, "interface", "only lo is up"),
            None => entry.fail(format!("interfaces that are up: {}", up.join(", "))),
        }]
    }

    /// Sends and applies topic after topic. Returns the tree that all of it
    /// leads to, if all could be applied.
    fn deliver(&mut self, results: &mut Vec<Entry>) -> Result<Option<String>> {
        let mut applied = None;
        let mut whole = true;
        for (place, topic) in self.topics.iter().enumerate() {
            let name = format!("mail {}", topic.name);
            let stage = self.ctx.ui.stage(name);
            let before = results.len();
            applied = self.deliver_one(place, topic, &stage, results)?;
            whole &= applied.is_some();
            let counts = Counts::of(&results[before..]);
            stage.finish(&format!("{} mails: {counts}", topic.letters.len()));
        }
        Ok(applied.filter(|_| whole))
    }

    fn deliver_one(
        &mut self,
        place: usize,
        topic: &Topic,
        stage: &Stage,
        results: &mut Vec<Entry>,
    ) -> Result<Option<String>> {
        let patches = topic.patches().len();
        stage.set_total(Some((topic.letters.len() + 2 * patches) as u64));
        let mut done = 0;
        let mut step = || {
            done += 1;
            stage.set_pos(done);
        };
        stage.message("sending");
        let sent = self.send(topic, &mut step)?;
        results.push(sent);
        let arrived = self.office.new_mail()?;
        let arrived = arrived.iter().map(|mail| Letter::parse(mail));
        let (mails, entries) = transit::compare(topic, &arrived.collect::<Result<Vec<_>>>()?);
        results.extend(entries);
        let mbox = self.out.join(format!("{}.mbox", topic.name));
        stamp::write_atomically(&mbox, &mbox::write(&mails), 0o644)?;
        let arrived = Arrived {
            topic,
            place,
            mbox: &mbox,
            logs: &self.out,
        };
        stage.message("git am");
        let (tree, entries) = arrived.am(&self.repository, &mut step)?;
        results.extend(entries);
        stage.message("b4 am");
        let cage = &self.office.cage;
        results.push(arrived.b4(&self.repository, cage, self.tools, &mut step)?);
        Ok(tree)
    }

    fn send(&self, topic: &Topic, mut on_mail: impl FnMut()) -> Result<Entry> {
        let entry = Entry::new(format!("send-test.{}.sent", topic.name));
        let log = self.out.join(format!("{}.send.log", topic.name));
        // Each time anew: the one that answered before may be gone.
        let server = self.office.check()?;
        let mut taken = 0;
        let sent = send::send(&server, topic, &self.repository.dir, &log, || {
            taken += 1;
            on_mail();
        });
        check_interrupt()?;
        Ok(match sent {
            Ok(()) if taken == topic.letters.len() => {
                entry.pass(taken as f64, "mails", "by git send-email")
            }
            Ok(()) => entry.fail(format!(
                "the server took {taken} of {} mails",
                topic.letters.len()
            )),
            Err(error) => entry.fail(format!("{error:#}")),
        })
    }
}
