// SPDX-License-Identifier: MIT OR Apache-2.0

//! How fast the drivers are: the one in Rust by the one in C, on the same
//! device, in the same boot, by turns.

mod figures;
mod page;
mod plot;
mod profile;
mod profiles;
mod repeat;
mod rows;
mod size;

use std::collections::BTreeMap;

use anyhow::Result;
use clap::ValueEnum;
use protocol::bench::Side;
use protocol::stats::Summary;

use crate::assemble;
use crate::build::{self, Variant};
use crate::context::Context;
use crate::doctor;
use crate::guest::Lab;
use crate::report::{now, table, Report};
use crate::scenario::{self, Boot, Platform};
use crate::source;
use crate::stamp;
use crate::test;
use figures::{Figures, Row};
use profile::Profile;

/// Turns of each side where the machine is a noisy one.
const TURNS: u32 = 7;
/// The same where drivers that are equal have to stay within the spread: with
/// this many, three quarters of the turns speak against one of them by chance
/// once in 57 rows, not once in 16.
const SPEED_TURNS: u32 = 15;

/// All rows, for machines and for the next run.
const ROWS: &str = "bench-rows.json";

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
    /// Measure for a shorter time
    #[arg(long)]
    quick: bool,
    /// Say in which functions the instructions are
    #[arg(long)]
    profile: bool,
}

impl Options {
    fn wants(&self, subject: Subject) -> bool {
        self.only.is_empty() || self.only.contains(&subject)
    }

    /// A machine that counts says the same each time, almost.
    fn counted_turns(&self) -> u32 {
        if self.quick {
            2
        } else {
            TURNS
        }
    }

    /// Of each load, in milliseconds.
    fn time(&self) -> u32 {
        if self.quick {
            300
        } else {
            1000
        }
    }

    /// The rows have the bars, not the checks of the guests.
    fn boots(&self) -> Vec<Boot> {
        use Platform::{Qemu, Uml};
        let counted = self.counted_turns();
        let mut boots = Vec::new();
        if self.wants(Subject::Queue) {
            boots.push(scenario::cost(Qemu, test::COST_BAR).with("pairs", &counted.to_string()));
        }
        if self.wants(Subject::Rng) {
            boots.push(scenario::sweep_rng(Qemu, counted, true));
            boots.push(scenario::sweep_rng(Uml, TURNS, false));
            boots.push(scenario::throughput(Uml, TURNS, 0.0));
            boots.push(scenario::throughput(Qemu, TURNS, 0.0));
        }
        if self.wants(Subject::Blk) {
            boots.push(scenario::sweep_blk(Qemu, counted, true));
            boots.push(scenario::sweep_blk(Uml, TURNS, false));
            boots.push(scenario::blk_speed(Uml, SPEED_TURNS, self.time()));
            boots.push(scenario::blk_speed(Qemu, SPEED_TURNS, self.time()));
        }
        for boot in &mut boots {
            boot.bars.clear();
        }
        boots
    }

    /// Whose modules are looked at.
    fn modules(&self) -> Vec<&'static str> {
        let subjects = [(Subject::Rng, "rng"), (Subject::Blk, "blk")];
        let wanted = subjects.iter().filter(|(subject, _)| self.wants(*subject));
        wanted.map(|(_, name)| *name).collect()
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
    let (mut results, mut rows) = (Vec::new(), Vec::new());
    for boot in &boots {
        let (entries, transcript) = lab.measure(boot)?;
        results.extend(entries);
        rows.extend(rows::rows(machine(boot), &transcript.samples));
    }
    let kernel = &lab.bootable(Variant::X86_64)?.kernel;
    let sizes = size::samples(&tools, kernel, &options.modules())?;
    rows.extend(rows::rows(rows::BUILD, &sizes));
    results.extend(rows.iter().map(rows::entry));
    let profiles = match options.profile {
        true => profiles::take(&mut lab, &tools, &options.modules())?,
        false => Vec::new(),
    };
    results.extend(profiles.iter().map(profiles::entry));

