// SPDX-License-Identifier: MIT OR Apache-2.0

//! The programs that run in guests, for the architecture of their kernel.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::build::Variant;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::{self, Arm64, DiskTools, Toolchain};
use crate::ui::Stage;

const X86_64: &str = "x86_64-unknown-linux-gnu";
const STATIC: &str = "-Ctarget-feature=+crt-static";

/// How many crates cargo compiles for the guest program, for the time left.
const CRATES: u64 = 17;
/// And for Rust's library.
const LIBRARY_CRATES: u64 = 22;

pub struct Userland {
    /// The guest program, without libraries, as other guests have none.
    pub init: PathBuf,
    pub busybox: PathBuf,
    pub rngtest: PathBuf,
    /// Where guests look for the libraries of rngtest, and where they are here.
    pub libraries: Vec<(String, PathBuf)>,
    /// Programs for disks and their libraries, likewise.
    pub disk_tools: Vec<(String, PathBuf)>,
}

impl Userland {
    /// Builds what is ours, for guests with the kernel `variant`.
    pub fn build(
        ctx: &Context,
        stage: &Stage,
        tools: &Toolchain,
        variant: Variant,
    ) -> Result<Self> {
        match variant {
            Variant::Arm64Boot => arm64(ctx, stage, &tools.arm64),
            _ => of_machine(ctx, stage, tools),
        }
    }
}

/// For the architecture of this machine.
fn of_machine(ctx: &Context, stage: &Stage, tools: &Toolchain) -> Result<Userland> {
    let cargo = cargo(ctx, X86_64)
        .env("RUSTFLAGS", STATIC)
        .without_envs(&["CARGO_ENCODED_RUSTFLAGS"])
        .log(ctx.log("guest-program"));
    compile(stage, &cargo, CRATES)?;
    let inside = |path: PathBuf| {
        let name = path.strip_prefix("/").unwrap_or(&path);
        (name.to_string_lossy().into_owned(), path)
    };
    Ok(Userland {
        init: init(ctx, X86_64),
        busybox: tools.busybox.clone(),
        rngtest: tools.rngtest.clone(),
        libraries: libraries(&tools.rngtest)?.into_iter().map(inside).collect(),
        disk_tools: tools.disk.as_ref().map(disk_tools).unwrap_or_default(),
    })
}

/// All libraries lie in one directory, which guests name to these programs. Only
/// the interpreter is looked for where the program says.
fn disk_tools(tools: &DiskTools) -> Vec<(String, PathBuf)> {
    let name = |path: &PathBuf| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let programs = tools
        .programs
        .iter()
        .map(|path| (format!("usr/bin/{}", name(path)), path.clone()));
    let libraries = tools.libraries.iter().map(|path| {
        let to = match name(path) {
            name if name.starts_with("ld-") => {
                path.strip_prefix("/").unwrap_or(path).display().to_string()
            }
            name => format!("usr/lib/disk-tools/{name}"),
        };
        (to, path.clone())
    });
    programs.chain(libraries).collect()
}

/// For another architecture, with Rust's library from its source: what the
/// compiler of this machine came with is for this machine.
fn arm64(ctx: &Context, stage: &Stage, tools: &Arm64) -> Result<Userland> {
    let target = Arm64::TARGET;
    let variable = target.replace('-', "_").to_uppercase();
    let mut flags = vec![STATIC.to_owned()];
    flags.extend(
        tools
            .link_args()
            .iter()
            .map(|arg| format!("-Clink-arg={arg}")),
    );
    let cargo = cargo(ctx, target)
        .arg("-Zbuild-std=std,panic_unwind")
        // What lets a stable compiler build its own library, and cargo find it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &tools.rust_library)
        .env(format!("CARGO_TARGET_{variable}_LINKER"), &tools.linker)
        // Unlike in RUSTFLAGS, paths may hold spaces here.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .log(ctx.log("guest-program-arm64"));
    compile(stage, &cargo, CRATES + LIBRARY_CRATES)?;
    Ok(Userland {
        init: init(ctx, target),
        busybox: tools.busybox.clone(),
        rngtest: tools.rngtest.clone(),
        libraries: tools.libraries.clone(),
        disk_tools: Vec::new(),
    })
}

fn cargo(ctx: &Context, target: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "guest"])
        .args(["--target", target, "--manifest-path"])
        .arg(ctx.repo.join("scripts/Cargo.toml"))
        .env("CARGO_TARGET_DIR", ctx.cargo_target())
}

fn compile(stage: &Stage, cargo: &Command, crates: u64) -> Result<()> {
    let mut begun = 0;
    cargo.lines(|line| {
        let line = line.trim_start();
        if line.starts_with("Compiling ") {
            if begun == 0 {
                stage.set_total(Some(crates));
            }
            stage.message(line.split(" (").next().unwrap_or(line));
            stage.set_pos(begun);
            begun += 1;
        }
    })?;
    stage.set_total(None);
    Ok(())
}

fn init(ctx: &Context, target: &str) -> PathBuf {
    ctx.cargo_target().join(target).join("release/guest")
}

/// The libraries that a program needs, and its interpreter.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output()?;
    Ok(doctor::parse_ldd(&listed))
}
