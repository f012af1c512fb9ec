// SPDX-License-Identifier: MIT OR Apache-2.0

//! What reading random bytes costs with the C driver, with the Rust driver, and
//! with one that only uses the virtqueue, on a simulated device, which a module
//! makes: the last of these is measured by the module. On a machine that counts
//! instructions as time, a nanosecond is an instruction.

use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};
use protocol::bench::{Shape, Side};

use crate::bus::{self, C_DRIVER, RUST_DRIVER};
use crate::figures::{by_turns, Figures};
use crate::hwrng;
use crate::kmsg::{number_after, Kmsg};
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Report};

const BENCHMARK: &str = "virtio_cost_rng";
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

/// What a machine that counts tells.
const COUNTED: &str = "instructions";

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let turns = params.number("pairs", 7)?;
    // The module binds what it makes.
    bus::set_autoprobe(false)?;
    let unit = match params.number("counted", 0)? {
        0 => "ns",
        _ => COUNTED,
    };
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
    let driver = match side {
        Side::C => Some(C_DRIVER),
        Side::Rust => Some(RUST_DRIVER),
        Side::Empty => None,
        Side::Scrub => bail!("nothing is scrubbed here"),
    };
    if let Some(driver) = driver {
        module::load(driver)?;
    }
    for (size, rounds) in READS {
        let took = read(driver, size, rounds)?;
        figures.add("rng.read", unit, side, Shape::single(size), took);
    }
    let mut add = |of, unit, value| figures.add(of, unit, side, DEVICES, value);
    let device = device(driver)?;
    // Who waits for a timer lets no time pass where instructions are counted.
    if unit == COUNTED {
        add("rng.memory", "KiB", device.memory / 1024.0);
    } else {
        add("rng.probe", "us", device.probe / 1e3);
        add("rng.remove", "us", device.remove / 1e3);
    }
    driver.map_or(Ok(()), module::unload_now)
}

/// What a read takes on average.
fn read(driver: Option<&str>, size: u32, rounds: u32) -> Result<f64> {
    let empty = u8::from(driver.is_none());
    let args = format!("size={size} rounds={rounds} empty={empty}");
    with_module(driver, &args, |log| match driver {
        None => {
            let line = log.wait_for(&[BENCHMARK, "empty", "read"], bus::LIMIT)?;
            number_after(&line, "read").with_context(|| format!("{line:?} is no cost"))
        }
        Some(_) => average(size as usize, rounds as usize),
    })
}

/// What a device takes: time in ns, memory in bytes.
struct Device {
    probe: f64,
    remove: f64,
    memory: f64,
}

fn device(driver: Option<&str>) -> Result<Device> {
    let empty = u8::from(driver.is_none());
    let args = format!("devices={MANY} empty={empty}");
    with_module(driver, &args, |log| {
        let name = driver.unwrap_or("empty");
        let line = log.wait_for(&[BENCHMARK, name, "probe"], bus::LIMIT)?;
        let number =
            |word| number_after(&line, word).with_context(|| format!("{line:?}: no {word}"));
        Ok(Device {
            probe: number("probe")?,
            remove: number("remove")?,
            memory: number("memory")?,
        })
    })
}

fn with_module<T>(
    driver: Option<&str>,
    args: &str,
    measure: impl FnOnce(&mut Kmsg) -> Result<T>,
) -> Result<T> {
    let mut log = Kmsg::from_now()?;
    module::load_with_within(BENCHMARK, args, LIMIT)
        .with_context(|| format!("{BENCHMARK} {args} with {driver:?}"))?;
    let measured = measure(&mut log)?;
    module::unload_now(BENCHMARK)?;
    Ok(measured)
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
