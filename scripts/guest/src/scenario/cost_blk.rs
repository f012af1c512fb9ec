// SPDX-License-Identifier: MIT OR Apache-2.0

//! What reading a block costs with the C and with the Rust driver: a module
//! makes a simulated disk, which the driver that is loaded gets, reads from it,
//! and prints what that took. On a machine that counts instructions as time, a
//! nanosecond is an instruction.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::kmsg::Kmsg;
use crate::module;
use crate::report::{Measured, Report};
use crate::say;
use crate::stats::Summary;

const BENCHMARK: &str = "virtio_cost_blk";
const C: &str = "virtio_blk";
const RUST: &str = "virtio_blk_rust";
const LIMIT: Duration = Duration::from_secs(60);

/// How often both are measured, by turns.
const PAIRS: usize = 7;

/// Queues and requests in flight, as the module prints them.
const SHAPES: [&str; 4] = ["q1-d1", "q1-d32", "q2-d1", "q2-d32"];

/// Instructions per block.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    submit: f64,
    complete: f64,
    device: f64,
}

impl Cost {
    /// What the driver has a part in.
    fn total(&self) -> f64 {
        self.submit + self.complete
    }
}

/// What each shape costs, one measurement after the other.
type Costs = BTreeMap<&'static str, Vec<Cost>>;

pub fn run(report: &mut Report) {
    let mut measured = measure();
    for shape in SHAPES {
        report.check(&format!("blk-{shape}"), || {
            let (c, rust) = match &mut measured {
                Ok(both) => both,
                Err(error) => return Err(anyhow::anyhow!("{error:#}")),
            };
            compare(&c[shape], &rust[shape])
        });
    }
}

fn measure() -> Result<(Costs, Costs)> {
    let (mut c, mut rust) = (Costs::new(), Costs::new());
    for pair in 0..PAIRS {
        // The first one of a pair changes.
        if pair % 2 == 0 {
            measure_one(C, &mut c)?;
            measure_one(RUST, &mut rust)?;
        } else {
            measure_one(RUST, &mut rust)?;
            measure_one(C, &mut c)?;
        }
    }
    Ok((c, rust))
}

fn measure_one(driver: &str, costs: &mut Costs) -> Result<()> {
    let mut log = Kmsg::from_now()?;
    module::load(driver)?;
    module::load_within(BENCHMARK, LIMIT)?;
    for shape in SHAPES {
        let line = log.wait_for(&[BENCHMARK, driver, shape], LIMIT)?;
        say::note(line.clone());
        let cost = parse(&line).with_context(|| format!("{line:?} is no cost"))?;
        costs.entry(shape).or_default().push(cost);
    }
    module::unload_now(BENCHMARK)?;
    module::unload_now(driver)
}

fn compare(c: &[Cost], rust: &[Cost]) -> Result<Measured> {
    let of = |costs: &[Cost], f: fn(&Cost) -> f64| {
        let numbers: Vec<_> = costs.iter().map(f).collect();
        Summary::of(&numbers).context("nothing was measured")
    };
    let (all_c, all_rust) = (of(c, Cost::total)?, of(rust, Cost::total)?);
    let side = |costs, all: Summary| -> Result<String> {
        let submit = of(costs, |cost| cost.submit)?.median;
        let complete = of(costs, |cost| cost.complete)?.median;
        Ok(format!(
            "{submit:.0} + {complete:.0} ({:.0} to {:.0})",
            all.min, all.max
        ))
    };
    let detail = format!(
        "instructions, or ns, per block to submit and to complete, median of {PAIRS}: C {}, Rust {}; \
         the device itself: {:.0} and {:.0}",
        side(c, all_c)?,
        side(rust, all_rust)?,
        of(c, |cost| cost.device)?.median,
        of(rust, |cost| cost.device)?.median,
    );
    Ok(Measured::new(all_rust.median / all_c.median, "x", detail))
}

/// `virtio_cost_blk: virtio_blk q1-d32 submit 640 complete 320 device 32 per 32`
fn parse(line: &str) -> Option<Cost> {
    let words: Vec<_> = line.split_whitespace().collect();
    let after = |name| -> Option<f64> {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse().ok()
    };
    let per = after("per").filter(|per| *per > 0.0)?;
    Some(Cost {
        submit: after("submit")? / per,
        complete: after("complete")? / per,
        device: after("device")? / per,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_module() {
        let line = "virtio_cost_blk: virtio_blk q1-d32 submit 640 complete 320 device 32 per 32";
        let cost = Cost {
            submit: 20.0,
            complete: 10.0,
            device: 1.0,
        };
        assert_eq!(parse(line), Some(cost));
        assert_eq!(cost.total(), 30.0);
        assert_eq!(parse("virtio_cost_blk: virtio_blk q1-d32 submit"), None);
        let none = "virtio_cost_blk: virtio_blk q1-d1 submit 1 complete 1 device 1 per 0";
        assert_eq!(parse(none), None);
    }
}
