// SPDX-License-Identifier: MIT OR Apache-2.0

//! How fast the C and the Rust driver read and write the same disk in the same
//! boot, by turns; and what scrubbing costs the latter.

use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use protocol::bench::{Shape, Side};
use protocol::disk::{KIB, SCRATCH};

use crate::bus::{self, LIMIT};
use crate::disk::{Bound, C_DRIVER, RUST_DRIVER};
use crate::figures::{by_turns, Figures};
use crate::module;
use crate::params::Params;
use crate::program::fio_with;
use crate::report::{Measured, Report};

const JOB: &str = include_str!("../../../jobs/speed.fio");
/// What fio needs to start and to end.
const OVERHEAD: Duration = Duration::from_secs(60);

/// One way to use a disk.
struct Load {
    name: &'static str,
    rw: &'static str,
    size: u32,
    depth: u32,
}

const fn load(name: &'static str, rw: &'static str, size: u32, depth: u32) -> Load {
    Load {
        name,
        rw,
        size,
        depth,
    }
}

/// What both drivers do.
const LOADS: [Load; 6] = [
    load("blk.randread", "randread", 4 << 10, 1),
    load("blk.randread", "randread", 4 << 10, 32),
    load("blk.randwrite", "randwrite", 4 << 10, 1),
    load("blk.randwrite", "randwrite", 4 << 10, 32),
    load("blk.seqread", "read", 128 << 10, 4),
    load("blk.seqwrite", "write", 128 << 10, 4),
];

/// What is read with and without scrubbing.
const SCRUBBED: [Load; 6] = [
    load("blk.scrub", "randread", 4 << 10, 1),
    load("blk.scrub", "randread", 4 << 10, 32),
    load("blk.scrub", "randread", 64 << 10, 32),
    load("blk.scrub", "randread", 64 << 10, 1),
    load("blk.scrub", "randread", 256 << 10, 1),
    load("blk.scrub", "randread", 1 << 20, 1),
];

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let turns = params.number("pairs", 7)?;
    let time = Duration::from_millis(params.number("ms", 1000)?);
    bus::set_autoprobe(false)?;
    let all: [(_, &[Load], _); 2] = [
        ("speed", &LOADS, [Side::C, Side::Rust]),
        ("speed.scrub", &SCRUBBED, [Side::Rust, Side::Scrub]),
    ];
    for (check, loads, sides) in all {
        report.check(check, || {
            let mut figures = Figures::default();
            for load in loads {
                by_turns(&sides, turns, |side| {
                    measure(load, side, time, &mut figures)
                })?;
            }
            let count = figures.send();
            let detail = format!("{} loads, {turns} turns of {time:?}", loads.len());
            Ok(Measured::new(count as f64, "figures", detail))
        });
    }
    Ok(())
}

/// One turn of a side.
fn measure(load: &Load, side: Side, time: Duration, figures: &mut Figures) -> Result<()> {
    let (driver, parameter) = match side {
        Side::C => (C_DRIVER, ""),
        Side::Rust => (RUST_DRIVER, "scrub=0"),
        Side::Scrub => (RUST_DRIVER, "scrub=1"),
        Side::Empty => bail!("a disk takes a driver"),
    };
    module::load_with(driver, parameter)?;
    let disk = Bound::new(SCRATCH, driver)?;
    let speed = speed(&disk, load, time)?;
    disk.unbind(LIMIT)?;
    module::unload_now(driver)?;

    let shape = Shape {
        depth: load.depth,
        ..Shape::single(load.size)
    };
    let mut add = |unit, value| figures.add(load.name, unit, side, shape, value);
    add("requests/s", speed.rate);
    add("us p50", speed.p50);
    add("us p99", speed.p99);
    add("us p99.9", speed.p999);
    Ok(())
}

/// Requests per second, and how long they took, in microseconds.
#[derive(Debug, PartialEq)]
struct Speed {
    rate: f64,
    p50: f64,
    p99: f64,
    p999: f64,
}

fn speed(disk: &Bound, load: &Load, time: Duration) -> Result<Speed> {
    let envs = [
        ("RW", load.rw.to_owned()),
        ("BS", load.size.to_string()),
        ("DEPTH", load.depth.to_string()),
        ("TIME", format!("{}ms", time.as_millis())),
    ];
    let mut fio = fio_with(JOB, disk, KIB[SCRATCH], time, &envs)?;
    fio.succeeds(time + OVERHEAD)?;
    let said = fio.said();
    let speed = said.lines().find_map(parse);
    let speed = speed.with_context(|| format!("fio told no speed: {said:?}"))?;
    ensure!(speed.rate > 0.0, "{}: fio did nothing", load.name);
    Ok(speed)
}

/// Version 3 of fio's terse output: reads and writes have fields of their own,
/// and one of the two did nothing.
fn parse(line: &str) -> Option<Speed> {
    const READS: usize = 5;
    const WRITES: usize = 46;
    let fields: Vec<_> = line.split(';').collect();
    if fields.first() != Some(&"3") {
        return None;
    }
    let of = |first: usize| {
        let fields = fields.get(first..)?;
        let percentile = |wanted: &str| -> Option<f64> {
            let found = fields.get(12..32)?.iter().find_map(|field| {
                let (name, value) = field.split_once('%')?;
                name.parse::<f64>()
                    .ok()?
                    .to_string()
                    .eq(wanted)
                    .then_some(value)
            });
            found?.strip_prefix('=')?.parse().ok()
        };
        Some(Speed {
            rate: fields.get(2)?.parse().ok()?,
            p50: percentile("50")?,
            p99: percentile("99")?,
            p999: percentile("99.9")?,
        })
    };
    [READS, WRITES]
        .into_iter()
        .filter_map(of)
        .find(|speed| speed.rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As fio says it, with what is read or written at `first`.
    fn line(first: usize) -> String {
        let mut fields = vec!["0"; 100];
        fields[0] = "3";
        for other in [5, 46] {
            fields[other + 12] = "1.000000%=0";
            fields[other + 18] = "50.000000%=0";
            fields[other + 24] = "99.000000%=0";
            fields[other + 26] = "99.900000%=0";
        }
        fields[first + 2] = "1234";
        fields[first + 12] = "1.000000%=10";
        fields[first + 18] = "50.000000%=20";
        fields[first + 24] = "99.000000%=30";
        fields[first + 26] = "99.900000%=40";
        fields.join(";")
    }

    #[test]
    fn a_line_of_fio() {
        let speed = Some(Speed {
            rate: 1234.0,
            p50: 20.0,
            p99: 30.0,
            p999: 40.0,
        });
        assert_eq!(parse(&line(5)), speed);
        assert_eq!(parse(&line(46)), speed);
        assert_eq!(parse("fio: warning; 3"), None);
        assert_eq!(parse("3;fio"), None);
    }
}
