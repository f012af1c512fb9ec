// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is done with a disk that lies, one step after the other.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{fill, host_seed, Random, DATA, SECTOR};
use protocol::hostile::DISK_KIB;

use super::QUICK;
use crate::bounded::within;
use crate::disk::{drop_caches_within, Bound, Buffer, Cache};

const MIB: u64 = 1 << 20;
/// In bytes: what nobody writes to, then direct writes, then one through the cache,
/// and the write after the device has become honest.
const UNTOUCHED: u64 = 8 * MIB;
const DIRECT_WRITES: u64 = UNTOUCHED;
const BUFFERED_WRITE: u64 = 12 * MIB;
const LAST_WRITE: u64 = 14 * MIB;

const SIZES: [usize; 4] = [512, 4096, 65536, 131_072];
const LONGEST: usize = 2 << 20;
const SEED: u64 = 0x11e5;

/// For a step that is several requests one after the other, each of which may end
/// with its timeout only.
pub const SEVERAL: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Read {
        cache: Cache,
        at: u64,
        len: usize,
        /// Of the pattern that is there, where it is known.
        seed: Option<u64>,
    },
    /// Past the cache, into pages that do not lie side by side: more of them than a ring
    /// has descriptors.
    ReadScattered {
        at: u64,
        len: usize,
        seed: u64,
    },
    /// Of the pattern of `seed`. What goes through the cache is then synced.
    Write {
        cache: Cache,
        at: u64,
        len: usize,
        seed: u64,
    },
    Flush,
    DropCaches,
    /// A file of sysfs, if there is one.
    Attribute(&'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { cache, at, len, .. } => write!(f, "{cache:?} read of {len} at {at}"),
            Self::ReadScattered { at, len, .. } => write!(f, "scattered read of {len} at {at}"),
            Self::Write { cache, at, len, .. } => write!(f, "{cache:?} write of {len} at {at}"),
            Self::Flush => f.write_str("fdatasync"),
            Self::DropCaches => f.write_str("dropping caches"),
            Self::Attribute(name) => write!(f, "{name}"),
        }
    }
}

impl Step {
    /// Whether the disk is large enough.
    pub fn fits(&self, size: u64) -> bool {
        match self {
            Self::Read { at, len, .. }
            | Self::ReadScattered { at, len, .. }
            | Self::Write { at, len, .. } => at.saturating_add(*len as u64) <= size,
            _ => true,
        }
    }

    /// Whether it succeeds only if the device does something. A flush need not,
    /// without a cache, nor does the serial number fail that the device refuses.
    pub fn proves_life(&self) -> bool {
        matches!(
            self,
            Self::Read { .. } | Self::ReadScattered { .. } | Self::Write { .. }
        )
    }

    /// The pattern that this is to read, and where it begins.
    pub fn expected(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Read { at, seed, .. } => Some((seed?, at)),
            Self::ReadScattered { at, seed, .. } => Some((seed, at)),
            _ => None,
        }
    }

    /// The read of what this has written.
    pub fn read_back(&self) -> Option<Self> {
        match *self {
            Self::Write {
                cache,
                at,
                len,
                seed,
            } => Some(Self::Read {
                cache,
                at,
                len,
                seed: Some(seed),
            }),
            _ => None,
        }
    }

    /// Does it; returns what was read.
    pub fn perform(&self, disk: &Bound) -> Result<Vec<u8>> {
        let what = format!("{self}");
        let limit = match self {
            Self::DropCaches => return drop_caches_within(SEVERAL).map(|()| Vec::new()),
            Self::Read { cache, .. } | Self::Write { cache, .. } if *cache == Cache::Buffered => {
                SEVERAL
            }
            _ => QUICK,
        };
        let (step, disk) = (self.clone(), disk.clone());
        within(limit, &what, move || {
            step.perform_here(&disk).with_context(|| format!("{step}"))
        })
    }

    fn perform_here(&self, disk: &Bound) -> Result<Vec<u8>> {
        match *self {
            Self::Read { cache, at, len, .. } => {
                let mut buffer = Buffer::new(len);
                let file = disk.open(cache, false)?;
                file.read_exact_at(buffer.bytes(), at)?;
                return Ok(buffer.bytes().to_vec());
            }
            Self::ReadScattered { at, len, .. } => return read_scattered(disk, at, len),
            Self::Write {
                cache,
                at,
                len,
                seed,
            } => {
                let mut buffer = Buffer::new(len);
                fill(seed, at, buffer.bytes());
                let file = disk.open(cache, true)?;
                file.write_all_at(buffer.bytes(), at)?;
                if cache == Cache::Buffered {
                    file.sync_all().context("fsync")?;
                }
            }
            Self::Flush => disk.open(Cache::Direct, true)?.sync_data()?,
            Self::DropCaches => (),
            Self::Attribute(name) => match fs::read(disk.attribute(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => (),
            },
        }
        Ok(Vec::new())
    }
}

