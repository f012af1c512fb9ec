// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long each kind of guest ran the last time it came to its end, to say how
//! long it may take this time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::stamp;

#[derive(Default)]
pub struct Durations(BTreeMap<String, f64>);

impl Durations {
    pub fn load(ctx: &Context) -> Self {
        Self(stamp::read(&path(ctx)).unwrap_or_default())
    }

    pub fn get(&self, id: &str) -> Option<Duration> {
        let seconds = self.0.get(id)?;
        Duration::try_from_secs_f64(*seconds).ok()
    }

    pub fn set(&mut self, id: &str, took: Duration) {
        self.0.insert(id.into(), took.as_secs_f64());
    }

    pub fn save(&self, ctx: &Context) -> Result<()> {
        stamp::write(&path(ctx), &self.0)
    }
}

fn path(ctx: &Context) -> PathBuf {
    ctx.cache.join("guest-durations.json")
}
