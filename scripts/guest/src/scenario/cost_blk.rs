// SPDX-License-Identifier: MIT OR Apache-2.0

//! What reading from a disk costs with the C driver, with the Rust driver, and
//! with one that only uses the virtqueue: a module makes simulated disks, which
//! the driver that is loaded gets, reads from them, and prints what that took.
//! On a machine that counts instructions as time, a nanosecond is an
//! instruction.

use anyhow::{Context as _, Result};
use protocol::bench::{Shape, Side};
use protocol::stats::Summary;

use super::cost_of_driver::{number, unit, Benchmark, Device, Driver, COUNTED, TIMED};
use crate::bus;
use crate::disk::{C_DRIVER, RUST_DRIVER};
use crate::figures::{by_turns, Figures};
use crate::params::Params;
use crate::report::{Measured, Report, Skip};

const BENCHMARK: Benchmark = Benchmark {
    module: "virtio_cost_blk",
    c: C_DRIVER,
    rust: RUST_DRIVER,
};

const READ: &str = "blk.read";

/// Requests that are measured for one figure, about.
const REQUESTS: u32 = 4000;
const FEWEST_ROUNDS: u32 = 40;
const MOST_ROUNDS: u32 = 1000;
/// So many times that, where it is time that is measured.
const TIMED_ROUNDS: u32 = 20;

/// So many times the turns, for time that has a bar: the clock of a machine that is
/// shared changes, and instructions are not counted everywhere.
const TIMED_TURNS: u64 = 5;

/// Devices that memory is averaged over.
const MANY: u32 = 16;

/// What all tests measure, by the names of their checks.
const BRIEF: [(&str, Shape); 4] = [
    ("blk-q1-d1", shape(1, 1)),
    ("blk-q1-d32", shape(1, 32)),
    ("blk-q2-d1", shape(2, 1)),
    ("blk-q2-d32", shape(2, 32)),
];

const fn shape(queues: u32, depth: u32) -> Shape {
    Shape {
        depth,
        queues,
        ..Shape::single(4096)
    }
}

/// What a round took, of all requests in it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    submit: f64,
    complete: f64,
    device: f64,
    /// Both ways on average, but for the longest ones.
    usual: f64,
    /// Of a disk.
    one: Device,
}

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let turns = params.number("pairs", 7)?;
    let unit = unit(params)?;
    // The module binds what it makes.
    bus::set_autoprobe(false)?;
    match params.get("sweep") {
        None => brief(report, turns, unit),
        Some(_) => {
            report.check("blk-sweep", || sweep(turns, unit));
            report.check("blk-queues", all_queues);
        }
    }
    Ok(())
}

/// The shapes of all tests, as ratios.
fn brief(report: &mut Report, turns: u64, unit: &'static str) {
    let shapes = BRIEF.map(|(_, shape)| shape);
    let measured = measure(&[Side::C, Side::Rust], &shapes, turns, unit);
    for (check, shape) in BRIEF {
        report.check(check, || match &measured {
            Ok(figures) => compare(figures, unit, shape),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        });
    }
}

/// All shapes that this machine can have, for the host to compare.
fn sweep(turns: u64, unit: &'static str) -> Result<Measured> {
    let (shapes, _) = by_cpus()?;
    let figures = measure(&[Side::C, Side::Rust, Side::Empty], &shapes, turns, unit)?;
    let count = figures.send();
    let detail = format!("{} shapes, {turns} turns", shapes.len());
    Ok(Measured::new(count as f64, "figures", detail))
}

/// Whether there was a CPU for each queue.
fn all_queues() -> Result<Measured> {
    let (possible, not) = by_cpus()?;
    if !not.is_empty() {
        let count = not.len();
        let why = format!("{count} shapes take more queues than this machine has CPUs");
        return Err(Skip(why).into());
    }
    Ok(Measured::new(possible.len() as f64, "shapes", "all"))
}

