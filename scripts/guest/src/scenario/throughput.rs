// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/dev/hwrng` throughput of the C and the Rust driver on the same device in
//! the same boot, in alternating order.

use std::time::Duration;

use anyhow::{anyhow, Result};

use crate::bus::{self, Device, C_DRIVER, LIMIT, RUST_DRIVER};
use crate::hwrng::{self, Bound};
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Report};
use crate::say;
use crate::stats::Summary;

const CHUNK: usize = 64 << 10;
/// What the C driver should take for one measurement.
const TARGET: Duration = Duration::from_millis(1500);
/// A driver for which that is a matter of moments reads as much again and again.
const SHORTEST: Duration = Duration::from_millis(500);
const CALIBRATION: usize = 128 << 10;
/// Before each measurement, so that a driver that adapts has adapted.
const WARM_UP: usize = 64 << 10;
const READ_LIMIT: Duration = Duration::from_secs(60);

/// MB/s of both drivers in one pair of measurements.
struct Pair {
    c: f64,
    rust: f64,
}

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let pairs = params.number("pairs", 5)?;
    let mut measured = Err(anyhow!("not measured"));
    report.check("throughput", || {
        let (bytes, all) = measure(pairs)?;
        let detail = format!(
            "{pairs} alternating pairs of at least {} KiB in 64 KiB reads",
            bytes >> 10
        );
        measured = Ok(all);
        Ok(Measured::new(pairs as f64, "pairs", detail))
    });
    let Ok(pairs) = measured else { return Ok(()) };
    let column = |f: fn(&Pair) -> f64| pairs.iter().map(f).collect::<Vec<_>>();
    let (c, rust) = (column(|pair| pair.c), column(|pair| pair.rust));
    report.check("throughput.c", || rate(&c));
    report.check("throughput.rust", || rate(&rust));
    report.check("ratio", || ratio(&c, &rust));
    Ok(())
}

fn measure(pairs: u64) -> Result<(usize, Vec<Pair>)> {
    bus::set_autoprobe(false)?;
    module::load(C_DRIVER)?;
    module::load(RUST_DRIVER)?;
    let device = Device::rng(0)?;
    let bytes = calibrate(&device)?;
    let mut all = Vec::new();
    for number in 1..=pairs {
        // The first of a pair changes, so that no driver always has the host
        // in the state in which the other left it.
        let pair = if number % 2 == 1 {
            let c = one(&device, C_DRIVER, bytes)?;
            let rust = one(&device, RUST_DRIVER, bytes)?;
            Pair { c, rust }
        } else {
            let rust = one(&device, RUST_DRIVER, bytes)?;
            let c = one(&device, C_DRIVER, bytes)?;
            Pair { c, rust }
        };
        say::note(format!(
            "pair {number}: C {:.2} MB/s, Rust {:.2} MB/s, ratio {:.1}",
            pair.c,
            pair.rust,
            pair.rust / pair.c
        ));
        all.push(pair);
    }
    Ok((bytes, all))
}

/// How much to read, in whole chunks.
fn calibrate(device: &Device) -> Result<usize> {
    let rate = one(device, C_DRIVER, CALIBRATION)? * 1e6;
    let chunks = (rate * TARGET.as_secs_f64() / CHUNK as f64).round() as usize;
    Ok(chunks.max(2) * CHUNK)
}

fn one(device: &Device, driver: &str, bytes: usize) -> Result<f64> {
    let bound = Bound::new(device, driver)?;
    bound.select()?;
    hwrng::read(WARM_UP, CHUNK, READ_LIMIT)?;
    let (mut total, mut took) = (0, Duration::ZERO);
    while took < SHORTEST {
        took += hwrng::read(bytes, CHUNK, READ_LIMIT)?.1;
        total += bytes;
    }
    bound.unbind(LIMIT)?;
    Ok(total as f64 / took.as_secs_f64() / 1e6)
}

fn rate(rates: &[f64]) -> Result<Measured> {
    let Summary { median, min, max } = summary(rates)?;
    let detail = format!("median; {min:.2} to {max:.2}");
    Ok(Measured::new(median, "MB/s", detail))
}

fn ratio(c: &[f64], rust: &[f64]) -> Result<Measured> {
    let ratio = summary(rust)?.median / summary(c)?.median;
    let each: Vec<_> = c
        .iter()
        .zip(rust)
        .map(|(c, rust)| format!("{:.1}", rust / c))
        .collect();
    let detail = format!("of medians; pairs: {}", each.join(" "));
    Ok(Measured::new(ratio, "x", detail))
}

fn summary(numbers: &[f64]) -> Result<Summary> {
    Summary::of(numbers).ok_or_else(|| anyhow!("nothing was measured"))
}
