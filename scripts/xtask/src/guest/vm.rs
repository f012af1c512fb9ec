// SPDX-License-Identifier: MIT OR Apache-2.0

//! A guest that runs, with whatever plays its devices.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::accel::Accel;
use super::{qemu, uml, Bootable, Lab};
use crate::command::{Event, Running};
use crate::scenario::Boot;

/// Dropping it ends the guest first, then its devices.
pub struct Vm {
    guest: Running,
    backends: Vec<Running>,
    shell_line: String,
    /// For sockets and whatever the guest's machine leaves behind.
    _dir: TempDir,
}

impl Vm {
    pub fn start(lab: &Lab, bootable: &Bootable, boot: &Boot, accel: &Accel) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("guest-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let (backends, command) = if boot.platform.is_uml() {
            let (backends, sockets) = uml::start_backends(lab.tools, dir.path(), boot)?;
            let command = uml::command(bootable, dir.path(), boot, &sockets);
            (backends, uml::on_pipes(command).behind(&lab.wrapper))
        } else {
            let command = qemu::command(lab.tools, bootable, boot, accel);
            (Vec::new(), command.args(["-serial", "stdio"]))
        };
        Ok(Self {
            guest: command.spawn()?,
            backends,
            shell_line: command.shell_line(),
            _dir: dir,
        })
    }

    pub fn shell_line(&self) -> &str {
        &self.shell_line
    }

    /// The next line of the console.
    pub fn next(&mut self, patience: Duration) -> Result<Event> {
        self.guest.next(patience)
    }

    /// Ends the process behind the first device.
    pub fn kill_backend(&mut self) -> Result<()> {
        if self.backends.is_empty() {
            anyhow::bail!("this machine's devices have no back ends");
        }
        self.backends.remove(0).stop();
        Ok(())
    }
}
