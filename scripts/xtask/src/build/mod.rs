// SPDX-License-Identifier: MIT OR Apache-2.0

//! Kernels, built outside the work tree, each variant in a directory of its own.

pub mod config;
pub mod kbuild;
pub mod output;
pub mod products;
mod variant;
mod warnings;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use kbuild::Kbuild;
pub use output::Output;
pub use variant::{Step, Variant};
pub use warnings::{forget_our_objects, Warnings};

use crate::assemble::{self, Tree};
use crate::context::Context;
use crate::doctor::{self, Need, Toolchain};
use crate::failure::Failure;
use crate::process_group::check_interrupt;
use crate::ui::Stage;
use crate::{source, stamp};
use products::Products;
use warnings::ByStep;

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub variant: Variant,
    pub image: PathBuf,
    /// All `.ko` files.
    pub modules: Vec<PathBuf>,
    /// As `uname -r` says it.
    pub release: String,
    pub build_dir: PathBuf,
    /// What make complained about when this was built.
    pub warnings: ByStep,
}

/// What a build directory holds; kept in it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The life of the work tree that it was built from.
    generation: String,
    /// The fragments and the tools that the configuration was made from.
    inputs: String,
    /// The Kconfig files that it was made from.
    kconfig: String,
    /// What was built, once that came to its end.
    built: Option<Built>,
    /// How many objects a build from nothing makes.
    full: Option<u64>,
    /// How many objects the last build after a change made.
    partial: Option<u64>,
    /// How many objects builds made that did not come to their end.
    carried: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Built {
    digest: String,
    products: Products,
    #[serde(default)]
    warnings: ByStep,
}

/// The command `build`.
pub fn run(ctx: &Context, variants: &[Variant]) -> Result<()> {
    let variants = match variants {
        [] => &[Variant::X86_64, Variant::Uml],
        chosen => chosen,
    };
    let mut needs = vec![Need::Source, Need::Kernel];
    needs.extend(extra_needs(variants));
    let toolchain = doctor::ensure(ctx, &needs)?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    for variant in variants {
        ensure(ctx, &toolchain, &tree, *variant)?;
    }
    Ok(())
}

/// What some variants need beyond [`Need::Kernel`].
pub fn extra_needs(variants: &[Variant]) -> Vec<Need> {
    let mut needs = Vec::new();
    if variants.iter().any(|variant| variant.has_checkers()) {
        needs.push(Need::DebugKernel);
    }
    if variants.iter().any(|variant| !variant.is_bootable()) {
        needs.push(Need::Objects);
    }
    if variants.contains(&Variant::Lint) {
        needs.push(Need::Lint);
    }
    needs
}

/// Brings one kernel up to date.
pub fn ensure(
    ctx: &Context,
    toolchain: &Toolchain,
    tree: &Tree,
    variant: Variant,
) -> Result<Kernel> {
    let stage = ctx.ui.stage(format!("build {}", variant.name()));
    let kbuild = Kbuild::new(ctx, toolchain, tree, variant);
    let state = prepare(&kbuild, tree)?;
    let inputs = config::inputs(&kbuild, toolchain)?;
    if state.inputs == inputs {
        if let Some(kernel) = built_before(&state, &tree.digest, &kbuild) {
            stage.finish(&format!("Linux {}, up to date", kernel.release));
            return Ok(kernel);
        }
    }
    let state = configure(&kbuild, &stage, state, inputs)?;
    if !variant.is_bootable() {
        // Here it is the warnings that count, and make tells them only once.
        forget_our_objects(&kbuild)?;
    }
    let (state, objects, warnings) = compile(&kbuild, &stage, state)?;
    let kernel = Kernel {
        warnings,
        ..products::kernel(&kbuild)?
    };
    let built = Built {
        digest: tree.digest.clone(),
        products: Products::of(&kernel)?,
        warnings: kernel.warnings.clone(),
    };
    let built = Some(built);
    stamp::write(&state_path(&kbuild.dir), &State { built, ..state })?;
    stage.finish(&format!("Linux {}, {objects} objects", kernel.release));
    Ok(kernel)
}

fn state_path(build_dir: &Path) -> PathBuf {
    build_dir.join(".xtask.json")
}

