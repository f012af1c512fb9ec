// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is known about the work tree from the run before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::source::Source;
use crate::stamp::{self, Fingerprint};

/// Times of a file that differ on purpose. A file that changed after the first
/// copy gets a new time, or else make would take objects for newer than it; the
/// pair says that the content is the source's all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub tree: i64,
    pub source: i64,
}

/// Kept beside the tree, in `tree.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Which source the tree was copied from.
    pub identity: String,
    /// Changes when the tree is made from nothing: what was built from the one
    /// before must not be taken for up to date.
    pub generation: String,
    /// Whether the first copy came to its end.
    pub complete: bool,
    /// Files whose content comes from this checkout.
    pub managed: BTreeSet<PathBuf>,
    pub settled: BTreeMap<PathBuf, Settled>,
}

impl State {
    /// The state of a tree that was made from `source`, if there is one.
    pub fn load(ctx: &Context, source: &Source) -> Option<Self> {
        let state: Self = stamp::read(&path(ctx))?;
        (state.identity == source.identity()).then_some(state)
    }

    pub fn new(source: &Source) -> Self {
        let identity = source.identity();
        let now = jiff::Timestamp::now().to_string();
        let generation = Fingerprint::default().add(&identity).add(now).finish();
        Self {
            identity,
            generation,
            ..Self::default()
        }
    }

    pub fn save(&self, ctx: &Context) -> Result<()> {
        stamp::write(&path(ctx), self)
    }

    pub fn remove(ctx: &Context) -> Result<()> {
        stamp::remove(&path(ctx))
    }
}

fn path(ctx: &Context) -> PathBuf {
    ctx.cache.join("tree.json")
}
