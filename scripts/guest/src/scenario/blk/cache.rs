// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cache of the device, and blocks that are not needed any more.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{PACKED, SCRATCH};
use protocol::Ask;
use rustix::fs::{fallocate, FallocateFlags};

use crate::bounded::within;
use crate::bus::LIMIT;
use crate::disk::{slot, Bound, Cache, IO_LIMIT};
use crate::program::fio;
use crate::report::{Measured, Report};
use crate::say;

const DISCARD: &str = include_str!("../../../jobs/discard.fio");
pub const WRITE_BACK: &str = "write back";
const WRITE_THROUGH: &str = "write through";
const LEN: usize = 16 << 20;
const FIO_LIMIT: Duration = Duration::from_secs(180);

pub fn run(driver: &str, report: &mut Report) {
    report.check("cache-type", || cache_type(driver));
    // The storage daemon does not count.
    if slot(PACKED).is_ok() {
        report.check("flush", || flush(driver));
    }
    report.check("discard", || discard(driver));
    report.check("write-zeroes", || write_zeroes(driver));
}

/// Turned off and on again; the block layer and the device hear of it.
fn cache_type(driver: &str) -> Result<Measured> {
    let disk = Bound::new(SCRATCH, driver)?;
    // The storage daemon begins with the latter.
    let first = disk.read_attribute("cache_type")?;
    let second = match first.as_str() {
        WRITE_BACK => WRITE_THROUGH,
        _ => WRITE_BACK,
    };
    for (seed, kind) in [(1, &first[..]), (2, second), (3, &first)] {
        if disk.read_attribute("cache_type")? != kind {
            disk.write_attribute("cache_type", kind)?;
        }
        for name in ["cache_type", "queue/write_cache"] {
            let found = disk.read_attribute(name)?;
            ensure!(found == kind, "{name} is {found:?}, not {kind:?}");
        }
        disk.write(Cache::Direct, seed, 0, 1 << 20)?;
        disk.holds(Cache::Direct, seed, 0, 1 << 20)?;
    }
    let refused = disk.write_attribute("cache_type", "write sideways");
    ensure!(refused.is_err(), "cache_type takes anything");
    disk.unbind(LIMIT)?;
    Ok(Measured::new(
        2.0,
        "times",
        "write through and write back, I/O in each",
    ))
}

/// What is synced is flushed by the device.
fn flush(driver: &str) -> Result<Measured> {
    const TIMES: u64 = 10;
    let disk = Bound::new(SCRATCH, driver)?;
    let flushes = || say::ask(Ask::Flushes { disk: SCRATCH });
    let before = flushes()?;
    for number in 0..TIMES {
        disk.write(Cache::Direct, number, 0, 4096)?;
    }
    let count = flushes()? - before;
    ensure!(
        count >= TIMES,
        "{count} flushes for {TIMES} calls of fdatasync"
    );
    disk.unbind(LIMIT)?;
    let detail = format!("counted by the device, for {TIMES} calls of fdatasync");
    Ok(Measured::new(count as f64, "flushes", detail))
}

fn allocated() -> Result<u64> {
    say::ask(Ask::Allocated { disk: SCRATCH })
}

/// Writes, has the blocks given back, and asks the host whether they are.
fn give_back(driver: &str, how: impl FnOnce(&Bound) -> Result<()>) -> Result<u64> {
    let disk = Bound::new(SCRATCH, driver)?;
    disk.write(Cache::Direct, 77, 0, LEN)?;
    disk.holds(Cache::Direct, 77, 0, LEN)?;
    let before = allocated()?;
    ensure!(
        before >= (LEN >> 10) as u64,
        "the image takes {before} KiB only: the host's file system hides what is written"
    );
    how(&disk)?;
    let after = allocated()?;
    let freed = before.saturating_sub(after);
    ensure!(
        freed >= (LEN >> 10) as u64 * 9 / 10,
        "the image took {before} KiB before, and takes {after} KiB"
    );
    // All that came by this way is zero for these devices.
    let found = disk.read(Cache::Direct, 0, LEN, 1 << 20)?;
    ensure!(found.iter().all(|byte| *byte == 0), "not all is zero");
    disk.unbind(LIMIT)?;
    Ok(freed)
}

fn discard(driver: &str) -> Result<Measured> {
    let freed = give_back(driver, |disk| {
        let kib = (LEN >> 10) as u64;
        fio(DISCARD, disk, kib, FIO_LIMIT)?.succeeds(FIO_LIMIT)
    })?;
    Ok(Measured::new(
        freed as f64,
        "KiB",
        "given back to the host by fio's trim",
    ))
}

fn write_zeroes(driver: &str) -> Result<Measured> {
    let freed = give_back(driver, |disk| {
        let disk = disk.clone();
        within(IO_LIMIT, "fallocate", move || {
            let file = disk.open(Cache::Buffered, true)?;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&file, flags, 0, LEN as u64).context("fallocate")
        })
    })?;
    Ok(Measured::new(
        freed as f64,
        "KiB",
        "given back to the host by fallocate",
    ))
}