/// The state of the build directory that is there, or that of an empty one. What
/// was built from an earlier work tree may look newer than the files of this one.
fn prepare(kbuild: &Kbuild, tree: &Tree) -> Result<State> {
    let known: State = stamp::read(&state_path(&kbuild.dir)).unwrap_or_default();
    if known.generation == tree.generation {
        return Ok(known);
    }
    let dir = &kbuild.dir;
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let state = State {
        generation: tree.generation.clone(),
        full: known.full,
        ..State::default()
    };
    stamp::write(&state_path(dir), &state)?;
    Ok(state)
}

/// The kernel that is there, if it is what would be built now.
fn built_before(state: &State, digest: &str, kbuild: &Kbuild) -> Option<Kernel> {
    let built = state.built.as_ref()?;
    let kernel = products::kernel(kbuild).ok()?;
    let products = Products::of(&kernel).ok()?;
    (built.digest == digest && products == built.products).then(|| Kernel {
        warnings: built.warnings.clone(),
        ..kernel
    })
}

/// Leaves a configuration that is still good alone, so that nothing is rebuilt.
fn configure(kbuild: &Kbuild, stage: &Stage, state: State, inputs: String) -> Result<State> {
    stage.message("checking the configuration");
    let kconfig = config::kconfig(kbuild)?;
    let is_there = kbuild.dir.join(".config").is_file();
    if is_there && state.inputs == inputs && state.kconfig == kconfig {
        return Ok(state);
    }
    config::make(kbuild, stage)?;
    let state = State {
        inputs,
        kconfig,
        built: None,
        ..state
    };
    stamp::write(&state_path(&kbuild.dir), &state)?;
    Ok(state)
}

/// Runs make; returns the state with the counts of this build, how many objects
/// it made, and what it complained about.
fn compile(kbuild: &Kbuild, stage: &Stage, state: State) -> Result<(State, u64, ByStep)> {
    let after_a_change = state.built.is_some();
    let carried = if after_a_change { 0 } else { state.carried };
    stage.set_total(match after_a_change {
        true => state.partial,
        false => state.full.or(Some(kbuild.variant.usual_objects())),
    });
    let mut objects = 0;
    let mut warnings = ByStep::new();
    for step in kbuild.variant.steps() {
        let mut output = Output::new(&kbuild.repo);
        let result = run_make(kbuild, stage, step, &mut output, carried + objects);
        objects += output.objects;
        if let Err(error) = result {
            let carried = carried + objects;
            stamp::write(&state_path(&kbuild.dir), &State { carried, ..state })?;
            check_interrupt()?;
            return Err(match output.errors() {
                None => error,
                Some(errors) => failed(kbuild, step, &errors),
            });
        }
        warnings.insert(step.name.to_owned(), output.warnings);
    }
    let (full, partial) = match after_a_change {
        true => (state.full, Some(objects)),
        false => (Some(carried + objects), state.partial),
    };
    let state = State {
        full,
        partial,
        carried: 0,
        ..state
    };
    Ok((state, objects, warnings))
}

fn run_make(
    kbuild: &Kbuild,
    stage: &Stage,
    step: &Step,
    output: &mut Output,
    carried: u64,
) -> Result<()> {
    stage.message(step.name);
    let log = kbuild.log_of(step);
    kbuild
        .make(step.args)
        .arg(format!("-j{}", kbuild.jobs))
        .log(&log)
        .lines(|line| {
            for line in output.feed(line) {
                stage.line(&line);
            }
            if let Some(step) = output::step(line) {
                stage.set_pos(carried + output.objects);
                stage.message(&step);
            }
        })?;
    if output.warnings.foreign > 0 {
        stage.line(&format!(
            "{} warnings about files that are not ours, see {}",
            output.warnings.foreign,
            log.display()
        ));
    }
    Ok(())
}

fn failed(kbuild: &Kbuild, step: &Step, errors: &str) -> anyhow::Error {
    Failure::new(
        format!(
            "the kernel {} does not build:\n{errors}",
            kbuild.variant.name()
        ),
        format!("the whole log is in {}", kbuild.log_of(step).display()),
    )
    .into()
}
