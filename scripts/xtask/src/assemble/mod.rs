// SPDX-License-Identifier: MIT OR Apache-2.0

//! The work tree: the source, our files, our edits. Only what changed is
//! written, so that only what depends on it is built again.

mod edits;
mod listing;
mod maintainers;
mod ours;
mod state;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::doctor::{self, Need};
use crate::source::{self, Source};
use crate::stamp::Fingerprint;
pub use edits::{
    files as edit_files, touched as edited_files, touched_files, Patcher, DIR as EDITS,
};
pub use listing::{fingerprint, of_source, Listing};
pub use maintainers::merge as merge_maintainers;
pub use ours::{list as our_files, read as our_contents, Content, Contents};
use state::State;
use tree::{Changes, Sync};

/// The work tree.
#[derive(Clone, Debug)]
pub struct Tree {
    pub dir: PathBuf,
    /// Names the content, the source and all that was put on it, but for the
    /// documents, of which no kernel is made.
    pub digest: String,
    /// Names the life of the tree: another one after it was made from nothing.
    pub generation: String,
}

/// The command `assemble`.
pub fn run(ctx: &Context) -> Result<()> {
    doctor::ensure(ctx, &[Need::Source])?;
    let source = source::ensure(ctx)?;
    ensure(ctx, &source).map(|_| ())
}

/// Brings the work tree up to date.
pub fn ensure(ctx: &Context, source: &Source) -> Result<Tree> {
    let stage = ctx.ui.stage("assemble");
    let dir = ctx.cache.join("tree");
    let mut state = prepare(ctx, source, &dir)?;
    stage.message("comparing the work tree with the source");
    let (source_files, tree_files) = list_both(source, &dir)?;
    let contents = contents(&ctx.repo, source, &source_files)?;
    let sync = Sync {
        source_dir: &source.dir,
        source: &source_files,
        tree_dir: &dir,
        tree: &tree_files,
        stage: &stage,
    };
    let changes = sync.run(&mut state, &contents)?;
    state.complete = true;
    state.save(ctx)?;
    stage.finish(&summary(&changes, &contents));
    Ok(Tree {
        digest: digest(source, &source_files, &contents),
        generation: state.generation,
        dir,
    })
}

/// The state of the tree that is there, or that of an empty one.
fn prepare(ctx: &Context, source: &Source, dir: &Path) -> Result<State> {
    if let Some(state) = State::load(ctx, source) {
        if dir.is_dir() {
            return Ok(state);
        }
    }
    State::remove(ctx)?;
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let state = State::new(source);
    state.save(ctx)?;
    Ok(state)
}

fn list_both(source: &Source, dir: &Path) -> Result<(Listing, Listing)> {
    std::thread::scope(|scope| {
        let source_files = scope.spawn(|| listing::of_source(source));
        let tree_files = listing::of_dir(dir, |_| true)?;
        let source_files = source_files
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((source_files, tree_files))
    })
}

/// All files of the work tree that differ from the source.
pub fn contents(repo: &Path, source: &Source, listing: &Listing) -> Result<Contents> {
    let mut contents = ours::read(repo, listing)?;
    contents.extend(edits::apply(repo, source, listing)?);
    if let Some(merged) = merged_maintainers(repo, source)? {
        contents.insert("MAINTAINERS".into(), merged);
    }
    Ok(contents)
}

fn merged_maintainers(repo: &Path, source: &Source) -> Result<Option<Content>> {
    let Ok(ours) = fs::read_to_string(repo.join("MAINTAINERS")) else {
        return Ok(None);
    };
    let path = source.dir.join("MAINTAINERS");
    let theirs = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(Some(Content {
        bytes: maintainers::merge(&theirs, &ours)?.into_bytes(),
        mode: 0o644,
    }))
}

fn digest(source: &Source, listing: &Listing, contents: &Contents) -> String {
    let mut fingerprint = Fingerprint::default();
    fingerprint
        .add(source.identity())
        .add(listing::fingerprint(listing));
    let compiled = |path: &Path| !path.starts_with("Documentation");
    for (path, content) in contents.iter().filter(|(path, _)| compiled(path)) {
        fingerprint
            .add(path.as_os_str().as_encoded_bytes())
            .add(&content.bytes)
            .add(content.mode.to_le_bytes());
    }
    fingerprint.finish()
}

fn summary(changes: &Changes, contents: &Contents) -> String {
    let ours = contents.len();
    match (changes.copied, changes.ours + changes.restored.len()) {
        (0, 0) => format!("{ours} files of ours, nothing changed"),
        (0, changed) => format!("{ours} files of ours, {changed} files changed"),
        (copied, _) => format!("{copied} files of Linux, {ours} of ours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_changes_no_kernel() {
        let source = Source {
            dir: "source".into(),
            kernel_version: "7.3.4".into(),
            package: "own tree".into(),
            own: true,
        };
        let of = |path: &str, text: &str| {
            let content = Content {
                bytes: text.into(),
                mode: 0o644,
            };
            let contents = Contents::from([(path.into(), content)]);
            digest(&source, &Listing::default(), &contents)
        };
        let (document, code) = ("Documentation/rust/virtio.rst", "rust/kernel/virtio.rs");
        assert_eq!(of(document, "a"), of(document, "b"));
        assert_ne!(of(code, "a"), of(code, "b"));
    }
}