/// The shapes that can be measured, and those that cannot.
fn by_cpus() -> Result<(Vec<Shape>, Vec<Shape>)> {
    let cpus = std::thread::available_parallelism()?.get();
    Ok(shapes()
        .into_iter()
        .partition(|shape| shape.queues as usize <= cpus))
}

/// How the cost grows: each dimension by itself.
fn shapes() -> Vec<Shape> {
    let one = Shape::single(4096);
    let powers = |from: u32, to: u32| (0..).map(move |n| from << n).take_while(move |n| *n <= to);
    let depths = powers(1, 256).map(|depth| Shape { depth, ..one });
    let sizes = powers(512, 1 << 20).map(|size| Shape { size, ..one });
    let devices = powers(1, 32).map(|devices| Shape { devices, ..one });
    let queues = [2, 4].into_iter().flat_map(|queues| {
        [1, 32].map(|depth| Shape {
            queues,
            depth,
            ..one
        })
    });
    // What memory is told of.
    let many = [1, 4].map(|queues| Shape {
        queues,
        devices: MANY,
        ..one
    });
    let mut all: Vec<_> = depths
        .chain(sizes)
        .chain(devices)
        .chain(queues)
        .chain(many)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn measure(sides: &[Side], shapes: &[Shape], turns: u64, unit: &'static str) -> Result<Figures> {
    let mut figures = Figures::default();
    for shape in shapes {
        let has_bar = BRIEF.iter().any(|(_, other)| other == shape);
        let turns = match unit {
            TIMED if has_bar => TIMED_TURNS * turns,
            _ => turns,
        };
        by_turns(sides, turns, |side| {
            BENCHMARK.with_driver(side, |driver| {
                let cost = measure_one(driver, *shape, unit)?;
                add(&mut figures, unit, side, *shape, &cost);
                Ok(())
            })
        })?;
    }
    add_memory_of_queues(&mut figures, sides);
    Ok(figures)
}

fn measure_one(driver: Driver, shape: Shape, unit: &str) -> Result<Cost> {
    let Shape {
        depth,
        size,
        queues,
        devices,
    } = shape;
    // Each disk has requests of its own, which cost more when they are used for
    // the first time.
    let least = if unit == COUNTED { 1 } else { TIMED_ROUNDS };
    let rounds = (REQUESTS / depth).clamp(FEWEST_ROUNDS, MOST_ROUNDS) * devices.max(least);
    let args =
        format!("depth={depth} size={size} queues={queues} devices={devices} rounds={rounds}");
    BENCHMARK.with_module(driver, &args, |lines| parse(&lines.with("submit")?))
}

fn add(figures: &mut Figures, unit: &'static str, side: Side, shape: Shape, cost: &Cost) {
    let each = 1.0 / f64::from(shape.depth);
    let mut add = |of, value| figures.add(of, unit, side, shape, value * each);
    // Where nothing is counted, the clock may be a coarse one.
    add(
        READ,
        match unit {
            COUNTED => cost.submit + cost.complete,
            _ => cost.usual,
        },
    );
    if unit == COUNTED {
        add("blk.average", cost.usual);
        add("blk.submit", cost.submit);
        add("blk.complete", cost.complete);
        add("blk.device", cost.device);
    }
    if shape.depth == 1 && shape.devices == MANY {
        cost.one.add(figures, "blk", unit, side, shape);
    }
}

/// What three queues more take, by three.
fn add_memory_of_queues(figures: &mut Figures, sides: &[Side]) {
    let of = |queues| Shape {
        queues,
        devices: MANY,
        ..Shape::single(4096)
    };
    for side in sides {
        let of = |queues| figures.of("blk.memory", "KiB", of(queues), *side);
        let queues: Vec<_> = of(1)
            .iter()
            .zip(of(4))
            .map(|(a, b)| (b - a) / 3.0)
            .collect();
        for value in queues {
            figures.add(
                "blk.memory-of-a-queue",
                "KiB",
                *side,
                Shape::single(4096),
                value,
            );
        }
    }
}

fn compare(figures: &Figures, unit: &'static str, shape: Shape) -> Result<Measured> {
    let of = |of, side| {
        let numbers = figures.of(of, unit, shape, side);
        Summary::of(numbers).context("nothing was measured")
    };
    let side = |side| -> Result<String> {
        let all = of(READ, side)?;
        let (submit, complete) = (of("blk.submit", side)?, of("blk.complete", side)?);
        Ok(format!(
            "{:.0} + {:.0} ({:.0} to {:.0})",
            submit.median, complete.median, all.min, all.max
        ))
    };
    let ratio = of(READ, Side::Rust)?.median / of(READ, Side::C)?.median;
    let detail = format!(
        "{unit} per block to submit and to complete, median: C {}, Rust {}; \
         the device itself: {:.0} and {:.0}",
        side(Side::C)?,
        side(Side::Rust)?,
        of("blk.device", Side::C)?.median,
        of("blk.device", Side::Rust)?.median,
    );
    Ok(Measured::new(ratio, "x", detail))
}

/// `virtio_cost_blk: virtio_blk submit 640 complete 320 device 32 usual 970 probe 9
/// remove 8 memory 7`
fn parse(line: &str) -> Result<Cost> {
    Ok(Cost {
        submit: number(line, "submit")?,
        complete: number(line, "complete")?,
        device: number(line, "device")?,
        usual: number(line, "usual")?,
        one: Device::parse(line)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_module() {
        let line =
            "virtio_cost_blk: virtio_blk submit 640 complete 320 device 32 usual 970 probe 9000 \
                    remove 8000 memory 7";
        let cost = Cost {
            submit: 640.0,
            complete: 320.0,
            device: 32.0,
            usual: 970.0,
            one: Device {
                probe: 9000.0,
                remove: 8000.0,
                memory: 7.0,
            },
        };
        assert_eq!(parse(line).unwrap(), cost);
        assert!(parse("virtio_cost_blk: virtio_blk submit 640").is_err());
    }

    #[test]
    fn what_is_told_is_of_one_request() {
        let mut figures = Figures::default();
        for (side, submit) in [(Side::C, 640.0), (Side::Rust, 320.0)] {
            let cost = Cost {
                submit,
                complete: 320.0,
                device: 32.0,
                usual: 970.0,
                one: Device {
                    probe: 1.0,
                    remove: 1.0,
                    memory: 1.0,
                },
            };
            add(&mut figures, COUNTED, side, shape(1, 32), &cost);
        }
        assert_eq!(figures.of(READ, COUNTED, shape(1, 32), Side::C), [30.0]);
        let ratio = compare(&figures, COUNTED, shape(1, 32)).unwrap();
        assert!((ratio.value - 20.0 / 30.0).abs() < 1e-9);
        assert!(compare(&figures, COUNTED, shape(1, 1)).is_err());
    }

    #[test]
    fn shapes_are_measured_once_each() {
        let all = shapes();
        for (_, shape) in BRIEF {
            assert_eq!(all.iter().filter(|other| **other == shape).count(), 1);
        }
        assert_eq!(all.iter().map(|shape| shape.size).max(), Some(1 << 20));
        assert_eq!(all.iter().map(|shape| shape.depth).max(), Some(256));
        assert_eq!(all.iter().map(|shape| shape.devices).max(), Some(32));
    }

    #[test]
    fn memory_of_a_queue_is_what_more_of_them_take() {
        let mut figures = Figures::default();
        for (queues, kib) in [(1, 100.0), (4, 160.0)] {
            let shape = Shape {
                queues,
                devices: MANY,
                ..Shape::single(4096)
            };
            figures.add("blk.memory", "KiB", Side::C, shape, kib);
        }
        add_memory_of_queues(&mut figures, &[Side::C]);
        let shape = Shape::single(4096);
        let told = figures.of("blk.memory-of-a-queue", "KiB", shape, Side::C);
        assert_eq!(told, [20.0]);
    }
}
