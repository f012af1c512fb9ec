// SPDX-License-Identifier: MIT OR Apache-2.0

//! What posting and popping one buffer costs, in C and in Rust: two modules do
//! the same with a simulated device when they are loaded, and print it. On a
//! machine that counts instructions as time, a nanosecond is an instruction.

use std::time::Duration;

use anyhow::{Context as _, Result};
use protocol::bench::{Shape, Side};

use crate::figures::{by_turns, Figures};
use crate::kmsg::Kmsg;
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Report};

const C: &str = "virtio_cost_c";
const RUST: &str = "virtio_cost_rust";
const LIMIT: Duration = Duration::from_secs(60);

/// Per buffer.
#[derive(Debug, PartialEq)]
struct Cost {
    post: f64,
    pop: f64,
}

/// The names of the shapes, with the bytes in them.
const SHAPES: [(&str, u32); 2] = [("bytes", 64), ("request", 16 + 4096 + 1)];

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let turns = params.number("pairs", 1)?;
    let mut figures = Figures::default();
    for (shape, size) in SHAPES {
        report.check(shape, || {
            let mut last = (None, None);
            by_turns(&[Side::C, Side::Rust], turns, |side| {
                let (cost, last) = match side {
                    Side::C => (cost(C, "c", shape)?, &mut last.0),
                    _ => (cost(RUST, "rust", shape)?, &mut last.1),
                };
                let of = format!("queue.{shape}");
                let both = cost.post + cost.pop;
                figures.add(&of, "instructions", side, Shape::single(size), both);
                *last = Some(cost);
                Ok(())
            })?;
            let (c, rust) = last;
            compare(&c.context("no turn")?, &rust.context("no turn")?)
        });
    }
    figures.send();
    Ok(())
}

fn compare(c: &Cost, rust: &Cost) -> Result<Measured> {
    let ratio = (rust.post + rust.pop) / (c.post + c.pop);
    let detail = format!(
        "instructions to post and to pop: C {} + {}, Rust {} + {}",
        c.post, c.pop, rust.post, rust.pop
    );
    Ok(Measured::new(ratio, "x", detail))
}

fn cost(name: &str, language: &str, shape: &str) -> Result<Cost> {
    let mut log = Kmsg::from_now()?;
    module::load(name)?;
    let line = log.wait_for(&[name, language, shape, "post"], LIMIT)?;
    module::unload_now(name)?;
    parse(&line).with_context(|| format!("{line:?} is no cost"))
}

/// `virtio_cost_c: c bytes post 53 pop 49`
fn parse(line: &str) -> Option<Cost> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == "post")?;
    let post = words.next()?.parse().ok()?;
    words.next().filter(|word| *word == "pop")?;
    let pop = words.next()?.parse().ok()?;
    Some(Cost { post, pop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_module() {
        let cost = parse("virtio_cost_c: c bytes post 53 pop 49");
        assert_eq!(
            cost,
            Some(Cost {
                post: 53.0,
                pop: 49.0
            })
        );
        assert_eq!(parse("virtio_cost_c: c bytes post pop"), None);
    }
}