/// Every other page first, then the others.
fn read_scattered(disk: &Bound, at: u64, len: usize) -> Result<Vec<u8>> {
    const PAGE: usize = 4096;
    let mut buffer = Buffer::new(len);
    let (mut even, odd): (Vec<_>, Vec<_>) = buffer
        .bytes()
        .chunks_mut(PAGE)
        .enumerate()
        .partition(|(number, _)| number % 2 == 0);
    even.extend(odd);
    let mut pages: Vec<_> = even
        .into_iter()
        .map(|(_, page)| IoSliceMut::new(page))
        .collect();
    let file = disk.open(Cache::Direct, false)?;
    let count = rustix::io::preadv(&file, &mut pages, at)?;
    ensure!(count == len, "only {count} bytes");
    Ok(pages.iter().flat_map(|page| page.to_vec()).collect())
}

/// All that does not depend on whether a write succeeded, in the order in which it
/// comes before the writes.
pub fn reads(size: u64) -> Vec<Step> {
    let mut steps = direct_reads(24, size);
    steps.push(Step::ReadScattered {
        at: 4 * MIB,
        len: LONGEST,
        seed: host_seed(DATA),
    });
    steps.push(Step::DropCaches);
    steps.extend((2..8).map(|mib| Step::Read {
        cache: Cache::Buffered,
        at: mib * MIB,
        len: MIB as usize,
        seed: Some(host_seed(DATA)),
    }));
    steps
}

/// Of what the host has put there, in several sizes.
pub fn direct_reads(count: usize, size: u64) -> Vec<Step> {
    let mut random = Random::new(SEED);
    let within = size.min(UNTOUCHED);
    let fitting = SIZES
        .into_iter()
        .cycle()
        .take(count)
        .filter(|len| *len as u64 <= within);
    fitting
        .map(|len| Step::Read {
            cache: Cache::Direct,
            at: sector(&mut random, within - len as u64),
            len,
            seed: Some(host_seed(DATA)),
        })
        .collect()
}

/// None overlaps another.
pub fn direct_writes() -> Vec<Step> {
    const COUNT: u64 = 12;
    const ROOM: u64 = (BUFFERED_WRITE - DIRECT_WRITES) / 16;
    let mut random = Random::new(SEED + 1);
    let lens = SIZES.into_iter().cycle();
    (0..COUNT)
        .zip(lens)
        .map(|(number, len)| Step::Write {
            cache: Cache::Direct,
            at: DIRECT_WRITES + number * ROOM + sector(&mut random, ROOM - len as u64),
            len,
            seed: SEED + number,
        })
        .collect()
}

pub fn buffered_write() -> Step {
    Step::Write {
        cache: Cache::Buffered,
        at: BUFFERED_WRITE,
        len: MIB as usize,
        seed: SEED,
    }
}

/// For the device that has become honest.
pub fn last_write() -> Step {
    Step::Write {
        cache: Cache::Direct,
        at: LAST_WRITE,
        len: 64 << 10,
        seed: SEED,
    }
}

/// The end of the disk, wherever the device says that is.
pub fn last_read(size: u64) -> Option<Step> {
    const LEN: usize = 4096;
    Some(Step::Read {
        cache: Cache::Direct,
        at: size.checked_sub(LEN as u64)?,
        len: LEN,
        seed: (size == DISK_KIB << 10).then_some(host_seed(DATA)),
    })
}

/// The start of some sector, at most `most`.
fn sector(random: &mut Random, most: u64) -> u64 {
    let sector = SECTOR as u64;
    random.below(most / sector + 1) * sector
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = DISK_KIB << 10;

    fn range(step: &Step) -> std::ops::Range<u64> {
        match step {
            Step::Read { at, len, .. }
            | Step::ReadScattered { at, len, .. }
            | Step::Write { at, len, .. } => *at..*at + *len as u64,
            _ => 0..0,
        }
    }

    #[test]
    fn reads_of_the_host_s_content_meet_no_write() {
        let reads = reads(SIZE);
        // One of them scattered, and caches are dropped once.
        assert_eq!(reads.len(), 24 + 1 + 1 + 6);
        assert!(reads.iter().all(|step| range(step).end <= UNTOUCHED));
        assert!(reads.iter().all(|step| step.fits(SIZE)));
        let last = last_read(SIZE).unwrap();
        assert_eq!(range(&last), SIZE - 4096..SIZE);
        assert!(matches!(last, Step::Read { seed: Some(_), .. }));
    }

    #[test]
    fn writes_are_apart() {
        let mut writes = direct_writes();
        writes.extend([buffered_write(), last_write()]);
        assert_eq!(writes.len(), 14);
        assert!(writes.iter().all(|step| step.fits(SIZE)));
        assert!(range(&writes[0]).start >= UNTOUCHED);
        for pair in writes.windows(2) {
            assert!(range(&pair[0]).end <= range(&pair[1]).start);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let write = last_write();
        let read = write.read_back().unwrap();
        assert_eq!(range(&write), range(&read));
        assert_eq!(read.read_back(), None);
    }

    #[test]
    fn lies_about_the_size_are_lived_with() {
        assert_eq!(direct_reads(4, 0), []);
        assert!(direct_reads(8, 4096).iter().all(|step| step.fits(4096)));
        assert_eq!(last_read(0), None);
        let last = last_read(u64::MAX).unwrap();
        assert!(last.fits(u64::MAX));
        assert!(matches!(last, Step::Read { seed: None, .. }));
    }
}
