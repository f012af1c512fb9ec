// SPDX-License-Identifier: MIT OR Apache-2.0

//! Other releases of Debian, each unpacked in the cache as a root directory of
//! its own. Nothing of them is installed on the machine, and what is mounted
//! for a program that runs inside is seen by that program only.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::assemble::Tree;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::archive;
use crate::stamp;

const LIMIT: Duration = Duration::from_secs(60 * 60);
/// All that a kernel build calls; the compilers of the release's own choice.
const PACKAGES: &[&str] = &[
    "rustc",
    "rust-src",
    "rustfmt",
    "bindgen",
    "clang",
    "llvm",
    "lld",
    "libclang-dev",
    "gcc",
    "make",
    "flex",
    "bison",
    "bc",
    "libelf-dev",
    "libssl-dev",
    "python3",
    "perl",
    "kmod",
    "cpio",
    "xz-utils",
];
/// The newest Rust is in experimental before it is in sid; all else is of sid.
const RUST_OF_EXPERIMENTAL: &str =
    "Package: src:rustc\nPin: release n=rc-buggy\nPin-Priority: 500\n";

/// Of the machine's settings for apt, by name.
const PASSED_ON: &[&str] = &[
    "Acquire::Check-Valid-Until",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
];

/// Mounts what programs need, with the kernel source read-only, then starts one
/// in the directory that it was called in. Paths are the same inside.
const ENTER: &str = r#"set -e
root=$1 cache=$2 tree=$3 tmp=$4 repo=$5 here=$PWD
shift 5
for dir in /proc /sys /dev "$tmp" "$repo" "$cache"; do
	mkdir -p "$root$dir"
	mount --rbind "$dir" "$root$dir"
done
mount --bind "$tree" "$root$tree"
mount -o remount,bind,ro "$root$tree"
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$here" "$@"
"#;

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 13: its compilers are the oldest that Linux 7.3 accepts.
    Trixie,
    /// What will be Debian, with the newest rustc that the archive has.
    Sid,
}

/// What a root was made of; a change of the recipe makes it anew.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    sources: Vec<String>,
    packages: Vec<String>,
    preferences: String,
}

/// A root that is there.
pub struct Root {
    pub dir: PathBuf,
}

impl Release {
    pub fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    fn recipe(self, mirror: &str) -> Made {
        let suites: &[&str] = match self {
            Self::Trixie => &["trixie"],
            Self::Sid => &["sid", "experimental"],
        };
        let key = archive::KEYRING;
        let line = |suite: &&str| format!("deb [signed-by={key}] {mirror} {suite} main");
        Made {
            sources: suites.iter().map(line).collect(),
            packages: PACKAGES.iter().map(|name| (*name).to_owned()).collect(),
            preferences: match self {
                Self::Trixie => String::new(),
                Self::Sid => RUST_OF_EXPERIMENTAL.into(),
            },
        }
    }
}

/// Makes the root of `release`, unless it is there.
pub fn ensure(ctx: &Context, release: Release) -> Result<Root> {
    let roots = ctx.cache.join("roots");
    let dir = roots.join(release.name());
    let vouches = roots.join(format!("{}.json", release.name()));
    let recipe = release.recipe(&archive::mirror()?);
    if stamp::read::<Made>(&vouches).as_ref() == Some(&recipe) && dir.is_dir() {
        return Ok(Root { dir });
    }
    stamp::remove(&vouches)?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(&roots).with_context(|| roots.display().to_string())?;
    unpack(ctx, release, &recipe, &dir)?;
    stamp::write(&vouches, &recipe)?;
    Ok(Root { dir })
}

fn unpack(ctx: &Context, release: Release, recipe: &Made, dir: &Path) -> Result<()> {
    let stage = ctx.ui.stage(format!("root {}", release.name()));
    let preferences = dir.with_extension("preferences");
    stamp::write_atomically(&preferences, recipe.preferences.as_bytes(), 0o644)?;
    Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=apt"])
        .arg(format!("--include={}", recipe.packages.join(",")))
        .arg(format!(
            "--aptopt=Dir::Etc::preferences \"{}\"",
            preferences.display()
        ))
        .args(settings_of_machine()?)
        .arg(release.name())
        .arg(dir)
        .args(&recipe.sources)
        .limit(LIMIT)
        .log(ctx.log(&format!("root-{}", release.name())))
        .lines(|line| stage.message(line))
        .with_context(|| format!("cannot make a root of {}", release.name()))?;
    stage.finish(&format!("{} packages asked for", recipe.packages.len()));
    Ok(())
}

/// How this machine's apt reaches its archives; mmdebstrap's would not know.
fn settings_of_machine() -> Result<Vec<String>> {
    let all = Command::new("apt-config").arg("dump").output()?;
    let ours = all.lines().filter(|line| {
        let name = line.split(' ').next().unwrap_or_default();
        PASSED_ON.contains(&name)
    });
    Ok(ours
        .map(|line| format!("--aptopt={}", line.trim_end_matches(';')))
        .collect())
}

impl Root {
    /// What comes in front of a program so that it runs inside.
    pub fn wrapper(&self, ctx: &Context, tree: &Tree) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let fixed = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            ENTER,
            "enter",
        ];
        let fixed = fixed.iter().map(|word| (*word).to_owned());
        let paths = [
            path(&self.dir),
            path(&ctx.cache),
            path(&tree.dir),
            path(&std::env::temp_dir()),
            path(&ctx.repo),
        ];
        fixed.chain(paths).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_machines_own() {
        let recipe = Release::Sid.recipe("http://m/debian");
        assert!(recipe.sources[1].ends_with("] http://m/debian experimental main"));
        assert_eq!(Release::Trixie.recipe("x").preferences, "");
    }
}
