// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel source: Debian's package, unpacked once and never modified, or a
//! tree of the user's own, never written to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::archive::{self, Found};
use crate::doctor::{self, Need, Version};
use crate::stamp;
use crate::ui::Stage;

const PACKAGE: &str = "linux-source-7.3";
/// The release that the series is written for.
const OLDEST: &[u64] = &[7, 3];
const UNPACK_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A kernel source that is never modified.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    pub dir: PathBuf,
    /// Such as `7.3.4`.
    pub kernel_version: String,
    /// Debian's package and its version, or `own tree`.
    pub package: String,
    /// Whether the user keeps it, so that it may change at any time.
    pub own: bool,
}

impl Source {
    /// Changes when a work tree that was made from it has to be made anew.
    pub fn identity(&self) -> String {
        match self.own {
            true => format!("own tree {}", self.dir.display()),
            false => self.package.clone(),
        }
    }
}

/// The command `source`.
pub fn run(ctx: &Context, refresh: bool) -> Result<()> {
    doctor::ensure(ctx, &[Need::Source])?;
    if refresh && ctx.kernel_tree.is_none() {
        return provide(ctx, true).map(|_| ());
    }
    ensure(ctx).map(|_| ())
}

/// The user's tree if there is one, else the cached package, else a new one.
pub fn ensure(ctx: &Context) -> Result<Source> {
    match &ctx.kernel_tree {
        Some(tree) => own_tree(ctx, tree),
        None => provide(ctx, false),
    }
}

fn own_tree(ctx: &Context, tree: &Path) -> Result<Source> {
    let stage = ctx.ui.stage("source");
    let source = Source {
        dir: tree.to_owned(),
        kernel_version: check_version(tree)?,
        package: "own tree".into(),
        own: true,
    };
    stage.finish(&format!(
        "Linux {} in {}",
        source.kernel_version,
        tree.display()
    ));
    Ok(source)
}

fn check_version(tree: &Path) -> Result<String> {
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap_or_default();
    let Some(found) = kernel_version(&makefile) else {
        bail_help!(
            format!("{} is not a Linux source tree", tree.display()),
            "set KERNEL_TREE to the top of a tree of Linux 7.3 or later"
        );
    };
    match Version::at_start(&found) {
        Some(version) if version.at_least(OLDEST) => Ok(found),
        _ => bail_help!(
            format!(
                "Linux 7.3 or later is needed, {} is Linux {found}",
                tree.display()
            ),
            "check out a later release there, or leave KERNEL_TREE out to use Debian's source"
        ),
    }
}

/// As the top Makefile puts it together, such as `7.3.4` or `7.4.0-rc1`.
fn kernel_version(makefile: &str) -> Option<String> {
    let field = |name: &str| {
        makefile.lines().take(20).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let numbers = [field("VERSION")?, field("PATCHLEVEL")?, field("SUBLEVEL")?];
    Some(numbers.join(".") + &field("EXTRAVERSION").unwrap_or_default())
}

fn stamp_path(ctx: &Context) -> PathBuf {
    ctx.cache.join("source").join("current.json")
}

fn cached(ctx: &Context) -> Option<Source> {
    let source: Source = stamp::read(&stamp_path(ctx))?;
    // The cache may have been moved since, and the stamp with it.
    let dir = ctx.cache.join("source").join(source.dir.file_name()?);
    dir.join("Makefile")
        .is_file()
        .then_some(Source { dir, ..source })
}

fn provide(ctx: &Context, refresh: bool) -> Result<Source> {
    let stage = ctx.ui.stage("source");
    let known = cached(ctx);
    if let (Some(source), false) = (&known, refresh) {
        stage.finish(&source.package);
        return Ok(source.clone());
    }
    let found = match archive::find(ctx, &stage, PACKAGE, |_| true)? {
        Ok(found) => found,
        Err(_) => bail_help!(
            format!("the archive has no package {PACKAGE}"),
            "use a source tree of your own, Linux 7.3 or later: KERNEL_TREE=/path"
        ),
    };
    let package = format!("{PACKAGE} {}", found.version);
    if let Some(source) = known.filter(|source| source.package == package) {
        stage.finish(&format!("{package} is the newest"));
        return Ok(source);
    }
    let source = fetch(ctx, &stage, &found, package)?;
    stage.finish(&source.package);
    Ok(source)
}

fn fetch(ctx: &Context, stage: &Stage, found: &Found, package: String) -> Result<Source> {
    let deb = found.download(ctx, stage)?;
    let unpacked = ctx.cache.join("downloads").join(PACKAGE);
    stage.message("unpacking the package");
    doctor::unpack(&deb, &unpacked)?;
    let name = format!("{PACKAGE}-{}", found.version);
    let tarball = unpacked.join(format!("usr/src/{PACKAGE}.tar.xz"));
    stage.message("unpacking the source");
    let dir = extract(ctx, &tarball, &name)?;
    let source = Source {
        kernel_version: check_version(&dir)?,
        dir,
        package,
        own: false,
    };
    stamp::write(&stamp_path(ctx), &source)?;
    fs::remove_dir_all(&unpacked).with_context(|| unpacked.display().to_string())?;
    fs::remove_file(&deb).with_context(|| deb.display().to_string())?;
    remove_others(ctx, &name)?;
    Ok(source)
}

fn extract(ctx: &Context, tarball: &Path, name: &str) -> Result<PathBuf> {
    let parent = ctx.cache.join("source");
    fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    let fresh = tempfile::tempdir_in(&parent).with_context(|| parent.display().to_string())?;
    Command::new("tar")
        .args([
            "--extract",
            "--strip-components=1",
            "--no-same-owner",
            "--file",
        ])
        .arg(tarball)
        .arg("--directory")
        .arg(fresh.path())
        .limit(UNPACK_LIMIT)
        .run()
        .with_context(|| format!("cannot unpack {}", tarball.display()))?;
    let dir = parent.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    fs::rename(fresh.keep(), &dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// Earlier versions, and what an interrupted run left.
fn remove_others(ctx: &Context, keep: &str) -> Result<()> {
    let parent = ctx.cache.join("source");
    for entry in parent.read_dir()?.flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != keep {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_put_together_as_the_makefile_does() {
        let text = "# SPDX\nVERSION = 7\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc2\n";
        assert_eq!(kernel_version(text).as_deref(), Some("7.4.0-rc2"));
        assert_eq!(kernel_version("all:\n\ttrue\n"), None);
    }

    #[test]
    fn an_old_tree_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let makefile = "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 9\nEXTRAVERSION =\n";
        fs::write(dir.path().join("Makefile"), makefile).unwrap();
        let error = check_version(dir.path()).unwrap_err().to_string();
        assert!(error.contains("7.3") && error.contains("6.1.9"), "{error}");
    }
}
