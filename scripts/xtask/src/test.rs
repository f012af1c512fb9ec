// SPDX-License-Identifier: MIT OR Apache-2.0

//! All tests: of the tools, of the sources, of the kernels.

mod builds;
mod compile_fail;
mod host;
mod kunit_py;
mod sources;

pub use kunit_py::judge as judge_kunit_py;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::assemble::{self, Tree};
use crate::bail_help;
use crate::build::{self, Variant};
use crate::check_patches;
use crate::context::Context;
use crate::doctor::{self, Need, Toolchain};
use crate::guest::Lab;
use crate::hostile;
use crate::matrix;
use crate::report::{Entry, Report};
use crate::run::{QEMU_BAR, UML_BAR};
use crate::scenario::{self, Boot, Platform};
use crate::send_test;
use crate::source;

const PAIRS: u32 = 5;
/// What Rust may cost, with what C costs as 1.
pub const COST_BAR: f64 = 1.02;
/// The same for reading a block, with what the block layer costs both.
pub const BLK_COST_BAR: f64 = 0.98;
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

/// How long tests may have run when the tree after one more patch is still built: with
/// an empty cache, or on a slow machine, that would take as long again. Whoever asks for
/// the patches by name has the time.
const LATE: Duration = Duration::from_secs(45 * 60);

pub fn run(ctx: &Context, filter: Option<&str>) -> Result<()> {
    let started = Instant::now();
    let filter = Filter(filter.filter(|part| !part.is_empty()));
    let boots: Vec<_> = boots()
        .into_iter()
        .map(with_driver)
        .filter_map(|boot| boot.only(filter.0.unwrap_or_default()))
        .collect();
    let cases = cases(ctx, &filter)?;
    let kunit_py = filter.wants(kunit_py::NAME);
    let variants = variants(&boots, cases.is_some() || kunit_py);
    let wanted = |check: &&builds::Check| filter.wants(check.name);
    let builds: Vec<_> = builds::CHECKS.iter().filter(wanted).copied().collect();
    let mut needs = needs(&boots, &variants, &builds);
    let of_patches = [check_patches::NAME, send_test::COMMAND];
    let wants_patches = filter.0.is_none_or(|part| {
        let is_meant = |name: &&str| part.starts_with(name) || name.contains(part);
        of_patches.iter().any(is_meant)
    });
    if wants_patches {
        needs.extend(check_patches::NEEDS);
    }
    let wants_lab = hostile::is_wanted(filter.0.unwrap_or_default())?;
    if wants_lab {
        needs.extend(hostile::NEEDS);
    }
    let tools = doctor::ensure(ctx, &needs)?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let mut results = without_kernels(ctx, &tools, &tree, &filter)?;
    let mut lab = Lab::new(ctx, &tools, "test");
    let mut release = source.kernel_version.clone();
    for variant in variants {
        let kernel = build::ensure(ctx, &tools, &tree, variant)?;
        release.clone_from(&kernel.release);
        if let (Variant::Uml, Some(cases)) = (variant, &cases) {
            results.extend(compile_fail::run(ctx, &tools, &tree, &kernel, cases)?);
        }
        if variant == Variant::Uml && kunit_py {
            results.push(kunit_py::run(ctx, &tools, &tree, &kernel)?);
        }
        if boots.iter().any(|boot| boot.platform.variant() == variant) {
            lab.add(kernel)?;
        }
    }
    for boot in &boots {
        results.extend(lab.run(boot)?);
    }
    if wants_lab {
        let part = filter.0.unwrap_or_default();
        results.extend(hostile::check(ctx, &tools, &source, &tree, part)?);
    }
    results.extend(builds::run(ctx, &tools, &tree, &builds)?);
    if wants_patches {
        let late = filter.0.is_none().then_some(started + LATE);
        let (patches, entries) = check_patches::check(ctx, &tools, &source, &tree, false, late)?;
        results.extend(entries);
        let series = &patches.series.repository.dir;
        let sent = send_test::check(ctx, Some((&tools, &tree)), &patches.dir, series)?;
        results.extend(sent.1);
    }
    if filter.0.is_none() {
        results.push(matrix::left_out(ctx, &tree));
    }
    results.retain(|entry| filter.wants(&entry.name) || !entry.ok);
    if results.is_empty() {
        bail_help!(
            format!("no test has {:?} in its name", filter.0.unwrap_or_default()),
            "leave the filter out to see all names"
        );
    }
    if let Some(listing) = compile_fail::listing(&results) {
        ctx.ui.print(&format!("\n{listing}"));
    }
    let machine = machine(&mut lab, &boots)?;
    let report = Report::new("test", &release, &source, machine, &results).of(&tree);
    let only = filter
        .0
        .map(|part| format!("only tests with {part:?} in their names were run"));
    report.conclude(ctx, only.as_deref())
}

