// SPDX-License-Identifier: MIT OR Apache-2.0

//! The first device lies. What comes of it is told part by part, and the host, who
//! knows the lie, is the one to judge: nothing here passes or fails.

mod content;
mod disk;
mod fuzz;
mod part;
mod random_disk;
mod rng;
mod steps;
mod waiting;
mod words;

use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use protocol::hostile::{Met, Part};

use self::disk::Disk;
use self::fuzz::Fuzz;
use self::part::{count, part};
use self::rng::Rng;
use crate::bus::{self, Device, LIMIT, RING_PACKED};
use crate::params::Params;
use crate::reader::Reader;
use crate::{module, poison};

/// For one operation, and for a reader that is to end: every second of a hang costs.
/// A driver that gives up a silent device after [`disk::IO_TIMEOUT`] is done by then.
const QUICK: Duration = Duration::from_secs(10);

/// A kind of device, bound to its driver.
trait Subject: Sized {
    /// The device that lies.
    fn device() -> Result<Device>;

    /// Binds a device that no driver has.
    fn bind(driver: &str) -> Result<Self>;

    /// All that the device is for.
    fn work(&self, met: &mut Met) -> Result<()>;

    /// A little of it.
    fn brief_work(&self, met: &mut Met) -> Result<()>;

    /// A part of the work that chance chooses.
    fn random_work(&self, fuzz: &Fuzz, round: u64, met: &mut Met) -> Result<()>;

    /// A process that reads and, if all is as meant, waits for the device.
    fn reader(&self) -> Result<Reader>;

    fn unbind(self, limit: Duration) -> Result<()>;
}

enum Workload {
    Io,
    /// A reader that waits is killed.
    Kill,
    /// A reader that waits is there when the driver is unbound.
    Unbind,
    /// A reader that waits is there when all devices are suspended.
    Suspend,
    /// Chance chooses what is done, until the time is over.
    Fuzz(Fuzz),
}

struct Plan {
    driver: String,
    /// Of the module.
    parameters: String,
    /// The layout of the ring that is to be met.
    packed: bool,
    workload: Workload,
}

pub fn run(params: &Params) -> Result<()> {
    let plan = Plan::of(params)?;
    // A driver may take memory for good when it binds.
    poison::free_memory()?;
    match params.get("device") {
        Some("rng") => plan.run::<Rng>(),
        Some("blk") => plan.run::<Disk>(),
        device => bail!("there is no device {device:?}"),
    }
    Ok(())
}

impl Plan {
    fn of(params: &Params) -> Result<Self> {
        let driver = params.get("driver").context("guest.driver is missing")?;
        let workload = match params.get("workload") {
            None | Some("io") => Workload::Io,
            Some("kill") => Workload::Kill,
            Some("unbind") => Workload::Unbind,
            Some("suspend") => Workload::Suspend,
            Some("fuzz") => Workload::Fuzz(Fuzz::of(params)?),
            Some(other) => bail!("there is no workload {other}"),
        };
        Ok(Self {
            driver: driver.into(),
            parameters: params.get("modparam").unwrap_or_default().into(),
            packed: params.number("packed", 0)? != 0,
            workload,
        })
    }

    /// Ends with the first part in which something is stuck.
    fn run<S: Subject>(&self) {
        let mut bound = None;
        let mut reader = None;
        let mut on = part(Part::Bind, |met| {
            bound = count(met, self.bind::<S>())?;
            Ok(())
        });
        on = on && self.work(&mut bound, &mut reader);
        if let Some(subject) = bound {
            on = on
                && part(Part::Unbind, |met| {
                    waiting::unbind(subject, &mut reader, met)
                });
        }
        drop(reader);
        if !matches!(self.workload, Workload::Fuzz(_)) {
            on = on && part(Part::Again, |met| self.again::<S>(met));
        }
        if on {
            part(Part::Unload, |met| {
                count(met, module::unload(&self.driver, QUICK))?;
                Ok(())
            });
        }
    }

    fn bind<S: Subject>(&self) -> Result<S> {
        bus::set_autoprobe(false)?;
        module::load_with(&self.driver, &self.parameters)?;
        // A bind that failed half-way may have left the driver on the device.
        S::device()?.unbind(LIMIT)?;
        let subject = S::bind(&self.driver)?;
        ensure!(
            S::device()?.has_feature(RING_PACKED)? == self.packed,
            "the ring has another layout"
        );
        Ok(subject)
    }

    /// Leaves the reader that the next part is about, if it is about one.
    fn work<S: Subject>(&self, bound: &mut Option<S>, reader: &mut Option<Reader>) -> bool {
        if let Workload::Fuzz(fuzz) = &self.workload {
            return fuzz.rounds(bound, || self.bind::<S>());
        }
        let Some(subject) = bound else {
            return true;
        };
        part(Part::Work, |met| {
            if matches!(self.workload, Workload::Io) {
                poison::free_memory()?;
                return subject.work(met);
            }
            let reader = reader.insert(subject.reader()?);
            match self.workload {
                Workload::Kill => waiting::kill(reader, met),
                Workload::Suspend => waiting::suspend(met)?,
                _ => (),
            }
            Ok(())
        })
    }

    /// Counts the operations between bind and unbind, and what fails of these two.
    fn again<S: Subject>(&self, met: &mut Met) -> Result<()> {
        let subject = self.bind::<S>()?;
        subject.brief_work(met)?;
        subject.unbind(LIMIT)
    }
}
