// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that run inside the guests. Debian's packages of them are unpacked
//! in the cache, never installed: `busybox-static` would displace the dynamic
//! busybox that most machines have, `rng-tools5` would start a daemon.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use super::{apt, apt_install, tools};
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::ui::Stage;

struct GuestTool {
    program: &'static str,
    package: &'static str,
    /// Arguments with which it does nothing and succeeds.
    probe: &'static [&'static str],
    /// For a guest without libraries.
    is_static: bool,
}

const BUSYBOX: GuestTool = GuestTool {
    program: "busybox",
    package: "busybox-static",
    probe: &["true"],
    is_static: true,
};

const RNGTEST: GuestTool = GuestTool {
    program: "rngtest",
    package: "rng-tools5",
    probe: &["--version"],
    is_static: false,
};

pub fn busybox(ctx: &Context, stage: &Stage) -> Result<PathBuf> {
    BUSYBOX.ensure(ctx, stage)
}

pub fn rngtest(ctx: &Context, stage: &Stage) -> Result<PathBuf> {
    RNGTEST.ensure(ctx, stage)
}

impl GuestTool {
    fn ensure(&self, ctx: &Context, stage: &Stage) -> Result<PathBuf> {
        let unpacked = ctx.cache.join("toolchain").join(self.package);
        let installed = tools::find_program(self.program);
        if let Some(path) = installed
            .into_iter()
            .chain(self.inside(&unpacked))
            .find(|path| self.serves(path))
        {
            return Ok(path);
        }
        if !apt::available() {
            let kind = if self.is_static { "a static " } else { "" };
            bail_help!(
                format!("{kind}{} is missing", self.program),
                format!("install it; Debian has it in the package {}", self.package)
            );
        }
        let apt = apt_install::host_apt(ctx, stage, false)?;
        let package = apt.download(self.package, &ctx.cache.join("downloads"), stage)?;
        apt::unpack(&package, &unpacked)?;
        fs::remove_file(&package).with_context(|| package.display().to_string())?;
        self.inside(&unpacked)
            .find(|path| self.serves(path))
            .ok_or_else(|| {
                anyhow!(
                    "the package {} holds no {} that runs here",
                    self.package,
                    self.program
                )
            })
    }

    /// Where a package may have put it.
    fn inside(&self, root: &Path) -> impl Iterator<Item = PathBuf> {
        let program = self.program;
        let root = root.to_owned();
        ["usr/bin", "bin", "usr/sbin", "sbin"]
            .into_iter()
            .map(move |dir| root.join(dir).join(program))
    }

    fn serves(&self, path: &Path) -> bool {
        let runs = Command::new(path).args(self.probe).output().is_ok();
        runs && (!self.is_static || is_static(path))
    }
}

/// ldd fails for a static program, or says that it is one.
fn is_static(path: &Path) -> bool {
    let said = Command::new("ldd").arg(path).output();
    said.map_or(true, |text| text.contains("statically linked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_not_static() {
        let shell = tools::find_program("sh").unwrap();
        assert!(!is_static(&shell));
    }
}
