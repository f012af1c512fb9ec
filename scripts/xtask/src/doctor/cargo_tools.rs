// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that cargo builds into the cache, at pinned versions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use super::version::Version;
use crate::command::Command;
use crate::context::Context;
use crate::stamp;
use crate::ui::Stage;

const INSTALL_LIMIT: Duration = Duration::from_secs(30 * 60);
/// What the kernel's `scripts/min-tool-version.sh` demands.
const OLDEST_BINDGEN: &[u64] = &[0, 71, 1];

/// One program and where it comes from.
struct CargoTool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    /// How many packages cargo builds for it, for the progress line.
    packages: u64,
}

const BINDGEN: CargoTool = CargoTool {
    package: "bindgen-cli",
    version: "0.72.1",
    program: "bindgen",
    packages: 50,
};

const VHOST_DEVICE_RNG: CargoTool = CargoTool {
    package: "vhost-device-rng",
    version: "0.1.0",
    program: "vhost-device-rng",
    packages: 55,
};

/// bindgen: our own, or a good one on PATH, or else built now.
pub fn bindgen(ctx: &Context, stage: &Stage, libclang: &Path) -> Result<(PathBuf, Version)> {
    let works = |path: &Path| generates_bindings(ctx, path, libclang);
    if let Some(path) = BINDGEN.cached(ctx) {
        works(&path)?;
        return Ok((path, pinned(&BINDGEN)?));
    }
    if let Some((path, version)) = bindgen_on_path() {
        if works(&path).is_ok() {
            return Ok((path, version));
        }
    }
    let path = BINDGEN.install(ctx, stage)?;
    works(&path)?;
    Ok((path, pinned(&BINDGEN)?))
}

/// The vhost-user entropy device that UML guests are given.
pub fn vhost_device_rng(ctx: &Context, stage: &Stage) -> Result<PathBuf> {
    match VHOST_DEVICE_RNG.cached(ctx) {
        Some(path) => Ok(path),
        None => VHOST_DEVICE_RNG.install(ctx, stage),
    }
}

fn pinned(tool: &CargoTool) -> Result<Version> {
    Version::at_start(tool.version).ok_or_else(|| anyhow!("{} has no version", tool.package))
}

fn bindgen_on_path() -> Option<(PathBuf, Version)> {
    let path = which::which("bindgen").ok()?;
    let version = Version::find(&Command::new(&path).arg("--version").output().ok()?)?;
    version.at_least(OLDEST_BINDGEN).then_some((path, version))
}

/// `--version` works without libclang, so a header is tried as well.
fn generates_bindings(ctx: &Context, bindgen: &Path, libclang: &Path) -> Result<()> {
    let header = ctx.cache.join("toolchain/probe.h");
    stamp::write_atomically(&header, b"int probe(void);\n", 0o644)?;
    Command::new(bindgen)
        .arg(&header)
        .env("LIBCLANG_PATH", libclang)
        .output()
        .map(|_| ())
        .with_context(|| format!("{} does not work", bindgen.display()))
}

impl CargoTool {
    fn root(&self, ctx: &Context) -> PathBuf {
        ctx.cache.join("toolchain").join(self.program)
    }

    /// A program in the cache counts only if it runs: one that was linked
    /// against another system's libraries is there and still useless.
    fn cached(&self, ctx: &Context) -> Option<PathBuf> {
        let path = self.root(ctx).join("bin").join(self.program);
        self.is_pinned(&path).then_some(path)
    }

    fn is_pinned(&self, path: &Path) -> bool {
        let said = Command::new(path).arg("--version").output();
        said.is_ok_and(|text| text.split_whitespace().last() == Some(self.version))
    }

    fn install(&self, ctx: &Context, stage: &Stage) -> Result<PathBuf> {
        let spec = format!("{}@{}", self.package, self.version);
        let target = ctx.cargo_target().join("install").join(self.program);
        stage.message(&format!("building {spec}"));
        stage.set_total(Some(self.packages));
        let mut built = 0;
        Command::new("cargo")
            .args(["install", "--locked", "--force", &spec, "--root"])
            .arg(self.root(ctx))
            .arg("--target-dir")
            .arg(&target)
            .args(["--jobs", &ctx.jobs.to_string()])
            .limit(INSTALL_LIMIT)
            .log(ctx.log(&format!("cargo-install-{}", self.program)))
            .lines(|line| {
                if line.trim_start().starts_with("Compiling ") {
                    built += 1;
                    stage.set_pos(built);
                }
            })
            .with_context(|| format!("cannot build {spec}"))?;
        stage.set_total(None);
        // Half a gigabyte that nothing needs again.
        std::fs::remove_dir_all(&target).with_context(|| target.display().to_string())?;
        self.cached(ctx)
            .ok_or_else(|| anyhow!("{spec} was built, but does not run"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(script: &str) -> tempfile::TempPath {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, script).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, executable).unwrap();
        path
    }

    #[test]
    fn a_tool_counts_only_if_it_runs_and_is_the_pinned_one() {
        let good = program("#!/bin/sh\necho bindgen 0.72.1\n");
        let other = program("#!/bin/sh\necho bindgen 0.71.0\n");
        let broken = program("#!/no/such/loader\n");
        assert!(BINDGEN.is_pinned(&good));
        assert!(!BINDGEN.is_pinned(&other));
        assert!(!BINDGEN.is_pinned(&broken));
        assert!(!BINDGEN.is_pinned(Path::new("/no/such/bindgen")));
    }
}
