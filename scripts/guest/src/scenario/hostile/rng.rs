// SPDX-License-Identifier: MIT OR Apache-2.0

//! An entropy device that lies.

use std::fs::File;
use std::io::Read as _;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::hostile::Met;

use super::fuzz::Fuzz;
use super::waiting::settle;
use super::words::Found;
use super::{Subject, QUICK};
use crate::bounded::each;
use crate::bus::Device;
use crate::hwrng::{Bound, CORE_BUFFER, PATH};
use crate::reader::{OnError, Reader};
use crate::say;

const CHUNK: usize = 4096;
const ENOUGH: usize = 192 << 10;
/// After the first error.
const MORE_READS: u64 = 4;
/// The longest of chance, in bytes.
const LONGEST: u64 = 8192;

pub struct Rng(Bound);

impl Subject for Rng {
    fn device() -> Result<Device> {
        Device::rng(0)
    }

    fn bind(driver: &str) -> Result<Self> {
        let bound = Bound::new(&Self::device()?, driver)?;
        bound.select()?;
        Ok(Self(bound))
    }

    fn work(&self, met: &mut Met) -> Result<()> {
        let mut read = Vec::new();
        let done = reads(met, &mut read, |so_far| {
            let on = so_far.bytes < ENOUGH && so_far.since_error <= MORE_READS;
            on.then_some(CHUNK)
        });
        Found::of(&read).tell(met);
        done
    }

    fn brief_work(&self, met: &mut Met) -> Result<()> {
        discard(met)?;
        let mut read = Vec::new();
        let done = reads(met, &mut read, |so_far| {
            (so_far.reads == 0).then_some(CHUNK)
        });
        Found::of(&read).tell(met);
        done
    }

    fn random_work(&self, fuzz: &Fuzz, round: u64, met: &mut Met) -> Result<()> {
        discard(met)?;
        let mut read = Vec::new();
        let (fuzz, mut random) = (*fuzz, fuzz.random(round));
        let done = reads(met, &mut read, move |so_far| {
            let on = fuzz.goes_on(so_far.reads, so_far.errors_in_a_row);
            on.then(|| 1 + random.below(LONGEST) as usize)
        });
        met.stale += Found::of(&read).stale;
        done
    }

    fn reader(&self) -> Result<Reader> {
        let mut reader = Reader::spawn(CHUNK, OnError::Exit)?;
        settle(reader.asleep(QUICK))?;
        Ok(reader)
    }

    fn unbind(self, limit: Duration) -> Result<()> {
        self.0.unbind(limit)
    }
}

/// What the reads have come to.
#[derive(Default)]
struct SoFar {
    reads: u64,
    bytes: usize,
    errors_in_a_row: u64,
    /// Reads since the first error, which is the first of them.
    since_error: u64,
}

impl SoFar {
    fn add(&mut self, read: &Result<Vec<u8>, String>) {
        self.reads += 1;
        self.since_error += u64::from(read.is_err() || self.since_error > 0);
        match read {
            Ok(bytes) => {
                self.bytes += bytes.len();
                self.errors_in_a_row = 0;
            }
            Err(_) => self.errors_in_a_row += 1,
        }
    }
}

/// Reads as many bytes at a time as `next` says, until it says `None`; counts the
/// reads and collects what they got.
fn reads(
    met: &mut Met,
    all: &mut Vec<u8>,
    next: impl FnMut(&SoFar) -> Option<usize> + Send + 'static,
) -> Result<()> {
    let what = format!("a read of {PATH}");
    let thread = move |steps: &Sender<_>| read_all(steps, next);
    each(QUICK, &what, thread, |read| {
        say::progress(&what);
        all.extend(met.count(read).into_iter().flatten());
    })
}

fn read_all(
    steps: &Sender<Result<Vec<u8>, String>>,
    mut next: impl FnMut(&SoFar) -> Option<usize>,
) {
    let mut file = match File::open(PATH).context(PATH) {
        Ok(file) => file,
        Err(error) => {
            let _ = steps.send(Err(format!("{error:#}")));
            return;
        }
    };
    let mut so_far = SoFar::default();
    while let Some(len) = next(&so_far) {
        let read = read_one(&mut file, len).map_err(|error| format!("{error:#}"));
        so_far.add(&read);
        if steps.send(read).is_err() {
            // Given up.
            return;
        }
    }
}

fn read_one(file: &mut File, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0xa5; len];
    let count = file.read(&mut bytes).context(PATH)?;
    ensure!(count > 0, "a read returned 0 bytes");
    bytes.truncate(count);
    Ok(bytes)
}

/// Takes what the class may still hold of an earlier connection, whose words had
/// the same numbers.
fn discard(met: &mut Met) -> Result<()> {
    reads(met, &mut Vec::new(), |so_far| {
        (so_far.reads == 0).then_some(CORE_BUFFER)
    })
}