fn boots() -> Vec<Boot> {
    use Platform::{Qemu, QemuMmio, Uml, UmlDebug};
    let mut boots = vec![
        scenario::kunit(Uml),
        scenario::kunit(Qemu),
        scenario::kunit(UmlDebug),
    ];
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
    for platform in [Uml, UmlDebug, Qemu, QemuMmio] {
        boots.push(scenario::blk(platform));
    }
    for platform in [Uml, UmlDebug] {
        boots.push(scenario::blk_backend_dies(platform));
        boots.push(scenario::blk_backend_restarts(platform));
        boots.push(scenario::blk_power_cut(platform));
    }
    boots.push(scenario::blk_backend_returns(Qemu));
    boots.push(scenario::blk_bounce(Qemu));
    boots.push(scenario::cost(Qemu, COST_BAR));
    boots.push(scenario::cost_blk(Qemu, BLK_COST_BAR));
    boots.push(scenario::throughput(Uml, PAIRS, UML_BAR));
    boots.push(scenario::throughput(Qemu, PAIRS, QEMU_BAR));
    boots
}

fn with_driver(mut boot: Boot) -> Boot {
    if let Ok(driver) = std::env::var(DRIVER_ENV) {
        if let Some(next) = &mut boot.next {
            next.params.push(("driver", driver.clone()));
        }
        boot.params.push(("driver", driver));
    }
    boot
}

/// The names of the wanted cases that must not compile, if any is wanted.
fn cases(ctx: &Context, filter: &Filter) -> Result<Option<Vec<String>>> {
    let all = compile_fail::names(&ctx.repo)?;
    let full_name = |case: &str| format!("{}{case}", compile_fail::PREFIX);
    let wanted = |case: &String| filter.wants(&full_name(case));
    let chosen: Vec<_> = all.iter().filter(|case| wanted(case)).cloned().collect();
    // That there are none at all is a result, too.
    let is_group = all.is_empty() && filter.wants(compile_fail::PREFIX);
    Ok((is_group || !chosen.is_empty()).then_some(chosen))
}

/// The kernels that are needed, in the order in which they are built. `kunit.py`
/// runs UML, and cases that must not compile are compiled as its modules are.
pub fn variants(boots: &[Boot], uml: bool) -> Vec<Variant> {
    let of_boots = boots.iter().map(|boot| boot.platform.variant());
    let mut variants: Vec<_> = of_boots.chain(uml.then_some(Variant::Uml)).collect();
    variants.sort();
    variants.dedup();
    variants
}

pub fn needs(boots: &[Boot], variants: &[Variant], builds: &[builds::Check]) -> Vec<Need> {
    // The checks of the sources use rustfmt and the tree.
    let mut needs = vec![Need::Source, Need::Kernel];
    if !boots.is_empty() {
        needs.push(Need::Guest);
    }
    if boots.iter().any(|boot| !boot.disks.is_empty()) {
        needs.push(Need::Disks);
    }
    if boots.iter().any(|boot| boot.platform.is_uml()) {
        needs.push(Need::Uml);
    }
    if boots.iter().any(|boot| !boot.platform.is_uml()) {
        needs.push(Need::Qemu);
    }
    let of_builds = builds.iter().map(|check| check.variant);
    let variants: Vec<_> = variants.iter().copied().chain(of_builds).collect();
    needs.extend(build::extra_needs(&variants));
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

/// What the guests run on.
pub fn machine(lab: &mut Lab, boots: &[Boot]) -> Result<Vec<String>> {
    let mut machine = Vec::new();
    if boots.iter().any(|boot| !boot.platform.is_uml()) {
        machine.push(lab.accel()?.name().to_owned());
    }
    if boots.iter().any(|boot| boot.platform.is_uml()) {
        machine.push("UML".into());
    }
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_built_only_where_needed() {
        let uml = [scenario::slow(Platform::Uml), scenario::rng(Platform::Uml)];
        assert_eq!(variants(&uml, false), [Variant::Uml]);
        assert!(!needs(&uml, &[Variant::Uml], &[]).contains(&Need::Qemu));
        assert_eq!(variants(&boots(), true).len(), 3);
        assert_eq!(variants(&[], true), [Variant::Uml]);
        assert!(!needs(&[], &[Variant::Uml], &[]).contains(&Need::Guest));
        assert!(needs(&[], &[], builds::CHECKS).contains(&Need::Lint));
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
