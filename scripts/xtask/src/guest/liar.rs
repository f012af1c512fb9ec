// SPDX-License-Identifier: MIT OR Apache-2.0

//! The devices of ours that lie: built, and started before the guest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hostile::model::Device;
use protocol::hostile::DISK_KIB;

use super::{disk, uml, Lab};
use crate::command::{Command, Running};
use crate::context::Context;
use crate::scenario::{Boot, Lies, Platform};

/// How many crates cargo compiles for it, for the time left.
const CRATES: u64 = 60;

/// Builds the program.
pub fn build(ctx: &Context) -> Result<PathBuf> {
    let target = release(ctx, "hostile device", "hostile", CRATES)?;
    Ok(target.join("hostile"))
}

/// A release build of a package of the workspace: it is to keep the guest busy. Returns
/// where what was built is.
pub fn release(ctx: &Context, title: &str, package: &str, crates: u64) -> Result<PathBuf> {
    let stage = ctx.ui.stage(title);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut begun = 0;
    Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", package])
        .arg("--manifest-path")
        .arg(ctx.repo.join("scripts/Cargo.toml"))
        .env("CARGO_TARGET_DIR", ctx.cargo_target())
        .log(ctx.log(&title.replace(' ', "-")))
        .lines(|line| {
            if line.trim_start().starts_with("Compiling ") {
                stage.set_total(Some(crates));
                stage.set_pos(begun);
                begun += 1;
            }
        })?;
    stage.finish("built");
    Ok(ctx.cargo_target().join("release"))
}

pub fn socket(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("liar{number}"))
}

/// Where it writes down what it said.
pub fn log(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("liar{number}.log"))
}

fn image(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("liar{number}.img"))
}

/// Starts one process for each device, and waits until it listens.
pub fn start(lab: &Lab, dir: &Path, boot: &Boot) -> Result<Vec<Running>> {
    let mut all = Vec::new();
    for number in 0..boot.liars.len() {
        fs::write(image(dir, number), disk::original(number, DISK_KIB << 10))
            .context("the image of a disk")?;
        let mut running = command(lab.liar()?, dir, number, boot).spawn()?;
        uml::await_socket(&mut running, &socket(dir, number))?;
        all.push(running);
    }
    Ok(all)
}

/// An honest device in the place of `vhost-device-rng`, for tests of randomness.
pub fn honest_rng(program: &Path, socket: &Path) -> Command {
    device(program, Device::Rng, socket).arg("--random")
}

/// An honest disk in the place of the storage daemon.
pub fn honest_disk(program: &Path, image: &Path, socket: &Path) -> Command {
    device(program, Device::Blk, socket)
        .arg("--image")
        .arg(image)
}

fn device(program: &Path, device: Device, socket: &Path) -> Command {
    Command::new(program)
        .arg("--socket")
        .arg(socket)
        .args(["--device", device.name()])
}

fn command(program: &Path, dir: &Path, number: usize, boot: &Boot) -> Command {
    let liar = &boot.liars[number];
    let mut command = device(program, liar.device, &socket(dir, number))
        .arg("--image")
        .arg(image(dir, number))
        .arg("--log")
        .arg(log(dir, number));
    if boot.platform == Platform::Qemu && liar.device == Device::Blk {
        // The firmware looks for something to boot.
        command = command.args(["--after", "1"]);
    }
    if liar.packed {
        command = command.arg("--packed");
    }
    match &liar.lies {
        Lies::None => command,
        Lies::Chance { seed } => command.args(["--seed", &seed.to_string()]),
        Lies::Case { name, file } => {
            let command = command.args(["--case", name]);
            match file {
                Some(file) => command.arg("--cases").arg(file),
                None => command,
            }
        }
    }
}
