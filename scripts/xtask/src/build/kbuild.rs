// SPDX-License-Identifier: MIT OR Apache-2.0

//! How make is called for one variant.

use std::path::PathBuf;

use super::{Step, Variant};
use crate::assemble::Tree;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;

/// Set alike for all builds, so that the same source gives the same kernel.
const REPRODUCIBLE: &[(&str, &str)] = &[
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("KBUILD_BUILD_USER", "rust-virtio"),
    ("KBUILD_BUILD_HOST", "localhost"),
    ("LC_ALL", "C"),
    // Python would leave its caches in the work tree.
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// Of the make, or the shell, that we were started from; they would change what
/// the kernel's own make does.
const FOREIGN: &[&str] = &[
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "GNUMAKEFLAGS",
    "KBUILD_OUTPUT",
    "KCONFIG_CONFIG",
    "KCONFIG_ALLCONFIG",
    "ARCH",
    "CROSS_COMPILE",
];

/// One variant's build.
pub struct Kbuild {
    pub variant: Variant,
    pub repo: PathBuf,
    pub tree: PathBuf,
    pub dir: PathBuf,
    pub fragments: Vec<PathBuf>,
    pub jobs: usize,
    pub log: PathBuf,
    /// The value of make's `LLVM=`; empty for GCC.
    pub llvm: String,
    pub envs: Vec<(String, String)>,
    /// What starts make, such as a program that changes the root directory.
    pub wrapper: Vec<String>,
}

impl Kbuild {
    pub fn new(ctx: &Context, toolchain: &Toolchain, tree: &Tree, variant: Variant) -> Self {
        let fragment = |name: &&str| {
            let file = format!("{name}.config");
            ctx.repo.join("scripts/config").join(file)
        };
        Self {
            variant,
            repo: ctx.repo.clone(),
            tree: tree.dir.clone(),
            dir: ctx.cache.join("build").join(variant.name()),
            fragments: variant.fragments().iter().map(fragment).collect(),
            jobs: ctx.jobs,
            log: ctx.log(&format!("build-{}", variant.name())),
            llvm: toolchain.llvm.clone(),
            envs: toolchain.envs.clone(),
            wrapper: Vec::new(),
        }
    }

    /// The same into another directory, with another configuration.
    pub fn elsewhere(self, dir: PathBuf, fragments: &[&str], log: PathBuf) -> Self {
        let configs = self.repo.join("scripts/config");
        let fragment = |name: &&str| configs.join(format!("{name}.config"));
        Self {
            fragments: fragments.iter().map(fragment).collect(),
            dir,
            log,
            ..self
        }
    }

    /// `make` of `targets`, or of all.
    pub fn make(&self, targets: &[&str]) -> Command {
        self.in_tree(Command::new("make"))
            .arg(format!("ARCH={}", self.variant.arch()))
            .arg(format!("LLVM={}", self.llvm))
            .arg(format!("O={}", self.dir.display()))
            .args(targets)
    }

    pub fn log_of(&self, step: &Step) -> PathBuf {
        match self.variant.steps() {
            [_] => self.log.clone(),
            _ => self.log.with_extension(format!("{}.log", step.name)),
        }
    }

    /// A program of the work tree, with the environment that make has.
    pub fn script(&self, path: &str) -> Command {
        self.in_tree(Command::new(self.tree.join(path)))
    }

    fn in_tree(&self, command: Command) -> Command {
        let fixed = REPRODUCIBLE
            .iter()
            .fold(command, |command, (key, value)| command.env(key, value));
        fixed
            .without_envs(FOREIGN)
            .envs(&self.envs)
            .dir(&self.tree)
            .behind(&self.wrapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn make_is_told_all_that_it_needs() {
        let kbuild = Kbuild {
            variant: Variant::Uml,
            repo: "/repo".into(),
            tree: "/tree".into(),
            dir: "/build/uml".into(),
            fragments: Vec::new(),
            jobs: 3,
            log: "/log".into(),
            llvm: "-19".into(),
            envs: Vec::new(),
            wrapper: Vec::new(),
        };
        assert_eq!(
            kbuild.make(&["olddefconfig"]).shell_line(),
            "make ARCH=um LLVM=-19 O=/build/uml olddefconfig"
        );
        let lint = Kbuild {
            variant: Variant::Lint,
            ..kbuild
        };
        let clippy = &Variant::Lint.steps()[0];
        assert_eq!(
            lint.make(clippy.args).shell_line(),
            "make ARCH=um LLVM=-19 O=/build/uml CLIPPY=1 W=1 rust/ drivers/virtio/ \
             drivers/block/virtio_blk_rust/ \
             drivers/char/hw_random/ samples/rust/"
        );
        assert_eq!(lint.log_of(clippy), std::path::Path::new("/log.clippy.log"));
    }
}
