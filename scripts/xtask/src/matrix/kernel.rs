// SPDX-License-Identifier: MIT OR Apache-2.0

//! Kernels of the matrix: any configuration, by any set of tools, in build
//! directories of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::tools::Tools;
use crate::assemble::Tree;
use crate::build::config::{self, Options};
use crate::build::kbuild::Kbuild;
use crate::build::output::{self, Output};
use crate::build::{forget_our_objects, Variant};
use crate::context::Context;
use crate::process_group::check_interrupt;
use crate::stamp;
use crate::ui::{self, Stage};

/// How many lines of a failure are kept.
const SHOWN: usize = 40;
/// Until a directory knows better.
const USUAL_OBJECTS: u64 = 900;

/// What to build.
pub struct Recipe<'a> {
    /// For progress and for logs.
    pub name: &'a str,
    /// Decides `ARCH=`.
    pub variant: Variant,
    /// In the cache; cells that share one compile only what differs.
    pub dir: &'a str,
    /// Every line of these must come through.
    pub fragments: &'a [PathBuf],
    /// Kconfig may refuse what these ask for.
    pub wishes: &'a [PathBuf],
    /// Whether it takes an image that QEMU can boot.
    pub boots: bool,
    /// Whether all is to be compiled, for what compilers say only then.
    pub anew: bool,
}

/// A kernel that was linked, with its modules.
pub struct Built {
    pub kbuild: Kbuild,
    pub options: Options,
    pub objects: u64,
    pub took: Duration,
}

/// Why there is none.
pub struct Broken {
    pub why: String,
    pub excerpt: Vec<String>,
}

impl Built {
    pub fn summary(&self) -> String {
        format!("{} objects in {}", self.objects, ui::duration(self.took))
    }
}

impl Broken {
    /// Paths are shown as in the source: where it lies here is of no interest.
    fn new(kbuild: &Kbuild, why: impl Into<String>, excerpt: &str) -> Self {
        let tree = format!("{}/", kbuild.tree.display());
        let lines = excerpt.lines().take(SHOWN);
        Self {
            why: why.into(),
            excerpt: lines.map(|line| line.replace(&tree, "")).collect(),
        }
    }
}

/// Configures and links. The inner error is a result, the outer one is not.
pub fn build(
    ctx: &Context,
    tools: &Tools,
    tree: &Tree,
    recipe: &Recipe,
) -> Result<std::result::Result<Built, Broken>> {
    let stage = ctx.ui.stage(recipe.name);
    let kbuild = kbuild(ctx, tools, tree, recipe);
    prepare(&kbuild, tree, tools, recipe.anew)?;
    let started = Instant::now();
    if let Err(error) = configure(&kbuild, recipe, &stage) {
        check_interrupt()?;
        let text = format!("{error:#}");
        return Ok(Err(Broken::new(&kbuild, "it cannot be configured", &text)));
    }
    if !recipe.anew {
        // What another cell has compiled is not complained about again.
        forget_our_objects(&kbuild)?;
    }
    let options = config::options(&kbuild)?;
    let mut output = Output::new(&ctx.repo);
    if let Err(error) = run_make(&kbuild, recipe.boots, &options, &stage, &mut output) {
        check_interrupt()?;
        let said = output.errors().unwrap_or_else(|| format!("{error:#}"));
        return Ok(Err(Broken::new(&kbuild, "it does not build", &said)));
    }
    if !output.warnings.ours.is_empty() {
        let count = output.warnings.ours.len();
        let why = format!("{count} warnings about our files");
        return Ok(Err(Broken::new(
            &kbuild,
            why,
            &output.warnings.ours.join("\n"),
        )));
    }
    let built = Built {
        kbuild,
        options,
        objects: output.objects,
        took: started.elapsed(),
    };
    stage.finish(&built.summary());
    Ok(Ok(built))
}

fn kbuild(ctx: &Context, tools: &Tools, tree: &Tree, recipe: &Recipe) -> Kbuild {
    let fragments = recipe.fragments.iter().chain(recipe.wishes);
    Kbuild {
        variant: recipe.variant,
        repo: ctx.repo.clone(),
        tree: tree.dir.clone(),
        dir: ctx.cache.join("matrix").join(recipe.dir),
        fragments: fragments.cloned().collect(),
        jobs: ctx.jobs,
        log: ctx.log(recipe.name),
        llvm: tools.llvm.clone(),
        envs: envs(ctx, tools),
        wrapper: tools.wrapper.clone(),
    }
}

fn envs(ctx: &Context, tools: &Tools) -> Vec<(String, String)> {
    let mut envs = tools.envs.clone();
    if let Some(ccache) = &tools.ccache {
        for (_, path) in envs.iter_mut().filter(|(key, _)| key == "PATH") {
            *path = format!("{}:{path}", ccache.display());
        }
        let dir = ctx.cache.join("matrix/ccache");
        envs.push(("CCACHE_DIR".into(), dir.display().to_string()));
    }
    envs
}

/// A directory is good for one life of the work tree and one set of tools.
fn prepare(kbuild: &Kbuild, tree: &Tree, tools: &Tools, anew: bool) -> Result<()> {
    let dir = &kbuild.dir;
    let path = dir.join(".matrix.json");
    let of = (tree.generation.clone(), tools.summary.clone());
    if !anew && stamp::read(&path).as_ref() == Some(&of) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    stamp::write(&path, &of)
}

fn configure(kbuild: &Kbuild, recipe: &Recipe, stage: &Stage) -> Result<()> {
    stage.message("configuring");
    config::merge(kbuild)?;
    config::verify(kbuild, recipe.fragments)
}

fn run_make(
    kbuild: &Kbuild,
    boots: bool,
    options: &Options,
    stage: &Stage,
    output: &mut Output,
) -> Result<()> {
    let count = kbuild.dir.join(".matrix-objects.json");
    let usual: Option<u64> = stamp::read(&count);
    stage.set_total(usual.or(Some(USUAL_OBJECTS)));
    kbuild
        .make(&targets(kbuild.variant, boots, options))
        .arg(format!("-j{}", kbuild.jobs))
        .log(&kbuild.log)
        .lines(|line| {
            for line in output.feed(line) {
                stage.line(&line);
            }
            if let Some(step) = output::step(line) {
                stage.set_pos(output.objects);
                stage.message(&step);
            }
        })?;
    stamp::write(&count, &output.objects)
}

/// All that is linked.
fn targets(variant: Variant, boots: bool, options: &Options) -> Vec<&'static str> {
    let image = match (variant.arch(), boots) {
        ("um", _) => "linux",
        (_, true) => "bzImage",
        (_, false) => "vmlinux",
    };
    let modules = options.get("CONFIG_MODULES").is_some_and(|is| is == "y");
    let modules = modules.then_some("modules");
    std::iter::once(image).chain(modules).collect()
}

/// A fragment of the checkout.
pub fn fragment(repo: &Path, name: &str) -> PathBuf {
    repo.join("scripts/config").join(format!("{name}.config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_linked_where_there_are_any() {
        let options = config::parse("CONFIG_MODULES=y\n");
        assert_eq!(targets(Variant::Uml, false, &options), ["linux", "modules"]);
        assert_eq!(
            targets(Variant::X86_64, false, &Options::new()),
            ["vmlinux"]
        );
    }
}
