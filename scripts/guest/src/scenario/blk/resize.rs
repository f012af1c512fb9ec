// SPDX-License-Identifier: MIT OR Apache-2.0

//! The disk becomes larger, and smaller again, while it is in use.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{fill, first_difference, KIB, SCRATCH};
use protocol::Ask;

use super::file_system::{unmount_it, FileSystem, AT, MOUNT_LIMIT};
use crate::bounded::{until, within};
use crate::bus::LIMIT;
use crate::disk::{drop_caches, Bound, Cache};
use crate::report::Measured;
use crate::say;

/// The kernel starts it for each uevent.
const HELPER: &str = "/tmp/uevent";
const SEEN: &str = "/tmp/resized";
const HELPER_OF_KERNEL: &str = "/sys/kernel/uevent_helper";
const NOTICE: Duration = Duration::from_secs(60);
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

/// The disk becomes smaller than the file system that is mounted on it.
pub fn under_mount(driver: &str) -> Result<Measured> {
    let disk = Bound::new(SCRATCH, driver)?;
    FileSystem::Ext4.make(&disk)?;
    FileSystem::Ext4.mount(&disk)?;
    let shrunk = shrink_it(&disk);
    // Nobody asks for more than that it ends.
    let unmounted = unmount_it();
    let restored = resize(&disk, KIB[SCRATCH]);
    let error = shrunk?;
    unmounted?;
    restored?;
    disk.unbind(LIMIT)?;
    let detail = format!("what is in front of the new end is right, behind it: {error}");
    Ok(Measured::new(1.0, "times", detail))
}

/// Returns the error that somebody gets who writes beyond the new end.
fn shrink_it(disk: &Bound) -> Result<io::Error> {
    const EARLY: u64 = 7;
    let path = Path::new(AT).join("early");
    let mut bytes = vec![0; 256 << 10];
    fill(EARLY, 0, &mut bytes);
    within(MOUNT_LIMIT, "writing a file", {
        let path = path.clone();
        move || {
            let mut file = File::create(&path)?;
            file.write_all(&bytes)?;
            file.sync_all().context("fsync")
        }
    })?;
    resize(disk, KIB[SCRATCH] / 4)?;
    let late = || within(MOUNT_LIMIT, "writing beyond the end", || Ok(write_most()));
    let error = late()?.err().context("a file beyond the end was written")?;
    drop_caches()?;
    let early = within(MOUNT_LIMIT, "reading a file", move || Ok(fs::read(path)?))?;
    ensure!(
        first_difference(EARLY, 0, &early).is_none(),
        "what is in front of the new end is not what was written"
    );
    Ok(error)
}

/// Most of what the file system had room for.
fn write_most() -> io::Result<()> {
    let mut file = File::create(Path::new(AT).join("late"))?;
    let mebibyte = vec![1; 1 << 20];
    for _ in 0..KIB[SCRATCH] >> 11 {
        file.write_all(&mebibyte)?;
    }
    file.sync_all()
}

/// Waits for the disk to have another size.
fn resize(disk: &Bound, kib: u64) -> Result<()> {
    say::ask(Ask::Resize { disk: SCRATCH, kib })?;
    let size = kib << 10;
    until(NOTICE, &format!("{} of {size} bytes", disk.name), || {
        Ok((disk.size()? == size).then_some(()))
    })
}

fn grow_and_shrink(disk: &Bound) -> Result<()> {
    let old = KIB[SCRATCH];
    for (events, kib) in [(1, old + MORE_KIB), (2, old)] {
        resize(disk, kib)?;
        let size = kib << 10;
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
