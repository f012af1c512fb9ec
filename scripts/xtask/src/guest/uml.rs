// SPDX-License-Identifier: MIT OR Apache-2.0

//! User-mode Linux with `vhost-device-rng` and `qemu-storage-daemon` behind its
//! devices.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};

use super::{disk, liar, Bootable, Lab};
use crate::build::Variant;
use crate::command::{Command, Event, Running};
use crate::doctor::Toolchain;
use crate::scenario::{Boot, Device, Disk};

/// `VIRTIO_ID_RNG`.
const RNG: u32 = 4;
/// `VIRTIO_ID_BLOCK`.
const BLOCK: u32 = 2;
/// What the storage daemon calls the device that it plays.
pub const EXPORT: &str = "export";
/// For a back end to listen on its socket.
const READY: Duration = Duration::from_secs(10);

/// UML looks for memory that it may map and execute, and knows best where.
pub const TEMPORARY: &[&str] = &["TMP", "TEMP", "TMPDIR"];

/// Where a back end listens, and what it plays.
pub struct Socket {
    path: PathBuf,
    device: u32,
}

/// Starts one back end for each device; returns their sockets, too.
pub fn start_backends(lab: &Lab, dir: &Path, boot: &Boot) -> Result<(Vec<Running>, Vec<Socket>)> {
    let tools = lab.tools;
    let (mut backends, mut sockets) = (Vec::new(), Vec::new());
    for (number, device) in boot.devices.iter().enumerate() {
        let path = dir.join(format!("rng{number}-"));
        // The program numbers the sockets of one device, of which we have one.
        let socket = dir.join(format!("rng{number}-0"));
        let command = match device.ours {
            true => liar::honest_rng(lab.liar()?, &socket),
            false => backend(tools, &path, device),
        };
        backends.push(listening(&command, &socket)?);
        sockets.push(Socket {
            path: socket,
            device: RNG,
        });
    }
    for (number, disk) in boot.disks.iter().enumerate() {
        let path = socket(dir, number);
        let command = match disk.ours {
            true => liar::honest_disk(lab.liar()?, &disk::image(dir, number), &path),
            false => storage_daemon(tools, dir, number, disk)?,
        };
        backends.push(listening(&command, &path)?);
        sockets.push(Socket {
            path,
            device: BLOCK,
        });
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

/// Where what plays a disk listens.
pub fn socket(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("blk{number}"))
}

/// The socket of the monitor of what plays a disk.
pub fn monitor(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("qmp{number}"))
}

/// Plays a disk.
pub fn storage_daemon(
    tools: &Toolchain,
    dir: &Path,
    number: usize,
    disk: &Disk,
) -> Result<Command> {
    let tools = tools.disk.as_ref().context("disks were not asked for")?;
    let name = disk::name(number);
    let writable = if disk.read_only { "off" } else { "on" };
    let monitor = monitor(dir, number);
    Ok(Command::new(&tools.storage_daemon)
        .args(["--blockdev", &disk::blockdev(dir, number, disk)])
        .arg("--chardev")
        .arg(format!(
            "socket,id=monitor,path={},server=on,wait=off",
            monitor.display()
        ))
        .args(["--monitor", "chardev=monitor"])
        .arg("--export")
        .arg(format!(
            "type=vhost-user-blk,id={EXPORT},node-name={name},addr.type=unix,addr.path={},\
             writable={writable},num-queues={},logical-block-size={}",
            socket(dir, number).display(),
            disk.queues,
            disk.block
        )))
}

/// Those of devices that lie, which are started elsewhere.
pub fn sockets_of_liars(dir: &Path, boot: &Boot) -> Vec<Socket> {
    let liars = boot.liars.iter().enumerate();
    liars
        .map(|(number, liar)| Socket {
            path: liar::socket(dir, number),
            device: liar.device.virtio_id(),
        })
        .collect()
}

/// Starts a back end, and waits until it listens.
pub fn listening(command: &Command, socket: &Path) -> Result<Running> {
    // One that was ended at once left its socket behind.
    let _ = fs::remove_file(socket);
    let mut backend = command.spawn()?;
    await_socket(&mut backend, socket)?;
    Ok(backend)
}

pub fn await_socket(backend: &mut Running, socket: &Path) -> Result<()> {
    let started = Instant::now();
    let mut said = Vec::new();
    while !socket.exists() {
        match backend.next(Duration::from_millis(5))? {
            Event::Line(line) => said.push(line),
            Event::Quiet if started.elapsed() < READY => (),
            Event::Quiet | Event::End => bail!(
                "the back end does not listen on {}:\n{}",
                socket.display(),
                said.join("\n")
            ),
        }
    }
    Ok(())
}

/// The guest, its console not yet connected.
pub fn command(bootable: &Bootable, dir: &Path, boot: &Boot, sockets: &[Socket]) -> Command {
    let kernel = &bootable.kernel;
    let memory = match (kernel.variant.has_checkers(), boot.disks.is_empty()) {
        // KASAN keeps a byte for each eight.
        (true, true) => "512M",
        (false, true) => "256M",
        // The programs for disks stay in memory, with all their libraries.
        (true, false) => "768M",
        (false, false) => "512M",
    };
    let smp = kernel.variant == Variant::UmlSmp;
    // Processes cannot be traced by several processors. The end of a device waits
    // for several grace periods, which are not to be the time of the tests.
    let cpus = smp.then(|| {
        [
            format!("ncpus={}", boot.cpus),
            "seccomp=on".into(),
            "rcupdate.rcu_expedited=1".into(),
            "rcutree.jiffies_till_first_fqs=0".into(),
            "rcutree.jiffies_till_next_fqs=1".into(),
        ]
    });
    let devices = sockets
        .iter()
        .map(|Socket { path, device }| format!("virtio_uml.device={}:{device}", path.display()));
    Command::new(&kernel.image)
        .arg(format!("mem={memory}"))
        .args(cpus.into_iter().flatten())
        .arg(format!("initrd={}", bootable.initramfs(boot).display()))
        .arg(format!("uml_dir={}", dir.join("uml").display()))
        .args(devices)
        .args(boot.command_line().split(' '))
        .dir(dir)
        .without_envs(TEMPORARY)
}

/// Console on standard output; there may be somebody to answer.
pub fn on_pipes(command: Command, answers: bool) -> Command {
    let console = match answers {
        true => "con0=fd:0,fd:1",
        false => "con0=null,fd:1",
    };
    command.args([console, "con=null"])
}

/// Console on the user's terminal.
pub fn on_terminal(command: Command) -> Command {
    command.args(["con0=fd:0,fd:1", "con=null"])
}
