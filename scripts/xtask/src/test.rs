// SPDX-License-Identifier: MIT OR Apache-2.0

//! All tests: of the tools, of the sources, of the kernels.

mod host;
mod sources;

use std::process;

use anyhow::Result;

use crate::assemble::{self, Tree};
use crate::bail_help;
use crate::build::{self, Variant};
use crate::context::Context;
use crate::doctor::{self, Need, Toolchain};
use crate::guest::Lab;
use crate::report::{table, write_ktap, Counts, Entry, Report};
use crate::run::{QEMU_BAR, UML_BAR};
use crate::scenario::{self, Boot, Platform};
use crate::source;

const PAIRS: u32 = 5;
/// Names another driver to put through the tests: with `virtio_rng`, the C
/// driver, they are shown to be fair.
const DRIVER_ENV: &str = "RUST_VIRTIO_GUEST_DRIVER";

/// Which tests were asked for.
struct Filter<'a>(Option<&'a str>);

impl Filter<'_> {
    fn wants(&self, name: &str) -> bool {
        self.0.is_none_or(|part| name.contains(part))
    }
}

pub fn run(ctx: &Context, filter: Option<&str>) -> Result<()> {
    let filter = Filter(filter.filter(|part| !part.is_empty()));
    let boots: Vec<_> = boots()
        .into_iter()
        .map(with_driver)
        .filter_map(|boot| boot.only(filter.0.unwrap_or_default()))
        .collect();
    let variants = variants(&boots);
    let tools = doctor::ensure(ctx, &needs(&variants))?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let mut results = without_kernels(ctx, &tools, &tree, &filter)?;
    let mut lab = Lab::new(ctx, &tools, "test");
    let mut release = source.kernel_version.clone();
    for variant in variants {
        let kernel = build::ensure(ctx, &tools, &tree, variant)?;
        release.clone_from(&kernel.release);
        lab.add(kernel)?;
    }
    for boot in &boots {
        results.extend(lab.run(boot)?);
    }
    results.retain(|entry| filter.wants(&entry.name) || !entry.ok);
    if results.is_empty() {
        bail_help!(
            format!("no test has {:?} in its name", filter.0.unwrap_or_default()),
            "leave the filter out to see all names"
        );
    }
    let machine = machine(&mut lab, &boots)?;
    Report::new("test", &release, &source, machine, &results).write_json(ctx)?;
    write_ktap(&ctx.out.join("test.ktap"), &results)?;
    conclude(ctx, &results, &filter)
}

fn boots() -> Vec<Boot> {
    use Platform::{Qemu, QemuMmio, Uml, UmlDebug};
    let mut boots = vec![scenario::kunit(Uml), scenario::kunit(UmlDebug)];
    for platform in [Uml, Qemu, QemuMmio] {
        boots.push(scenario::rng(platform));
        boots.push(scenario::slow(platform));
        boots.push(scenario::suspend(platform));
    }
    boots.push(scenario::backend_dies(Uml));
    boots.push(scenario::rng(UmlDebug));
    boots.push(scenario::slow(UmlDebug));
    boots.push(scenario::suspend(UmlDebug));
    boots.push(scenario::backend_dies(UmlDebug));
    boots.push(scenario::throughput(Uml, PAIRS, UML_BAR));
    boots.push(scenario::throughput(Qemu, PAIRS, QEMU_BAR));
    boots
}

fn with_driver(mut boot: Boot) -> Boot {
    if let Ok(driver) = std::env::var(DRIVER_ENV) {
        boot.params.push(("driver", driver));
    }
    boot
}

/// The kernels that `boots` need, in the order in which they are built.
fn variants(boots: &[Boot]) -> Vec<Variant> {
    let mut variants: Vec<_> = boots.iter().map(|boot| boot.platform.variant()).collect();
    variants.sort();
    variants.dedup();
    variants
}

fn needs(variants: &[Variant]) -> Vec<Need> {
    // The checks of the sources use rustfmt and the tree.
    let mut needs = vec![Need::Source, Need::Kernel];
    if !variants.is_empty() {
        needs.push(Need::Guest);
    }
    for variant in variants {
        needs.push(match variant {
            Variant::X86_64 => Need::Qemu,
            Variant::Uml | Variant::UmlDebug => Need::Uml,
        });
        if *variant == Variant::UmlDebug {
            needs.push(Need::DebugKernel);
        }
    }
    needs
}

