// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is read is what was written, by whomever.

use std::os::unix::fs::FileExt as _;

use anyhow::{bail, ensure, Context as _, Result};
use protocol::disk::{fill, host_seed, overwrite, writes, DATA, KIB, PACKED, READ_ONLY, SCRATCH};
use protocol::Event;

use crate::bus::{self, LIMIT};
use crate::disk::{drop_caches, slot, Bound, Buffer, Cache, C_DRIVER, IO_LIMIT, RUST_DRIVER};
use crate::report::{Measured, Report, Skip};
use crate::{bounded, module, say, uml};

const CHUNK: usize = 256 << 10;
const WRITES: u64 = 400;
const WRITES_SEED: u64 = 0x5eed;

pub fn run(driver: &str, report: &mut Report) {
    report.check("read", || read(driver));
    report.check("write", || write(driver));
    report.check("read-only", || read_only(driver));
    report.check("swap", || swap(driver));
}

/// Loads the module and lets the bus match it, as on any system.
pub fn bind_by_itself(driver: &str) -> Result<Measured> {
    bus::set_autoprobe(true)?;
    module::load(driver)?;
    let mut count = 0;
    let mut serials = Vec::new();
    while let Ok(device) = slot(count) {
        let bound = device.driver();
        ensure!(
            bound.as_deref() == Some(driver),
            "{} is bound to {bound:?}, not to {driver}",
            device.name()
        );
        let disk = Bound::of(&device)?;
        let (size, wanted) = (disk.size()?, KIB[count] << 10);
        ensure!(
            size == wanted,
            "{} has {size} bytes, not {wanted}",
            disk.name
        );
        // The storage daemon gives all its disks the same one.
        let wanted = match uml::is_slot(&device.name()) {
            true => "vhost_user_blk".to_owned(),
            false => format!("disk{count}"),
        };
        let serial = disk.read_attribute("serial")?;
        ensure!(serial == wanted, "{} has the serial {serial:?}", disk.name);
        serials.push(format!("{} is {serial}", disk.name));
        count += 1;
    }
    ensure!(count > READ_ONLY, "the guest has {count} disks");
    bus::release_all(LIMIT)?;
    let detail = format!("{driver} bound by id, sizes right; {}", serials.join(", "));
    Ok(Measured::new(count as f64, "disks", detail))
}

/// What the host put there, through the page cache and past it.
fn read(driver: &str) -> Result<Measured> {
    let disk = Bound::new(DATA, driver)?;
    let len = (KIB[DATA] << 10) as usize;
    for (cache, chunk) in [
        (Cache::Buffered, CHUNK),
        (Cache::Direct, 1 << 20),
        (Cache::Direct, 24 << 10),
    ] {
        drop_caches()?;
        let found = disk.read(cache, 0, len, chunk)?;
        if let Some(at) = protocol::disk::first_difference(host_seed(DATA), 0, &found) {
            bail!("{cache:?} read, {chunk} bytes at a time: byte {at} is not what the host wrote");
        }
    }
    disk.unbind(LIMIT)?;
    let detail = "buffered and direct: each byte is what the host put there";
    Ok(Measured::new(KIB[DATA] as f64, "KiB", detail))
}

/// Writes that overlap, of many lengths, through the page cache and past it.
fn write(driver: &str) -> Result<Measured> {
    let disk = Bound::new(DATA, driver)?;
    let len = (KIB[DATA] << 10) as usize;
    let mut expected = vec![0; len];
    fill(host_seed(DATA), 0, &mut expected);
    let all: Vec<_> = writes(WRITES_SEED, WRITES, len as u64).collect();
    overwrite(WRITES_SEED, WRITES, &mut expected);
    let target = disk.clone();
    bounded::within(IO_LIMIT, "writing", move || {
        let direct = target.open(Cache::Direct, true)?;
        let buffered = target.open(Cache::Buffered, true)?;
        for write in &all {
            let file = if write.direct { &direct } else { &buffered };
            let mut buffer = Buffer::new(write.len);
            fill(write.seed, write.at, buffer.bytes());
            file.write_all_at(buffer.bytes(), write.at)
                .with_context(|| format!("{write:?}"))?;
        }
        buffered.sync_all().context("fsync")
    })?;
    say::event(&Event::Holds {
        disk: DATA,
        seed: WRITES_SEED,
        writes: WRITES,
    });
    drop_caches()?;
    let found = disk.read(Cache::Direct, 0, len, 1 << 20)?;
    if let Some(at) = found.iter().zip(&expected).position(|(a, b)| a != b) {
        bail!("byte {at}, sector {}, is not what was written", at / 512);
    }
    disk.unbind(LIMIT)?;
    let detail = "direct and buffered by turns, 512 bytes to 256 KiB, read back";
    Ok(Measured::new(WRITES as f64, "writes", detail))
}

fn read_only(driver: &str) -> Result<Measured> {
    let disk = Bound::new(READ_ONLY, driver)?;
    ensure!(
        disk.read_attribute("ro")? == "1",
        "{} is not marked read-only",
        disk.name
    );
    let len = (KIB[READ_ONLY] << 10) as usize;
    disk.holds(Cache::Direct, host_seed(READ_ONLY), 0, len)?;
    let refused = match disk.write(Cache::Direct, 1, 0, 4096) {
        Ok(()) => bail!("{} was written to", disk.name),
        Err(error) => format!("{error:#}"),
    };
    drop_caches()?;
    disk.holds(Cache::Buffered, host_seed(READ_ONLY), 0, len)?;
    say::event(&Event::Holds {
        disk: READ_ONLY,
        seed: 0,
        writes: 0,
    });
    disk.unbind(LIMIT)?;
    Ok(Measured::new(1.0, "disks", refused))
}

/// What one driver writes the other one reads, in the same boot.
fn swap(driver: &str) -> Result<Measured> {
    const TURNS: usize = 3;
    const LEN: usize = 2 << 20;
    let other = if driver == C_DRIVER {
        RUST_DRIVER
    } else {
        C_DRIVER
    };
    if driver == C_DRIVER && !module::exists(other) {
        return Err(Skip(format!("this kernel has no module {other}")).into());
    }
    module::load(other)?;
    let numbers: Vec<_> = [SCRATCH, PACKED]
        .into_iter()
        .filter(|number| slot(*number).is_ok())
        .collect();
    for number in &numbers {
        let mut wrote = None;
        for turn in 0..TURNS {
            for (writer, cache) in [(other, Cache::Buffered), (driver, Cache::Direct)] {
                let disk = Bound::new(*number, writer)?;
                if let Some((seed, by)) = wrote {
                    disk.holds(Cache::Direct, seed, 0, LEN)
                        .with_context(|| format!("{by} wrote, {writer} read"))?;
                }
                let seed = (100 * turn + writer.len()) as u64;
                disk.write(cache, seed, 0, LEN)?;
                wrote = Some((seed, writer));
                disk.unbind(LIMIT)?;
            }
        }
    }
    module::unload_now(other)?;
    let detail = format!("{other} and {driver} by turns, {} disks", numbers.len());
    Ok(Measured::new(2.0 * TURNS as f64, "turns", detail))
}
