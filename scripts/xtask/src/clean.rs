// SPDX-License-Identifier: MIT OR Apache-2.0

//! `clean`: removes what can be made again from the cache, and nothing else.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result};

use crate::context::Context;

/// Cheap to make again, without the network.
const PRODUCTS: &[&str] = &[
    "tree",
    "tree.json",
    "work-tree.index",
    "build",
    "initramfs",
    "logs",
    "mails",
    "send-test",
    "hostile",
];
/// What a fresh clone has to download or to build for long, and what is known of it.
const SUPPLIES: &[&str] = &[
    "source",
    "series.git",
    "check-patches",
    "matrix",
    "roots",
    "recipients.json",
    "guest-durations.json",
    "downloads",
    "apt",
    "toolchain",
    "cargo-target",
];

pub fn run(ctx: &Context, all: bool) -> Result<()> {
    let supplies = if all { SUPPLIES } else { &[] };
    let stage = ctx.ui.stage("clean");
    for name in PRODUCTS.iter().chain(supplies) {
        let path = ctx.cache.join(name);
        stage.message(name);
        // Only names that we gave are touched: the cache may be a directory
        // that the user keeps other things in.
        let removed = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => Err(error),
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    stage.finish(&format!("{} is clean", ctx.cache.display()));
    Ok(())
}
