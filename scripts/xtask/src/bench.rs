// SPDX-License-Identifier: MIT OR Apache-2.0

//! How fast the drivers are: the one in Rust by the one in C, on the same
//! device, in the same boot, by turns.

use anyhow::Result;
use clap::ValueEnum;

use crate::assemble;
use crate::build;
use crate::context::Context;
use crate::doctor;
use crate::guest::Lab;
use crate::report::Report;
use crate::run::{QEMU_BAR, UML_BAR};
use crate::scenario::{self, Boot, Platform};
use crate::source;
use crate::test::{self, BLK_COST_BAR, COST_BAR};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Entropy devices
    Rng,
    /// A buffer in a virtqueue
    Queue,
    /// Disks
    Blk,
}

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Measure fewer times
    #[arg(long)]
    quick: bool,
}

impl Options {
    fn pairs(&self) -> u32 {
        if self.quick {
            3
        } else {
            7
        }
    }

    fn boots(&self) -> Vec<Boot> {
        use Platform::{Qemu, Uml};
        let wants = |subject| self.only.is_empty() || self.only.contains(&subject);
        let mut boots = Vec::new();
        if wants(Subject::Rng) {
            boots.push(scenario::throughput(Uml, self.pairs(), UML_BAR));
            boots.push(scenario::throughput(Qemu, self.pairs(), QEMU_BAR));
        }
        if wants(Subject::Queue) {
            boots.push(scenario::cost(Qemu, COST_BAR));
        }
        if wants(Subject::Blk) {
            boots.push(scenario::cost_blk(Qemu, BLK_COST_BAR));
            boots.push(scenario::time_blk(Uml, BLK_COST_BAR));
            boots.push(scenario::blk_speed(Uml, self.pairs()));
            boots.push(scenario::blk_speed(Qemu, self.pairs()));
        }
        boots
    }
}

/// The command `bench`.
pub fn run(ctx: &Context, options: &Options) -> Result<()> {
    let boots = options.boots();
    let variants = test::variants(&boots, false);
    let tools = doctor::ensure(ctx, &test::needs(&boots, &variants, &[]))?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let mut lab = Lab::new(ctx, &tools, "bench");
    let mut release = source.kernel_version.clone();
    for variant in variants {
        let kernel = build::ensure(ctx, &tools, &tree, variant)?;
        release.clone_from(&kernel.release);
        lab.add(kernel)?;
    }
    let mut results = Vec::new();
    for boot in &boots {
        results.extend(lab.run(boot)?);
    }
    let machine = test::machine(&mut lab, &boots)?;
    for entry in results.iter().filter(|entry| entry.unit == "x") {
        let (name, value) = (&entry.name, entry.value);
        ctx.ui
            .print(&format!("{name:38} {value:7.3}  {}", entry.detail));
    }
    Report::new("bench", &release, &source, machine, &results).conclude(ctx, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_it() {
        let options = |only: &[Subject]| Options {
            only: only.to_vec(),
            quick: true,
        };
        assert_eq!(options(&[Subject::Queue]).boots().len(), 1);
        let all = options(&[]).boots();
        assert_eq!(all.len(), 7);
        assert!(all.iter().any(|boot| boot.id() == "qemu-blk-speed"));
    }
}
