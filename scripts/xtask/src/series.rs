// SPDX-License-Identifier: MIT OR Apache-2.0

//! The checkout as a series of patches: what `scripts/series` declares, cut out
//! of our files, as commits on top of the pristine source.

mod chunk;
mod compare;
mod cut;
mod declaration;
mod identity;
mod lint;
mod maintainers;
mod owners;
mod repository;

use std::path::Path;

use anyhow::Result;

use crate::assemble::of_source;
use crate::context::Context;
use crate::source::Source;

pub use compare::{differences, sparse_patterns, WORK_TREE_INDEX};
pub use declaration::{Topic, DIR};
pub use identity::Identity;
pub use repository::{isolated_git, Repository, TopicCommits};

/// How the patches are to be made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of this posting, from 1.
    pub version: u32,
    /// Whether the submitter said that they sign it off.
    pub signoff: bool,
}

/// All topics as commits.
pub struct Series {
    pub repository: Repository,
    pub topics: Vec<TopicCommits>,
    pub declared: Vec<Topic>,
    pub identity: Identity,
}

impl Series {
    /// The last patch of all: the whole series.
    pub fn tip(&self) -> &str {
        self.topics
            .last()
            .map_or(&self.repository.base, |topic| topic.tip())
    }

    /// What `scripts/series` says of the topic of that name.
    pub fn declared(&self, name: &str) -> Option<&Topic> {
        self.declared.iter().find(|topic| topic.name == name)
    }
}

/// Cuts what is in `repo` now, and refuses what breaks our own rules.
pub fn make(ctx: &Context, repo: &Path, source: &Source, options: Options) -> Result<Series> {
    let stage = ctx.ui.stage("series");
    stage.message("reading scripts/series");
    let declared = declaration::read(repo)?;
    let listing = of_source(source)?;
    let steps = cut::cut(repo, source, &listing, &declared)?;
    let identity = Identity::of(&ctx.repo);
    let repository = Repository::ensure(ctx, source, &listing, &stage)?;
    stage.message("committing");
    let topics = repository.commit(&steps, &identity, options)?;
    for topic in &topics {
        for commit in &topic.commits {
            lint::check(&repository, commit)?;
        }
    }
    let patches: usize = topics.iter().map(|topic| topic.commits.len()).sum();
    stage.finish(&format!("{patches} patches in {} topics", topics.len()));
    drop(steps);
    Ok(Series {
        repository,
        topics,
        declared,
        identity,
    })
}
