// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work with a disk that chance chooses. All of a round is done in one thread, with
//! files that stay open, so that there are many requests a second.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::Sender;

use anyhow::{Context as _, Result};
use protocol::disk::{fill, Random, SECTOR};
use protocol::hostile::Met;
use rustix::fs::{fadvise, Advice};

use super::content::markers;
use super::fuzz::Fuzz;
use super::steps::SEVERAL;
use crate::bounded::each;
use crate::disk::{Bound, Buffer, Cache};

/// No more than this of the disk, in bytes, whatever its size.
const AREA: u64 = 16 << 20;
/// In sectors.
const LONGEST: u64 = 128;

/// The words of memory that an operation has found.
type Stale = u64;

pub fn work(disk: &Bound, size: u64, fuzz: &Fuzz, round: u64, met: &mut Met) -> Result<()> {
    let (disk, fuzz) = (disk.clone(), *fuzz);
    let what = format!("an operation on {}", disk.name);
    let thread = move |steps: &Sender<_>| operations(steps, &disk, size, &fuzz, round);
    each(SEVERAL, &what, thread, |stale| {
        met.stale += met.count(stale).unwrap_or(0);
    })
}

fn operations(
    steps: &Sender<Result<Stale, String>>,
    disk: &Bound,
    size: u64,
    fuzz: &Fuzz,
    round: u64,
) {
    let mut files = match Files::open(disk, size, fuzz.random(round)) {
        Ok(files) => files,
        Err(error) => {
            let _ = steps.send(Err(format!("{error:#}")));
            return;
        }
    };
    let (mut done, mut errors_in_a_row) = (0, 0);
    while fuzz.goes_on(done, errors_in_a_row) {
        let result = files.operation().map_err(|error| format!("{error:#}"));
        done += 1;
        errors_in_a_row = match result {
            Ok(_) => 0,
            Err(_) => errors_in_a_row + 1,
        };
        if steps.send(result).is_err() {
            // Given up.
            return;
        }
    }
}

struct Files<'a> {
    disk: &'a Bound,
    direct: File,
    buffered: File,
    /// Of what is read and written, in sectors.
    sectors: u64,
    random: Random,
}

impl<'a> Files<'a> {
    fn open(disk: &'a Bound, size: u64, random: Random) -> Result<Self> {
        // The device may say that nothing can be written.
        let open = |cache| disk.open(cache, true).or_else(|_| disk.open(cache, false));
        Ok(Self {
            direct: open(Cache::Direct)?,
            buffered: open(Cache::Buffered)?,
            disk,
            sectors: size.min(AREA) / SECTOR as u64,
            random,
        })
    }

    fn operation(&mut self) -> Result<Stale> {
        match self.random.below(32) {
            0 => self.buffered.sync_data().context("fdatasync").map(|()| 0),
            1 => self.attribute(),
            2..=8 => self.write(Cache::Direct),
            9..=11 => self.write(Cache::Buffered),
            12..=15 => self.read(Cache::Buffered),
            _ => self.read(Cache::Direct),
        }
    }

    fn read(&mut self, cache: Cache) -> Result<Stale> {
        let (at, mut buffer) = self.place();
        if cache == Cache::Buffered {
            // Or the page cache would answer.
            let len = NonZeroU64::new(buffer.bytes().len() as u64);
            fadvise(&self.buffered, at, len, Advice::DontNeed).context("fadvise")?;
        }
        let file = self.file(cache);
        file.read_exact_at(buffer.bytes(), at)
            .with_context(|| format!("{cache:?} read at {at}"))?;
        Ok(markers(buffer.bytes()))
    }

    fn write(&mut self, cache: Cache) -> Result<Stale> {
        let (at, mut buffer) = self.place();
        fill(self.random.below(u64::MAX), at, buffer.bytes());
        let file = self.file(cache);
        file.write_all_at(buffer.bytes(), at)
            .with_context(|| format!("{cache:?} write at {at}"))?;
        Ok(0)
    }

    fn attribute(&mut self) -> Result<Stale> {
        let names = ["serial", "cache_type", "size", "stat"];
        let name = names[self.random.below(names.len() as u64) as usize];
        match fs::read(self.disk.attribute(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context(name),
            _ => Ok(0),
        }
    }

    /// Short more often than long, anywhere.
    fn place(&mut self) -> (u64, Buffer) {
        let most = 1 + self.random.below(LONGEST);
        let sectors = 1 + self.random.below(most);
        let last = self.sectors.saturating_sub(sectors);
        let at = self.random.below(last + 1) * SECTOR as u64;
        (at, Buffer::new(sectors as usize * SECTOR))
    }

    fn file(&self, cache: Cache) -> &File {
        match cache {
            Cache::Direct => &self.direct,
            Cache::Buffered => &self.buffered,
        }
    }
}
