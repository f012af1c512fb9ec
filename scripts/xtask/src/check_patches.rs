// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make check-patches`: what a maintainer and the bots do with the mails, patch
//! by patch, before they get them.

mod apply;
mod build;
mod checkpatch;
mod docs;
mod warnings;
mod whole;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::assemble::{self, Tree};
use crate::context::Context;
use crate::doctor::{self, Need, Toolchain};
use crate::patches::{self, Patches, Posting};
use crate::report::{now, Entry, Report};
use crate::series::Repository;
use crate::source::{self, Source};
use crate::stamp::{self, Fingerprint};
use crate::ui::Stage;
use apply::Maintainer;
use build::Builder;
use checkpatch::Waivers;

/// In minutes, with a warm cache, on two cores.
const TIME_BAR: f64 = 25.0;
/// What the results say that are kept from an earlier run.
const KEPT: &str = "built on ";
pub const NAME: &str = "check-patches";
pub const NEEDS: &[Need] = &[Need::Source, Need::Kernel, Need::Lint, Need::DebugKernel];

/// One patch of one topic.
struct Patch<'a> {
    name: String,
    subject: &'a str,
    id: &'a str,
    tree: String,
    mail: &'a PathBuf,
}

/// The command `check-patches`.
pub fn run(ctx: &Context, again: bool) -> Result<()> {
    let started = Instant::now();
    let tools = doctor::ensure(ctx, NEEDS)?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let (_, mut results) = check(ctx, &tools, &source, &tree, again, None)?;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let time = Entry::new("check-patches.time").pass(minutes, "min", "all of this");
    results.push(time.at_most(TIME_BAR));
    let machine = vec!["UML".into()];
    Report::new(NAME, &source.kernel_version, &source, machine, &results)
        .of(&tree)
        .conclude(ctx, None)
}

/// All results. A tree that was good with the same tools and configurations is
/// not built again unless `again` asks for that. From `late` on, no tree is built but
/// the last one, and the results say so.
pub fn check(
    ctx: &Context,
    tools: &Toolchain,
    source: &Source,
    work_tree: &Tree,
    again: bool,
    late: Option<Instant>,
) -> Result<(Patches, Vec<Entry>)> {
    let mails = ctx.cache.join("mails");
    let patches = patches::make(ctx, source, work_tree, &Posting::default(), &mails)?;
    let stage = ctx.ui.stage("check-patches");
    let repository = &patches.series.repository;
    let waivers = Waivers::read(&ctx.repo)?;
    let mut results = Vec::new();
    let all = list(&patches)?;
    results.push(applied(&patches, &all)?);
    stage.message("applying each topic on what it needs");
    results.push(applied_alone(&patches)?);
    stage.message("comparing the end with the assembled tree");
    results.push(whole::equality(
        ctx,
        repository,
        &work_tree.dir,
        patches.series.tip(),
    )?);
    let mut builder = Builder::new(ctx, tools, repository, &stage)?;
    let mut known = Known::read(ctx, builder.key(), again);
    stage.set_total(Some(all.len() as u64 + 2));
    let mut left_out = Vec::new();
    let mut checked_out = repository.base.as_str();
    for (number, patch) in (1_u64..).zip(&all) {
        stage.message(patch.subject);
        let complaints = waivers.check(&work_tree.dir, patch.mail)?;
        let mut entry = Entry::new(&patch.name);
        let is_late = late.is_some_and(|late| Instant::now() > late);
        let is_last = number == all.len() as u64;
        entry = match (complaints.is_empty(), known.since(&patch.tree)) {
            (true, None) if is_late && !is_last => {
                left_out.push(patch);
                continue;
            }
            (false, _) => entry
                .fail(format!("checkpatch: {}", complaints[0]))
                .excerpt(complaints),
            (true, Some(date)) => {
                entry.pass(1.0, "patch", format!("{}; {KEPT}{date}", patch.subject))
            }
            (true, None) => {
                let entry = built(entry, &mut builder, repository, checked_out, patch)?;
                checked_out = patch.id;
                if entry.ok {
                    known.add(&patch.tree)?;
                }
                entry
            }
        };
        if !entry.ok {
            stage.line(&format!("{}: {}", entry.name, entry.detail));
        }
        results.push(entry);
        stage.set_pos(number);
    }
    results.extend(untold(&left_out, all.len()));
    results.extend(of_the_whole(
        ctx,
        tools,
        &mut builder,
        &stage,
        &mut known,
        patches.series.tip(),
        &all,
    )?);
    if results.iter().all(|entry| entry.ok) {
        stage.finish(&summary(&results, all.len() - left_out.len()));
    }
    Ok((patches, results))
}

