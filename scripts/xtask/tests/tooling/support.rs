// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small checkouts and small kernel trees, on which each command takes a moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const MAINTAINERS: &str = "Words.\n\nMaintainers List\n----------------\n\n\
    AAA\nM:\tA <a@example.org>\n\nTHE REST\nM:\tB <b@example.org>\n";

const EDIT: &str = "Why.\n\n--- a/rust/kernel/lib.rs\n+++ b/rust/kernel/lib.rs\n\
    @@ -1,3 +1,4 @@\n pub mod list;\n pub mod types;\n+pub mod virtio;\n pub mod workqueue;\n";

/// A checkout, a kernel tree and a cache, all of them new.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        bench.set_version("7.3.4");
        bench.kernel(
            "rust/kernel/lib.rs",
            "pub mod list;\npub mod types;\npub mod workqueue;\n",
        );
        bench.kernel("init/main.c", "int main;\n");
        bench.kernel("MAINTAINERS", MAINTAINERS);
        bench.ours("rust/kernel/virtio.rs", "//! Ours.\n");
        bench.ours("MAINTAINERS", "VIRTIO RUST\nM:\tC <c@example.org>\n");
        bench.ours("scripts/series/edits/10-lib.patch", EDIT);
        fs::create_dir(bench.path("cache")).unwrap();
        bench
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file of the kernel tree.
    pub fn kernel(&self, path: &str, text: &str) {
        write(&self.path("kernel").join(path), text);
    }

    /// Writes a file of the checkout.
    pub fn ours(&self, path: &str, text: &str) {
        write(&self.path("repo").join(path), text);
    }

    /// A file of the work tree.
    pub fn tree(&self, path: &str) -> PathBuf {
        self.path("cache/tree").join(path)
    }

    pub fn set_version(&self, version: &str) {
        let numbers: Vec<_> = version.split('.').collect();
        let [major, minor, patch] = numbers[..] else {
            panic!("{version} is not a kernel version");
        };
        let makefile = format!(
            "VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = {patch}\nEXTRAVERSION =\n"
        );
        self.kernel("Makefile", &makefile);
    }

    /// The command, ready to run on this bench.
    pub fn xtask(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        for name in ["RUST_VIRTIO_CACHE", "KERNEL_TREE", "RUST_LIB_SRC", "LLVM"] {
            command.env_remove(name);
        }
        command.arg("--cache").arg(self.path("cache"));
        command.arg("--repo").arg(self.path("repo"));
        command.arg("--kernel-tree").arg(self.path("kernel"));
        command.args(args);
        command
    }

    pub fn succeeds(&self, args: &[&str]) -> String {
        succeeds(&mut self.xtask(args))
    }

    pub fn fails(&self, args: &[&str]) -> String {
        fails(&mut self.xtask(args))
    }

    /// A directory for PATH that holds all programs but those named.
    pub fn path_without(&self, names: &[&str]) -> PathBuf {
        let farm = self.path("bin");
        fs::create_dir_all(&farm).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for dir in std::env::split_paths(&path) {
            for program in dir.read_dir().into_iter().flatten().flatten() {
                let name = program.file_name();
                if !names.iter().any(|hidden| name == *hidden) {
                    // The first on PATH stays: a second link of that name fails.
                    let _ = std::os::unix::fs::symlink(program.path(), farm.join(name));
                }
            }
        }
        farm
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    said
}

/// Runs a command that must fail with one clear error and advice; returns them.
pub fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    check_error(&said);
    said
}

pub fn check_error(said: &str) {
    let count = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("error: "), count("help: ")), (1, 1), "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("backtrace"),
        "{said}"
    );
}

fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}