fn without_kernels(
    ctx: &Context,
    tools: &Toolchain,
    tree: &Tree,
    filter: &Filter,
) -> Result<Vec<Entry>> {
    let mut results = Vec::new();
    // The names of the tools' own tests are known only once they have run.
    if filter.wants("tools.") || filter.0.is_some_and(|part| part.starts_with("tools.")) {
        results.extend(host::run(ctx)?);
    }
    results.extend(sources::run(ctx, tools, tree, |name| filter.wants(name))?);
    Ok(results)
}

fn machine(lab: &mut Lab, boots: &[Boot]) -> Result<Vec<String>> {
    let mut machine = Vec::new();
    if boots.iter().any(|boot| !boot.platform.is_uml()) {
        machine.push(lab.accel()?.name().to_owned());
    }
    if boots.iter().any(|boot| boot.platform.is_uml()) {
        machine.push("UML".into());
    }
    Ok(machine)
}

/// Prints the results and leaves with the exit code that they ask for.
fn conclude(ctx: &Context, results: &[Entry], filter: &Filter) -> Result<()> {
    let counts = Counts::of(results);
    ctx.ui.print(&format!("\n{}", groups(results)));
    for entry in results {
        if let Some(reason) = &entry.skipped {
            ctx.ui.print(&format!("skipped {}: {reason}", entry.name));
        }
    }
    for entry in results.iter().filter(|entry| !entry.ok) {
        ctx.ui
            .print(&format!("FAILED {}: {}", entry.name, entry.detail));
        for line in &entry.excerpt {
            ctx.ui.print(&format!("    {line}"));
        }
    }
    let out = ctx.out.display();
    ctx.ui.print(&format!(
        "results: {out}/test.json and {out}/test.ktap, consoles: {out}/logs"
    ));
    if let Some(part) = filter.0 {
        ctx.ui
            .print(&format!("only tests with {part:?} in their names were run"));
    }
    ctx.ui.print(&counts.to_string());
    if counts.failed > 0 {
        // The count is the last line, so no error may follow it.
        process::exit(1);
    }
    Ok(())
}

/// A row for each group of results, and the values that have a bar.
fn groups(results: &[Entry]) -> String {
    let mut names: Vec<String> = Vec::new();
    for entry in results {
        let group = group(&entry.name);
        if !names.contains(&group) {
            names.push(group);
        }
    }
    let heading = ["group", "passed", "failed", "skipped", "values"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for name in names {
        let of_group = |entry: &&Entry| group(&entry.name) == name;
        let members: Vec<_> = results.iter().filter(of_group).cloned().collect();
        let counts = Counts::of(&members);
        let values = members.iter().filter_map(|entry| {
            let bar = entry.bar.as_ref()?;
            let check = entry.name.rsplit('.').next()?;
            Some(format!(
                "{check} {:.1}{} (bar {bar})",
                entry.value, entry.unit
            ))
        });
        rows.push(vec![
            name.clone(),
            counts.passed.to_string(),
            counts.failed.to_string(),
            counts.skipped.to_string(),
            values.collect::<Vec<_>>().join(", "),
        ]);
    }
    table(&rows)
}

/// `rng.uml` of `rng.uml.slow.kill`.
fn group(name: &str) -> String {
    name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_grouped_by_what_and_where() {
        let results = [
            Entry::new("rng.uml.slow.kill").pass(1.0, "ms", ""),
            Entry::new("rng.uml.ratio")
                .pass(12.0, "x", "")
                .at_least(10.0),
            Entry::new("rng.qemu.bind").fail("no device"),
        ];
        let text = groups(&results);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].starts_with("rng.uml   2"), "{text}");
        assert!(lines[2].ends_with("ratio 12.0x (bar >= 10)"), "{text}");
        assert!(lines[3].starts_with("rng.qemu  0       1"), "{text}");
    }

    #[test]
    fn kernels_are_built_only_where_needed() {
        let uml = [scenario::slow(Platform::Uml), scenario::rng(Platform::Uml)];
        assert_eq!(variants(&uml), [Variant::Uml]);
        assert!(!needs(&[Variant::Uml]).contains(&Need::Qemu));
        assert_eq!(variants(&boots()).len(), 3);
    }

    #[test]
    fn names_of_results_are_unique() {
        let mut names = Vec::new();
        for boot in boots().iter().filter(|boot| !boot.kunit) {
            names.extend(boot.checks.iter().map(|check| boot.full_name(check)));
            names.push(boot.full_name(&boot.console_check()));
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
