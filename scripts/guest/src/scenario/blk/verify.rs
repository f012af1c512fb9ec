// SPDX-License-Identifier: MIT OR Apache-2.0

//! fio writes, reads back and checks; and that it does so over all queues, and
//! over each layout of the ring.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{host_seed, DATA, KIB, PACKED, SCRATCH};
use rustix::thread::{sched_setaffinity, CpuSet};

use crate::bounded::within;
use crate::bus::{self, LIMIT, RING_PACKED};
use crate::disk::{drop_caches, slot, Bound, Buffer, Cache, C_DRIVER, IO_LIMIT};
use crate::module;
use crate::program::fio;
use crate::report::{Measured, Report, Skip};

const DIRECT: &str = include_str!("../../../jobs/verify-direct.fio");
const BUFFERED: &str = include_str!("../../../jobs/verify-buffered.fio");
const QUEUES: &str = include_str!("../../../jobs/verify-queues.fio");
const POLLED: &str = include_str!("../../../jobs/polled.fio");

/// Of a job with two parts of a disk.
const PART_KIB: u64 = 8 << 10;
const FIO_LIMIT: Duration = Duration::from_secs(180);

pub fn run(driver: &str, report: &mut Report) {
    report.check("verify", || verify(driver, DIRECT));
    report.check("verify-buffered", || verify(driver, BUFFERED));
    report.check("scrub", || scrub(driver));
    if slot(PACKED).is_err() {
        return;
    }
    report.check("queues", || queues(driver));
    report.check("packed", || packed(driver));
    if on_pci(SCRATCH) {
        report.check("polled", || polled(driver));
    }
}

fn on_pci(number: usize) -> bool {
    slot(number).is_ok_and(|device| device.name().starts_with("0000:"))
}

fn verify(driver: &str, job: &'static str) -> Result<Measured> {
    let disk = Bound::new(SCRATCH, driver)?;
    check_with_fio(&disk, job)?;
    disk.unbind(LIMIT)?;
    let detail = "fio: crc32c of each block right";
    Ok(Measured::new(2.0 * PART_KIB as f64, "KiB", detail))
}

/// Memory that is zeroed before each read does not harm what is read.
fn scrub(driver: &str) -> Result<Measured> {
    if driver == C_DRIVER {
        return Err(Skip(format!("{driver} cannot")).into());
    }
    let len = 2 << 20;
    with_parameter(driver, "scrub=1", || {
        let disk = Bound::new(SCRATCH, driver)?;
        check_with_fio(&disk, BUFFERED)?;
        disk.write(Cache::Buffered, 11, 0, len)?;
        drop_caches()?;
        disk.holds(Cache::Direct, 11, 0, len)?;
        disk.unbind(LIMIT)
    })?;
    let detail = "fio: crc32c of each block right, with scrub=1";
    Ok(Measured::new(2.0 * PART_KIB as f64, "KiB", detail))
}

/// Loads the module with a parameter, and then as it was.
fn with_parameter(driver: &str, parameter: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    module::unload_now(driver)?;
    module::load_with(driver, parameter)?;
    let checked = check();
    if checked.is_err() {
        // Else the module would stay, and its parameter.
        bus::release_all(LIMIT)?;
    }
    module::unload_now(driver)?;
    module::load(driver)?;
    checked
}

fn check_with_fio(disk: &Bound, job: &'static str) -> Result<()> {
    drop_caches()?;
    fio(job, disk, PART_KIB, FIO_LIMIT)?.succeeds(FIO_LIMIT)
}

/// As many queues as there are CPUs and the device has, and each of them is used.
fn queues(driver: &str) -> Result<Measured> {
    let cpus = std::thread::available_parallelism()?.get();
    let mut seen = Vec::new();
    for (number, offered) in [(DATA, 1), (PACKED, 2), (SCRATCH, 4)] {
        let disk = Bound::new(number, driver)?;
        let path = format!("/sys/block/{}/mq", disk.name);
        let count = fs::read_dir(&path).context(path)?.count();
        let wanted = cpus.min(offered);
        ensure!(
            count == wanted,
            "{} has {count} queues, not {wanted}",
            disk.name
        );
        let before = interrupts(&disk)?;
        read_on_each_cpu(&disk, cpus)?;
        // Memory-mapped devices have one interrupt for all queues.
        if on_pci(number) {
            let after = interrupts(&disk)?;
            ensure!(after.len() == wanted, "interrupts of queues: {after:?}");
            for ((name, after), (_, before)) in after.iter().zip(&before) {
                ensure!(after > before, "{name} was never used: {after} interrupts");
            }
            answered_where_asked(&disk)?;
        }
        if number == SCRATCH {
            let before = interrupts(&disk)?;
            check_with_fio(&disk, QUEUES)?;
            let after = interrupts(&disk)?;
            let idle = before.iter().zip(&after).find(|(old, new)| old == new);
            ensure!(idle.is_none(), "fio did not use all queues: {after:?}");
        }
        seen.push(format!("{} of {offered} in use", count));
        disk.unbind(LIMIT)?;
    }
    let detail = format!(
        "{cpus} CPUs; {}; fio over all: crc32c right",
        seen.join(", ")
    );
    Ok(Measured::new(seen.len() as f64, "disks", detail))
}

