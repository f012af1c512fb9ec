// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/dev/hwrng` throughput and latency of the C and the Rust driver on the same
//! device in the same boot, in alternating order.

use std::time::Duration;

use anyhow::{anyhow, ensure, Result};
use protocol::bench::{Shape, Side};
use protocol::stats::Summary;

use crate::bus::{self, Device, C_DRIVER, LIMIT, RUST_DRIVER};
use crate::figures::{by_turns, Figures};
use crate::hwrng::{self, Bound};
use crate::module;
use crate::params::Params;
use crate::program::Program;
use crate::report::{Measured, Report};
use crate::say;

const CHUNK: usize = 64 << 10;
/// What one measurement should take.
const TARGET: Duration = Duration::from_millis(1000);
/// What is read before each measurement should take, at least.
const WARM_UP: Duration = Duration::from_millis(100);
/// And no more than this at once, which has to fit into the guest's memory.
const MOST: usize = 16 << 20;
const READ_LIMIT: Duration = Duration::from_secs(60);

const READ: &str = "rng.read";
const RATE: &str = "MB/s";
/// What latencies are of: as much as the class asks for.
const SMALL: usize = hwrng::CORE_BUFFER;
const READS: usize = 4000;
const PERCENTILES: [(&str, usize); 3] = [("us p50", 500), ("us p99", 990), ("us p99.9", 999)];

/// What one driver did in its turn.
struct Turn {
    /// MB/s.
    rate: f64,
    /// Of small reads, the shortest one first.
    latencies: Vec<Duration>,
}

/// MB/s of both drivers in one pair of measurements.
struct Pair {
    c: f64,
    rust: f64,
}

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let pairs = params.number("pairs", 5)?;
    let mut measured = Err(anyhow!("not measured"));
    let mut figures = Figures::default();
    report.check("throughput", || {
        measured = Ok(measure(pairs, &mut figures)?);
        let detail = format!("{pairs} alternating pairs of dd, in 64 KiB reads");
        Ok(Measured::new(pairs as f64, "pairs", detail))
    });
    figures.send();
    let Ok(pairs) = measured else { return Ok(()) };
    let column = |f: fn(&Pair) -> f64| pairs.iter().map(f).collect::<Vec<_>>();
    let (c, rust) = (column(|pair| pair.c), column(|pair| pair.rust));
    report.check("throughput.c", || rate(&c));
    report.check("throughput.rust", || rate(&rust));
    report.check("ratio", || ratio(&c, &rust));
    Ok(())
}

fn measure(pairs: u64, figures: &mut Figures) -> Result<Vec<Pair>> {
    bus::set_autoprobe(false)?;
    module::load(C_DRIVER)?;
    module::load(RUST_DRIVER)?;
    let device = Device::rng(0)?;
    by_turns(&[Side::C, Side::Rust], pairs, |side| {
        let driver = match side {
            Side::C => C_DRIVER,
            _ => RUST_DRIVER,
        };
        let turn = one(&device, driver)?;
        say::note(format!("{driver}: {:.2} MB/s", turn.rate));
        let mut add = |unit, size, value| {
            figures.add(READ, unit, side, Shape::single(size), value);
        };
        add(RATE, CHUNK as u32, turn.rate);
        for (unit, part) in PERCENTILES {
            add(unit, SMALL as u32, percentile(&turn.latencies, part));
        }
        Ok(())
    })?;
    let rates = |side| figures.of(READ, RATE, Shape::single(CHUNK as u32), side);
    let pairs = rates(Side::C).iter().zip(rates(Side::Rust));
    Ok(pairs.map(|(c, rust)| Pair { c: *c, rust: *rust }).collect())
}

fn one(device: &Device, driver: &str) -> Result<Turn> {
    let bound = Bound::new(device, driver)?;
    bound.select()?;
    let bytes = how_much(|bytes| Ok(hwrng::read(bytes, CHUNK, READ_LIMIT)?.1))?;
    let took = dd(bytes / CHUNK)?;
    let mut latencies = hwrng::latencies(SMALL, READS, READ_LIMIT)?;
    latencies.sort_unstable();
    bound.unbind(LIMIT)?;
    Ok(Turn {
        rate: bytes as f64 / took.as_secs_f64() / 1e6,
        latencies,
    })
}

/// How much to read for it to take long enough, in whole chunks. Until then the driver
/// has given out what it had in stock, and has adapted.
fn how_much(mut read: impl FnMut(usize) -> Result<Duration>) -> Result<usize> {
    let (mut bytes, mut took) = (CHUNK, read(CHUNK)?);
    while took < WARM_UP && bytes < MOST {
        bytes *= 2;
        took = read(bytes)?;
    }
    let times = TARGET.as_secs_f64() / took.as_secs_f64();
    let chunks = (times * bytes as f64 / CHUNK as f64).round() as usize;
    Ok(chunks.max(2) * CHUNK)
}

/// How long `dd` takes to read so many chunks, from its start to its end.
fn dd(count: usize) -> Result<Duration> {
    let from = format!("if={}", hwrng::PATH);
    let (size, count) = (format!("bs={CHUNK}"), format!("count={count}"));
    let mut dd = Program::small("dd", &[&from, "of=/dev/null", &size, &count])?;
    let (status, took) = dd.ended(READ_LIMIT)?;
    ensure!(status.success(), "dd {}", dd.told(status));
    Ok(took)
}

/// What so many in a thousand do not exceed, in microseconds.
fn percentile(sorted: &[Duration], per_mille: usize) -> f64 {
    let at = (sorted.len() * per_mille).div_ceil(1000).saturating_sub(1);
    let found = sorted.get(at).copied().unwrap_or_default();
    found.as_nanos() as f64 / 1e3
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dd_reads_for_as_long_as_is_wanted() {
        // At first there is a stock of two chunks.
        let mut read = 0;
        let took = |bytes: usize| {
            let old = read;
            read += bytes;
            let fresh = read.max(2 * CHUNK) - old.max(2 * CHUNK);
            Ok(TARGET.mul_f64(fresh as f64 / (100 * CHUNK) as f64))
        };
        let chunks = how_much(took).unwrap() / CHUNK;
        assert!((90..=110).contains(&chunks), "{chunks}");
        assert_eq!(how_much(|_| Ok(TARGET * 9)).unwrap(), 2 * CHUNK);
    }

    #[test]
    fn percentiles_of_few_and_many() {
        let times: Vec<_> = (1..=1000).map(Duration::from_micros).collect();
        assert_eq!(percentile(&times, 500), 500.0);
        assert_eq!(percentile(&times, 999), 999.0);
        assert_eq!(percentile(&times[..1], 999), 1.0);
        assert_eq!(percentile(&[], 500), 0.0);
    }
}
