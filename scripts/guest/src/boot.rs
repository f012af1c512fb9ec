// SPDX-License-Identifier: MIT OR Apache-2.0

//! The first and the last thing that a first process does.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};
use rustix::system::{reboot, RebootCommand};

use crate::params::Params;

struct Mount {
    kind: &'static str,
    at: &'static str,
    /// Whether a guest is of no use without it.
    needed: bool,
}

const MOUNTS: &[Mount] = &[
    Mount {
        kind: "devtmpfs",
        at: "/dev",
        needed: true,
    },
    Mount {
        kind: "proc",
        at: "/proc",
        needed: true,
    },
    Mount {
        kind: "sysfs",
        at: "/sys",
        needed: true,
    },
    Mount {
        kind: "tmpfs",
        at: "/tmp",
        needed: false,
    },
    Mount {
        kind: "configfs",
        at: "/sys/kernel/config",
        needed: false,
    },
    Mount {
        kind: "debugfs",
        at: "/sys/kernel/debug",
        needed: false,
    },
];

pub fn mount_all() -> Result<()> {
    for entry in MOUNTS {
        let _ = std::fs::create_dir(entry.at);
        match mount(entry.kind, entry.at, entry.kind, MountFlags::empty(), None) {
            Ok(()) | Err(Errno::BUSY) => (),
            Err(error) if entry.needed => {
                return Err(error).with_context(|| format!("cannot mount {}", entry.at));
            }
            Err(_) => (),
        }
    }
    Ok(())
}

/// Ends the guest in the way that makes the host's process end.
pub fn end(params: &Params) -> ExitCode {
    // QEMU leaves on a restart (-no-reboot), which needs no ACPI.
    let command = match params.get("end") {
        Some("restart") => RebootCommand::Restart,
        _ => RebootCommand::PowerOff,
    };
    let failed = reboot(command);
    eprintln!("cannot power off: {failed:?}");
    // Returning would panic the kernel, which is no better an end; the host
    // has a time limit.
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}
