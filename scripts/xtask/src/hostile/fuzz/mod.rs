// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lies by chance, many in each boot, with the drivers at work.

mod finding;
mod minimise;
mod tally;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use hostile::case::{Case, Chance, Layout, Outcome, Transport, Workload};
use hostile::model::Device;
use hostile::teller::{self, Told};
use protocol::disk::Random;
use protocol::hostile::Part;

use super::judge::{self, Verdict};
use super::row::{Driver, Run};
use super::{pool, runner, Setup, NEEDS};
use crate::build::{self, Variant};
use crate::context::Context;
use crate::guest::accel::Accel;
use crate::guest::{self, liar, Lab};
use crate::report::{Entry, Report};
use crate::scenario::Lies;
use crate::ui;
use crate::{assemble, doctor, source};
use tally::Tally;

/// How long a guest is lied to, in seconds.
const SLICE: u64 = 30;
/// Lies a second that two processors are to bear, without the kernel's checkers.
const RATE_BAR: f64 = 2000.0;
/// How many findings of each device are reduced; each takes up to 21 guests.
const PURSUED: usize = 2;
/// For the processors that the bar is for.
const WORKERS: usize = 2;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// How long; all devices are lied to at the same time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// The same seed tells the same lies
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this device
    #[arg(long, value_enum)]
    device: Option<Device>,
    /// The driver that is lied to
    #[arg(long, value_enum, default_value = "rust")]
    driver: Driver,
}

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Slice {
    pub device: Device,
    pub driver: Driver,
    pub layout: Layout,
    /// With the kernel's checkers.
    pub checked: bool,
    pub seed: u64,
    pub seconds: u64,
}

impl Slice {
    pub fn name(&self) -> String {
        let checked = if self.checked { "-checked" } else { "" };
        format!(
            "fuzz-{}-{}-{}-{:x}{checked}",
            self.device.name(),
            self.driver.name(),
            self.layout.name(),
            self.seed
        )
    }

    /// The case that this is, once its rules are known.
    pub fn case(&self) -> Case {
        Case {
            name: self.name(),
            lie: format!("lies of seed {}", self.seed),
            devices: vec![self.device],
            workload: Workload::Fuzz,
            rules: Vec::new(),
            bits: Default::default(),
            must: vec![
                Outcome::Clean,
                Outcome::RequestError,
                Outcome::ProbeError,
                Outcome::Broken,
            ],
            says: None,
            rings: vec![self.layout],
            transports: vec![Transport::Uml],
            // What a device claims to have written and has not cannot be told
            // otherwise, see blk-read-nothing-full-len-unscrubbed.
            parameter: (self.device == Device::Blk).then(|| "scrub=1".into()),
            transport_complains: Vec::new(),
            bounced: false,
            kernel: None,
            about_c: None,
            chance: Some(Chance {
                seed: self.seed,
                seconds: self.seconds,
                checked: self.checked,
            }),
            brief: false,
        }
    }

    pub fn run(&self) -> Run {
        Run {
            case: self.case(),
            driver: self.driver,
            layout: self.layout,
            transport: Transport::Uml,
        }
    }
}

/// What came of a boot.
pub struct Seen {
    pub verdict: Verdict,
    pub told: Vec<Told>,
    pub rounds: u64,
    pub operations: u64,
    pub took: Duration,
    /// Why what the guest told means nothing, if so.
    hole: Option<String>,
    log: PathBuf,
}

impl Seen {
    /// What no device may bring about.
    pub fn is_bad(&self) -> bool {
        self.verdict.outcome >= Outcome::Leak || self.hole.is_some()
    }
}

