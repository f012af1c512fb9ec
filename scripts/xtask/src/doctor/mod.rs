// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every tool that is needed: found, or installed, or named.

mod apt;
mod apt_install;
mod apt_sources;
pub mod archive;
mod arm64;
mod cargo_tools;
mod disk;
mod disk_tools;
mod guest_tools;
mod llvm;
mod mail_tools;
mod need;
mod os_release;
mod rust;
mod tools;
mod version;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use apt::unpack;
pub use arm64::Arm64;
pub use disk_tools::DiskTools;
pub use llvm::holds_libclang;
pub use mail_tools::MailTools;
pub use need::Need;
pub use tools::parse_ldd;
pub use version::Version;

use crate::bail_help;
use crate::context::Context;
use crate::ui::Stage;
use llvm::Llvm;
use os_release::OsRelease;

/// The oldest QEMU whose machines behave as the tests expect.
const OLDEST_QEMU: &[u64] = &[8];
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// Where the tools are. The path of a tool that the caller did not need is empty.
#[derive(Clone, Debug, Default)]
pub struct Toolchain {
    /// For every program of a kernel build: PATH, RUST_LIB_SRC, LIBCLANG_PATH.
    pub envs: Vec<(String, String)>,
    /// The value of make's `LLVM=`, such as `-19`.
    pub llvm: String,
    pub llvm_version: String,
    pub rustc_version: String,
    pub bindgen_version: String,
    pub qemu_x86: PathBuf,
    pub qemu_version: String,
    pub vhost_device_rng: PathBuf,
    pub busybox: PathBuf,
    pub rngtest: PathBuf,
    /// If the guests have disks.
    pub disk: Option<DiskTools>,
    pub arm64: Arm64,
}

impl Toolchain {
    /// The name of one of LLVM's programs.
    pub fn llvm_program(&self, name: &str) -> String {
        llvm::program(&self.llvm, name)
    }

    fn summary(&self) -> String {
        let tools = [
            ("rustc", &self.rustc_version),
            ("bindgen", &self.bindgen_version),
            ("LLVM", &self.llvm_version),
            ("QEMU", &self.qemu_version),
        ];
        let found: Vec<_> = tools
            .iter()
            .filter(|(_, version)| !version.is_empty())
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        match found.is_empty() {
            true => "all there".into(),
            false => found.join(", "),
        }
    }
}

/// The command `doctor`.
pub fn run(ctx: &Context) -> Result<()> {
    ensure(ctx, Need::ALL).map(|_| ())
}

/// Finds or installs all tools for `needs`.
pub fn ensure(ctx: &Context, needs: &[Need]) -> Result<Toolchain> {
    let stage = ctx.ui.stage("doctor");
    let mut toolchain = Toolchain::default();
    disk::check(ctx, needs)?;
    ensure_packages(ctx, &stage, needs)?;
    if needs.contains(&Need::Kernel) {
        find_compilers(ctx, &stage, &mut toolchain)?;
    }
    if needs.contains(&Need::Lint) {
        rust::check_clippy()?;
    }
    if Need::qemu(needs) {
        find_qemu(&mut toolchain)?;
    }
    if needs.contains(&Need::Uml) {
        stage.message("vhost-device-rng");
        toolchain.vhost_device_rng = cargo_tools::vhost_device_rng(ctx, &stage)?;
    }
    if needs.contains(&Need::Guest) {
        toolchain.busybox = guest_tools::busybox(ctx, &stage)?;
        toolchain.rngtest = guest_tools::rngtest(ctx, &stage)?;
    }
    if needs.contains(&Need::Disks) {
        toolchain.disk = Some(disk_tools::ensure(ctx, &stage)?);
    }
    if needs.contains(&Need::Arm64) {
        toolchain.arm64 = arm64::ensure(ctx, &stage, &toolchain)?;
    }
    stage.finish(&toolchain.summary());
    Ok(toolchain)
}

/// What is missing of what the distribution provides.
struct Missing {
    /// As a person calls them.
    names: Vec<String>,
    /// As Debian calls what they are in; without LLVM and QEMU, whose package
    /// depends on what the archive has.
    packages: Vec<String>,
    llvm: bool,
    qemu: bool,
}

impl Missing {
    fn look(needs: &[Need]) -> Self {
        let tools = tools::missing(needs);
        let mut missing = Self {
            names: tools.iter().map(|tool| tool.name()).collect(),
            packages: tools.iter().map(|tool| tool.package.to_owned()).collect(),
            llvm: needs.contains(&Need::Kernel) && llvm::find().is_none(),
            qemu: Need::qemu(needs) && tools::find_qemu().is_none(),
        };
        if missing.llvm {
            let what = "clang, lld, llvm and libclang, all of one release from 17 on";
            missing.names.push(what.into());
        }
        if missing.qemu {
            missing.names.push("qemu-system-x86_64".into());
        }
        missing
    }

