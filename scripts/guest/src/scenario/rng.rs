// SPDX-License-Identifier: MIT OR Apache-2.0

//! The entropy driver at its normal work. The host gives two devices: the
//! first returns random bytes, the second nothing but zeros, so that what is
//! read tells which device it came from.

use std::time::Duration;

use anyhow::{ensure, Result};

use super::{leaks, rng_lifecycle, sample};
use crate::bus::{self, Device, LIMIT};
use crate::hwrng::{self, Bound, CORE_BUFFER};
use crate::params::Params;
use crate::report::{Measured, Report};
use crate::{fips, module, sanity};

pub const CHUNK: usize = 64 << 10;
/// The C driver under KASAN manages this at a tenth of a megabyte a second.
const READ_LIMIT: Duration = Duration::from_secs(180);
const BULK: usize = 8 << 20;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.driver();
    report.check("bind", || bind_by_itself(driver));
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    let mut bulk = Vec::new();
    report.check("read", || read(driver, &mut bulk));
    report.check("fips", || judge(bulk));
    report.check("two-devices", || two_devices(driver));
    report.check("nonblock", || nonblock(driver));
    rng_lifecycle::run(params, report)?;
    report.check("sample", || sample::run(params));
    leaks::run(report);
    Ok(())
}

/// Loads the module and lets the bus match it, as on any system.
fn bind_by_itself(driver: &str) -> Result<Measured> {
    bus::set_autoprobe(true)?;
    module::load(driver)?;
    let devices = Device::rngs()?;
    ensure!(
        devices.len() >= 2,
        "the guest has {} entropy devices",
        devices.len()
    );
    for device in &devices {
        let bound = device.driver();
        ensure!(
            bound.as_deref() == Some(driver),
            "{} is bound to {bound:?}, not to {driver}",
            device.name()
        );
    }
    let (current, quality) = (hwrng::current()?, hwrng::quality()?);
    ensure!(
        current.starts_with(&format!("{driver}.")),
        "{current} is current, not one of {driver}"
    );
    ensure!(
        (1..=1024).contains(&quality),
        "{current} has quality {quality}"
    );
    bus::release_all(LIMIT)?;
    let after = hwrng::current()?;
    ensure!(after == "none", "{after} is current after unbind");
    let detail = format!("{driver} bound by id, {current} current, quality {quality}");
    Ok(Measured::new(devices.len() as f64, "devices", detail))
}

fn read(driver: &str, bulk: &mut Vec<u8>) -> Result<Measured> {
    let bound = Bound::new(&Device::rng(0)?, driver)?;
    bound.select()?;
    let (data, took) = hwrng::read(BULK, CHUNK, READ_LIMIT)?;
    bound.unbind(LIMIT)?;
    sanity::check(&data)?;
    let rate = data.len() as f64 / took.as_secs_f64() / 1e6;
    *bulk = data;
    let detail = format!("{rate:.2} MB/s, no block twice, no byte value rare");
    Ok(Measured::new((BULK >> 20) as f64, "MiB", detail))
}

fn judge(bulk: Vec<u8>) -> Result<Measured> {
    ensure!(
        !bulk.is_empty(),
        "there is nothing to test: the read failed"
    );
    let verdict = fips::test(bulk)?;
    let allowed = verdict.allowed();
    let (blocks, failures) = (verdict.blocks, verdict.failures);
    ensure!(
        failures <= allowed,
        "{failures} of {blocks} blocks failed, chance allows {allowed}"
    );
    let detail = format!("of {blocks} blocks; chance allows {allowed}, mean + 6 sigma");
    Ok(Measured::new(failures as f64, "FIPS failures", detail))
}

/// Each in turn, and back: what comes out is that device's.
fn two_devices(driver: &str) -> Result<Measured> {
    const ROUNDS: usize = 4;
    let random = Bound::new(&Device::rng(0)?, driver)?;
    let zeros = Bound::new(&Device::rng(1)?, driver)?;
    for _ in 0..ROUNDS {
        sanity::check(&read_from(&random)?)?;
        let data = read_from(&zeros)?;
        ensure!(
            data.iter().all(|byte| *byte == 0),
            "{} did not get its bytes from {}",
            zeros.name,
            zeros.device.name()
        );
    }
    let detail = format!(
        "{} on {}, {} on {}: {ROUNDS} times 64 KiB of each, each its own device's",
        random.name,
        random.device.name(),
        zeros.name,
        zeros.device.name()
    );
    zeros.unbind(LIMIT)?;
    sanity::check(&read_from(&random)?)?;
    random.unbind(LIMIT)?;
    Ok(Measured::new(2.0, "devices", detail))
}

pub fn read_from(bound: &Bound) -> Result<Vec<u8>> {
    bound.select()?;
    // The class may still hold some of another generator.
    hwrng::read(CORE_BUFFER, CORE_BUFFER, READ_LIMIT)?;
    Ok(hwrng::read(CHUNK, CHUNK, READ_LIMIT)?.0)
}

fn nonblock(driver: &str) -> Result<Measured> {
    let bound = Bound::new(&Device::rng(0)?, driver)?;
    bound.select()?;
    let (data, empty) = hwrng::read_nonblocking(CHUNK, Duration::from_secs(30))?;
    bound.unbind(LIMIT)?;
    sanity::check(&data)?;
    let detail = format!("64 KiB with O_NONBLOCK; {empty} times nothing was there yet");
    Ok(Measured::new((CHUNK >> 10) as f64, "KiB", detail))
}