/// The command `fuzz`.
pub fn run(ctx: &Context, options: &Options) -> Result<()> {
    let tools = doctor::ensure(ctx, NEEDS)?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let plain = build::ensure(ctx, &tools, &tree, Variant::Uml)?;
    let kernel = build::ensure(ctx, &tools, &tree, Variant::UmlDebug)?;
    let mut lab = Lab::new(ctx, &tools, "fuzz");
    lab.add_liars()?;
    lab.add(plain)?;
    lab.add(kernel.clone())?;
    let setup = Setup {
        lab,
        source,
        tree,
        kernel,
    };
    let mut entries = Vec::new();
    // Half of the time as fast as it goes, half of it with all checkers.
    for checked in [false, true] {
        entries.extend(phase(&setup.lab, options, checked)?);
    }
    ctx.ui.print(
        "reached: KCOV records what one task does in a system call, not the interrupts that \
         buffers come back in; so the combinations of lies that were told are counted",
    );
    let release = setup.kernel.release.clone();
    Report::new(
        "fuzz",
        &release,
        &setup.source,
        vec!["UML".into()],
        &entries,
    )
    .conclude(ctx, None)
}

/// All devices, on one kernel.
fn phase(lab: &Lab, options: &Options, checked: bool) -> Result<Vec<Entry>> {
    let name = format!("fuzz.{}", if checked { "checked" } else { "fast" });
    let stage = lab.ctx.ui.stage(&name);
    let seconds = options.minutes * 60 / 2;
    stage.set_total(Some(seconds));
    let slices = slices(options, checked, seconds);
    let started = Instant::now();
    let tallies = Mutex::new(BTreeMap::<Device, Tally>::new());
    pool::each(slices.len(), WORKERS, |number| {
        let slice = &slices[number];
        let seen = boot(lab, slice, None)?;
        if seen.is_bad() {
            finding::keep(lab, slice, &seen)?;
        }
        let mut tallies = tallies
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        tallies.entry(slice.device).or_default().add(slice, seen);
        stage.message(&shown(&tallies, started.elapsed()));
        stage.set_pos(started.elapsed().as_secs());
        Ok(())
    })?;
    let took = started.elapsed();
    let tallies = tallies
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let operations: u64 = tallies.values().map(|tally| tally.operations).sum();
    let operations = operations as f64 / took.as_secs_f64();
    let mut entries = vec![
        rate(&name, &tallies, took, checked),
        Entry::new(format!("{name}.operations")).pass(operations, "operations/s", "of the guest"),
    ];
    for (device, tally) in &tallies {
        let mut findings = Vec::new();
        for (slice, seen) in tally.findings.iter().take(PURSUED) {
            findings.push(finding::pursue(lab, slice, seen, &stage)?);
        }
        let kept = tally.findings.iter().skip(PURSUED);
        findings.extend(kept.map(|(slice, seen)| {
            format!("{}: {}, in out/fuzz", slice.name(), seen.verdict.detail)
        }));
        let name = format!("{name}.{}", device.name());
        entries.push(found(&name, options.driver, &findings));
        let states = tally.states() as f64;
        let states = Entry::new(format!("{name}.states")).pass(states, "states", tally.kinds());
        entries.push(states);
    }
    stage.finish(&shown(&tallies, took));
    Ok(entries)
}

fn shown(tallies: &BTreeMap<Device, Tally>, took: Duration) -> String {
    let lies: u64 = tallies.values().map(|tally| tally.lies).sum();
    let states: usize = tallies.values().map(Tally::states).sum();
    let findings: usize = tallies.values().map(|tally| tally.findings.len()).sum();
    let rate = lies as f64 / took.as_secs_f64().max(1.0);
    format!("{rate:.0} lies/s, {lies} lies, {states} states, {findings} findings")
}

/// The boots of each device by turns, for as many processors as there are workers;
/// every other pair has packed rings.
fn slices(options: &Options, checked: bool, seconds: u64) -> Vec<Slice> {
    let devices: Vec<_> = Device::ALL
        .into_iter()
        .filter(|device| options.device.is_none_or(|wanted| wanted == *device))
        .collect();
    let mut random = Random::new(options.seed.wrapping_mul(0x10001) ^ (u64::from(checked) << 48));
    let each = SLICE.min(seconds);
    let count = (seconds * WORKERS as u64).div_ceil(each);
    (0..count as usize)
        .map(|number| Slice {
            device: devices[number % devices.len()],
            driver: options.driver,
            layout: Layout::ALL[number / WORKERS % 2],
            checked,
            seed: random.below(1 << 32),
            seconds: each,
        })
        .collect()
}

