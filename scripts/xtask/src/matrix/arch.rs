// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole kernels for machines that are not booted here, with all of ours in
//! them: they link, modules too.

use std::path::PathBuf;

use anyhow::Result;

use super::kernel::{self, Recipe};
use super::tools::Tools;
use crate::assemble::Tree;
use crate::build::Variant;
use crate::context::Context;
use crate::report::Entry;

pub const ALL: [Variant; 1] = [Variant::Riscv64];

pub fn name(variant: Variant) -> String {
    format!("matrix.arch.{}", variant.name())
}

pub fn fragments(ctx: &Context, variant: Variant) -> Vec<PathBuf> {
    ["matrix", "matrix-modules", variant.name(), "matrix-ours"]
        .map(|name| kernel::fragment(&ctx.repo, name))
        .into()
}

pub fn run(ctx: &Context, tools: &Tools, tree: &Tree, variant: Variant) -> Result<Entry> {
    let name = name(variant);
    let recipe = Recipe {
        name: &name,
        variant,
        dir: variant.name(),
        fragments: &fragments(ctx, variant),
        wishes: &[],
        boots: false,
        anew: true,
    };
    let entry = Entry::new(&name);
    Ok(match kernel::build(ctx, tools, tree, &recipe)? {
        Ok(built) => entry.pass(built.objects as f64, "objects", built.summary()),
        Err(broken) => entry.fail(broken.why).excerpt(broken.excerpt),
    })
}