/// What is good since an earlier run is good by name of its content, and left out.
fn summary(results: &[Entry], patches: usize) -> String {
    let kept = results
        .iter()
        .filter(|entry| entry.detail.contains(KEPT))
        .count();
    match kept {
        0 => format!("{patches} patches, all good"),
        kept => format!(
            "{patches} patches, all good; {kept} results are those of the same trees in an \
             earlier run, `make check-patches AGAIN=1` builds them again"
        ),
    }
}

/// What is not known, for lack of time.
fn untold(left_out: &[&Patch], patches: usize) -> Option<Entry> {
    let (first, last) = (left_out.first()?, left_out.last()?);
    Some(Entry::new(format!("{NAME}.left-out")).skip(&format!(
        "{} of {patches} patches were not built, for lack of time, from {} to {}; \
         `make check-patches` builds them",
        left_out.len(),
        first.name,
        last.name,
    )))
}

fn list(patches: &Patches) -> Result<Vec<Patch<'_>>> {
    let mut all = Vec::new();
    for (topic, thread) in patches.series.topics.iter().zip(&patches.threads) {
        let trees = apply::trees(&patches.series.repository, topic)?;
        let mails = thread.files[1..].iter();
        for (number, ((commit, tree), mail)) in
            (1..).zip(topic.commits.iter().zip(trees).zip(mails))
        {
            all.push(Patch {
                name: format!("{NAME}.{}.{number:02}", topic.name),
                subject: &commit.subject,
                id: &commit.id,
                tree,
                mail,
            });
        }
    }
    Ok(all)
}

/// Whether the mails apply, one after the other, and make the trees they should.
fn applied(patches: &Patches, all: &[Patch]) -> Result<Entry> {
    let entry = Entry::new(format!("{NAME}.git-am"));
    let series = &patches.series;
    let maintainer = Maintainer::new(&series.repository, &series.identity, series.tip())?;
    for patch in all {
        if let Some(error) = maintainer.apply(patch.mail) {
            let lines = error.lines().map(str::to_owned).collect();
            return Ok(entry
                .fail(format!("{} does not apply", patch.name))
                .excerpt(lines));
        }
        if maintainer.tree()? != patch.tree {
            return Ok(entry.fail(format!("{} makes another tree than its commit", patch.name)));
        }
    }
    Ok(entry.pass(
        all.len() as f64,
        "patches",
        "no fuzz, no complaint about white space",
    ))
}

/// Whether each topic applies on the topics that it says it needs, and no others.
fn applied_alone(patches: &Patches) -> Result<Entry> {
    let entry = Entry::new(format!("{NAME}.alone"));
    let series = &patches.series;
    let threads = || series.topics.iter().zip(&patches.threads);
    for (topic, _) in threads() {
        let needed = patches::needed(&topic.name, &series.declared);
        let maintainer = Maintainer::new(&series.repository, &series.identity, series.tip())?;
        let wanted = |name: &str| name == topic.name || needed.contains(name);
        let mails = threads()
            .filter(|(other, _)| wanted(&other.name))
            .flat_map(|(_, thread)| &thread.files[1..]);
        for mail in mails {
            if let Some(error) = maintainer.apply(mail) {
                let why = format!("{} does not apply on what it needs alone", topic.name);
                let lines = error.lines().map(str::to_owned).collect();
                return Ok(entry.fail(why).excerpt(lines));
            }
        }
    }
    Ok(entry.pass(
        series.topics.len() as f64,
        "topics",
        "each applies on the topics that it needs alone",
    ))
}

