// SPDX-License-Identifier: MIT OR Apache-2.0

//! A disk that lies.

use std::time::Duration;

use anyhow::Result;
use protocol::disk::DATA;
use protocol::hostile::Met;

use super::content::judge;
use super::fuzz::Fuzz;
use super::part::count;
use super::steps::{self, Step};
use super::waiting::settle;
use super::{random_disk, Subject, QUICK};
use crate::bounded::{until, Stuck};
use crate::bus::Device;
use crate::disk::{slot, Bound};
use crate::disk_reader;
use crate::reader::Reader;
use crate::say;

/// How long a request may take, in milliseconds. A driver that gives the device up
/// does so when a request is late for the second time, and each is noticed up to a
/// second late: well within [`QUICK`].
pub const IO_TIMEOUT: &str = "1000";

/// A reader that gets on does so between two samples, or a few.
const WAITING_SAMPLES: u32 = 60;

/// Whatever fails so often in a row does not come back: more often than there are
/// reads before the first write, of a device that fails all reads.
const MOST_ERRORS: u64 = 20;

pub struct Disk(Bound);

impl Subject for Disk {
    fn device() -> Result<Device> {
        slot(DATA)
    }

    fn bind(driver: &str) -> Result<Self> {
        let disk = Bound::new(DATA, driver)?;
        // The C driver has no timeouts.
        match disk.write_attribute("queue/io_timeout", IO_TIMEOUT) {
            Err(error) if error.is::<Stuck>() => Err(error),
            _ => Ok(Self(disk)),
        }
    }

    fn work(&self, met: &mut Met) -> Result<()> {
        let Some(size) = count_failure(met, self.0.size())? else {
            return Ok(());
        };
        let mut run = Run::new(&self.0, size, met);
        run.all(&steps::reads(size))?;
        let mut written = Vec::new();
        for step in steps::direct_writes() {
            written.extend(run.write(&step)?);
        }
        run.step(&Step::Flush)?;
        run.all(&written)?;
        let written = run.write(&steps::buffered_write())?;
        run.step(&Step::DropCaches)?;
        run.all(written.as_slice())?;
        run.all(&["serial", "cache_type"].map(Step::Attribute))?;
        run.all(steps::last_read(size).as_slice())
    }

    fn brief_work(&self, met: &mut Met) -> Result<()> {
        let Some(size) = count_failure(met, self.0.size())? else {
            return Ok(());
        };
        let mut run = Run::new(&self.0, size, met);
        run.all(&steps::direct_reads(4, size))?;
        let written = run.write(&steps::last_write())?;
        run.all(written.as_slice())
    }

    fn random_work(&self, fuzz: &Fuzz, round: u64, met: &mut Met) -> Result<()> {
        match count_failure(met, self.0.size())? {
            Some(size) => random_disk::work(&self.0, size, fuzz, round, met),
            None => Ok(()),
        }
    }

    fn reader(&self) -> Result<Reader> {
        let mut reader = disk_reader::spawn(&self.0)?;
        // One request is on its way most of the time, whoever it is that waits.
        let mut seen = (0, u64::MAX);
        settle(until(QUICK, "a reader that waits for its request", || {
            reader.must_live()?;
            let total = reader.total();
            let waits = self.0.inflight()? > 0 && total == seen.1;
            seen = (if waits { seen.0 + 1 } else { 0 }, total);
            Ok((seen.0 >= WAITING_SAMPLES).then_some(()))
        }))?;
        Ok(reader)
    }

    fn unbind(self, limit: Duration) -> Result<()> {
        self.0.unbind(limit)
    }
}

/// Counts what is no operation of the disk unless it fails.
fn count_failure<T>(met: &mut Met, result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => count(met, Err(error)),
    }
}

/// Does steps until too many in a row have failed.
struct Run<'a> {
    disk: &'a Bound,
    size: u64,
    met: &'a mut Met,
    errors_in_a_row: u64,
}

impl<'a> Run<'a> {
    fn new(disk: &'a Bound, size: u64, met: &'a mut Met) -> Self {
        Self {
            disk,
            size,
            met,
            errors_in_a_row: 0,
        }
    }

    fn all(&mut self, steps: &[Step]) -> Result<()> {
        steps
            .iter()
            .try_for_each(|step| self.step(step).map(|_| ()))
    }

    /// The read that is to find what this write has written, if it has.
    fn write(&mut self, step: &Step) -> Result<Option<Step>> {
        let done = self.step(step)?;
        Ok(step.read_back().filter(|_| done))
    }

    /// Whether it was done.
    fn step(&mut self, step: &Step) -> Result<bool> {
        if self.errors_in_a_row >= MOST_ERRORS || !step.fits(self.size) {
            return Ok(false);
        }
        let result = step.perform(self.disk);
        say::progress(step);
        let counted = match step.proves_life() {
            true => count(self.met, result)?,
            false => count_failure(self.met, result)?,
        };
        self.errors_in_a_row = match counted {
            None => self.errors_in_a_row + 1,
            Some(_) if step.proves_life() => 0,
            Some(_) => self.errors_in_a_row,
        };
        if let (Some(bytes), Some((seed, at))) = (&counted, step.expected()) {
            judge(self.met, seed, at, bytes);
        }
        Ok(counted.is_some())
    }
}
