// SPDX-License-Identifier: MIT OR Apache-2.0

//! What reading random bytes costs with the C driver, with the Rust driver, and
//! with one that only uses the virtqueue, on a simulated device, which a module
//! makes: the last of these is measured by the module. On a machine that counts
//! instructions as time, a nanosecond is an instruction.

use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::bench::{Shape, Side};

use super::cost_of_driver::{number, unit, Benchmark, Device, Driver};
use crate::bus::{self, C_DRIVER, RUST_DRIVER};
use crate::figures::{by_turns, Figures};
use crate::hwrng;
use crate::params::Params;
use crate::report::{Measured, Report};

const BENCHMARK: Benchmark = Benchmark {
    module: "virtio_cost_rng",
    c: C_DRIVER,
    rust: RUST_DRIVER,
};
const LIMIT: Duration = Duration::from_secs(120);
const SIDES: [Side; 3] = [Side::C, Side::Rust, Side::Empty];

/// How many bytes to read at once, and how often: a driver that reads ahead pays
/// now and then.
const READS: [(u32, u32); 4] = [(64, 8000), (512, 4000), (4096, 1000), (65536, 100)];
/// Before that, to have read ahead.
const WARM_UP: usize = 64;

/// Devices that what one takes is averaged over.
const MANY: u32 = 32;
const DEVICES: Shape = Shape {
    devices: MANY,
    ..Shape::single(0)
};

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let turns = params.number("pairs", 7)?;
    // The module binds what it makes.
    bus::set_autoprobe(false)?;
    let unit = unit(params)?;
    report.check("rng-sweep", || {
        let mut figures = Figures::default();
        by_turns(&SIDES, turns, |side| measure(side, unit, &mut figures))?;
        let count = figures.send();
        let detail = format!("{} sizes, {turns} turns", READS.len());
        Ok(Measured::new(count as f64, "figures", detail))
    });
    Ok(())
}

fn measure(side: Side, unit: &'static str, figures: &mut Figures) -> Result<()> {
    BENCHMARK.with_driver(side, |driver| {
        for (size, rounds) in READS {
            let took = read(driver, size, rounds)?;
            figures.add("rng.read", unit, side, Shape::single(size), took);
        }
        device(driver)?.add(figures, "rng", unit, side, DEVICES);
        Ok(())
    })
}

/// What a read takes on average.
fn read(driver: Driver, size: u32, rounds: u32) -> Result<f64> {
    let args = format!("size={size} rounds={rounds}");
    BENCHMARK.with_module(driver, &args, |lines| match driver {
        Driver(None) => number(&lines.with("read")?, "read"),
        Driver(Some(_)) => average(size as usize, rounds as usize),
    })
}

fn device(driver: Driver) -> Result<Device> {
    BENCHMARK.with_module(driver, &format!("devices={MANY}"), |lines| {
        Device::parse(&lines.with("probe")?)
    })
}

/// Nanoseconds that a system call takes to read so many bytes.
fn average(size: usize, rounds: usize) -> Result<f64> {
    let clock = (0..rounds).map(|_| Instant::now().elapsed()).min();
    hwrng::latencies(size, WARM_UP, LIMIT)?;
    let reads = hwrng::latencies(size, rounds, LIMIT)?;
    let sum = reads.iter().sum::<Duration>().as_nanos() as f64;
    let clock = clock.unwrap_or_default().as_nanos() as f64;
    Ok(sum / reads.len() as f64 - clock)
}
