// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bind and unbind, load and unload, and the other driver's turn.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};

use super::rng::read_from;
use crate::bus::{Device, C_DRIVER, LIMIT, RUST_DRIVER};
use crate::hwrng::{self, Bound};
use crate::params::Params;
use crate::reader::{OnError, Reader};
use crate::report::{Measured, Report, Skip};
use crate::{module, sanity};

const ANSWER: Duration = Duration::from_secs(60);
const READ_LIMIT: Duration = Duration::from_secs(120);

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.driver();
    let cycles = params.number("cycles", 200)?;
    report.check("cycles", || under_load(driver, cycles));
    report.check("reload", || reload(driver));
    report.check("alternate", || alternate(params));
    Ok(())
}

/// Binds and unbinds while a process reads without pause.
fn under_load(driver: &str, cycles: u64) -> Result<Measured> {
    let device = Device::rng(0)?;
    let mut reader = Reader::spawn(4096, OnError::Retry)?;
    let started = Instant::now();
    for cycle in 0..cycles {
        one_cycle(&device, driver, &mut reader, cycle).with_context(|| format!("cycle {cycle}"))?;
    }
    let took = started.elapsed().as_secs_f64();
    let total = reader.total();
    ensure!(total > 0, "the reader never got a byte: there was no load");
    reader.kill()?;
    reader.ended(LIMIT)?;
    let bound = Bound::new(&device, driver)?;
    sanity::check(&read_from(&bound)?)?;
    bound.unbind(LIMIT)?;
    let kib = total >> 10;
    let detail = format!("in {took:.1} s, while a process read {kib} KiB");
    Ok(Measured::new(cycles as f64, "cycles", detail))
}

fn one_cycle(device: &Device, driver: &str, reader: &mut Reader, cycle: u64) -> Result<()> {
    let before = reader.total();
    device.bind(driver)?;
    // Every other time the driver is in full swing; else it has hardly begun.
    if cycle % 2 == 1 {
        reader.beyond(before, ANSWER)?;
    }
    device.unbind(LIMIT)
}

/// Unloads the idle module, and the one with a bound device, and loads it again.
fn reload(driver: &str) -> Result<Measured> {
    const TIMES: usize = 5;
    let device = Device::rng(0)?;
    for _ in 0..TIMES {
        module::unload_now(driver).context("idle")?;
        module::load(driver)?;
        let bound = Bound::new(&device, driver)?;
        sanity::check(&read_from(&bound)?)?;
        module::unload_now(driver).context("bound")?;
        let left = device.driver();
        ensure!(
            left.is_none(),
            "{} is still bound to {left:?}",
            device.name()
        );
        let after = hwrng::current()?;
        ensure!(after == "none", "{after} is current after rmmod");
        module::load(driver)?;
    }
    Ok(Measured::new(
        TIMES as f64,
        "times",
        "rmmod idle and bound, then insmod and read",
    ))
}

/// The other driver of the same device, in the same boot, by turns.
fn alternate(params: &Params) -> Result<Measured> {
    const TIMES: usize = 5;
    let driver = params.driver();
    let other = if driver == C_DRIVER {
        RUST_DRIVER
    } else {
        C_DRIVER
    };
    if params.is_control() && !module::exists(other) {
        return Err(Skip(format!("this kernel has no module {other}")).into());
    }
    module::load(other)?;
    let device = Device::rng(0)?;
    for _ in 0..TIMES {
        for turn in [other, driver] {
            let bound = Bound::new(&device, turn)?;
            sanity::check(&read_from(&bound)?).with_context(|| turn.to_owned())?;
            hwrng::read(4096, 512, READ_LIMIT)?;
            bound.unbind(LIMIT)?;
        }
    }
    module::unload_now(other)?;
    if module::is_loaded(other) {
        bail!("{other} is still loaded");
    }
    let detail = format!("{other} and {driver} by turns on {}", device.name());
    Ok(Measured::new(TIMES as f64, "times", detail))
}
