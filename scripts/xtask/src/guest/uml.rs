// SPDX-License-Identifier: MIT OR Apache-2.0

//! User-mode Linux with `vhost-device-rng` behind its devices.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use super::Bootable;
use crate::build::Variant;
use crate::command::{Command, Event, Running};
use crate::doctor::Toolchain;
use crate::scenario::{Boot, Device};

/// `VIRTIO_ID_RNG`.
const RNG: u32 = 4;
/// For a back end to listen on its socket.
const READY: Duration = Duration::from_secs(10);

/// UML looks for memory that it may map and execute, and knows best where.
pub const TEMPORARY: &[&str] = &["TMP", "TEMP", "TMPDIR"];

/// Starts one back end for each device; returns their sockets, too.
pub fn start_backends(
    tools: &Toolchain,
    dir: &Path,
    boot: &Boot,
) -> Result<(Vec<Running>, Vec<PathBuf>)> {
    let (mut backends, mut sockets) = (Vec::new(), Vec::new());
    for (number, device) in boot.devices.iter().enumerate() {
        let path = dir.join(format!("rng{number}-"));
        let mut backend = backend(tools, &path, device).spawn()?;
        // The program numbers the sockets of one device, of which we have one.
        let socket = dir.join(format!("rng{number}-0"));
        await_socket(&mut backend, &socket)?;
        backends.push(backend);
        sockets.push(socket);
    }
    Ok((backends, sockets))
}

fn backend(tools: &Toolchain, socket: &Path, device: &Device) -> Command {
    let command = Command::new(&tools.vhost_device_rng)
        .arg("--socket-path")
        .arg(socket)
        .args(["--socket-count", "1"])
        .args(["--rng-source", device.entropy.file()]);
    let Some(rate) = device.rate else {
        return command;
    };
    command
        .args(["--period", &rate.period.as_millis().to_string()])
        .args(["--max-bytes", &rate.bytes.to_string()])
}

fn await_socket(backend: &mut Running, socket: &Path) -> Result<()> {
    let started = Instant::now();
    let mut said = Vec::new();
    while !socket.exists() {
        match backend.next(Duration::from_millis(5))? {
            Event::Line(line) => said.push(line),
            Event::Quiet if started.elapsed() < READY => (),
            Event::Quiet | Event::End => bail!(
                "vhost-device-rng does not listen on {}:\n{}",
                socket.display(),
                said.join("\n")
            ),
        }
    }
    Ok(())
}

/// The guest, its console not yet connected.
pub fn command(bootable: &Bootable, dir: &Path, boot: &Boot, sockets: &[PathBuf]) -> Command {
    let kernel = &bootable.kernel;
    let memory = match kernel.variant {
        // KASAN keeps a byte for each eight.
        Variant::UmlDebug => "512M",
        _ => "256M",
    };
    let devices = sockets
        .iter()
        .map(|socket| format!("virtio_uml.device={}:{RNG}", socket.display()));
    Command::new(&kernel.image)
        .arg(format!("mem={memory}"))
        .arg(format!("initrd={}", bootable.initramfs.display()))
        .arg(format!("uml_dir={}", dir.join("uml").display()))
        .args(devices)
        .args(boot.command_line().split(' '))
        .dir(dir)
        .without_envs(TEMPORARY)
}

/// Console on standard output; there is nobody to type.
pub fn on_pipes(command: Command) -> Command {
    command.args(["con0=null,fd:1", "con=null"])
}

/// Console on the user's terminal.
pub fn on_terminal(command: Command) -> Command {
    command.args(["con0=fd:0,fd:1", "con=null"])
}
