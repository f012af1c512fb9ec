// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hwrng class: which generator feeds `/dev/hwrng`, and reading from it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};
use rustix::fs::OFlags;

use crate::bounded::{until, within};
use crate::bus::{Device, LIMIT};

pub const PATH: &str = "/dev/hwrng";
/// As much as the class reads of a driver at once, and may keep.
pub const CORE_BUFFER: usize = 64;
const CLASS: &str = "/sys/class/misc/hw_random";

fn attribute(name: &str) -> Result<String> {
    let path = format!("{CLASS}/{name}");
    // The class takes the lock for it that a driver may be called under.
    within(LIMIT, &path.clone(), move || {
        let text = fs::read_to_string(&path).context(path)?;
        Ok(text.trim().to_owned())
    })
}

fn available() -> Result<BTreeSet<String>> {
    let list = attribute("rng_available")?;
    let names = list.split_whitespace().filter(|name| *name != "none");
    Ok(names.map(str::to_owned).collect())
}

/// The generator that feeds `/dev/hwrng` now.
pub fn current() -> Result<String> {
    attribute("rng_current")
}

/// Entropy per mille of the current generator, of 1024.
pub fn quality() -> Result<u32> {
    Ok(attribute("rng_quality")?.parse()?)
}

/// A device with a driver on it that has registered a generator.
#[derive(Debug)]
pub struct Bound {
    pub device: Device,
    /// Its name in the class, such as `virtio_rng.0`.
    pub name: String,
}

impl Bound {
    /// Binds, and waits until the generator is there.
    pub fn new(device: &Device, driver: &str) -> Result<Self> {
        let before = available()?;
        device.bind(driver)?;
        let name = until(LIMIT, "registration with hwrng", || {
            Ok(available()?.difference(&before).next().cloned())
        })?;
        ensure!(
            name.starts_with(&format!("{driver}.")),
            "{driver} registered as {name}"
        );
        Ok(Self {
            device: device.clone(),
            name,
        })
    }

    /// Makes this the generator that feeds `/dev/hwrng`.
    pub fn select(&self) -> Result<()> {
        let path = format!("{CLASS}/rng_current");
        let name = self.name.clone();
        within(LIMIT, "writing rng_current", move || {
            fs::write(&path, &name).with_context(|| format!("selecting {name}"))
        })?;
        let now = current()?;
        ensure!(
            now == self.name,
            "selected {}, but {now} is current",
            self.name
        );
        Ok(())
    }

    pub fn unbind(self, limit: Duration) -> Result<()> {
        self.device.unbind(limit)?;
        let left = available()?;
        ensure!(
            !left.contains(&self.name),
            "{} is still registered",
            self.name
        );
        Ok(())
    }
}

/// Reads exactly `bytes`, in system calls of `chunk`, and says how long it took.
pub fn read(bytes: usize, chunk: usize, limit: Duration) -> Result<(Vec<u8>, Duration)> {
    within(limit, &format!("reading {bytes} bytes"), move || {
        let mut file = File::open(PATH).context(PATH)?;
        // Touched beforehand: the measure is of the driver, not of page faults.
        let mut data = vec![0xa5; bytes];
        let started = Instant::now();
        for part in data.chunks_mut(chunk) {
            file.read_exact(part).context(PATH)?;
        }
        Ok((data, started.elapsed()))
    })
}

/// How long each of `count` reads of `size` bytes takes.
pub fn latencies(size: usize, count: usize, limit: Duration) -> Result<Vec<Duration>> {
    within(
        limit,
        &format!("{count} reads of {size} bytes"),
        move || {
            let mut file = File::open(PATH).context(PATH)?;
            let mut data = vec![0; size];
            (0..count)
                .map(|_| {
                    let started = Instant::now();
                    file.read_exact(&mut data).context(PATH)?;
                    Ok(started.elapsed())
                })
                .collect()
        },
    )
}

/// Reads `bytes` without ever waiting in the driver; also says how often there
/// was nothing to read.
pub fn read_nonblocking(bytes: usize, limit: Duration) -> Result<(Vec<u8>, u64)> {
    within(
        limit + Duration::from_secs(5),
        "non-blocking reads",
        move || {
            let mut file = OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits().try_into()?)
                .open(PATH)
                .context(PATH)?;
            let mut data = vec![0; bytes];
            let (mut filled, mut empty) = (0, 0);
            let started = Instant::now();
            while filled < bytes {
                match file.read(&mut data[filled..]) {
                    Ok(0) => bail!("a read returned 0 bytes"),
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        empty += 1;
                        std::thread::yield_now();
                    }
                    Err(error) => return Err(error).context(PATH),
                }
                ensure!(
                    started.elapsed() < limit,
                    "{filled} of {bytes} bytes within the limit"
                );
            }
            Ok((data, empty))
        },
    )
}
