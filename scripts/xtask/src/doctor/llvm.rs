// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which clang, lld and binary tools build the kernel.

use std::path::{Path, PathBuf};

use super::version::Version;
use crate::command::Command;

/// Tried in this order: what the series is tested with, then what is newer,
/// then what is older and still good, then whatever has no suffix.
const CHOICES: &[&str] = &["-19", "-20", "-21", "-22", "-18", "-17", "1"];
/// The oldest release that is accepted.
const OLDEST: &[u64] = &[17];
/// All that `make LLVM=` calls.
const TOOLS: &[&str] = &[
    "clang",
    "ld.lld",
    "llvm-ar",
    "llvm-nm",
    "llvm-objcopy",
    "llvm-objdump",
    "llvm-readelf",
    "llvm-strip",
];

/// A complete set of LLVM tools.
#[derive(Clone, Debug)]
pub struct Llvm {
    /// The value of make's `LLVM=`.
    pub choice: String,
    pub version: Version,
    /// Where libclang is, for bindgen.
    pub libclang: PathBuf,
}

/// The set that the user names in `LLVM`, or else the first that is complete.
pub fn find() -> Option<Llvm> {
    match std::env::var("LLVM") {
        Ok(choice) if !choice.is_empty() => examine(&choice),
        _ => CHOICES.iter().find_map(|choice| examine(choice)),
    }
}

/// The major versions that Debian packages, in order of preference.
pub fn package_numbers() -> impl Iterator<Item = &'static str> {
    CHOICES.iter().filter_map(|choice| choice.strip_prefix('-'))
}

/// Debian's packages of one major version.
pub fn packages(number: &str) -> Vec<String> {
    vec![
        format!("clang-{number}"),
        format!("lld-{number}"),
        format!("llvm-{number}"),
        format!("libclang-{number}-dev"),
    ]
}

fn examine(choice: &str) -> Option<Llvm> {
    let paths: Option<Vec<PathBuf>> = TOOLS
        .iter()
        .map(|tool| which::which(program(choice, tool)).ok())
        .collect();
    let clang = paths?.swap_remove(0);
    let said = Command::new(&clang).arg("--version").output().ok()?;
    let version = Version::find(&said).filter(|version| version.at_least(OLDEST))?;
    Some(Llvm {
        choice: choice.to_owned(),
        version,
        libclang: libclang_dir(&clang)?,
    })
}

/// As the kernel's Makefile reads `LLVM=`: a suffix, a directory, or neither.
pub fn program(choice: &str, tool: &str) -> String {
    if choice.starts_with('-') {
        format!("{tool}{choice}")
    } else if choice.ends_with('/') {
        format!("{choice}{tool}")
    } else {
        tool.to_owned()
    }
}

fn libclang_dir(clang: &Path) -> Option<PathBuf> {
    let chosen = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    // Distributions keep each release in a directory of its own, with the
    // programs on PATH as links into it.
    let beside = clang
        .canonicalize()
        .ok()
        .and_then(|real| Some(real.ancestors().nth(2)?.join("lib")));
    let usual = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(PathBuf::from);
    chosen
        .into_iter()
        .chain(beside)
        .chain(usual)
        .find(|dir| holds_libclang(dir))
}

pub fn holds_libclang(dir: &Path) -> bool {
    let Ok(entries) = dir.read_dir() else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libclang.so") || (name.starts_with("libclang-") && name.contains(".so"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_kernels_makefile() {
        assert_eq!(program("-19", "clang"), "clang-19");
        assert_eq!(program("/opt/llvm/bin/", "ld.lld"), "/opt/llvm/bin/ld.lld");
        assert_eq!(program("1", "llvm-ar"), "llvm-ar");
    }
}