    let figures = Figures {
        kernel: release.clone(),
        date: now(),
        tree: tree.digest.clone(),
        machines: machines(&mut lab, &boots)?,
        rows,
    };
    results.push(repeat::entry(
        &figures,
        stamp::read(&ctx.out.join(ROWS)).as_ref(),
    ));
    write(ctx, &figures, &profiles)?;
    for profile in &profiles {
        ctx.ui.print(&format!("\n{}", profile.table()));
    }
    ctx.ui.print(&format!("\n{}", table(&told(&figures.rows))));
    let note = format!(
        "pictures: {out}/bench.html and bench.svg, all rows: {out}/{ROWS}",
        out = ctx.out.display()
    );
    let natures = test::machine(&mut lab, &boots)?;
    Report::new("bench", &release, &source, natures, &results)
        .of(&tree)
        .conclude(ctx, Some(&note))
}

/// The name that rows have for the machine of a boot.
fn machine(boot: &Boot) -> &'static str {
    match boot.counted {
        true => rows::COUNTED,
        false => boot.platform.name(),
    }
}

/// What these machines are.
fn machines(lab: &mut Lab, boots: &[Boot]) -> Result<BTreeMap<String, String>> {
    let mut machines = BTreeMap::new();
    for boot in boots {
        let nature = match (boot.counted, boot.platform.is_uml()) {
            (true, _) => "QEMU, TCG, one instruction a nanosecond; simulated devices".to_owned(),
            (false, true) => "user-mode Linux, native speed".to_owned(),
            (false, false) => format!("QEMU, {}", lab.accel()?.name()),
        };
        machines.insert(machine(boot).to_owned(), nature);
    }
    machines.insert(
        rows::BUILD.into(),
        "modules for x86-64, without their tests and without what is in the kernel crate".into(),
    );
    machines.insert("host".into(), host());
    Ok(machines)
}

/// What all of them run on.
fn host() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let known = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or("unknown")
        .trim_start_matches([' ', '\t', ':']);
    format!("{cpus} CPUs, {model}")
}

fn write(ctx: &Context, figures: &Figures, profiles: &[Profile]) -> Result<()> {
    let text = |name: &str, text: &str| {
        stamp::write_atomically(&ctx.out.join(name), text.as_bytes(), 0o644)
    };
    stamp::write(&ctx.out.join(ROWS), figures)?;
    if !profiles.is_empty() {
        stamp::write(&ctx.out.join("bench-profile.json"), &profiles)?;
    }
    text("bench.svg", &plot::sheet(figures)?)?;
    text(
        "bench.html",
        &page::html(figures, &plot::all(figures)?, profiles),
    )
}

/// As a table: the rows with a bar, and those of machines that do not count.
fn told(rows: &[Row]) -> Vec<Vec<String>> {
    let heading = [
        "what",
        "unit",
        "C",
        "Rust",
        "ratio",
        "from .. to",
        "bar",
        "",
    ];
    let is_told = |row: &&Row| row.bar.is_some() || row.machine != rows::COUNTED;
    let lines = rows.iter().filter(is_told).map(line);
    std::iter::once(heading.map(str::to_owned).to_vec())
        .chain(lines)
        .collect()
}

fn line(row: &Row) -> Vec<String> {
    let of = |side| {
        let median = row
            .sides
            .get(&side)
            .map(|summary| rows::number(summary.median));
        median.unwrap_or_default()
    };
    // What is compared where C has no such thing.
    let (below, above) = match row.sides.contains_key(&Side::C) {
        true => (of(Side::C), of(Side::Rust)),
        false => (of(Side::Rust), of(Side::Scrub)),
    };
    let ratio = row.ratio.map(|Summary { median, min, max }| {
        (format!("{median:.3}"), format!("{min:.3} .. {max:.3}"))
    });
    let (ratio, spread) = ratio.unwrap_or_default();
    let verdict = match (&row.bar, row.ok) {
        (None, _) => "",
        (Some(_), true) if rows::is_only_within_spread(row) => "ok, within the spread",
        (Some(_), true) => "ok",
        (Some(_), false) => "MISSED",
    };
    vec![
        rows::entry(row).name,
        row.unit.clone(),
        below,
        above,
        of(Side::Empty),
        ratio,
        spread,
        row.bar.clone().unwrap_or_default(),
        verdict.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_it() {
        let options = |only: &[Subject]| Options {
            only: only.to_vec(),
            quick: true,
            profile: false,
        };
        assert_eq!(options(&[Subject::Queue]).boots().len(), 1);
        assert_eq!(options(&[Subject::Rng]).modules(), ["rng"]);
        let all = options(&[]).boots();
        assert_eq!(all.len(), 9);
        assert!(all.iter().all(|boot| boot.bars.is_empty()));
        let mut ids: Vec<_> = all.iter().map(Boot::id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 9, "each has a log of its own");
    }
}
