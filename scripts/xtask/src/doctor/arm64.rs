// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it takes to build programs for arm64, and to run guests of it. Debian's
//! packages are unpacked in the cache, never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use super::version::Version;
use super::{apt, apt_install, archive, llvm, rust, tools, Toolchain};
use crate::bail_help;
use crate::context::Context;
use crate::ui::Stage;

/// Of this release are all packages for arm64, whatever this machine runs.
const SUITE: &str = "trixie";
const QEMU: &str = "qemu-system-aarch64";
const QEMU_PACKAGE: &str = "qemu-system-arm";
/// Multi-arch libraries lie in directories of this name.
const TRIPLET: &str = "aarch64-linux-gnu";
/// The packages for arm64, and a file that each is wanted for.
const PACKAGES: &[(&str, &str)] = &[
    ("libc6-dev", "usr/lib/aarch64-linux-gnu/libc.a"),
    (
        "libgcc-14-dev",
        "usr/lib/gcc/aarch64-linux-gnu/14/libgcc_eh.a",
    ),
    ("libc6", "usr/lib/aarch64-linux-gnu/libc.so.6"),
    ("busybox-static", "usr/bin/busybox"),
    ("rng-tools5", "usr/bin/rngtest"),
];
/// What rngtest needs: where the guest looks for it.
const LIBRARIES: &[(&str, &str)] = &[
    ("lib/libc.so.6", "libc.so.6"),
    ("lib/ld-linux-aarch64.so.1", "ld-linux-aarch64.so.1"),
];

/// Tools and files for arm64.
#[derive(Clone, Debug, Default)]
pub struct Arm64 {
    pub qemu: PathBuf,
    pub busybox: PathBuf,
    pub rngtest: PathBuf,
    /// What rngtest needs: where guests look for it, and where it is here.
    pub libraries: Vec<(String, PathBuf)>,
    pub linker: String,
    /// The source of Rust's library.
    pub rust_library: PathBuf,
    /// Holds one directory for each package.
    root: PathBuf,
}

impl Arm64 {
    pub const TARGET: &str = "aarch64-unknown-linux-gnu";

    /// With these, the linker makes programs for arm64.
    pub fn link_args(&self) -> [String; 4] {
        let sysroot = self.root.join("libc6-dev");
        let gcc = self.root.join("libgcc-14-dev/usr/lib/gcc");
        [
            format!("--target={TRIPLET}"),
            format!("--sysroot={}", sysroot.display()),
            format!("--gcc-install-dir={}/{TRIPLET}/14", gcc.display()),
            "-fuse-ld=lld".into(),
        ]
    }
}

/// Finds or fetches all of it; what `toolchain` names is there already.
pub fn ensure(ctx: &Context, stage: &Stage, toolchain: &Toolchain) -> Result<Arm64> {
    let qemu = qemu(ctx, stage, &toolchain.qemu_version)?;
    let root = ctx.cache.join("toolchain/arm64");
    fetch(ctx, stage, &root)?;
    let libc = root.join("libc6/usr/lib").join(TRIPLET);
    let library = |(inside, name): &(&str, &str)| ((*inside).to_owned(), libc.join(name));
    Ok(Arm64 {
        qemu,
        busybox: root.join("busybox-static/usr/bin/busybox"),
        rngtest: root.join("rng-tools5/usr/bin/rngtest"),
        libraries: LIBRARIES.iter().map(library).collect(),
        linker: llvm::program(&toolchain.llvm, "clang"),
        rust_library: rust::library(ctx, stage, &rust::rustc()?)?,
        root,
    })
}

fn fetch(ctx: &Context, stage: &Stage, root: &Path) -> Result<()> {
    let is_missing = |(package, file): &&(&str, &str)| !root.join(package).join(file).is_file();
    let missing: Vec<_> = PACKAGES.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = archive::foreign(ctx, stage, SUITE, "arm64")?;
    for (package, file) in missing {
        let archive = apt.download(package, &ctx.cache.join("downloads"), stage)?;
        apt::unpack(&archive, &root.join(package))?;
        fs::remove_file(&archive).with_context(|| archive.display().to_string())?;
        if !root.join(package).join(file).is_file() {
            return Err(anyhow!("the package {package} of {SUITE} holds no {file}"));
        }
    }
    Ok(())
}

/// The machine's own, or one of the same version as that for x86-64, with which
/// it shares its libraries.
fn qemu(ctx: &Context, stage: &Stage, version: &str) -> Result<PathBuf> {
    let unpacked = ctx.cache.join("toolchain").join(QEMU_PACKAGE);
    let inside = unpacked.join("usr/bin").join(QEMU);
    let known = tools::find_program(QEMU)
        .into_iter()
        .chain([inside.clone()]);
    if let Some(path) = known.into_iter().find(|path| serves(path)) {
        return Ok(path);
    }
    if apt::available() {
        unpack_qemu(ctx, stage, version, &unpacked)?;
    }
    if serves(&inside) {
        return Ok(inside);
    }
    bail_help!(
        format!("{QEMU} 8 or later is missing"),
        format!("install it; Debian has it in the package {QEMU_PACKAGE}")
    )
}

fn serves(path: &Path) -> bool {
    tools::version_of(path).is_some_and(|version| version.at_least(super::OLDEST_QEMU))
}

fn unpack_qemu(ctx: &Context, stage: &Stage, version: &str, to: &Path) -> Result<()> {
    let apt = apt_install::host_apt(ctx, stage, true)?;
    let wanted = Version::at_start(version);
    let versions = apt.versions(QEMU_PACKAGE)?;
    let Some(fitting) = versions
        .iter()
        .find(|found| Version::of_package(found) == wanted)
    else {
        // Another version may want other libraries; the machine's apt knows.
        return Ok(());
    };
    let package = format!("{QEMU_PACKAGE}={fitting}");
    let archive = apt.download(&package, &ctx.cache.join("downloads"), stage)?;
    apt::unpack(&archive, to)?;
    fs::remove_file(&archive).with_context(|| archive.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_looks_only_where_the_packages_are() {
        let arm64 = Arm64 {
            root: "/c/arm64".into(),
            ..Arm64::default()
        };
        let args = arm64.link_args();
        assert_eq!(args[1], "--sysroot=/c/arm64/libc6-dev");
        assert_eq!(
            args[2],
            "--gcc-install-dir=/c/arm64/libgcc-14-dev/usr/lib/gcc/aarch64-linux-gnu/14"
        );
        let held = |dir: &str| PACKAGES.iter().any(|(_, file)| file.starts_with(dir));
        assert!(held("usr/lib/gcc/aarch64-linux-gnu/14/"));
    }

    #[test]
    fn what_does_not_run_does_not_serve() {
        assert!(!serves(Path::new("/no/such/qemu")));
        assert!(!serves(Path::new("/bin/false")));
    }
}