/// The CPUs that post to a queue are those that its interrupt goes to.
fn answered_where_asked(disk: &Bound) -> Result<()> {
    let prefix = prefix(disk)?;
    for line in interrupt_lines()?.lines() {
        let name = line.split_whitespace().last().unwrap_or_default();
        let Some(queue) = name.strip_prefix(&prefix) else {
            continue;
        };
        let number = line.split(':').next().unwrap_or_default().trim();
        let path = format!("/proc/irq/{number}/smp_affinity_list");
        let answered = cpus(&fs::read_to_string(&path).context(path)?)?;
        let asking = cpus(&disk.read_attribute(&format!("mq/{queue}/cpu_list"))?)?;
        ensure!(
            answered == asking,
            "{name}: CPUs {asking:?} post, {answered:?} are interrupted"
        );
    }
    Ok(())
}

/// Of a list such as `0-1,3` or `0, 1`.
fn cpus(list: &str) -> Result<BTreeSet<usize>> {
    let mut all = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.trim().parse()?..=last.trim().parse::<usize>()?);
    }
    Ok(all)
}

/// What the names of the interrupts of its queues begin with.
fn prefix(disk: &Bound) -> Result<String> {
    let device = disk.device.path("").context("the device is gone")?;
    let device = device.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{device}-req."))
}

fn interrupt_lines() -> Result<String> {
    let path = "/proc/interrupts";
    fs::read_to_string(path).context(path)
}

/// The interrupts of each queue.
fn interrupts(disk: &Bound) -> Result<Vec<(String, u64)>> {
    let prefix = prefix(disk)?;
    let count = |line: &str| {
        let name = line.split_whitespace().last()?;
        let counts = line.split_whitespace().skip(1);
        let total = counts.map_while(|word| word.parse::<u64>().ok()).sum();
        name.starts_with(&prefix).then(|| (name.to_owned(), total))
    };
    Ok(interrupt_lines()?.lines().filter_map(count).collect())
}

fn read_on_each_cpu(disk: &Bound, cpus: usize) -> Result<()> {
    let disk = disk.clone();
    within(IO_LIMIT, "reading on each CPU", move || {
        let file = disk.open(Cache::Direct, false)?;
        let mut buffer = Buffer::new(4096);
        for cpu in 0..cpus {
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(None, &set).context("sched_setaffinity")?;
            for block in 0..32 {
                file.read_exact_at(buffer.bytes(), block * 4096)?;
            }
        }
        Ok(())
    })
}

/// The other layout of the ring, which all other disks do not have.
fn packed(driver: &str) -> Result<Measured> {
    let split = Bound::new(SCRATCH, driver)?;
    ensure!(
        !split.device.has_feature(RING_PACKED)?,
        "{} is packed",
        split.name
    );
    split.unbind(LIMIT)?;
    let disk = Bound::new(PACKED, driver)?;
    let block = disk.read_attribute("queue/logical_block_size")?;
    ensure!(block == "4096", "{} has blocks of {block} bytes", disk.name);
    ensure!(
        disk.device.has_feature(RING_PACKED)?,
        "{} did not get a packed ring",
        disk.name
    );
    // The first part was written to before.
    let (at, len) = ((KIB[PACKED] - 1024) << 10, 1 << 20);
    disk.holds(Cache::Direct, host_seed(PACKED), at, len)?;
    for (job, parts) in [(DIRECT, 2), (BUFFERED, 2), (QUEUES, 4)] {
        drop_caches()?;
        fio(job, &disk, KIB[PACKED] / 2 / parts, FIO_LIMIT)?.succeeds(FIO_LIMIT)?;
    }
    disk.holds(Cache::Buffered, host_seed(PACKED), at, len)?;
    disk.unbind(LIMIT)?;
    Ok(Measured::new(
        1.0,
        "disks",
        "packed ring, blocks of 4096 bytes: read, and fio crc32c, past the cache and through it",
    ))
}

/// Some of the queues without interrupts, by a parameter of the module.
fn polled(driver: &str) -> Result<Measured> {
    with_parameter(driver, "poll_queues=2", || {
        let disk = Bound::new(SCRATCH, driver)?;
        let interrupting = interrupts(&disk)?;
        ensure!(
            interrupting.len() == 2,
            "interrupts of queues: {interrupting:?}"
        );
        check_with_fio(&disk, POLLED)?;
        disk.unbind(LIMIT)
    })?;
    let detail = "fio over io_uring, 2 of 4 queues polled: crc32c of each block right";
    Ok(Measured::new(PART_KIB as f64, "KiB", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        for list in ["0-1,3\n", "0, 1, 3"] {
            assert_eq!(cpus(list).unwrap(), [0, 1, 3].into());
        }
        assert!(cpus("").is_err());
    }
}
