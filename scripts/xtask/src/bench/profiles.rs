// SPDX-License-Identifier: MIT OR Apache-2.0

//! Takes profiles: both drivers do little and much of the same, in guests that
//! count each instruction.

use std::path::Path;

use anyhow::{ensure, Result};

use super::profile::{self, Counts, Line, Profile, Symbols};
use crate::build::Variant;
use crate::doctor::Toolchain;
use crate::guest::{temporary, Lab};
use crate::report::Entry;
use crate::scenario::{self, Counting, Platform};

/// What is done, by which drivers, with which module.
struct Work {
    of: &'static str,
    subject: &'static str,
    drivers: [&'static str; 2],
    module: &'static str,
    args: &'static str,
    /// What is told how often: a parameter of the module's, or of the guest's.
    rounds: Rounds,
    /// In one round.
    operations: u64,
    few: u64,
    many: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Rounds {
    OfModule,
    OfReads,
}

const BLK: [&str; 2] = ["virtio_blk", "virtio_blk_rust"];

const WORKS: [Work; 3] = [
    Work {
        of: "blk.read of 4 KiB, one at a time",
        subject: "blk",
        drivers: BLK,
        module: "virtio_cost_blk",
        args: "depth=1",
        rounds: Rounds::OfModule,
        operations: 1,
        few: 1000,
        many: 11000,
    },
    Work {
        of: "blk.read of 4 KiB, 32 at a time",
        subject: "blk",
        drivers: BLK,
        module: "virtio_cost_blk",
        args: "depth=32",
        rounds: Rounds::OfModule,
        operations: 32,
        few: 100,
        many: 600,
    },
    Work {
        of: "rng.read of 4 KiB",
        subject: "rng",
        drivers: ["virtio_rng", "virtio_rng_rust"],
        module: "virtio_cost_rng",
        args: "size=4096",
        rounds: Rounds::OfReads,
        operations: 1,
        few: 200,
        many: 2200,
    },
];

/// Profiles of these subjects.
pub fn take(lab: &mut Lab, tools: &Toolchain, subjects: &[&str]) -> Result<Vec<Profile>> {
    let plugin = profile::plugin(lab.ctx)?;
    let wanted = WORKS.iter().filter(|work| subjects.contains(&work.subject));
    let take = |work: &Work| -> Result<Profile> {
        let [c, rust] = work.drivers;
        let mut one = |driver| lines(lab, tools, &plugin, work, driver);
        Ok(Profile {
            of: work.of.into(),
            c: one(c)?,
            rust: one(rust)?,
        })
    };
    wanted.map(take).collect()
}

fn lines(
    lab: &mut Lab,
    tools: &Toolchain,
    plugin: &Path,
    work: &Work,
    driver: &str,
) -> Result<Vec<Line>> {
    let dir = temporary()?;
    let mut counted = |rounds: u64| {
        let counting = Counting {
            plugin: plugin.to_owned(),
            counts: dir.path().join("counts"),
        };
        let boot = scenario::profile(Platform::Qemu, counting.clone())
            .with("driver", driver)
            .with("module", work.module);
        let boot = match work.rounds {
            Rounds::OfModule => boot.with("args", &format!("{},rounds={rounds}", work.args)),
            Rounds::OfReads => boot
                .with("args", work.args)
                .with("reads", &rounds.to_string()),
        };
        let (entries, transcript) = lab.measure(&boot)?;
        for entry in &entries {
            ensure!(entry.ok, "{}: {}", entry.name, entry.detail);
        }
        let places = profile::places(&transcript.lines)?;
        Ok((Counts::read(&counting.counts)?, places))
    };
    let (few, places) = counted(work.few)?;
    let (many, places_of_many) = counted(work.many)?;
    ensure!(
        places == places_of_many,
        "{driver} was not at the same place twice"
    );
    let kernel = &lab.bootable(Variant::X86_64)?.kernel;
    let symbols = Symbols::read(tools, kernel, driver, &places)?;
    let operations = (work.many - work.few) * work.operations;
    Ok(profile::of(&few, &many, operations, &symbols))
}

/// The result that a profile is.
pub fn entry(profile: &Profile) -> Entry {
    let sum = |lines: &[Line]| lines.iter().map(|line| line.instructions).sum::<f64>();
    let (c, rust) = (sum(&profile.c), sum(&profile.rust));
    let detail = format!(
        "instructions for one operation, with all that the guest does: {c:.0} and {rust:.0}"
    );
    Entry::new(format!(
        "profile.counted.{}",
        profile.of.replace([' ', ',', '.'], "-")
    ))
    .pass(rust / c, "x", detail)
}
