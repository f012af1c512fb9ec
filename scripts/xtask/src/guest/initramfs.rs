// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guests' file system: the guest program as first process, a kernel's
//! modules, busybox for shells, and rngtest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cpio::newc::{trailer, Builder};

use super::userland::Userland;
use crate::build::Kernel;
use crate::context::Context;
use crate::doctor::Toolchain;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DATA: u32 = 0o100_644;

/// The archives of a kernel's guests.
pub struct Archives {
    pub plain: PathBuf,
    /// With the programs for disks, which take ten times the room.
    pub with_disk_tools: Option<PathBuf>,
}

/// Writes the archives for `kernel`.
pub fn build(
    ctx: &Context,
    tools: &Toolchain,
    kernel: &Kernel,
    change: Option<&str>,
) -> Result<Archives> {
    let name = match change {
        Some(change) => format!("{}-{change}", kernel.variant.name()),
        None => kernel.variant.name().into(),
    };
    let stage = ctx.ui.stage(format!("guest {name}"));
    let dir = ctx.cache.join("initramfs");
    let plain = dir.join(format!("{name}.cpio"));
    let userland = Userland::build(ctx, &stage, tools, kernel.variant)?;
    let mut archive = assemble(&userland, kernel)?;
    let mut size = archive.write(&plain)?;
    let mut with_disk_tools = None;
    if !userland.disk_tools.is_empty() {
        for (name, file) in &userland.disk_tools {
            archive.file(name, file, PROGRAM)?;
        }
        let path = dir.join(format!("{name}-disks.cpio"));
        size += archive.write(&path)?;
        with_disk_tools = Some(path);
    }
    stage.finish(&format!("initramfs, {} KiB", size >> 10));
    Ok(Archives {
        plain,
        with_disk_tools,
    })
}

fn assemble(userland: &Userland, kernel: &Kernel) -> Result<Archive> {
    let mut archive = Archive::default();
    for dir in ["dev", "proc", "sys", "tmp"] {
        archive.directory(dir);
    }
    archive.file("init", &userland.init, PROGRAM)?;
    archive.file("bin/busybox", &userland.busybox, PROGRAM)?;
    archive.file("usr/bin/rngtest", &userland.rngtest, PROGRAM)?;
    for (name, library) in &userland.libraries {
        archive.file(name, library, PROGRAM)?;
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
