// SPDX-License-Identifier: MIT OR Apache-2.0

//! The measurements that cover letters quote: what the last runs wrote, with
//! their dates.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::context::Context;
use crate::report::{table, Entry};
use crate::stamp;

/// The commands whose results are quoted.
const COMMANDS: &[&str] = &["run", "test"];
const THROUGHPUT: &str = ".throughput.rust";
/// Of a line, with room for what is indented.
const WIDTH: usize = 70;

#[derive(Deserialize)]
struct Results {
    command: String,
    kernel: String,
    date: String,
    machine: Vec<String>,
    results: Vec<Entry>,
}

pub fn are_there(ctx: &Context) -> bool {
    let all = read(ctx);
    !lies(&all).starts_with(NONE)
        && !throughput(&all).starts_with(NONE)
        && !cost(&all).starts_with(NONE)
}

/// What each placeholder of a cover letter stands for.
pub fn tables(ctx: &Context) -> BTreeMap<&'static str, String> {
    let all = read(ctx);
    BTreeMap::from([
        ("{lies}", lies(&all)),
        ("{throughput}", throughput(&all)),
        ("{cost}", cost(&all)),
    ])
}

/// What stands where there is no result.
const NONE: &str = "(not measured";

fn none(command: &str) -> String {
    format!("{NONE}: `{command}` was not run before this was written)\n")
}

/// Newest first.
fn read(ctx: &Context) -> Vec<Results> {
    let path = |command: &&str| ctx.out.join(format!("{command}.json"));
    let mut all: Vec<Results> = COMMANDS
        .iter()
        .map(path)
        .filter_map(|path| stamp::read(&path))
        .collect();
    all.sort_by(|a, b| b.date.cmp(&a.date));
    all
}

impl Results {
    fn taken(&self, how: &str) -> String {
        let text = format!(
            "`make {}`, {}, Linux {}, {}; {how}",
            self.command,
            self.date,
            self.kernel,
            self.machine.join(" and ")
        );
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        wrapped(&words, " ")
    }

    fn value(&self, name: &str) -> Option<&Entry> {
        let good = |entry: &&Entry| entry.name == name && entry.ok && entry.skipped.is_none();
        self.results.iter().find(good)
    }
}

/// The suites of lies, with every test that passed.
fn lies(all: &[Results]) -> String {
    let is_suite = |entry: &&Entry| {
        entry.name.starts_with("kunit.")
            && entry.name.ends_with("_lies")
            && !entry.excerpt.is_empty()
    };
    let Some(results) = all
        .iter()
        .find(|results| results.results.iter().any(|entry| is_suite(&entry)))
    else {
        return none("make run");
    };
    let mut by_suite: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in results.results.iter().filter(is_suite) {
        let suite = entry.name.rsplit('.').next().unwrap_or_default();
        by_suite.entry(suite).or_default().push(entry);
    }
    let mut text =
        results.taken("each test on a simulated device that lies, split and packed ring");
    for (suite, entries) in by_suite {
        let good = entries.iter().all(|entry| entry.ok);
        let kernels: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.name.split('.').nth(1))
            .collect();
        let cases = &entries[0].excerpt;
        let verdict = if good { "all passed" } else { "SOME FAILED" };
        text += &format!(
            "\n{suite}: {} lies, {verdict} ({})\n",
            cases.len(),
            kernels.join(", ")
        );
        let cases: Vec<_> = cases.iter().map(|name| name.replace('_', " ")).collect();
        text += &indented(&wrapped(&cases, "; "));
    }
    text
}

/// As many pieces in a line as fit in a mail.
fn wrapped(pieces: &[String], separator: &str) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for (number, piece) in (1..).zip(pieces) {
        let separator = if number == pieces.len() {
            ""
        } else {
            separator
        };
        if line.len() + piece.len() + separator.trim_end().len() > WIDTH {
            text += line.trim_end();
            text.push('\n');
            line.clear();
        }
        line += piece;
        line += separator;
    }
    text + line.trim_end() + "\n"
}