/// Boots a guest for a slice, with the lies of its seed or those of a file.
pub fn boot(lab: &Lab, slice: &Slice, file: Option<&Path>) -> Result<Seen> {
    let run = slice.run();
    let mut boot = runner::boot(&run, &file.map(Path::to_owned));
    boot.label = Some(match file {
        None => run.case.name.clone(),
        // The log of what was found is not to be overwritten.
        Some(_) => format!("{}-again", run.case.name),
    });
    boot.liars[0].lies = match file {
        None => Lies::Chance { seed: slice.seed },
        Some(file) => Lies::Case {
            name: run.case.name,
            file: Some(file.to_owned()),
        },
    };
    let dir = guest::temporary()?;
    let transcript = lab.watch_quietly(&boot, &Accel::None, dir.path())?;
    let rounds = transcript.met.iter().filter(|met| met.part == Part::Work);
    let told = teller::read_log(&liar::log(dir.path(), 0)).unwrap_or_default();
    let hole = judge::hole(&transcript, &[Part::Bind, Part::Work, Part::Unload]);
    Ok(Seen {
        hole: hole.or_else(|| told.is_empty().then(|| "the device told no lie".into())),
        log: transcript.log.clone(),
        verdict: judge::judge(&transcript, &[]),
        told,
        operations: rounds.clone().map(|met| met.good + met.failed).sum(),
        rounds: rounds.count() as u64,
        took: transcript.took,
    })
}

fn rate(name: &str, tallies: &BTreeMap<Device, Tally>, took: Duration, checked: bool) -> Entry {
    let sum = |what: fn(&Tally) -> u64| tallies.values().map(what).sum::<u64>();
    let lies = sum(|tally| tally.lies);
    let detail = format!(
        "{lies} lies in {}, {} guests, {} drivers bound, {} operations",
        ui::duration(took),
        sum(|tally| tally.guests),
        sum(|tally| tally.rounds),
        sum(|tally| tally.operations)
    );
    let rate = lies as f64 / took.as_secs_f64();
    let rate = Entry::new(format!("{name}.rate")).pass(rate, "lies/s", detail);
    match checked {
        // The bar is for speed.
        true => rate,
        false => rate.at_least(RATE_BAR),
    }
}

fn found(name: &str, driver: Driver, findings: &[String]) -> Entry {
    let entry = Entry::new(format!("{name}.findings"));
    let count = findings.len() as f64;
    match (findings, driver) {
        ([], _) => entry.pass(0.0, "findings", "no leak, no hang, no complaint"),
        // What is found in the C drivers is no failure of ours.
        (_, Driver::C) => entry.pass(count, "findings", findings.join("; ")),
        (_, Driver::Rust) => Entry {
            value: count,
            unit: "findings".into(),
            ..entry.fail(findings.join("; "))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_slices() {
        let options = |seed| Options {
            minutes: 2,
            seed,
            device: None,
            driver: Driver::Rust,
        };
        let seeds = |seed, checked| {
            let slices = slices(&options(seed), checked, 60);
            slices.iter().map(|slice| slice.seed).collect::<Vec<_>>()
        };
        assert_eq!(seeds(1, false), seeds(1, false));
        assert_ne!(seeds(1, false), seeds(2, false));
        assert_ne!(seeds(1, false), seeds(1, true));
        assert_eq!(seeds(1, false).len(), 4);
        let all = slices(&options(1), true, 60);
        for device in Device::ALL {
            for layout in Layout::ALL {
                let is_it = |slice: &Slice| slice.device == device && slice.layout == layout;
                assert!(all.iter().any(is_it), "{device:?} {layout:?}");
            }
        }
    }
}
