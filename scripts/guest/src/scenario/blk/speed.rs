// SPDX-License-Identifier: MIT OR Apache-2.0

//! How fast the C and the Rust driver read and write the same disk in the same
//! boot, by turns; and what scrubbing costs the latter.

use std::ffi::CStr;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{KIB, SCRATCH};

use crate::bus::{self, LIMIT};
use crate::disk::{Bound, C_DRIVER, RUST_DRIVER};
use crate::module;
use crate::params::Params;
use crate::program::fio_with;
use crate::report::{Measured, Report};
use crate::say;
use crate::stats::Summary;

const JOB: &str = include_str!("../../../jobs/speed.fio");

/// One way to use a disk.
struct Shape {
    name: &'static str,
    rw: &'static str,
    block: &'static str,
    depth: &'static str,
}

const fn shape(
    name: &'static str,
    rw: &'static str,
    block: &'static str,
    depth: &'static str,
) -> Shape {
    Shape {
        name,
        rw,
        block,
        depth,
    }
}

/// What both drivers do.
const SHAPES: [Shape; 6] = [
    shape("randread-4k-d1", "randread", "4k", "1"),
    shape("randread-4k-d32", "randread", "4k", "32"),
    shape("randwrite-4k-d1", "randwrite", "4k", "1"),
    shape("randwrite-4k-d32", "randwrite", "4k", "32"),
    shape("read-128k", "read", "128k", "4"),
    shape("write-128k", "write", "128k", "4"),
];

/// What is read with and without scrubbing.
const SCRUBBED: [Shape; 4] = [
    shape("scrub-4k", "randread", "4k", "1"),
    shape("scrub-64k", "randread", "64k", "1"),
    shape("scrub-256k", "randread", "256k", "1"),
    shape("scrub-1m", "randread", "1m", "1"),
];

/// A driver, as it was loaded.
struct Side {
    name: &'static str,
    driver: &'static str,
    parameter: &'static CStr,
}

const C: Side = Side {
    name: "C",
    driver: C_DRIVER,
    parameter: c"",
};
const RUST: Side = Side {
    name: "Rust",
    driver: RUST_DRIVER,
    parameter: c"scrub=0",
};
const SCRUBBING: Side = Side {
    name: "scrubbing",
    driver: RUST_DRIVER,
    parameter: c"scrub=1",
};

/// The speed that the driver in Rust has to have, at least.
const AS_FAST: f64 = 1.0;

/// Requests per second, of one side and of the other.
type Pair = (f64, f64);

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let pairs = params.number("pairs", 7)?;
    let seconds = params.number("seconds", 1)?;
    bus::set_autoprobe(false)?;
    compare(report, &SHAPES, [&C, &RUST], pairs, seconds, Some(AS_FAST));
    compare(report, &SCRUBBED, [&RUST, &SCRUBBING], pairs, seconds, None);
    Ok(())
}

/// Reports the second side's speed, with that of the first one as 1. It is to be no less than
/// `bar`, within the spread.
fn compare(
    report: &mut Report,
    shapes: &[Shape],
    sides: [&Side; 2],
    pairs: u64,
    seconds: u64,
    bar: Option<f64>,
) {
    let mut all = measure(shapes, sides, pairs, seconds);
    for (number, shape) in shapes.iter().enumerate() {
        report.check(&format!("speed.{}", shape.name), || match &mut all {
            Ok(all) => {
                let of_shape: Vec<_> = all.iter().map(|turn| turn[number]).collect();
                ratio(&of_shape, sides, bar)
            }
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        });
    }
}

/// All shapes, as often as there are pairs.
fn measure(
    shapes: &[Shape],
    [first, second]: [&Side; 2],
    pairs: u64,
    seconds: u64,
) -> Result<Vec<Vec<Pair>>> {
    let mut all = Vec::new();
    for number in 0..pairs {
        // The first one of a pair changes.
        let turn: Vec<Pair> = if number % 2 == 0 {
            let first = one(shapes, first, seconds)?;
            first
                .into_iter()
                .zip(one(shapes, second, seconds)?)
                .collect()
        } else {
            let second = one(shapes, second, seconds)?;
            one(shapes, first, seconds)?
                .into_iter()
                .zip(second)
                .collect()
        };
        for (shape, (first, second)) in shapes.iter().zip(&turn) {
            let name = shape.name;
            say::note(format!("pair {number}: {name}: {first:.0}, {second:.0}/s"));
        }
        all.push(turn);
    }
    Ok(all)
}

