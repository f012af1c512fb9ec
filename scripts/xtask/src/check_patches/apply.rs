// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a maintainer does first: `git am`, on the pristine source.

use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::command::Command;
use crate::series::{isolated_git, sparse_patterns, Identity, Repository, TopicCommits};

/// A checkout of the source in which only the files lie that the series touches.
pub struct Maintainer {
    dir: TempDir,
}

impl Maintainer {
    pub fn new(repository: &Repository, identity: &Identity, tip: &str) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot create a scratch directory")?;
        let this = Self { dir };
        isolated_git()
            .args(["clone", "--quiet", "--shared", "--no-checkout"])
            .args([&repository.dir, &this.dir.path().to_owned()])
            .run()?;
        let touched = repository.git(&[
            "diff",
            "--name-only",
            "--no-renames",
            "-z",
            &repository.base,
            tip,
        ])?;
        let patterns = sparse_patterns(&touched);
        this.git(&["config", "core.sparseCheckout", "true"])?;
        this.git(&["config", "user.name", &identity.name])?;
        this.git(&["config", "user.email", &identity.email])?;
        std::fs::create_dir_all(this.dir.path().join(".git/info"))?;
        std::fs::write(this.dir.path().join(".git/info/sparse-checkout"), patterns)?;
        this.git(&["checkout", "--quiet", "--detach", &repository.base])?;
        Ok(this)
    }

    /// Applies one mail; returns what is wrong with it, if anything is.
    pub fn apply(&self, mail: &Path) -> Option<String> {
        // No three-way merge, so no fuzz: a patch fits, or it does not.
        let said = self
            .command()
            .args(["am", "--quiet", "--no-3way", "--whitespace=error-all"])
            .arg(mail)
            .output();
        said.err().map(|error| format!("{error:#}"))
    }

    /// The name of all that is there now.
    pub fn tree(&self) -> Result<String> {
        Ok(self.git(&["rev-parse", "HEAD^{tree}"])?.trim().to_owned())
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        self.command().args(args).output()
    }

    fn command(&self) -> Command {
        isolated_git().dir(self.dir.path())
    }
}

/// The trees after each patch of a topic.
pub fn trees(repository: &Repository, topic: &TopicCommits) -> Result<Vec<String>> {
    let of = |id: &String| {
        let name = repository.git(&["rev-parse", &format!("{id}^{{tree}}")])?;
        Ok(name.trim().to_owned())
    };
    topic.commits.iter().map(|commit| of(&commit.id)).collect()
}
