// SPDX-License-Identifier: MIT OR Apache-2.0

//! Results: as a table, as JSON for machines, as KTAP for those that read that.

use std::path::PathBuf;

use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::{Deserialize, Serialize};

use crate::assemble::Tree;
use crate::context::Context;
use crate::source::Source;
use crate::stamp;

/// One named result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub value: f64,
    pub unit: String,
    /// What the value has to be, where there is more to it than `ok`.
    pub bar: Option<String>,
    pub ok: bool,
    /// Why it was not tested; it counts neither way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    pub detail: String,
    /// Lines of a log that say more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excerpt: Vec<String>,
}

impl Entry {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: 0.0,
            unit: String::new(),
            bar: None,
            ok: false,
            skipped: None,
            detail: String::new(),
            excerpt: Vec::new(),
        }
    }

    pub fn pass(self, value: f64, unit: &str, detail: impl Into<String>) -> Self {
        Self {
            ok: true,
            value,
            unit: unit.into(),
            detail: detail.into(),
            ..self
        }
    }

    pub fn fail(self, detail: impl Into<String>) -> Self {
        Self {
            ok: false,
            detail: detail.into(),
            ..self
        }
    }

    pub fn skip(self, reason: &str) -> Self {
        Self {
            ok: true,
            skipped: Some(reason.into()),
            ..self
        }
    }

    /// A value that is below the bar fails.
    pub fn at_least(self, bar: f64) -> Self {
        Self {
            ok: self.ok && self.value >= bar,
            bar: Some(format!(">= {bar}")),
            ..self
        }
    }

    /// A value that is above the bar fails.
    pub fn at_most(self, bar: f64) -> Self {
        Self {
            ok: self.ok && self.value <= bar,
            bar: Some(format!("<= {bar}")),
            ..self
        }
    }

    pub fn excerpt(self, excerpt: Vec<String>) -> Self {
        Self { excerpt, ..self }
    }
}