/// Requests per second of each shape.
fn one(shapes: &[Shape], side: &Side, seconds: u64) -> Result<Vec<f64>> {
    module::load_with(side.driver, side.parameter)?;
    let disk = Bound::new(SCRATCH, side.driver)?;
    let rates = shapes
        .iter()
        .map(|shape| rate(&disk, shape, seconds))
        .collect::<Result<_>>()?;
    disk.unbind(LIMIT)?;
    module::unload_now(side.driver)?;
    Ok(rates)
}

fn rate(disk: &Bound, shape: &Shape, seconds: u64) -> Result<f64> {
    let envs = [
        ("RW", shape.rw.to_owned()),
        ("BS", shape.block.to_owned()),
        ("DEPTH", shape.depth.to_owned()),
    ];
    let limit = Duration::from_secs(seconds);
    let mut fio = fio_with(JOB, disk, KIB[SCRATCH], limit, &envs)?;
    fio.succeeds(limit + Duration::from_secs(60))?;
    let said = fio.said();
    let rate = said.lines().find_map(requests_per_second);
    let rate = rate.with_context(|| format!("fio said no rate: {said:?}"))?;
    ensure!(rate > 0.0, "{}: fio did nothing", shape.name);
    Ok(rate)
}

/// Of version 3 of fio's terse output: those of reads and of writes are in
/// fields of their own, of which one is 0.
fn requests_per_second(line: &str) -> Option<f64> {
    let fields: Vec<_> = line.split(';').collect();
    if fields.first() != Some(&"3") {
        return None;
    }
    let read: f64 = fields.get(7)?.parse().ok()?;
    let write: f64 = fields.get(48)?.parse().ok()?;
    Some(read + write)
}

fn ratio(pairs: &[Pair], [first, second]: [&Side; 2], bar: Option<f64>) -> Result<Measured> {
    let of = |f: fn(&Pair) -> f64| {
        let numbers: Vec<_> = pairs.iter().map(f).collect();
        Summary::of(&numbers).context("nothing was measured")
    };
    let ratios = of(|(first, second)| second / first)?;
    let quartile = upper_quartile(pairs.iter().map(|(first, second)| second / first));
    let detail = format!(
        "requests per second, {} by {}: median of {} pairs, {:.3} to {:.3}, \
         a quarter above {quartile:.3}; medians {:.0} and {:.0}",
        second.name,
        first.name,
        pairs.len(),
        ratios.min,
        ratios.max,
        of(|pair| pair.1)?.median,
        of(|pair| pair.0)?.median,
    );
    if let Some(bar) = bar {
        // Three quarters of the pairs are below that: it is no chance.
        ensure!(
            quartile >= bar,
            "less than {bar:.2} times as fast: {detail}"
        );
    }
    Ok(Measured::new(ratios.median, "x", detail))
}

/// What no more than a quarter of the numbers are above.
fn upper_quartile(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let above = sorted.len() / 4;
    sorted.iter().rev().nth(above).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_fio() {
        let mut fields = vec!["0"; 60];
        (fields[0], fields[7], fields[48]) = ("3", "1234", "0");
        assert_eq!(requests_per_second(&fields.join(";")), Some(1234.0));
        (fields[7], fields[48]) = ("0", "56");
        assert_eq!(requests_per_second(&fields.join(";")), Some(56.0));
        assert_eq!(requests_per_second("fio: warning; 3"), None);
        assert_eq!(requests_per_second("3;fio"), None);
    }

    #[test]
    fn what_is_reported_is_the_median_of_the_pairs() {
        let pairs = [(100.0, 90.0), (10.0, 11.0), (1.0, 3.0)];
        let measured = ratio(&pairs, [&C, &RUST], Some(AS_FAST)).unwrap();
        assert_eq!(measured.value, 1.1);
        assert!(measured.detail.contains("0.900 to 3.000"));
        assert!(ratio(&[], [&C, &RUST], None).is_err());
    }

    #[test]
    fn slower_is_what_most_pairs_say() {
        let pairs = |seconds: [f64; 7]| seconds.map(|second| (1.0, second));
        let compare = |seconds| ratio(&pairs(seconds), [&C, &RUST], Some(AS_FAST));
        assert!(compare([0.9, 0.9, 0.9, 0.9, 0.9, 1.0, 1.1]).is_ok());
        assert!(compare([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 1.1]).is_err());
        assert_eq!(upper_quartile([1.0, 3.0, 2.0].into_iter()), 3.0);
    }
}
