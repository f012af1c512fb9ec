// SPDX-License-Identifier: MIT OR Apache-2.0

//! The main job: from nothing to a table that shows what the drivers do.

use anyhow::Result;

use crate::assemble;
use crate::bail_help;
use crate::build::{self, Variant};
use crate::context::Context;
use crate::doctor::{self, Need};
use crate::guest::Lab;
use crate::report::{table, Entry, Report};
use crate::scenario::{self, Platform};
use crate::source;

const PAIRS: u32 = 5;
/// How many times the C driver's throughput, by where it is measured.
pub const UML_BAR: f64 = 10.0;
pub const QEMU_BAR: f64 = 5.0;

const NEEDS: &[Need] = &[
    Need::Source,
    Need::Kernel,
    Need::Qemu,
    Need::Uml,
    Need::Guest,
];

pub fn run(ctx: &Context) -> Result<()> {
    let tools = doctor::ensure(ctx, NEEDS)?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let mut lab = Lab::new(ctx, &tools, "run");
    let mut release = String::new();
    for variant in [Variant::X86_64, Variant::Uml] {
        let kernel = build::ensure(ctx, &tools, &tree, variant)?;
        release.clone_from(&kernel.release);
        lab.add(kernel)?;
    }
    let mut results = Vec::new();
    for boot in [
        scenario::kunit(Platform::Uml),
        scenario::throughput(Platform::Uml, PAIRS, UML_BAR),
        scenario::throughput(Platform::Qemu, PAIRS, QEMU_BAR),
        scenario::rng_in_brief(Platform::QemuMmio),
    ] {
        results.extend(lab.run(&boot)?);
    }
    let accel = lab.accel()?.name();
    let machine = vec![accel.to_owned(), "UML".into()];
    let report = Report::new("run", &release, &source, machine, &results).of(&tree);
    let json = report.write_json(ctx)?;
    let logs = ctx.out.join("logs");
    ctx.ui
        .print(&format!("\nLinux {release} from {}\n", source.package));
    ctx.ui.print(&table(&rows(&results, accel)));
    ctx.ui.print(&format!(
        "results: {}\nlogs:    {}",
        json.display(),
        logs.display()
    ));
    let failed: Vec<_> = results.iter().filter(|entry| !entry.ok).collect();
    if failed.is_empty() {
        return Ok(());
    }
    for entry in &failed {
        ctx.ui.note(&format!("{}: {}", entry.name, entry.detail));
    }
    bail_help!(
        format!("{} of {} results are not good", failed.len(), results.len()),
        format!("the guests' consoles are in {}", logs.display())
    );
}

fn rows(results: &[Entry], accel: &str) -> Vec<Vec<String>> {
    let find = |name: &str| results.iter().find(|entry| entry.name == name);
    let qemu = |device: &str| format!("{device} (QEMU, {accel})");
    let words = |words: [&str; 6]| words.map(str::to_owned).to_vec();
    let mut rows = vec![words(["device", "driver", "checked", "C", "Rust", "ratio"])];
    for (device, platform) in [
        ("vhost-device-rng (UML)".to_owned(), "uml"),
        (qemu("virtio-rng-pci"), "qemu"),
    ] {
        let cell = |what: &str| {
            let entry = find(&format!("rng.{platform}.{what}"));
            entry.map_or_else(|| "-".to_owned(), value)
        };
        rows.push(vec![
            device,
            "virtio_rng_rust".into(),
            format!("{PAIRS} pairs of reads, C and Rust by turns"),
            cell("throughput.c"),
            cell("throughput.rust"),
            cell("ratio"),
        ]);
    }
    rows.push(vec![
        qemu("virtio-rng-device"),
        "virtio_rng_rust".into(),
        mmio(find("rng.qemu-mmio.read"), find("rng.qemu-mmio.fips")),
    ]);
    rows.push(vec![
        "KUnit (UML)".into(),
        "-".into(),
        find("kunit.uml.total").map_or("not run".into(), |entry| entry.detail.clone()),
    ]);
    rows.push(vec!["consoles".into(), "-".into(), consoles(results)]);
    rows
}

/// A value with its unit and, where there is one, the bar.
fn value(entry: &Entry) -> String {
    let value = match entry.value {
        value if value < 10.0 => format!("{value:.2}"),
        value => format!("{value:.1}"),
    };
    let unit = match entry.unit.as_str() {
        "x" => "x".to_owned(),
        unit => format!(" {unit}"),
    };
    match (&entry.bar, entry.ok) {
        (_, false) if entry.value == 0.0 => "failed".into(),
        (None, _) => format!("{value}{unit}"),
        (Some(bar), true) => format!("{value}{unit} (bar {bar})"),
        (Some(bar), false) => format!("{value}{unit} MISSED (bar {bar})"),
    }
}

fn mmio(read: Option<&Entry>, fips: Option<&Entry>) -> String {
    match (read, fips) {
        (Some(read), Some(fips)) if read.ok && fips.ok => format!(
            "{} {} read, {} {} {}",
            read.value, read.unit, fips.value, fips.unit, fips.detail
        ),
        (Some(entry), _) | (None, Some(entry)) => format!("failed: {}", entry.detail),
        (None, None) => "not run".into(),
    }
}

fn consoles(results: &[Entry]) -> String {
    let all = results
        .iter()
        .filter(|entry| entry.name.ends_with(scenario::CONSOLE));
    let (good, bad): (Vec<_>, Vec<_>) = all.partition(|entry| entry.ok);
    match bad.len() {
        0 => format!("no splat in {} boots", good.len()),
        count => format!("{count} of {} boots went wrong", good.len() + count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_at_most_ten_rows_and_the_numbers() {
        let results = vec![
            Entry::new("rng.uml.throughput.c").pass(0.713, "MB/s", ""),
            Entry::new("rng.uml.throughput.rust").pass(12.34, "MB/s", ""),
            Entry::new("rng.uml.ratio")
                .pass(17.3, "x", "")
                .at_least(10.0),
            Entry::new("rng.qemu.ratio")
                .pass(4.0, "x", "")
                .at_least(5.0),
            Entry::new("rng.uml.throughput.console").pass(0.0, "splats", ""),
            Entry::new("rng.qemu.throughput.console").fail("a splat"),
        ];
        let rows = rows(&results, "TCG");
        assert!(rows.len() <= 10);
        assert_eq!(
            rows[1][3..],
            ["0.71 MB/s", "12.3 MB/s", "17.3x (bar >= 10)"]
        );
        assert_eq!(rows[2][3..], ["-", "-", "4.00x MISSED (bar >= 5)"]);
        assert_eq!(rows[4][2], "not run");
        assert_eq!(rows[5][2], "1 of 2 boots went wrong");
    }
}
