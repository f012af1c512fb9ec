// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disks: bound to a driver, and read and written as block devices.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use protocol::disk::first_difference;
use rustix::fs::OFlags;

use crate::bounded::{until, within};
use crate::bus::{Device, LIMIT};

pub const C_DRIVER: &str = "virtio_blk";
pub const RUST_DRIVER: &str = "virtio_blk_rust";

/// For a few MiB at the speed of an emulated machine.
pub const IO_LIMIT: Duration = Duration::from_secs(120);

/// Whether reads and writes go past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    Buffered,
    Direct,
}

/// Memory that a disk can be read into directly.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    pub fn new(len: usize) -> Self {
        const PAGE: usize = 4096;
        let bytes = vec![0xa5; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, len }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// A disk with its driver.
#[derive(Clone, Debug)]
pub struct Bound {
    pub device: Device,
    /// Such as `vda`.
    pub name: String,
}

/// The slot of the disk with this number.
pub fn slot(number: usize) -> Result<Device> {
    let mut devices = Device::disks()?;
    let count = devices.len();
    ensure!(number < count, "no disk {number}: the guest has {count}");
    Ok(devices.swap_remove(number))
}

impl Bound {
    /// Binds the disk with this number.
    pub fn new(number: usize, driver: &str) -> Result<Self> {
        let device = slot(number)?;
        device.bind(driver)?;
        Self::of(&device)
    }

    /// The disk that the driver of `device` has made.
    pub fn of(device: &Device) -> Result<Self> {
        let name = until(LIMIT, &format!("a disk on {}", device.name()), || {
            Ok(device.path("block").and_then(|dir| first_entry(&dir)))
        })?;
        Ok(Self {
            device: device.clone(),
            name,
        })
    }

    pub fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// A file of the disk in sysfs.
    pub fn attribute(&self, name: &str) -> String {
        format!("/sys/block/{}/{name}", self.name)
    }

    pub fn read_attribute(&self, name: &str) -> Result<String> {
        let path = self.attribute(name);
        within(LIMIT, &path.clone(), move || {
            let text = fs::read_to_string(&path).context(path)?;
            Ok(text.trim().to_owned())
        })
    }

    pub fn write_attribute(&self, name: &str, value: &str) -> Result<()> {
        let (path, value) = (self.attribute(name), value.to_owned());
        within(LIMIT, &path.clone(), move || {
            fs::write(&path, value).context(path)
        })
    }

    /// Its size, in bytes.
    pub fn size(&self) -> Result<u64> {
        let sectors: u64 = self.read_attribute("size")?.parse()?;
        // A device can claim to have any number of them.
        Ok(sectors.saturating_mul(512))
    }

    /// How many requests are on their way.
    pub fn inflight(&self) -> Result<u64> {
        let counts = self.read_attribute("inflight")?;
        Ok(counts
            .split_whitespace()
            .filter_map(|count| count.parse::<u64>().ok())
            .sum())
    }

    pub fn open(&self, cache: Cache, write: bool) -> Result<File> {
        let flags = match cache {
            Cache::Direct => OFlags::DIRECT,
            Cache::Buffered => OFlags::empty(),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(write);
        options.custom_flags(flags.bits().try_into()?);
        options.open(self.path()).with_context(|| self.path())
    }

    /// Reads `len` bytes from `at` on, `chunk` at a time.
    pub fn read(&self, cache: Cache, at: u64, len: usize, chunk: usize) -> Result<Vec<u8>> {
        let disk = self.clone();
        within(IO_LIMIT, &format!("reading {}", self.name), move || {
            let file = disk.open(cache, false)?;
            let mut read = Vec::with_capacity(len);
            let mut buffer = Buffer::new(chunk);
            while read.len() < len {
                let part = chunk.min(len - read.len());
                let part = &mut buffer.bytes()[..part];
                let at = at + read.len() as u64;
                file.read_exact_at(part, at)
                    .with_context(|| format!("{cache:?} read of {} at {at}", part.len()))?;
                read.extend_from_slice(part);
            }
            Ok(read)
        })
    }

    /// Writes the pattern of `seed`; returns when it is on the disk for good.
    pub fn write(&self, cache: Cache, seed: u64, at: u64, len: usize) -> Result<()> {
        let disk = self.clone();
        within(IO_LIMIT, &format!("writing {}", self.name), move || {
            let mut buffer = Buffer::new(len);
            protocol::disk::fill(seed, at, buffer.bytes());
            let file = disk.open(cache, true)?;
            file.write_all_at(buffer.bytes(), at)
                .with_context(|| format!("{cache:?} write of {len} at {at}"))?;
            file.sync_data().context("fdatasync")
        })
    }

    /// Fails unless the disk holds the pattern of `seed`.
    pub fn holds(&self, cache: Cache, seed: u64, at: u64, len: usize) -> Result<()> {
        let found = self.read(cache, at, len, 1 << 20)?;
        match first_difference(seed, at, &found) {
            None => Ok(()),
            Some(at) => bail!(
                "{}: what was read ({cache:?}) at byte {at}, sector {}, is not what was written",
                self.name,
                at / 512
            ),
        }
    }

    pub fn unbind(self, limit: Duration) -> Result<()> {
        self.device.unbind(limit)?;
        let left = PathBuf::from(self.attribute(""));
        ensure!(!left.exists(), "{} is still there", self.name);
        Ok(())
    }
}

fn first_entry(dir: &std::path::Path) -> Option<String> {
    let entry = fs::read_dir(dir).ok()?.next()?.ok()?;
    Some(entry.file_name().to_string_lossy().into_owned())
}

/// Writes out and forgets what the page cache holds.
pub fn drop_caches() -> Result<()> {
    drop_caches_within(IO_LIMIT)
}

/// As [`drop_caches`], for a disk that may hang.
pub fn drop_caches_within(limit: Duration) -> Result<()> {
    within(limit, "dropping caches", || {
        rustix::fs::sync();
        let path = "/proc/sys/vm/drop_caches";
        fs::write(path, "3").context(path)
    })
}
