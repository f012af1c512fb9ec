// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hostile-device lab: each case with both drivers, each in a fresh guest.

mod findings;
pub mod fuzz;
mod judge;
mod kernels;
mod mutants;
mod page;
mod pool;
mod row;
mod runner;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use hostile::case::{self, Case, Layout, Transport};

use crate::assemble::{self, Tree};
use crate::bail_help;
use crate::build::{self, Kernel, Variant};
use crate::context::Context;
use crate::doctor::{self, Need, Toolchain};
use crate::guest::Lab;
use crate::report::{self, Counts, Entry, Report};
use crate::scenario::{self, Boot, Platform};
use crate::source::{self, Source};
use crate::stamp;
pub use row::{case_name, Driver};
use row::{Row, Run};

/// What results are called in the tests of everything.
pub const PREFIX: &str = "hostile.";

pub const NEEDS: &[Need] = &[
    Need::Source,
    Need::Kernel,
    Need::DebugKernel,
    Need::Guest,
    Need::Uml,
    Need::Qemu,
    Need::Disks,
];

#[derive(clap::Args, Debug, Default)]
pub struct Options {
    /// Only this case, or those whose names begin so; or a file with cases
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only this driver
    #[arg(long, value_enum)]
    driver: Option<Driver>,
    /// Only this layout of the ring
    #[arg(long, value_parser = layout, value_name = "split|packed")]
    ring: Option<Layout>,
    /// Only what runs each time
    #[arg(long)]
    brief: bool,
    /// Only show that mistakes in the abstraction are found
    #[arg(long, conflicts_with_all = ["case", "driver", "ring", "brief"])]
    mutants: bool,
}

