// SPDX-License-Identifier: MIT OR Apache-2.0

//! What reading random bytes costs with the C driver, with the Rust driver, and
//! with one that only uses the virtqueue, on a simulated device, which a module
//! makes: the last of these is measured by the module. On a machine that counts
//! instructions as time, a nanosecond is an instruction.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use protocol::bench::{Shape, Side};

use crate::bus::{self, C_DRIVER, RUST_DRIVER};
use crate::figures::{by_turns, Figures};
use crate::hwrng;
use crate::kmsg::Kmsg;
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Report};

const BENCHMARK: &str = "virtio_cost_rng";
const LIMIT: Duration = Duration::from_secs(120);
const SIDES: [Side; 3] = [Side::C, Side::Rust, Side::Empty];

/// How many bytes to read at once, and how often.
const READS: [(u32, u32); 4] = [(64, 1000), (512, 1000), (4096, 500), (65536, 50)];
/// What is told of a device as such goes with one of these.
const USUAL: u32 = 4096;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let turns = params.number("pairs", 7)?;
    // The module binds what it makes.
    bus::set_autoprobe(false)?;
    report.check("rng-sweep", || {
        let mut figures = Figures::default();
        by_turns(&SIDES, turns, |side| measure(side, &mut figures))?;
        let count = figures.send();
        let detail = format!("{} sizes, {turns} turns", READS.len());
        Ok(Measured::new(count as f64, "figures", detail))
    });
    Ok(())
}

fn measure(side: Side, figures: &mut Figures) -> Result<()> {
    let driver = match side {
        Side::C => Some(C_DRIVER),
        Side::Empty => None,
        Side::Rust | Side::Scrub => Some(RUST_DRIVER),
    };
    if let Some(driver) = driver {
        module::load(driver)?;
    }
    for (size, rounds) in READS {
        let cost = measure_one(driver, size, rounds)?;
        let shape = Shape::single(size);
        let mut add = |of, unit, value| figures.add(of, unit, side, shape, value);
        add("rng.read", "instructions", cost.read);
        if size == USUAL {
            add("rng.probe", "us", cost.probe / 1e3);
            add("rng.remove", "us", cost.remove / 1e3);
            add("rng.memory", "KiB", cost.memory / 1024.0);
        }
    }
    driver.map_or(Ok(()), module::unload_now)
}

#[derive(Debug, PartialEq)]
struct Cost {
    read: f64,
    /// In ns.
    probe: f64,
    remove: f64,
    /// In bytes.
    memory: f64,
}

fn measure_one(driver: Option<&str>, size: u32, rounds: u32) -> Result<Cost> {
    let empty = u8::from(driver.is_none());
    let args = format!("size={size} rounds={rounds} empty={empty}");
    let mut log = Kmsg::from_now()?;
    module::load_with_within(BENCHMARK, &args, LIMIT)
        .with_context(|| format!("{BENCHMARK} {args}"))?;
    let mut line = |word| log.wait_for(&[BENCHMARK, driver.unwrap_or("empty"), word], bus::LIMIT);
    let device = line("probe")?;
    let read = match driver {
        None => after(&line("read")?, "read").context("no cost of a read")?,
        Some(_) => fewest(size as usize, rounds as usize)?,
    };
    module::unload_now(BENCHMARK)?;
    let of_device = |word| after(&device, word).with_context(|| format!("{device:?}: no {word}"));
    Ok(Cost {
        read,
        probe: of_device("probe")?,
        remove: of_device("remove")?,
        memory: of_device("memory")?,
    })
}

/// Nanoseconds that a system call takes to read so many bytes.
fn fewest(size: usize, rounds: usize) -> Result<f64> {
    let clock = (0..rounds).map(|_| Instant::now().elapsed()).min();
    let read = hwrng::latencies(size, rounds, LIMIT)?.into_iter().min();
    let took = read
        .unwrap_or_default()
        .saturating_sub(clock.unwrap_or_default());
    Ok(took.as_nanos() as f64)
}

/// The number behind a word: `virtio_cost_rng: virtio_rng probe 9 remove 8 memory 7`.
fn after(line: &str, word: &str) -> Option<f64> {
    let mut words = line.split_whitespace().skip_while(|other| *other != word);
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_module() {
        let line = "virtio_cost_rng: virtio_rng probe 9 remove 8 memory 7";
        assert_eq!(after(line, "probe"), Some(9.0));
        assert_eq!(after(line, "memory"), Some(7.0));
        assert_eq!(after(line, "read"), None);
        assert_eq!(after("virtio_cost_rng: empty read", "read"), None);
    }
}
