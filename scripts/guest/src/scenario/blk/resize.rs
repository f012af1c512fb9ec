// SPDX-License-Identifier: MIT OR Apache-2.0

//! The disk becomes larger, and smaller again, while it is in use.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{KIB, SCRATCH};
use protocol::Ask;

use crate::bounded::until;
use crate::bus::LIMIT;
use crate::disk::{Bound, Cache};
use crate::report::Measured;
use crate::say;

/// The kernel starts it for each uevent.
const HELPER: &str = "/tmp/uevent";
const SEEN: &str = "/tmp/resized";
const HELPER_OF_KERNEL: &str = "/sys/kernel/uevent_helper";
const NOTICE: Duration = Duration::from_secs(20);
const MORE_KIB: u64 = 8 << 10;

pub fn online(driver: &str) -> Result<Measured> {
    let disk = Bound::new(SCRATCH, driver)?;
    let _ = fs::remove_file(SEEN);
    let script = format!("#!/bin/busybox sh\n[ -z \"$RESIZE\" ] || echo $DEVNAME >> {SEEN}\n");
    fs::write(HELPER, script).context(HELPER)?;
    fs::set_permissions(HELPER, Permissions::from_mode(0o755))?;
    fs::write(HELPER_OF_KERNEL, HELPER).context(HELPER_OF_KERNEL)?;
    let resized = grow_and_shrink(&disk);
    fs::write(HELPER_OF_KERNEL, "\n").context(HELPER_OF_KERNEL)?;
    resized?;
    disk.unbind(LIMIT)?;
    let detail = "larger and smaller, each with a uevent; I/O up to the new end and not beyond";
    Ok(Measured::new(2.0, "times", detail))
}

fn grow_and_shrink(disk: &Bound) -> Result<()> {
    let old = KIB[SCRATCH];
    for (events, kib) in [(1, old + MORE_KIB), (2, old)] {
        say::ask(Ask::Resize { disk: SCRATCH, kib })?;
        let size = kib << 10;
        until(NOTICE, &format!("{} of {size} bytes", disk.name), || {
            Ok((disk.size()? == size).then_some(()))
        })?;
        until(NOTICE, "the uevent RESIZE", || {
            let seen = fs::read_to_string(SEEN).unwrap_or_default();
            Ok((seen.lines().filter(|name| *name == disk.name).count() == events).then_some(()))
        })?;
        let last = size - (1 << 20);
        disk.write(Cache::Direct, kib, last, 1 << 20)?;
        disk.holds(Cache::Direct, kib, last, 1 << 20)?;
        let beyond = disk.read(Cache::Direct, size, 4096, 4096);
        ensure!(beyond.is_err(), "there is something beyond the end");
    }
    Ok(())
}