    /// The help where apt cannot do it.
    fn advice(&self) -> String {
        let mut packages = self.packages.clone();
        if self.llvm {
            packages.extend(
                llvm::package_numbers()
                    .next()
                    .map(llvm::packages)
                    .unwrap_or_default(),
            );
        }
        if self.qemu {
            packages.push(QEMU_PACKAGE.into());
        }
        format!(
            "install what has it; Debian's packages are: {}",
            packages.join(" ")
        )
    }
}

fn ensure_packages(ctx: &Context, stage: &Stage, needs: &[Need]) -> Result<()> {
    let missing = Missing::look(needs);
    if missing.names.is_empty() {
        return Ok(());
    }
    if apt::available() {
        install(ctx, stage, &missing)?;
    }
    let still = Missing::look(needs);
    if !still.names.is_empty() {
        bail_help!(
            format!("missing: {}", still.names.join(", ")),
            still.advice()
        );
    }
    Ok(())
}

fn install(ctx: &Context, stage: &Stage, missing: &Missing) -> Result<()> {
    let mut apt = apt_install::host_apt(ctx, stage, false)?;
    let mut packages = missing.packages.clone();
    if missing.llvm {
        packages.extend(llvm_packages(&apt)?);
    }
    let mut from_backports = false;
    if missing.qemu {
        let candidate = apt.candidate(QEMU_PACKAGE)?;
        from_backports = !candidate.is_some_and(|version| version.at_least(OLDEST_QEMU));
        if !from_backports {
            packages.push(QEMU_PACKAGE.into());
        }
    }
    if !packages.is_empty() {
        apt_install::install(&apt, stage, &packages, None)?;
    }
    if from_backports {
        let release = format!("{}-backports", OsRelease::read().codename);
        apt = apt_install::host_apt(ctx, stage, true)?;
        apt_install::install(&apt, stage, &[QEMU_PACKAGE.into()], Some(&release))?;
    }
    Ok(())
}

/// Of the releases that we accept, the first that the archive has.
fn llvm_packages(apt: &apt::Apt) -> Result<Vec<String>> {
    for number in llvm::package_numbers() {
        if apt.candidate(&format!("clang-{number}"))?.is_some() {
            return Ok(llvm::packages(number));
        }
    }
    bail_help!(
        "the archive has no clang from 17 on",
        "install clang, lld, llvm and libclang of one release, see https://apt.llvm.org"
    )
}

fn find_compilers(ctx: &Context, stage: &Stage, toolchain: &mut Toolchain) -> Result<()> {
    let Some(Llvm {
        choice,
        version,
        libclang,
    }) = llvm::find()
    else {
        bail_help!("clang disappeared", "run `xtask doctor` again");
    };
    stage.message("rustc and rust-src");
    let rustc = rust::rustc()?;
    let library = rust::library(ctx, stage, &rustc)?;
    stage.message("bindgen");
    let (bindgen, bindgen_version) = cargo_tools::bindgen(ctx, stage, &libclang)?;
    toolchain.llvm = choice;
    toolchain.llvm_version = version.to_string();
    toolchain.rustc_version = rustc.version.to_string();
    toolchain.bindgen_version = bindgen_version.to_string();
    toolchain.envs = vec![
        ("PATH".into(), path_with(bindgen.parent())),
        ("RUST_LIB_SRC".into(), library.display().to_string()),
        ("LIBCLANG_PATH".into(), libclang.display().to_string()),
    ];
    Ok(())
}

fn path_with(first: Option<&Path>) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    match first {
        Some(dir) => format!("{}:{path}", dir.display()),
        None => path,
    }
}

fn find_qemu(toolchain: &mut Toolchain) -> Result<()> {
    let (path, version) = match tools::find_qemu() {
        Some((path, version)) if version.at_least(OLDEST_QEMU) => (path, version),
        Some((path, version)) => bail_help!(
            format!("QEMU 8 or later is needed, {} is {version}", path.display()),
            format!("upgrade the package {QEMU_PACKAGE}, from your release's backports if need be")
        ),
        None => bail_help!("qemu-system-x86_64 does not run", "reinstall QEMU"),
    };
    toolchain.qemu_x86 = path;
    toolchain.qemu_version = version.to_string();
    Ok(())
}
