// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds, boots and tests the Rust virtio series for Linux.

mod assemble;
mod bench;
mod build;
mod check_patches;
mod clean;
mod command;
mod context;
mod doctor;
mod failure;
mod guest;
mod hostile;
mod html;
mod matrix;
mod patches;
mod process_group;
mod report;
mod run;
mod scenario;
mod send_test;
mod series;
mod shell;
mod source;
mod stamp;
mod test;
mod ui;
mod unsafe_density;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use build::Variant;
use context::Context;

/// Builds, boots and tests the Rust virtio series for Linux.
///
/// `run` shows the main job from nothing; the other commands are its stages,
/// the tests, and an interactive guest. Each does what it depends on first.
#[derive(Parser)]
#[command(name = "xtask", version)]
struct Cli {
    #[command(flatten)]
    options: context::Options,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find, or install where possible, every tool that is needed
    Doctor,
    /// Download and unpack the kernel source, or check KERNEL_TREE
    Source {
        /// Ask the archive whether it has a newer version
        #[arg(long)]
        refresh: bool,
    },
    /// Put the series on the source: the work tree
    Assemble,
    /// Build kernels [default: x86_64 and uml]
    Build {
        #[arg(value_enum, value_name = "VARIANT")]
        variants: Vec<Variant>,
    },
    /// Build all, boot it, and show what the drivers do
    Run,
    /// Run all tests, or those whose name contains FILTER
    Test { filter: Option<String> },
    /// Let devices lie to the drivers in C and in Rust
    Hostile(hostile::Options),
    /// Let devices lie to a driver by chance
    Fuzz(hostile::fuzz::Options),
    /// Compare the speed of the drivers in C and in Rust
    Bench(bench::Options),
    /// Write the series as mails: out/patches
    Patches(patches::Posting),
    /// Apply, check and build the series, patch by patch
    CheckPatches {
        /// Build what was good before, too
        #[arg(long)]
        again: bool,
    },
    /// Send the patches by mail, to ourselves only, and apply what comes back
    SendTest(send_test::Options),
    /// Build with other compilers, configurations and machines, for hours
    Matrix {
        filter: Option<String>,
        /// Run cells whose results were kept, too
        #[arg(long)]
        again: bool,
    },
    /// Count `unsafe` in the abstraction, and in others of its kind
    Unsafe,
    /// Boot a guest with the series in it and a shell on its console
    Shell {
        #[arg(value_enum, default_value = "x86_64")]
        variant: Variant,
    },
    /// Remove the work tree and the kernels from the cache
    Clean {
        /// Remove downloads, sources and tools, too
        #[arg(long)]
        all: bool,
    },
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if process_group::interrupted() => {
            eprintln!("error: interrupted");
            ExitCode::from(process_group::INTERRUPTED_EXIT)
        }
        Err(error) => {
            eprintln!("{}", failure::render(&error));
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let cli = Cli::parse();
    process_group::handle_signals()?;
    let ctx = Context::new(&cli.options)?;
    match cli.command {
        Task::Doctor => doctor::run(&ctx),
        Task::Source { refresh } => source::run(&ctx, refresh),
        Task::Assemble => assemble::run(&ctx),
        Task::Build { variants } => build::run(&ctx, &variants),
        Task::Run => run::run(&ctx),
        Task::Test { filter } => test::run(&ctx, filter.as_deref()),
        Task::Hostile(options) => hostile::run(&ctx, &options),
        Task::Fuzz(options) => hostile::fuzz::run(&ctx, &options),
        Task::Bench(options) => bench::run(&ctx, &options),
        Task::Patches(posting) => patches::run(&ctx, &posting),
        Task::CheckPatches { again } => check_patches::run(&ctx, again),
        Task::SendTest(options) => send_test::run(&ctx, &options),
        Task::Matrix { filter, again } => matrix::run(&ctx, filter.as_deref(), again),
        Task::Unsafe => unsafe_density::run(&ctx),
        Task::Shell { variant } => shell::run(&ctx, variant),
        Task::Clean { all } => clean::run(&ctx, all),
    }
}