/// How many results went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Counts {
    pub fn of(entries: &[Entry]) -> Self {
        let mut counts = Self::default();
        for entry in entries {
            match entry {
                Entry {
                    skipped: Some(_), ..
                } => counts.skipped += 1,
                Entry { ok: true, .. } => counts.passed += 1,
                Entry { ok: false, .. } => counts.failed += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

/// The time as results tell it.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the results are of.
#[derive(Serialize)]
pub struct Report<'a> {
    command: &'a str,
    kernel: String,
    kernel_source: String,
    date: String,
    machine: Vec<String>,
    /// The work tree: Linux with the series on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<&'a str>,
    results: &'a [Entry],
}

impl<'a> Report<'a> {
    pub fn new(
        command: &'a str,
        kernel: &str,
        source: &Source,
        machine: Vec<String>,
        results: &'a [Entry],
    ) -> Self {
        Self {
            command,
            kernel: kernel.into(),
            kernel_source: source.package.clone(),
            date: now(),
            machine,
            tree: None,
            results,
        }
    }

    /// Says of which work tree the results are.
    pub fn of(self, tree: &'a Tree) -> Self {
        Self {
            tree: Some(&tree.digest),
            ..self
        }
    }

    /// Writes `out/<command>.json`.
    pub fn write_json(&self, ctx: &Context) -> Result<PathBuf> {
        let path = ctx.out.join(format!("{}.json", self.command));
        stamp::write(&path, self)?;
        Ok(path)
    }

    /// Writes the results as JSON, as KTAP and as JUnit's XML.
    pub fn write(&self, ctx: &Context) -> Result<()> {
        self.write_json(ctx)?;
        let path = |extension| ctx.out.join(format!("{}.{extension}", self.command));
        stamp::write_atomically(&path("ktap"), ktap(self.results).as_bytes(), 0o644)?;
        let xml = junit(self.command, self.results)?;
        stamp::write_atomically(&path("xml"), xml.as_bytes(), 0o644)
    }

    /// Writes the results, prints them with `note`, and leaves with the exit
    /// code that they ask for.
    pub fn conclude(&self, ctx: &Context, note: Option<&str>) -> Result<()> {
        self.write(ctx)?;
        let counts = Counts::of(self.results);
        let print = |text: &str| ctx.ui.print(text);
        print(&format!("\n{}", groups(self.results)));
        for entry in self.results {
            if let Some(reason) = &entry.skipped {
                print(&format!("skipped {}: {reason}", entry.name));
            }
        }
        for entry in self.results.iter().filter(|entry| !entry.ok) {
            print(&format!("FAILED {}: {}", entry.name, entry.detail));
            for line in &entry.excerpt {
                print(&format!("    {line}"));
            }
        }
        print(&format!(
            "results: {}/{}.json, .ktap and .xml (JUnit), logs beside them and in {}",
            ctx.out.display(),
            self.command,
            ctx.cache.join("logs").display()
        ));
        if let Some(note) = note {
            print(note);
        }
        print(&counts.to_string());
        if counts.failed > 0 {
            // The count is the last line, so no error may follow it.
            std::process::exit(1);
        }
        Ok(())
    }
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
            // A bar such as 1.02 would tell nothing beside 1.0.
            let digits = if entry.value < 10.0 { 3 } else { 1 };
            Some(format!(
                "{check} {:.digits$}{} (bar {bar})",
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

/// `rng.uml` of `rng.uml.slow.kill`, `sources` of `sources.spdx`.
fn group(name: &str) -> String {
    let parts: Vec<_> = name.splitn(3, '.').collect();
    let group = &parts[..parts.len().saturating_sub(1).max(1)];
    group.join(".")
}

fn junit(command: &str, entries: &[Entry]) -> Result<String> {
    let mut suite = TestSuite::new(command);
    for entry in entries {
        let mut status = match (&entry.skipped, entry.ok) {
            (Some(_), _) => TestCaseStatus::skipped(),
            (None, true) => TestCaseStatus::success(),
            (None, false) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        };
        status.set_message(entry.skipped.as_ref().unwrap_or(&entry.detail).as_str());
        if !entry.ok {
            status.set_description(entry.excerpt.join("\n"));
        }
        let (class, name) = entry.name.rsplit_once('.').unwrap_or(("", &entry.name));
        let mut case = TestCase::new(name, status);
        case.set_classname(format!("{command}.{class}"));
        if entry.skipped.is_none() && entry.ok && !entry.unit.is_empty() {
            case.set_system_out(format!("{} {} {}", entry.value, entry.unit, entry.detail));
        }
        suite.add_test_case(case);
    }
    let mut report = quick_junit::Report::new("rust-virtio");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn ktap(entries: &[Entry]) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", entries.len());
    for (number, entry) in (1..).zip(entries) {
        for line in &entry.excerpt {
            text += &format!("# {line}\n");
        }
        let verdict = if entry.ok { "ok" } else { "not ok" };
        text += &format!("{verdict} {number} {}", entry.name);
        match (&entry.skipped, entry.ok) {
            (Some(reason), _) => text += &format!(" # SKIP {reason}"),
            (None, false) => text += &format!(" # {}", entry.detail.replace('\n', " ")),
            (None, true) => (),
        }
        text.push('\n');
    }
    text
}

/// Rows in columns that line up; the first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text += line.join("  ").trim_end();
        text.push('\n');
        if number == 0 {
            let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text += &rule.join("  ");
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::new("a").pass(12.3, "x", "").at_least(10.0),
            Entry::new("b")
                .fail("broke\nhere")
                .excerpt(vec!["BUG: x".into()]),
            Entry::new("c").skip("no device"),
        ]
    }

    #[test]
    fn counts_read_as_the_last_line_should() {
        assert_eq!(
            Counts::of(&entries()).to_string(),
            "1 passed, 1 failed, 1 skipped"
        );
        assert_eq!(
            Counts::of(&entries()[..1]).to_string(),
            "1 passed, 0 failed"
        );
    }

    #[test]
    fn ktap_has_a_plan_and_directives() {
        let expected = "KTAP version 1\n1..3\nok 1 a\n# BUG: x\n\
                        not ok 2 b # broke here\nok 3 c # SKIP no device\n";
        assert_eq!(ktap(&entries()), expected);
    }

    #[test]
    fn json_has_the_fields_that_others_read() {
        let json = serde_json::to_value(entries()).unwrap();
        assert_eq!(json[0]["name"], "a");
        assert_eq!(json[0]["value"], 12.3);
        assert_eq!(json[0]["unit"], "x");
        assert_eq!(json[0]["bar"], ">= 10");
        assert_eq!(json[0]["ok"], true);
        assert_eq!(json[1]["bar"], serde_json::Value::Null);
        assert_eq!(json[2]["skipped"], "no device");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bc"], ["dé", "f"]];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.to_string()).collect())
            .collect();
        assert_eq!(table(&rows), "a   bc\n--  --\ndé  f\n");
    }

    #[test]
    fn results_are_grouped_by_what_and_where() {
        let results = [
            Entry::new("rng.uml.slow.kill").pass(1.0, "ms", ""),
            Entry::new("rng.uml.ratio")
                .pass(12.0, "x", "")
                .at_least(10.0),
            Entry::new("rng.qemu.bind").fail("no device"),
            Entry::new("compile-fail.a").pass(0.0, "", "A: E0382"),
            Entry::new("compile-fail.b").pass(0.0, "", "B: E0382"),
        ];
        let text = groups(&results);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[4].starts_with("compile-fail  2"), "{text}");
        assert!(lines[2].starts_with("rng.uml       2"), "{text}");
        assert!(lines[2].ends_with("ratio 12.0x (bar >= 10)"), "{text}");
        assert!(lines[3].starts_with("rng.qemu      0       1"), "{text}");
    }
}
