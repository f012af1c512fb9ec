// SPDX-License-Identifier: MIT OR Apache-2.0

//! A guest that runs, with whatever plays its devices.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context as _, Result};
use protocol::disk::MARKER;
use protocol::Ask;
use serde_json::{json, Value};

use super::accel::Accel;
use super::qmp::Qmp;
use super::{disk, liar, qemu, uml, Bootable, Lab};
use crate::command::{Command, Event, Running};
use crate::scenario::Boot;

/// For a storage daemon whose guest is gone.
const DRAIN: Duration = Duration::from_secs(10);

/// Dropping it ends the guest first, then its devices.
pub struct Vm {
    guest: Running,
    backends: Vec<Running>,
    /// What plays a disk in the place of QEMU, and where it listens.
    served: Option<(Command, PathBuf)>,
    shell_line: String,
    /// For sockets, images and whatever the guest's machine leaves behind.
    dir: PathBuf,
    boot: Boot,
}

impl Vm {
    /// Starts a guest with its files in `dir`.
    pub fn start(
        lab: &Lab,
        bootable: &Bootable,
        boot: &Boot,
        accel: &Accel,
        dir: &Path,
    ) -> Result<Self> {
        disk::make(dir, boot)?;
        let liars = liar::start(lab, dir, boot)?;
        let served = served(lab, dir, boot)?;
        let (mut backends, mut command) = if boot.platform.is_uml() {
            let (backends, mut sockets) = uml::start_backends(lab, dir, boot)?;
            sockets.extend(uml::sockets_of_liars(dir, boot));
            let command = uml::command(bootable, dir, boot, &sockets);
            let command = uml::on_pipes(command, !boot.disks.is_empty());
            (backends, command.behind(&lab.wrapper))
        } else {
            let command = qemu::command(lab.tools, bootable, boot, accel, dir);
            let served = served.iter();
            let backends = served.map(|(command, socket)| uml::listening(command, socket));
            let backends = backends.collect::<Result<_>>()?;
            (backends, command.args(["-serial", "stdio"]))
        };
        backends.extend(liars);
        if !boot.disks.is_empty() {
            command = command.listens();
        }
        Ok(Self {
            guest: command.spawn()?,
            backends,
            served,
            shell_line: command.shell_line(),
            dir: dir.to_owned(),
            boot: boot.clone(),
        })
    }

    pub fn shell_line(&self) -> &str {
        &self.shell_line
    }

    /// The next line of the console.
    pub fn next(&mut self, patience: Duration) -> Result<Event> {
        self.guest.next(patience)
    }

    /// What the devices complained of.
    pub fn said_by_devices(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for backend in &mut self.backends {
            while let Ok(Event::Line(line)) = backend.next(Duration::ZERO) {
                said.push(line);
            }
        }
        said
    }

    /// Ends the process behind the first device.
    pub fn kill_backend(&mut self) -> Result<()> {
        if self.backends.is_empty() {
            anyhow::bail!("this machine's devices have no back ends");
        }
        self.backends.remove(0).end_at_once();
        Ok(())
    }

