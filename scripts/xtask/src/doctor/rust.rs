// SPDX-License-Identifier: MIT OR Apache-2.0

//! The Rust compiler and, of exactly its version, the source of Rust's library,
//! from which the kernel builds its own `core`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::version::Version;
use super::{apt, archive};
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::ui::Stage;

/// The oldest compiler that Linux 7.3 accepts.
const OLDEST: &[u64] = &[1, 85];

/// The compiler on PATH.
#[derive(Clone, Debug)]
pub struct Rustc {
    pub version: Version,
    /// Not a release: only the component of the very same build fits.
    prerelease: bool,
}

pub fn rustc() -> Result<Rustc> {
    let Ok(said) = Command::new("rustc").arg("--version").output() else {
        bail_help!(
            "rustc is missing",
            "install Rust 1.85 or later, from https://rustup.rs or as the package rustc"
        );
    };
    let prerelease = said.contains("-nightly") || said.contains("-beta");
    match Version::find(&said) {
        Some(version) if version.at_least(OLDEST) => check_rustfmt(Rustc {
            version,
            prerelease,
        }),
        _ => bail_help!(
            format!(
                "Linux 7.3 needs rustc 1.85 or later, found: {}",
                said.trim()
            ),
            "run `rustup update stable`, or install a later rustc"
        ),
    }
}

fn check_rustfmt(rustc: Rustc) -> Result<Rustc> {
    if Command::new("rustfmt").arg("--version").output().is_err() {
        bail_help!(
            "rustfmt is missing: the kernel build formats its generated bindings with it",
            "run `rustup component add rustfmt`, or install the package rustfmt"
        );
    }
    Ok(rustc)
}

/// rustup has a program of that name even where the component is missing.
pub fn check_clippy() -> Result<()> {
    for (program, component) in [("clippy-driver", "clippy"), ("rustdoc", "rustc")] {
        if Command::new(program).arg("--version").output().is_err() {
            bail_help!(
                format!("{program} is missing: our files are checked with it"),
                format!(
                    "run `rustup component add {component}`, or install Debian's packages \
                         rustc and rust-clippy"
                )
            );
        }
    }
    Ok(())
}

/// The directory for `RUST_LIB_SRC`.
pub fn library(ctx: &Context, stage: &Stage, rustc: &Rustc) -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("RUST_LIB_SRC").filter(|value| !value.is_empty()) {
        return check(PathBuf::from(chosen), rustc);
    }
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()?;
    let component = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    if is_library(&component) {
        return check(component, rustc);
    }
    let unpacked = unpacked_dir(ctx, rustc).join("library");
    if is_library(&unpacked) {
        return check(unpacked, rustc);
    }
    if rustc.prerelease || !apt::available() {
        bail_help!(
            format!("the rust-src of rustc {} is missing", rustc.version),
            "run `rustup component add rust-src`"
        );
    }
    download(ctx, stage, rustc)
}

fn unpacked_dir(ctx: &Context, rustc: &Rustc) -> PathBuf {
    ctx.cache
        .join("toolchain")
        .join(format!("rust-src-{}", rustc.version))
}

/// Debian's `rust-src`; it holds the compiler, too, which is not kept.
fn download(ctx: &Context, stage: &Stage, rustc: &Rustc) -> Result<PathBuf> {
    let fits = |version: &str| Version::of_package(version).as_ref() == Some(&rustc.version);
    let found = match archive::find(ctx, stage, "rust-src", fits)? {
        Ok(found) => found,
        Err(seen) => return mismatch(rustc, &format!("the archive has {}", seen.join(", "))),
    };
    let package = found.download(ctx, stage)?;
    stage.message("unpacking rust-src");
    let scratch = ctx.cache.join("downloads/rust-src");
    apt::unpack(&package, &scratch)?;
    let library = scratch
        .join("usr/src")
        .join(format!("rustc-{}", rustc.version))
        .join("library");
    if !is_library(&library) {
        return mismatch(rustc, &format!("the package is rust-src {}", found.version));
    }
    let kept = unpacked_dir(ctx, rustc);
    fs::create_dir_all(&kept).with_context(|| kept.display().to_string())?;
    let kept = kept.join("library");
    fs::rename(&library, &kept).with_context(|| kept.display().to_string())?;
    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    fs::remove_file(&package).with_context(|| package.display().to_string())?;
    Ok(kept)
}

fn is_library(dir: &Path) -> bool {
    dir.join("core/src/lib.rs").is_file()
}

fn check(library: PathBuf, rustc: &Rustc) -> Result<PathBuf> {
    if !is_library(&library) {
        bail_help!(
            format!("{} is not the source of Rust's library", library.display()),
            "set RUST_LIB_SRC to a directory that holds core/src/lib.rs, or leave it out"
        );
    }
    match version_of(&library) {
        Some(version) if version != rustc.version => {
            mismatch(rustc, &format!("{} is {version}", library.display()))
        }
        _ => Ok(library),
    }
}

/// What the path or the file beside it says; rustup's component says neither,
/// and always belongs to the compiler that it lies under.
fn version_of(library: &Path) -> Option<Version> {
    let real = library.canonicalize().ok()?;
    let written = real
        .parent()
        .and_then(|parent| fs::read_to_string(parent.join("version")).ok())
        .and_then(|text| Version::find(&text));
    written.or_else(|| {
        real.iter()
            .filter_map(|part| part.to_str())
            .filter_map(|part| {
                part.strip_prefix("rustc-")
                    .or(part.strip_prefix("rust-src-"))
            })
            .find_map(Version::at_start)
    })
}

fn mismatch<T>(rustc: &Rustc, found: &str) -> Result<T> {
    bail_help!(
        format!(
            "rust-src does not match: rustc is {}, {found}",
            rustc.version
        ),
        "run `rustup component add rust-src`, or install rustc and rust-src of the same version"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rustc(version: &str) -> Rustc {
        Rustc {
            version: Version::at_start(version).unwrap(),
            prerelease: false,
        }
    }

    fn fake_library(root: &Path, path: &str) -> PathBuf {
        let library = root.join(path);
        fs::create_dir_all(library.join("core/src")).unwrap();
        fs::write(library.join("core/src/lib.rs"), "").unwrap();
        library
    }

    #[test]
    fn a_mismatch_tells_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let library = fake_library(dir.path(), "rustc-1.80.1/library");
        let error = check(library, &rustc("1.95.0")).unwrap_err().to_string();
        assert!(
            error.contains("1.80.1") && error.contains("1.95.0"),
            "{error}"
        );
    }

    #[test]
    fn the_version_file_counts_more_than_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let library = fake_library(dir.path(), "rust-src-1.80.1/library");
        let version = dir.path().join("rust-src-1.80.1/version");
        fs::write(version, "1.95.0 (59807616e 2026-04-14)\n").unwrap();
        assert!(check(library, &rustc("1.95.0")).is_ok());
    }

    #[test]
    fn a_component_without_a_version_belongs_to_its_compiler() {
        let dir = tempfile::tempdir().unwrap();
        let library = fake_library(dir.path(), "lib/rustlib/src/rust/library");
        assert!(check(library, &rustc("1.95.0")).is_ok());
    }
}
