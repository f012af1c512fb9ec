// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs for disks: those that run inside the guests, and the daemon that
//! plays disks for user-mode Linux. What the machine lacks of the former is
//! unpacked in the cache, with its libraries, and never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Result};
use walkdir::WalkDir;

use super::{apt, apt_install, tools};
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::ui::Stage;

struct Program {
    name: &'static str,
    package: &'static str,
    /// Arguments with which it does nothing and succeeds.
    probe: &'static [&'static str],
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "fio",
        package: "fio",
        probe: &["--version"],
    },
    Program {
        name: "mkfs.ext4",
        package: "e2fsprogs",
        probe: &["-V"],
    },
    Program {
        name: "e2fsck",
        package: "e2fsprogs",
        probe: &["-V"],
    },
    Program {
        name: "mkfs.xfs",
        package: "xfsprogs",
        probe: &["-V"],
    },
    Program {
        name: "xfs_repair",
        package: "xfsprogs",
        probe: &["-V"],
    },
];

/// Where these programs are.
#[derive(Clone, Debug, Default)]
pub struct DiskTools {
    /// Plays disks; it runs on the host.
    pub storage_daemon: PathBuf,
    /// Those that run in guests.
    pub programs: Vec<PathBuf>,
    /// The libraries of these, and their interpreter.
    pub libraries: Vec<PathBuf>,
}

/// Finds or unpacks them.
pub fn ensure(ctx: &Context, stage: &Stage) -> Result<DiskTools> {
    stage.message("programs for disks");
    let Some(storage_daemon) = tools::find_program("qemu-storage-daemon") else {
        bail_help!(
            "qemu-storage-daemon disappeared",
            "run `xtask doctor` again"
        );
    };
    let root = ctx.cache.join("toolchain/disk-tools");
    if find(&root)?.is_err() && apt::available() {
        unpack(ctx, stage, &root)?;
    }
    let programs = match find(&root)? {
        Ok(programs) => programs,
        Err(missing) => bail_help!(
            format!("{} does not run here", missing.name),
            format!(
                "install it; Debian has it in the package {}",
                missing.package
            )
        ),
    };
    let mut libraries = Vec::new();
    for program in &programs {
        libraries.extend(libraries_of(&root, program)?);
    }
    libraries.sort();
    libraries.dedup();
    Ok(DiskTools {
        storage_daemon,
        programs,
        libraries,
    })
}

/// All programs, or the first of them that is missing.
fn find(root: &Path) -> Result<Result<Vec<PathBuf>, &'static Program>> {
    let mut found = Vec::new();
    for program in PROGRAMS {
        let unpacked = ["usr/bin", "usr/sbin", "sbin"].map(|dir| root.join(dir).join(program.name));
        let known = tools::find_program(program.name);
        let mut known = known.into_iter().chain(unpacked);
        match known.find(|path| serves(root, path, program)) {
            Some(path) => found.push(path),
            None => return Ok(Err(program)),
        }
    }
    Ok(Ok(found))
}

fn serves(root: &Path, path: &Path, program: &Program) -> bool {
    let command = Command::new(path).args(program.probe);
    with_libraries(command, root).output().is_ok()
}

/// The machine's libraries come first, and then those in the cache.
fn with_libraries(command: Command, root: &Path) -> Command {
    let mut dirs = Vec::new();
    for entry in WalkDir::new(root.join("usr/lib")).into_iter().flatten() {
        let is_library = entry.file_name().to_string_lossy().contains(".so");
        if let (true, Some(dir)) = (is_library, entry.path().parent()) {
            if !dirs.contains(&dir.to_owned()) {
                dirs.push(dir.to_owned());
            }
        }
    }
    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    command.env("LD_LIBRARY_PATH", dirs.join(":"))
}

fn libraries_of(root: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let listed = with_libraries(Command::new("ldd").arg(program), root).output()?;
    if let Some(line) = listed.lines().find(|line| line.contains("not found")) {
        return Err(anyhow!("{}: {}", program.display(), line.trim()));
    }
    Ok(tools::parse_ldd(&listed))
}

/// Unpacks the packages that the machine lacks, and all that these need.
fn unpack(ctx: &Context, stage: &Stage, root: &Path) -> Result<()> {
    let apt = apt_install::host_apt(ctx, stage, false)?;
    let absent = PROGRAMS
        .iter()
        .filter(|program| tools::find_program(program.name).is_none());
    let mut packages: Vec<_> = absent.map(|program| program.package.to_owned()).collect();
    packages.dedup();
    let lacking = apt_install::lacking(&apt, &packages)?;
    if lacking.is_empty() {
        return Ok(());
    }
    let files = apt.download_all(&lacking, &ctx.cache.join("downloads"), stage)?;
    apt::unpack_all(&files, root)?;
    files
        .iter()
        .try_for_each(|file| fs::remove_file(file).map_err(Into::into))
}
