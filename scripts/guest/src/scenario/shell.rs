// SPDX-License-Identifier: MIT OR Apache-2.0

//! An interactive guest.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::{wait, WaitOptions};

use crate::module;
use crate::params::Params;

const BUSYBOX: &str = "/bin/busybox";

pub fn run(params: &Params) -> Result<()> {
    let installed = Command::new(BUSYBOX)
        .args(["--install", "-s", "/bin"])
        .status();
    installed.context(BUSYBOX)?;
    // A kernel without the driver is still worth a look around.
    let loaded = match module::load(params.driver()) {
        Ok(()) => format!("{} is loaded; ", params.driver()),
        Err(error) => format!("{error:#}; "),
    };
    println!(
        "\r\n{loaded}modules are in /modules. Try: head -c 64 /dev/hwrng | xxd\r\n\
         `exit` powers off.\r"
    );
    // A session of its own with the terminal as the controlling one, so that
    // Ctrl-C and job control work.
    let tty = terminal();
    // PATH is set inside: with it in the environment of a child, Rust's
    // library needs Unix sockets to start one, and these kernels have none.
    let path = "/bin:/sbin:/usr/bin:/usr/sbin";
    let script = format!("export PATH={path}; exec sh -i <{tty} >{tty} 2>&1");
    let shell = Command::new(BUSYBOX)
        .args(["setsid", "sh", "-c", &script])
        .env("HOME", "/")
        .env("TERM", params.get("term").unwrap_or("vt100"))
        .env("PS1", "guest# ")
        .spawn()
        .context("cannot start a shell")?;
    reap_until(shell.id())
}

/// The device behind `/dev/console`, which itself cannot control a session.
fn terminal() -> String {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let mut devices = active.split_whitespace().map(|name| format!("/dev/{name}"));
    let existing = devices.rfind(|path| Path::new(path).exists());
    existing.unwrap_or_else(|| "/dev/console".into())
}

/// Orphans of the shell become our children; all of them are reaped.
fn reap_until(shell: u32) -> Result<()> {
    loop {
        match wait(WaitOptions::empty()).context("wait")? {
            Some((pid, _)) if pid.as_raw_nonzero().get().unsigned_abs() == shell => return Ok(()),
            _ => (),
        }
    }
}
