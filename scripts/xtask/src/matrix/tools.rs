// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sets of compilers to build kernels with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use super::roots::{self, Release, Root};
use crate::assemble::Tree;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::{holds_libclang, Toolchain, Version};

/// Where Debian's ccache has links of the compilers' names to itself.
const CCACHE: &str = "/usr/lib/ccache";

/// Which set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Set {
    /// What `make test` builds with.
    Machine,
    /// The oldest that Linux 7.3 accepts, as Debian 13 has them.
    Min,
    /// The newest rustc in Debian's archives.
    Newer,
    /// C by GCC, Rust by rustc, of Debian 13.
    Gcc,
}

/// A set that is there.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The value of make's `LLVM=`; empty for GCC.
    pub llvm: String,
    pub envs: Vec<(String, String)>,
    /// In front of PATH: ccache has what other cells compiled, and what this one
    /// did before an option that reaches every object was changed, and back.
    pub ccache: Option<PathBuf>,
    pub wrapper: Vec<String>,
    /// Names and versions.
    pub summary: String,
    rustc: Version,
}

impl Set {
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Min => "min",
            Self::Newer => "newer",
            Self::Gcc => "gcc",
        }
    }

    /// Whether it is in a root directory of its own.
    pub fn is_in_a_root(self) -> bool {
        self != Self::Machine
    }

    /// Finds the set, or makes the root that it is in.
    pub fn find(self, ctx: &Context, machine: &Toolchain, tree: &Tree) -> Result<Tools> {
        match self {
            Self::Machine => of_machine(machine),
            Self::Min => inside(ctx, tree, Release::Trixie, "1"),
            Self::Newer => inside(ctx, tree, Release::Sid, "1"),
            Self::Gcc => inside(ctx, tree, Release::Trixie, ""),
        }
    }
}

impl Tools {
    /// Why it would show nothing that `other` does not, if so.
    pub fn is_no_newer_than(&self, other: &Self) -> Option<String> {
        (self.rustc <= other.rustc).then(|| {
            format!(
                "the newest rustc in Debian's archives is {}, this machine's is {}",
                self.rustc, other.rustc
            )
        })
    }
}

fn of_machine(machine: &Toolchain) -> Result<Tools> {
    let rustc = Version::at_start(&machine.rustc_version);
    Ok(Tools {
        llvm: machine.llvm.clone(),
        envs: machine.envs.clone(),
        ccache: Some(CCACHE.into()),
        wrapper: Vec::new(),
        summary: format!(
            "rustc {}, bindgen {}, clang {}",
            machine.rustc_version, machine.bindgen_version, machine.llvm_version
        ),
        rustc: rustc.ok_or_else(|| anyhow!("rustc has no version"))?,
    })
}

fn inside(ctx: &Context, tree: &Tree, release: Release, llvm: &str) -> Result<Tools> {
    let root = roots::ensure(ctx, release)?;
    let wrapper = root.wrapper(ctx, tree);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let version = |program: &str| -> Result<Version> {
        let said = Command::new(program)
            .arg("--version")
            .env("PATH", path)
            .dir(&tree.dir)
            .behind(&wrapper)
            .output()?;
        Version::find(&said).ok_or_else(|| anyhow!("{program} has no version: {said}"))
    };
    let rustc = version("rustc")?;
    let compiler = if llvm.is_empty() { "gcc" } else { "clang" };
    let summary = format!(
        "rustc {rustc}, bindgen {}, {compiler} {}",
        version("bindgen")?,
        version(compiler)?
    );
    let libclang = libclang(&root)?;
    let library = format!("/usr/src/rustc-{rustc}/library");
    let envs = [
        ("PATH", path),
        ("RUST_LIB_SRC", &library),
        ("LIBCLANG_PATH", &libclang),
        ("HOME", "/root"),
    ];
    Ok(Tools {
        llvm: llvm.into(),
        envs: envs.map(|(key, value)| (key.into(), value.into())).into(),
        ccache: None,
        wrapper,
        summary,
        rustc,
    })
}

/// Where the root keeps the library that bindgen loads, as seen from inside.
fn libclang(root: &Root) -> Result<String> {
    let releases = root.dir.join("usr/lib");
    let entries = fs::read_dir(&releases).with_context(|| releases.display().to_string())?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let lib = names
        .filter(|name| name.to_string_lossy().starts_with("llvm-"))
        .map(|name| Path::new("usr/lib").join(name).join("lib"))
        .find(|lib| holds_libclang(&root.dir.join(lib)));
    lib.map(|lib| format!("/{}", lib.display()))
        .ok_or_else(|| anyhow!("{} has no libclang", root.dir.display()))
}