fn built(
    entry: Entry,
    builder: &mut Builder,
    repository: &Repository,
    checked_out: &str,
    patch: &Patch,
) -> Result<Entry> {
    builder.checkout(patch.id)?;
    let changed = repository.git(&["diff", "--name-only", checked_out, patch.id])?;
    let problems = builder.check(&changed.lines().collect::<Vec<_>>())?;
    Ok(match problems.first() {
        None => entry.pass(1.0, "patch", patch.subject),
        Some(first) => {
            let first = first.lines().next().unwrap_or_default().to_owned();
            let lines = problems
                .iter()
                .flat_map(|problem| problem.lines())
                .map(str::to_owned);
            entry.fail(first).excerpt(lines.take(80).collect())
        }
    })
}

fn of_the_whole(
    ctx: &Context,
    tools: &Toolchain,
    builder: &mut Builder,
    stage: &Stage,
    known: &mut Known,
    tip: &str,
    all: &[Patch],
) -> Result<Vec<Entry>> {
    const NAMES: &[&str] = &["rustfmtcheck", "rusttest", "kunit-py"];
    let name = format!("whole {}", all.last().map_or("", |patch| &patch.tree));
    if let Some(date) = known.since(&name) {
        let entry = |check: &&str| {
            Entry::new(format!("{NAME}.{check}")).pass(1.0, "run", format!("{KEPT}{date}"))
        };
        return Ok(NAMES.iter().map(entry).collect());
    }
    builder.checkout(tip)?;
    builder.configure_all()?;
    let mut entries = whole::targets(builder, stage)?;
    entries.push(whole::kunit_py(ctx, tools, builder, stage)?);
    if entries.iter().all(|entry| entry.ok) {
        known.add(&name)?;
    }
    Ok(entries)
}

/// Trees that were good, by their content, and when that was seen.
struct Known {
    path: PathBuf,
    key: String,
    dates: BTreeMap<String, String>,
    ask: bool,
}

impl Known {
    fn read(ctx: &Context, key: &str, again: bool) -> Self {
        let path = ctx.cache.join("check-patches/good.json");
        Self {
            dates: stamp::read(&path).unwrap_or_default(),
            path,
            key: key.to_owned(),
            ask: !again,
        }
    }

    fn since(&self, tree: &str) -> Option<&str> {
        let date = self.dates.get(&self.name(tree))?;
        self.ask.then_some(date.as_str())
    }

    fn add(&mut self, tree: &str) -> Result<()> {
        self.dates.insert(self.name(tree), now());
        stamp::write(&self.path, &self.dates)
    }

    fn name(&self, tree: &str) -> String {
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(&self.key).add(tree);
        fingerprint.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_told_and_is_no_pass() {
        let mail = PathBuf::new();
        let patch = |name: &str| Patch {
            name: name.into(),
            subject: "",
            id: "",
            tree: String::new(),
            mail: &mail,
        };
        let patches = [patch("a.02"), patch("a.03"), patch("b.01")];
        let entry = untold(&patches.each_ref(), 9).unwrap();
        let reason = entry.skipped.unwrap();
        assert!(
            reason.starts_with("3 of 9 patches were not built"),
            "{reason}"
        );
        assert!(reason.contains("from a.02 to b.01"), "{reason}");
        assert!(untold(&[], 9).is_none());
    }

    #[test]
    fn a_tree_is_known_only_with_the_same_key_and_unless_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let known = |key: &str, ask| Known {
            path: dir.path().join("good.json"),
            key: key.into(),
            dates: stamp::read(&dir.path().join("good.json")).unwrap_or_default(),
            ask,
        };
        known("a", true).add("tree").unwrap();
        assert!(known("a", true).since("tree").is_some());
        assert!(known("a", true).since("other").is_none());
        assert!(known("b", true).since("tree").is_none());
        assert!(known("a", false).since("tree").is_none());
    }
}