    /// Cuts the power of the guest; the disks finish what they were asked to do, so
    /// that the logs of their writes have no holes.
    pub fn cut_power(&mut self) -> Result<()> {
        self.guest.end_at_once();
        for number in 0..self.boot.disks.len() {
            let mut qmp = self.qmp(number)?;
            let arguments = json!({ "id": uml::EXPORT, "mode": "hard" });
            qmp.execute("block-export-del", arguments)?;
            let asked = Instant::now();
            while qmp.execute("query-block-exports", json!({}))? != json!([]) {
                ensure!(
                    asked.elapsed() < DRAIN,
                    "disk {number} does not come to an end"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // An orderly end would flush.
        for backend in &mut self.backends {
            backend.end_at_once();
        }
        Ok(())
    }

    /// Does what the guest asks for, and answers it.
    pub fn answer(&mut self, ask: &Ask) -> Result<String> {
        let answer = self.act(ask).map_err(|error| format!("{error:#}"));
        let line = protocol::answer(answer);
        self.guest.tell(&line)?;
        Ok(line)
    }

    fn act(&mut self, ask: &Ask) -> Result<u64> {
        match ask {
            Ask::Resize { disk, kib } => {
                let arguments = json!({ "node-name": disk::name(*disk), "size": kib << 10 });
                self.qmp(*disk)?.execute("block_resize", arguments)?;
                Ok(0)
            }
            Ask::Unplug { disk } => {
                let arguments = json!({ "id": qemu::device_id(*disk) });
                self.qmp(*disk)?.execute("device_del", arguments)?;
                Ok(0)
            }
            Ask::KillBackend => {
                self.kill_backend()?;
                Ok(0)
            }
            Ask::RestartBackend => {
                self.kill_backend()?;
                let (command, socket) = self.served.as_ref().context("no such disk")?;
                self.backends.insert(0, uml::listening(command, socket)?);
                Ok(0)
            }
            Ask::Plug { disk } => {
                let known = self.boot.disks.get(*disk).context("no such disk")?;
                let arguments = qemu::disk_device(self.boot.platform, *disk, known);
                self.qmp(*disk)?.execute("device_add", arguments)?;
                Ok(0)
            }
            Ask::Flushes { disk } => self.flushes(*disk),
            Ask::Allocated { disk } => disk::allocated(&self.dir, *disk),
            Ask::Throttle { disk, iops } => {
                let arguments = json!({
                    "id": qemu::backend_path(*disk), "iops": iops, "iops_rd": 0, "iops_wr": 0,
                    "bps": 0, "bps_rd": 0, "bps_wr": 0,
                });
                self.qmp(*disk)?
                    .execute("block_set_io_throttle", arguments)?;
                Ok(0)
            }
            Ask::Markers { disk } => self.markers(*disk),
        }
    }

    /// Counts the marker where the device can see it.
    fn markers(&self, disk: usize) -> Result<u64> {
        let mut qmp = self.qmp(disk)?;
        let file = self.dir.join("memory");
        let ranges = in_flight(&mut qmp, &qemu::backend_path(disk))?;
        ensure!(!ranges.is_empty(), "no request is on its way");
        let mut count = 0;
        for (start, len) in ranges {
            let arguments = json!({ "val": start, "size": len, "filename": file });
            qmp.execute("pmemsave", arguments)?;
            let memory = fs::read(&file).with_context(|| file.display().to_string())?;
            ensure!(memory.len() as u64 == len, "not all memory was saved");
            let words = memory.chunks_exact(MARKER.len());
            count += words.filter(|word| *word == MARKER).count() as u64;
        }
        Ok(count)
    }

    fn flushes(&self, disk: usize) -> Result<u64> {
        let stats = self.qmp(disk)?.execute("query-blockstats", json!({}))?;
        let of_disk = |entry: &&Value| {
            let device = entry["qdev"].as_str().unwrap_or_default();
            device.contains(&qemu::device_id(disk))
        };
        let entries = stats.as_array().context("no statistics")?;
        let entry = entries.iter().find(of_disk);
        entry
            .and_then(|entry| entry["stats"]["flush_operations"].as_u64())
            .ok_or_else(|| anyhow!("no statistics of disk {disk}: {stats}"))
    }

    /// The monitor of what plays the disk.
    fn qmp(&self, disk: usize) -> Result<Qmp> {
        Qmp::connect(&match self.boot.platform.is_uml() {
            true => uml::monitor(&self.dir, disk),
            false => qemu::monitor(&self.dir),
        })
    }
}

/// What plays the first disk of a QEMU that does not do so itself.
fn served(lab: &Lab, dir: &Path, boot: &Boot) -> Result<Option<(Command, PathBuf)>> {
    let Some(disk) = boot.disks.first().filter(|disk| disk.served) else {
        return Ok(None);
    };
    let command = uml::storage_daemon(lab.tools, dir, 0, disk)?;
    Ok(Some((command, uml::socket(dir, 0))))
}

/// Where the device is to write, of the requests that it has taken from its first
/// queue: start and length.
fn in_flight(qmp: &mut Qmp, device: &str) -> Result<Vec<(u64, u64)>> {
    let number = |value: &Value| value.as_u64().context("the queue is not known");
    let arguments = json!({ "path": device, "queue": 0 });
    let status = qmp.execute("x-query-virtio-queue-status", arguments)?;
    let size = number(&status["vring-num"])?;
    let next = number(&status["last-avail-idx"])? + size;
    let mut ranges = Vec::new();
    for back in 1..=number(&status["inuse"])?.min(size) {
        let index = (next - back) % size;
        let arguments = json!({ "path": device, "queue": 0, "index": index });
        let element = qmp.execute("x-query-virtio-queue-element", arguments)?;
        let parts = element["descs"].as_array().context("no descriptors")?;
        let flags = |part: &Value| part["flags"].to_string();
        for part in parts.iter().filter(|part| flags(part).contains("write")) {
            ranges.push((number(&part["addr"])?, number(&part["len"])?));
        }
    }
    Ok(ranges)
}