impl Options {
    /// What was asked for, as `make` is asked, if not all was.
    fn part(&self) -> Option<String> {
        let words = [
            self.case.as_ref().map(|case| format!("CASE={case}")),
            self.driver
                .map(|driver| format!("DRIVER={}", driver.name())),
            self.ring.map(|ring| format!("RING={}", ring.name())),
            self.brief.then(|| "BRIEF=1".into()),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

fn layout(name: &str) -> Result<Layout, String> {
    let known = Layout::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| "it is split or packed".into())
}

/// What all of the lab's commands start from.
pub struct Setup<'a> {
    pub lab: Lab<'a>,
    pub source: Source,
    pub tree: Tree,
    /// The kernel with the series and all checkers.
    pub kernel: Kernel,
}

/// The command `hostile`.
pub fn run(ctx: &Context, options: &Options) -> Result<()> {
    let started = Instant::now();
    let tools = doctor::ensure(ctx, NEEDS)?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let kernel = build::ensure(ctx, &tools, &tree, Variant::UmlDebug)?;
    let mut lab = Lab::new(ctx, &tools, "hostile");
    lab.add_liars()?;
    lab.add(kernel.clone())?;
    let mut setup = Setup {
        lab,
        source,
        tree,
        kernel,
    };
    if options.mutants {
        let entries = mutants::run(&mut setup, |_| true)?;
        let machine = vec!["UML".into()];
        let release = setup.kernel.release.clone();
        return Report::new("mutants", &release, &setup.source, machine, &entries)
            .conclude(ctx, None);
    }
    let (runs, file) = choose(options)?;
    prepare(&mut setup, &tools, &runs)?;
    let rows = runner::run(&mut setup.lab, runs, file)?;
    conclude(ctx, &mut setup, &rows, started, options)
}

/// Whether [`check`] would have anything to do.
pub fn is_wanted(filter: &str) -> Result<bool> {
    if honest()
        .iter()
        .any(|boot| boot.clone().only(filter).is_some())
    {
        return Ok(true);
    }
    let runs = brief()?;
    let runs = runs.iter().map(|run| format!("{PREFIX}{}", run.name()));
    let mut names = runs.chain(mutants::names()?);
    Ok(names.any(|name| name.contains(filter)))
}

/// The lab's own devices, in the places of those of others: an honest run of the lab
/// says something only if these come through the same tests.
fn honest() -> [Boot; 2] {
    [
        scenario::rng_of_lab(Platform::UmlDebug),
        scenario::blk_of_lab(Platform::UmlDebug),
    ]
}

/// What runs each time.
fn brief() -> Result<Vec<Run>> {
    let options = Options {
        brief: true,
        ..Options::default()
    };
    Ok(choose(&options)?.0)
}

/// The runs of the part that is tested each time, and the mistakes that are found.
pub fn check(
    ctx: &Context,
    tools: &Toolchain,
    source: &Source,
    tree: &Tree,
    filter: &str,
) -> Result<Vec<Entry>> {
    let wants = |name: &str| name.contains(filter);
    let mut runs = brief()?;
    runs.retain(|run| wants(&format!("{PREFIX}{}", run.name())));
    let mutants = mutants::names()?;
    let wanted: Vec<_> = mutants.into_iter().filter(|name| wants(name)).collect();
    let kernel = build::ensure(ctx, tools, tree, Variant::UmlDebug)?;
    let mut lab = Lab::new(ctx, tools, "test");
    lab.add_liars()?;
    lab.add(kernel.clone())?;
    let mut setup = Setup {
        lab,
        source: source.clone(),
        tree: tree.clone(),
        kernel,
    };
    prepare(&mut setup, tools, &runs)?;
    let rows = runner::run(&mut setup.lab, runs, None)?;
    let mut entries: Vec<_> = rows.iter().map(Row::entry).collect();
    for entry in &mut entries {
        entry.name.insert_str(0, PREFIX);
        // The summary is for bars that numbers have to clear.
        if let Some(demand) = entry.bar.take() {
            entry.detail = format!("demanded: {demand}; {}", entry.detail);
        }
    }
    for boot in honest() {
        if let Some(boot) = boot.only(filter) {
            entries.extend(setup.lab.run(&boot)?);
        }
    }
    if !wanted.is_empty() {
        entries.extend(mutants::run(&mut setup, wants)?);
    }
    Ok(entries)
}

/// What the name of a case has behind it where the machine is QEMU's.
const ON_QEMU: &str = "-qemu";

/// What is to be run, and the file that the cases are of.
fn choose(options: &Options) -> Result<(Vec<Run>, Option<PathBuf>)> {
    let name = options.case.as_deref().unwrap_or_default();
    let file = name.ends_with(".toml").then(|| PathBuf::from(name));
    let cases = match &file {
        Some(path) => case::read(path)?,
        None => chosen(name)?,
    };
    let file = file.map(|path| path.canonicalize()).transpose()?;
    let is_wanted = |run: &Run| {
        options.driver.is_none_or(|driver| driver == run.driver)
            && options.ring.is_none_or(|ring| ring == run.layout)
            // Slow to boot, and told the same.
            && !(options.brief && run.transport == Transport::Qemu)
    };
    let runs = cases
        .iter()
        .filter(|case| !options.brief || case.brief)
        .flat_map(runs_of)
        .filter(is_wanted)
        .collect::<Vec<_>>();
    if runs.is_empty() {
        bail_help!(
            "nothing is left to be run",
            "choose another driver or ring, or leave the choice out"
        );
    }
    Ok((runs, file))
}

fn chosen(name: &str) -> Result<Vec<Case>> {
    let all = case::all()?;
    if let Some(name) = name.strip_suffix(ON_QEMU) {
        let mut cases = chosen(name)?;
        for case in &mut cases {
            case.transports.retain(|it| *it == Transport::Qemu);
        }
        return Ok(cases);
    }
    let exact: Vec<_> = all
        .iter()
        .filter(|case| case.name == name)
        .cloned()
        .collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let begin: Vec<_> = all
        .iter()
        .filter(|case| case.name.starts_with(name))
        .cloned()
        .collect();
    if begin.is_empty() {
        let names: Vec<_> = all.iter().map(|case| case.name.as_str()).collect();
        bail_help!(
            format!("there is no case {name}"),
            format!("these are known: {}", names.join(" "))
        );
    }
    Ok(begin)
}

fn runs_of(case: &Case) -> Vec<Run> {
    let mut runs = Vec::new();
    for transport in &case.transports {
        for layout in &case.rings {
            runs.extend(Driver::ALL.map(|driver| Run {
                case: case.clone(),
                driver,
                layout: *layout,
                transport: *transport,
            }));
        }
    }
    runs
}

/// Builds the other kernels that are needed.
fn prepare(setup: &mut Setup, tools: &Toolchain, runs: &[Run]) -> Result<()> {
    let ctx = setup.lab.ctx;
    if runs.iter().any(|run| run.transport == Transport::Qemu) {
        let kernel = build::ensure(ctx, tools, &setup.tree, Variant::X86_64)?;
        setup.lab.add(kernel)?;
        setup.lab.accel()?;
    }
    if runs.iter().any(|run| run.case.is_fast()) {
        let kernel = build::ensure(ctx, tools, &setup.tree, Variant::Uml)?;
        setup.lab.add(kernel)?;
    }
    let named = |name: &str| {
        runs.iter()
            .any(|run| run.case.kernel.as_deref() == Some(name))
    };
    for change in case::kernels()?.iter().filter(|change| named(&change.name)) {
        add_changed(setup, tools, change)?;
    }
    Ok(())
}

fn add_changed(setup: &mut Setup, tools: &Toolchain, change: &case::Kernel) -> Result<()> {
    let ctx = setup.lab.ctx;
    let kernel = kernels::ensure(ctx, tools, &setup.tree, &setup.kernel, change)?;
    setup.lab.add_changed(kernel, Some(change.name.clone()))
}

/// Writes all that a run leaves behind, and says what came of it.
fn conclude(
    ctx: &Context,
    setup: &mut Setup,
    rows: &[Row],
    started: Instant,
    options: &Options,
) -> Result<()> {
    let mut machine = vec!["UML".to_owned()];
    if rows.iter().any(|row| row.run.transport == Transport::Qemu) {
        machine.push(setup.lab.accel()?.name().into());
    }
    let entries: Vec<_> = rows.iter().map(Row::entry).collect();
    let release = setup.kernel.release.clone();
    let head = page::Head {
        part: options.part(),
        kernel: format!("{release} from {}", setup.source.package),
        date: report::now(),
        machine: machine.clone(),
        took: started.elapsed(),
    };
    Report::new("hostile", &release, &setup.source, machine, &entries)
        .of(&setup.tree)
        .write(ctx)?;
    let write = |name: &str, text: String| {
        stamp::write_atomically(&ctx.out.join(name), text.as_bytes(), 0o644)
    };
    write("hostile.html", page::page(&head, rows, &case::elsewhere()?))?;
    let analyses = ctx.repo.join("scripts/hostile/analysis");
    let about = |name: &str| std::fs::read_to_string(analyses.join(format!("{name}.md"))).ok();
    write("hostile-findings.md", findings::report(&head, rows, about))?;
    let print = |text: &str| ctx.ui.print(text);
    print(&format!("\n{}", report::table(&table::table_rows(rows))));
    for elsewhere in case::elsewhere()? {
        print(&format!(
            "not here: {}: {} ({})",
            elsewhere.name, elsewhere.why, elsewhere.test
        ));
    }
    for row in rows.iter().filter(|row| !row.is_good()) {
        let entry = row.entry();
        print(&format!(
            "FAILED {}: {}, demanded: {}; {}; see out/{}",
            entry.name,
            entry.unit,
            row.demand(),
            entry.detail,
            row.log
        ));
    }
    print(&format!(
        "results: {out}/hostile.html for reading, hostile-findings.md about the C drivers, \
         hostile.json, .ktap and .xml",
        out = ctx.out.display()
    ));
    let counts = Counts::of(&entries);
    print(&counts.to_string());
    if counts.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// How a log is called, below the directory of results.
fn shown(ctx: &Context, path: &std::path::Path) -> String {
    path.strip_prefix(&ctx.out)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The driver as the kernel knows it.
fn module(run: &Run) -> String {
    let device = run.case.device().name();
    match run.driver {
        Driver::C => format!("virtio_{device}"),
        Driver::Rust => format!("virtio_{device}_rust"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_run_with_each_driver_on_each_ring() {
        let options = Options {
            case: Some("used-duplicate".into()),
            ..Options::default()
        };
        let names: Vec<_> = choose(&options).unwrap().0.iter().map(Run::name).collect();
        let expected = [
            "used-duplicate.c.split",
            "used-duplicate.rust.split",
            "used-duplicate.c.packed",
            "used-duplicate.rust.packed",
        ];
        assert_eq!(names, expected);
        let rust = Options {
            driver: Some(Driver::Rust),
            ring: Some(Layout::Packed),
            ..options
        };
        assert_eq!(choose(&rust).unwrap().0.len(), 1);
    }

    #[test]
    fn a_name_that_nobody_knows_is_refused() {
        let options = Options {
            case: Some("nothing-like-this".into()),
            ..Options::default()
        };
        assert!(choose(&options).is_err());
    }
}
