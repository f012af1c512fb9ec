// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds what the mails lead to. The work tree is that, byte by byte, or
//! nothing is built.

use anyhow::Result;

use super::repository::Repository;
use crate::assemble::Tree;
use crate::build::{self, Variant};
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::process_group::check_interrupt;
use crate::report::Entry;
use crate::series;

const SAME: &str = "send-test.work-tree";
const BUILD: &str = "send-test.build.uml";
/// How many files that differ are named.
const SHOWN: usize = 20;

/// Why nothing is built, if it was asked for.
pub fn left_out(reason: &str) -> Vec<Entry> {
    vec![
        Entry::new(SAME).skip(reason),
        Entry::new(BUILD).skip(reason),
    ]
}

/// Compares all files of the work tree with `applied`, the tree that the mails
/// lead to, and builds it. `applied` is missing if not all of them could be applied.
pub fn build(
    ctx: &Context,
    tools: &Toolchain,
    tree: &Tree,
    repository: &Repository,
    applied: Option<&str>,
) -> Result<Vec<Entry>> {
    let Some(applied) = applied else {
        let reason = "not all of the mails could be applied";
        return Ok(vec![
            Entry::new(SAME).fail(reason),
            Entry::new(BUILD).fail(reason),
        ]);
    };
    let same = compare(ctx, tree, repository, applied)?;
    let built = match same.ok {
        true => build_uml(ctx, tools, tree)?,
        false => Entry::new(BUILD).fail("the work tree is not what the mails lead to"),
    };
    Ok(vec![same, built])
}

fn compare(ctx: &Context, tree: &Tree, repository: &Repository, applied: &str) -> Result<Entry> {
    let stage = ctx.ui.stage("work tree");
    stage.message("comparing each file with what the mails lead to");
    let index = ctx.cache.join(series::WORK_TREE_INDEX);
    let different = repository.differences(&tree.dir, applied, &index)?;
    let entry = Entry::new(SAME);
    let entry = match different.first() {
        None => entry.pass(0.0, "differences", format!("it is the tree {applied}")),
        Some(first) => {
            let count = different.len();
            let shown = different.iter().take(SHOWN).cloned().collect();
            let detail = format!("{count} files differ from what the mails lead to: {first} ...");
            entry.fail(detail).excerpt(shown)
        }
    };
    stage.finish(&entry.detail);
    Ok(entry)
}

fn build_uml(ctx: &Context, tools: &Toolchain, tree: &Tree) -> Result<Entry> {
    let entry = Entry::new(BUILD);
    match build::ensure(ctx, tools, tree, Variant::Uml) {
        Ok(kernel) => {
            let modules = kernel.modules.len() as f64;
            Ok(entry.pass(modules, "modules", format!("Linux {}", kernel.release)))
        }
        Err(error) => {
            check_interrupt()?;
            Ok(entry.fail(format!("{error:#}")))
        }
    }
}
