// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device that hardly ever answers, so that readers really wait. Each check
//! has a device of its own, with its first quota still to give: it goes to the
//! thread by which the hwrng core feeds the entropy pool, and the reader is the
//! next to ask.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use anyhow::{ensure, Result};

use crate::bus::{self, Device, LIMIT};
use crate::hwrng::Bound;
use crate::module;
use crate::params::Params;
use crate::reader::{describe, OnError, Reader};
use crate::report::{Measured, Report};

/// For a reader to use up the quota and fall asleep.
const FALL_ASLEEP: Duration = Duration::from_secs(40);
/// For a reader whose driver or device is taken away, and for the taking.
const END: Duration = Duration::from_secs(30);
/// For a reader that is killed.
const DIE: Duration = Duration::from_secs(2);
/// As the hwrng core reads at once.
const CHUNK: usize = 64;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.driver();
    let stall = params.stall()?;
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    report.check("slow.kill", || kill(driver, LIMIT + stall));
    report.check("slow.unbind", || unbind(driver, END + stall));
    report.check("slow.rmmod", || rmmod(driver, END + stall));
    Ok(())
}

fn sleeping_reader(device: usize, driver: &str) -> Result<(Bound, Reader)> {
    let bound = Bound::new(&Device::rng(device)?, driver)?;
    bound.select()?;
    let mut reader = Reader::spawn(CHUNK, OnError::Exit)?;
    reader.asleep(FALL_ASLEEP)?;
    Ok((bound, reader))
}

/// A reader that is killed while it waits is gone, and the device is not
/// harmed by what the reader left in flight.
fn kill(driver: &str, limit: Duration) -> Result<Measured> {
    let (bound, mut reader) = sleeping_reader(0, driver)?;
    let took = reader.die(DIE)?;
    let device = bound.device.clone();
    bound.unbind(limit)?;
    Bound::new(&device, driver)?.unbind(limit)?;
    let detail = "a reader that slept in the driver; then unbind, bind, unbind";
    Ok(Measured::new(took.as_secs_f64() * 1e3, "ms", detail))
}

/// Unbind does not wait for the reader, nor the reader for data.
fn unbind(driver: &str, limit: Duration) -> Result<Measured> {
    let (bound, mut reader) = sleeping_reader(1, driver)?;
    let device = bound.device.clone();
    bound.unbind(limit)?;
    let (status, took) = reader.ended(END)?;
    ensure!(status.signal().is_none(), "the reader {}", describe(status));
    Bound::new(&device, driver)?.unbind(limit)?;
    let detail = format!(
        "unbound under a reader that slept in the driver and {}",
        describe(status)
    );
    Ok(Measured::new(took.as_secs_f64() * 1e3, "ms", detail))
}

/// The same with the whole module taken away.
fn rmmod(driver: &str, limit: Duration) -> Result<Measured> {
    let (bound, mut reader) = sleeping_reader(2, driver)?;
    module::unload(driver, limit)?;
    let (status, took) = reader.ended(END)?;
    ensure!(status.signal().is_none(), "the reader {}", describe(status));
    module::load(driver)?;
    Bound::new(&bound.device, driver)?.unbind(limit)?;
    let detail = format!(
        "rmmod under a reader that slept in the driver and {}",
        describe(status)
    );
    Ok(Measured::new(took.as_secs_f64() * 1e3, "ms", detail))
}
