// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the benchmarks of drivers share: a module makes simulated devices for
//! the driver that is loaded, or for one that only uses the virtqueue, and
//! prints what it measured. On a machine that counts instructions as time, a
//! nanosecond is an instruction.

use std::time::Duration;

use anyhow::{bail, Context as _, Result};
use protocol::bench::{Shape, Side};

use crate::bus;
use crate::figures::Figures;
use crate::kmsg::{number_after, Kmsg};
use crate::module;
use crate::params::Params;

/// Where the machine counts.
pub const COUNTED: &str = "instructions";
/// Where it does not.
pub const TIMED: &str = "ns";

const LIMIT: Duration = Duration::from_secs(120);
/// What a module prints in the place of a driver's name.
const NO_DRIVER: &str = "empty";

/// A module that measures, and the drivers that it does that with.
pub struct Benchmark {
    pub module: &'static str,
    pub c: &'static str,
    pub rust: &'static str,
}

/// The driver that is loaded, or none.
#[derive(Clone, Copy)]
pub struct Driver(pub Option<&'static str>);

/// What a device takes: time in ns, memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    pub probe: f64,
    pub remove: f64,
    pub memory: f64,
}

/// What the figures are of.
pub fn unit(params: &Params) -> Result<&'static str> {
    Ok(match params.number("counted", 0)? {
        0 => TIMED,
        _ => COUNTED,
    })
}

impl Benchmark {
    /// Calls `measure` while the driver of a side is loaded.
    pub fn with_driver(
        &self,
        side: Side,
        measure: impl FnOnce(Driver) -> Result<()>,
    ) -> Result<()> {
        let driver = match side {
            Side::C => Some(self.c),
            Side::Rust => Some(self.rust),
            Side::Empty => None,
            Side::Scrub => bail!("nothing is scrubbed here"),
        };
        if let Some(driver) = driver {
            module::load(driver)?;
        }
        measure(Driver(driver))?;
        driver.map_or(Ok(()), module::unload_now)
    }

    /// Calls `measure` while the module is there, which measured when it was
    /// loaded.
    pub fn with_module<T>(
        &self,
        driver: Driver,
        args: &str,
        measure: impl FnOnce(&mut Lines) -> Result<T>,
    ) -> Result<T> {
        let Self { module, .. } = *self;
        let args = format!("{args} empty={}", u8::from(driver.0.is_none()));
        let log = Kmsg::from_now()?;
        module::load_with_within(module, &args, LIMIT)
            .with_context(|| format!("{module} {args} with {:?}", driver.0))?;
        let name = driver.0.unwrap_or(NO_DRIVER);
        let measured = measure(&mut Lines { log, module, name })?;
        module::unload_now(module)?;
        Ok(measured)
    }
}

/// What a module printed.
pub struct Lines {
    log: Kmsg,
    module: &'static str,
    name: &'static str,
}

impl Lines {
    /// The line in which a word comes after the name of the driver.
    pub fn with(&mut self, word: &str) -> Result<String> {
        self.log
            .wait_for(&[self.module, self.name, word], bus::LIMIT)
    }
}

/// The number after a word.
pub fn number(line: &str, word: &str) -> Result<f64> {
    number_after(line, word).with_context(|| format!("{line:?}: no {word}"))
}

impl Device {
    /// `... probe 9000 remove 8000 memory 7`
    pub fn parse(line: &str) -> Result<Self> {
        Ok(Self {
            probe: number(line, "probe")?,
            remove: number(line, "remove")?,
            memory: number(line, "memory")?,
        })
    }

    /// Adds the figures of a class of devices.
    pub fn add(
        &self,
        figures: &mut Figures,
        class: &str,
        unit: &'static str,
        side: Side,
        shape: Shape,
    ) {
        let mut add = |what, unit, value| {
            figures.add(&format!("{class}.{what}"), unit, side, shape, value);
        };
        // Who waits for a timer lets no time pass where instructions are counted.
        if unit == COUNTED {
            add("memory", "KiB", self.memory / 1024.0);
        } else {
            add("probe", "us", self.probe / 1e3);
            add("remove", "us", self.remove / 1e3);
        }
    }
}
