// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guests' file system: the guest program as first process, a kernel's
//! modules, busybox for shells, and rngtest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cpio::newc::{trailer, Builder};

use crate::build::Kernel;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DATA: u32 = 0o100_644;

/// Writes the archive for `kernel` and returns its path.
pub fn build(ctx: &Context, tools: &Toolchain, kernel: &Kernel) -> Result<PathBuf> {
    let name = kernel.variant.name();
    let stage = ctx.ui.stage(format!("guest {name}"));
    let path = ctx.cache.join("initramfs").join(format!("{name}.cpio"));
    let init = guest_program(ctx)?;
    let archive = assemble(tools, kernel, &init)?;
    let size = archive.write(&path)?;
    stage.finish(&format!("initramfs, {} KiB", size >> 10));
    Ok(path)
}

/// Builds the guest program, without libraries, as the guest has none.
fn guest_program(ctx: &Context) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "guest"])
        .args(["--target", TARGET, "--manifest-path"])
        .arg(ctx.repo.join("scripts/Cargo.toml"))
        .env("CARGO_TARGET_DIR", ctx.cargo_target())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .without_envs(&["CARGO_ENCODED_RUSTFLAGS"])
        .log(ctx.log("guest-program"))
        .run()?;
    Ok(ctx.cargo_target().join(TARGET).join("release/guest"))
}

fn assemble(tools: &Toolchain, kernel: &Kernel, init: &Path) -> Result<Archive> {
    let mut archive = Archive::default();
    for dir in ["dev", "proc", "sys", "tmp"] {
        archive.directory(dir);
    }
    archive.file("init", init, PROGRAM)?;
    archive.file("bin/busybox", &tools.busybox, PROGRAM)?;
    archive.file("usr/bin/rngtest", &tools.rngtest, PROGRAM)?;
    for library in libraries(&tools.rngtest)? {
        let name = library.strip_prefix("/").unwrap_or(&library);
        archive.file(&name.to_string_lossy(), &library, PROGRAM)?;
    }
    for module in &kernel.modules {
        archive.file(&module_name(module), module, DATA)?;
    }
    Ok(archive)
}

/// The kernel knows a module by underscores, whatever its file is called.
fn module_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("modules/{}.ko", stem.replace('-', "_"))
}

/// The libraries that a program needs, and its interpreter.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output()?;
    Ok(parse_ldd(&listed))
}

fn parse_ldd(listed: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    listed.lines().filter_map(path).collect()
}

/// A cpio archive in the making; directories come before what is in them.
#[derive(Default)]
struct Archive {
    entries: Vec<(String, u32, Vec<u8>)>,
    directories: BTreeSet<String>,
}

impl Archive {
    fn directory(&mut self, name: &str) {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.directory(parent);
        }
        if self.directories.insert(name.to_owned()) {
            self.entries.push((name.to_owned(), DIRECTORY, Vec::new()));
        }
    }

    fn file(&mut self, name: &str, from: &Path, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| from.display().to_string())?;
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.directory(parent);
        }
        self.entries.push((name.to_owned(), mode, bytes));
        Ok(())
    }

    /// Replaces the archive at `path`; returns its size.
    fn write(&self, path: &Path) -> Result<u64> {
        let name = || format!("cannot write {}", path.display());
        let dir = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir).with_context(name)?;
        let new = path.with_extension("new");
        let mut out = BufWriter::new(File::create(&new).with_context(name)?);
        for (number, (entry, mode, bytes)) in (1..).zip(&self.entries) {
            let size = u32::try_from(bytes.len())?;
            let builder = Builder::new(entry).ino(number).nlink(1).mode(*mode);
            let mut writer = builder.write(&mut out, size);
            writer.write_all(bytes).with_context(name)?;
            writer.finish().with_context(name)?;
        }
        trailer(&mut out).with_context(name)?;
        let file = out.into_inner().map_err(|failed| failed.into_error());
        let size = file.with_context(name)?.metadata()?.len();
        fs::rename(&new, path).with_context(name)?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries_and_the_interpreter() {
        let listed = "\tlinux-vdso.so.1 (0x00007f67c4cef000)\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f67c4af6000)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f67c4cf1000)\n";
        let found = parse_ldd(listed);
        assert_eq!(found[0], Path::new("/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(found[1], Path::new("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn modules_have_the_name_that_the_kernel_knows() {
        let path = Path::new("/b/drivers/char/hw_random/virtio-rng.ko");
        assert_eq!(module_name(path), "modules/virtio_rng.ko");
    }

    #[test]
    fn the_archive_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, b"content").unwrap();
        let mut archive = Archive::default();
        archive.file("a/b/c", &source, PROGRAM).unwrap();
        let path = dir.path().join("x.cpio");
        archive.write(&path).unwrap();
        let mut file = File::open(&path).unwrap();
        let mut seen = Vec::new();
        loop {
            let reader = cpio::newc::Reader::new(file).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            seen.push((reader.entry().name().to_owned(), reader.entry().mode()));
            file = reader.finish().unwrap();
        }
        let expected = [("a", DIRECTORY), ("a/b", DIRECTORY), ("a/b/c", PROGRAM)];
        let expected: Vec<_> = expected.map(|(name, mode)| (name.to_owned(), mode)).into();
        assert_eq!(seen, expected);
    }
}