fn throughput(all: &[Results]) -> String {
    let has = |results: &&Results| {
        results
            .results
            .iter()
            .any(|entry| entry.name.ends_with(THROUGHPUT))
    };
    let Some(results) = all.iter().find(has) else {
        return none("make run");
    };
    let mut rows = vec![["guest", "C", "Rust", "ratio", "ratios of the pairs"]
        .map(str::to_owned)
        .to_vec()];
    for entry in &results.results {
        let Some(guest) = entry.name.strip_suffix(THROUGHPUT) else {
            continue;
        };
        let c = results.value(&format!("{guest}.throughput.c"));
        let ratio = results.value(&format!("{guest}.ratio"));
        if let (Some(c), Some(ratio)) = (c, ratio) {
            let pairs = ratio
                .detail
                .rsplit_once("pairs: ")
                .map_or("", |(_, pairs)| pairs);
            rows.push(vec![
                guest.trim_start_matches("rng.").to_owned(),
                format!("{:.2} {}", c.value, c.unit),
                format!("{:.2} {}", entry.value, entry.unit),
                format!("{:.1}", ratio.value),
                pairs.to_owned(),
            ]);
        }
    }
    let how = "64 KiB reads of /dev/hwrng, C and Rust by turns in one boot, medians of pairs";
    format!("{}\n{}", results.taken(how), indented(&table(&rows)))
}

fn cost(all: &[Results]) -> String {
    let is_cost = |entry: &&Entry| entry.name.starts_with("cost.") && entry.bar.is_some();
    let Some(results) = all
        .iter()
        .find(|results| results.results.iter().any(|entry| is_cost(&entry)))
    else {
        return none("make test");
    };
    let mut rows = vec![["what", "Rust/C", "instructions"]
        .map(str::to_owned)
        .to_vec()];
    for entry in results.results.iter().filter(is_cost) {
        let what = entry.name.rsplit('.').next().unwrap_or_default();
        rows.push(vec![
            what.to_owned(),
            format!("{:.3}", entry.value),
            entry.detail.clone(),
        ]);
    }
    let how = "to post and to get back one buffer, in instructions that the emulator counts";
    format!("{}\n{}", results.taken(how), indented(&table(&rows)))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(date: &str, entries: Vec<Entry>) -> Results {
        Results {
            command: "run".into(),
            kernel: "7.3.4".into(),
            date: date.into(),
            machine: vec!["TCG".into()],
            results: entries,
        }
    }

    #[test]
    fn what_was_not_measured_is_said() {
        assert!(lies(&[]).starts_with(NONE));
        assert!(throughput(&[results("2026", Vec::new())]).starts_with(NONE));
    }

    #[test]
    fn lies_are_listed_with_their_date_and_a_failure_shows() {
        let entry = |name: &str| {
            Entry::new(name)
                .pass(2.0, "tests", "")
                .excerpt(vec!["used_twice".into(), "length_huge".into()])
        };
        let good = results(
            "2026-01-02",
            vec![entry("kunit.uml.a_lies"), entry("kunit.qemu.a_lies")],
        );
        let text = lies(&[good]);
        assert!(text.contains("2026-01-02"), "{text}");
        assert!(
            text.contains("a_lies: 2 lies, all passed (uml, qemu)"),
            "{text}"
        );
        assert!(text.contains("  used twice; length huge"), "{text}");
        let bad = results("2026", vec![entry("kunit.uml.a_lies").fail("x")]);
        assert!(lies(&[bad]).contains("SOME FAILED"));
    }

    #[test]
    fn throughput_is_a_row_per_guest() {
        let entries = vec![
            Entry::new("rng.uml.throughput.c").pass(1.0, "MB/s", ""),
            Entry::new("rng.uml.throughput.rust").pass(200.0, "MB/s", ""),
            Entry::new("rng.uml.ratio").pass(200.0, "x", "of medians; pairs: 180.0 220.0"),
        ];
        let text = throughput(&[results("2026", entries)]);
        assert!(
            text.contains("uml    1.00 MB/s  200.00 MB/s  200.0  180.0 220.0"),
            "{text}"
        );
    }
}
