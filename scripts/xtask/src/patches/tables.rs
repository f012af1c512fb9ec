// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tables of a cover letter: what stands for `{throughput}` and the like.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use hostile::model::Device;

use super::lab;
use super::results::{self, Kept};
use crate::bail_help;
use crate::report::{table, Entry};

/// Of a line, with room for what is indented.
const WIDTH: usize = 70;
/// What stands where there is no result.
pub const NONE: &str = "(not measured";

/// Puts the tables in the place of their names.
pub fn fill(cover: &str, kept: &[Kept]) -> Result<String> {
    let mut text = String::new();
    let mut rest = cover;
    while let Some((before, name, after)) = placeholder(rest) {
        text += before;
        text += named(name, kept)?.trim_end();
        rest = after;
    }
    Ok(text + rest)
}

/// The first name in braces, with what is before it and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
    text.match_indices('{').find_map(|(start, _)| {
        let (name, after) = text[start + 1..].split_once('}')?;
        let is_name = !name.is_empty() && name.chars().all(is_part);
        is_name.then_some((&text[..start], name, after))
    })
}

fn named(name: &str, kept: &[Kept]) -> Result<String> {
    match name.split_once(':').unwrap_or((name, "")) {
        ("throughput", "") => Ok(throughput(kept)),
        ("cost", "") => Ok(cost(kept, &results::COST, OF_QUEUE)),
        ("throughput_blk", "") => Ok(throughput_of_disks(kept)),
        ("lab", "rng") => lab::lies(kept, Device::Rng),
        ("lab", "blk") => lab::lies(kept, Device::Blk),
        ("cost_blk", "") => Ok(cost(kept, &results::COST_OF_BLK, OF_BLK)),
        ("lies", prefix) if !prefix.is_empty() => Ok(lies(kept, prefix)),
        _ => bail_help!(
            format!("a cover letter names {{{name}}}, and there is no such table"),
            "there are {throughput}, {throughput_blk}, {cost}, {cost_blk}, {lab:rng}, {lab:blk} \
             and, of the suites whose names begin with PREFIX, {lies:PREFIX}"
        ),
    }
}

pub fn none(command: &str) -> String {
    format!("{NONE}: `make {command}` was not run before this was written)\n")
}

/// By which commands, when, on what and how results were taken.
pub fn taken(of: &[&Kept], how: &str) -> String {
    let all = |get: fn(&Kept) -> &str| {
        let all: BTreeSet<_> = of.iter().map(|kept| get(kept)).collect();
        Vec::from_iter(all)
    };
    let commands = all(|kept| &kept.of.command);
    let commands: Vec<_> = commands
        .iter()
        .map(|name| format!("`make {name}`"))
        .collect();
    let dates = match all(|kept| kept.of.day())[..] {
        [first, .., last] => format!("{first} to {last}"),
        [only] => only.to_owned(),
        [] => String::new(),
    };
    let machines: BTreeSet<_> = of.iter().flat_map(|kept| kept.of.machine.clone()).collect();
    let mut parts = vec![
        commands.join(" and "),
        dates,
        format!("Linux {}", all(|kept| &kept.of.kernel).join(" and ")),
        Vec::from_iter(machines).join(" and "),
    ];
    parts.retain(|part| !part.is_empty());
    words(&format!("{}; {how}", parts.join(", ")))
}

/// The suites of lies whose names begin with `prefix`, with all their tests.
fn lies(kept: &[Kept], prefix: &str) -> String {
    let mut suites: BTreeMap<&str, Vec<(&str, &Entry)>> = BTreeMap::new();
    let mut quoted = Vec::new();
    for kept in kept {
        match results::suite(&kept.entry.name) {
            Some((kernel, suite)) if suite.starts_with(prefix) => {
                suites.entry(suite).or_default().push((kernel, &kept.entry));
                quoted.push(kept);
            }
            _ => (),
        }
    }
    if quoted.is_empty() {
        return none("run");
    }
    let how = "on a simulated device that lies, in some tests on an honest one; split and \
               packed ring";
    let suites = suites
        .iter()
        .map(|(suite, entries)| format!("\n{}", of_suite(suite, entries)));
    taken(&quoted, how) + &suites.collect::<String>()
}

/// What came of a suite on each kernel, and its tests.
fn of_suite(suite: &str, entries: &[(&str, &Entry)]) -> String {
    // One that ran at another time may not have the same tests.
    let mut verdicts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (kernel, entry) in entries {
        let verdict = match entry.ok {
            true => format!("{} tests, all passed{}", entry.excerpt.len(), skips(entry)),
            false => format!("SOME FAILED, {}", entry.detail),
        };
        verdicts.entry(verdict).or_default().push(kernel);
    }
    let mut text = String::new();
    for (verdict, kernels) in verdicts {
        text += &words(&format!("{suite}: {verdict} ({})", kernels.join(", ")));
    }
    let passed = entries.iter().map(|(_, entry)| &entry.excerpt);
    let most = passed.max_by_key(|tests| tests.len()).into_iter().flatten();
    let tests: Vec<_> = most.map(|test| test.replace('_', " ")).collect();
    text + &indented(&wrapped(&tests, "; "))
}

/// How many tests of a suite were skipped, if there were any.
fn skips(entry: &Entry) -> String {
    match entry.detail.split_once(" skipped") {
        None | Some(("0", _)) => String::new(),
        Some((count, _)) => format!(", {count} skipped"),
    }
}

/// As many words in a line as fit in a mail.
pub fn words(text: &str) -> String {
    fold(text, WIDTH).join("\n") + "\n"
}

/// As many words in a line as fit into a column.
pub fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
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
        let width = line.len() + piece.len() + separator.trim_end().len();
        if width > WIDTH && !line.is_empty() {
            text += line.trim_end();
            text.push('\n');
            line.clear();
        }
        line += piece;
        line += separator;
    }
    text + line.trim_end() + "\n"
}

fn throughput(kept: &[Kept]) -> String {
    let mut rows = vec![row(["guest", "C", "Rust", "ratio", "ratios of the pairs"])];
    let mut quoted = Vec::new();
    for rust in kept {
        let Some(guest) = rust.entry.name.strip_suffix(results::THROUGHPUT) else {
            continue;
        };
        let find = |end| find(kept, &format!("{guest}{end}"));
        let (Some(c), Some(both)) = (find(results::THROUGHPUT_OF_C), find(results::RATIO)) else {
            continue;
        };
        let speed = |kept: &Kept| format!("{:.2} {}", kept.entry.value, kept.entry.unit);
        let pairs = both.entry.detail.rsplit_once("pairs: ");
        rows.push(row([
            guest.trim_start_matches("rng."),
            &speed(c),
            &speed(rust),
            &ratio(&both.entry, 1),
            pairs.map_or("", |(_, pairs)| pairs),
        ]));
        quoted.extend([rust, c, both]);
    }
    if quoted.is_empty() {
        return none("run");
    }
    let how =
        "64 KiB reads of /dev/hwrng, C and Rust by turns in one boot, medians and their ratio, \
               and the ratios of the pairs";
    format!("{}\n{}", taken(&quoted, how), indented(&table(&rows)))
}

/// A row for each load of a disk of somebody else.
fn throughput_of_disks(kept: &[Kept]) -> String {
    let mut rows = vec![row(["guest", "load", "C", "Rust", "Rust/C", "turns"])];
    let quoted: Vec<_> = kept
        .iter()
        .filter(|kept| results::is_speed_of_disk(&kept.entry))
        .collect();
    for Kept { entry, .. } in &quoted {
        let (c, rust) = sides(&entry.detail);
        let ratios = entry.detail.rsplit_once("ratios ");
        // Such as `blk.qemu.randread-4k-d32`.
        let mut name = entry.name.splitn(3, '.').skip(1);
        let (guest, load) = (name.next().unwrap_or(""), name.next().unwrap_or(""));
        rows.push(row([
            guest,
            load,
            &c,
            &rust,
            &ratio(entry, 3),
            ratios.map_or("", |(_, ratios)| ratios),
        ]));
    }
    match quoted.is_empty() {
        true => none("bench"),
        false => format!("{}\n{}", taken(&quoted, OF_DISKS), indented(&table(&rows))),
    }
}

const OF_DISKS: &str = "requests a second, with fio; the disk is QEMU's virtio-blk-pci or, by \
                        vhost-user, that of qemu-storage-daemon; C and Rust by turns in one \
                        boot; medians, and the least and the most of the turns";
const OF_QUEUE: &str = "to post one buffer + to get it back, in instructions that the emulator \
                        counts";
const OF_BLK: &str = "to read a block of 4 KiB, to submit + to complete it, in instructions that \
                      the emulator counts, C and Rust by turns in one boot, medians";

/// A row for each of `costs`, whether it was measured or not.
fn cost(kept: &[Kept], costs: &[(&str, &str)], how: &str) -> String {
    let mut rows = vec![row(["what", "Rust/C", "C", "Rust"])];
    let mut quoted = Vec::new();
    for (name, what) in costs {
        match find(kept, name) {
            Some(found) => {
                let (c, rust) = sides(&found.entry.detail);
                rows.push(row([what, &ratio(&found.entry, 3), &c, &rust]));
                quoted.push(found);
            }
            None => rows.push(row([what, &format!("{NONE})"), "", ""])),
        }
    }
    if quoted.is_empty() {
        return none("test");
    }
    format!("{}\n{}", taken(&quoted, how), indented(&table(&rows)))
}

/// What C and what Rust took, of `what: C 9 + 8 (16 to 18), Rust 7 + 6; and more`.
fn sides(detail: &str) -> (String, String) {
    let side = |language: &str| {
        let (_, rest) = detail.split_once(language)?;
        let end = rest.find([',', ';', '(']).unwrap_or(rest.len());
        Some(rest[..end].trim().to_owned())
    };
    let side = |language| side(language).unwrap_or_default();
    (side(": C "), side(", Rust "))
}

/// A ratio, and its bar where it misses that.
fn ratio(entry: &Entry, digits: usize) -> String {
    let value = format!("{:.digits$}", entry.value);
    match &entry.bar {
        Some(bar) if !entry.ok => format!("{value}, NOT {bar}"),
        _ => value,
    }
}

fn find<'a>(kept: &'a [Kept], name: &str) -> Option<&'a Kept> {
    kept.iter().find(|kept| kept.entry.name == name)
}

pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// The lines of a text, further to the right.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::kept;
    use super::*;

    fn suite(date: &str, name: &str, tests: &[&str]) -> Kept {
        let tests: Vec<_> = tests.iter().map(|test| test.to_string()).collect();
        let entry = Entry::new(format!("kunit.{name}"));
        let entry = entry.pass(tests.len() as f64, "tests", "0 skipped; built in");
        kept(date, entry.excerpt(tests))
    }

    fn measured(name: &str, value: f64, unit: &str, detail: &str) -> Kept {
        kept("2026", Entry::new(name).pass(value, unit, detail))
    }

    #[test]
    fn names_in_braces_are_replaced_by_their_tables() {
        let text = fill("a { b } {cost}\n{lies:a}{}\n", &[]).unwrap();
        assert!(
            text.starts_with("a { b } (not measured: `make test`"),
            "{text}"
        );
        assert!(text.contains(")\n(not measured: `make run`"), "{text}");
        assert!(text.ends_with("){}\n"), "{text}");
    }

    #[test]
    fn a_name_without_a_table_is_refused() {
        for cover in ["{lies}", "{lies:}", "{cost:blk}", "{costs}"] {
            let error = fill(cover, &[]).unwrap_err().to_string();
            assert!(error.contains(cover), "{error}");
        }
    }

    #[test]
    fn lies_are_those_of_the_prefix() {
        let all = [
            suite(
                "2026-01-02T03:04:05Z",
                "qemu.a_lies",
                &["used_twice", "length_huge"],
            ),
            suite(
                "2026-01-02T04:05:06Z",
                "uml.a_lies",
                &["used_twice", "length_huge"],
            ),
            suite("2026-01-02", "uml.a_zones", &["are_reported"]),
            suite("2026-01-03", "uml.b_lies", &["other"]),
        ];
        let text = lies(&all, "a");
        assert!(
            text.contains("`make test`, 2026-01-02, Linux 7.3.4, TCG"),
            "{text}"
        );
        assert!(
            text.contains("\na_lies: 2 tests, all passed (qemu, uml)\n"),
            "{text}"
        );
        assert!(text.contains("\n  used twice; length huge\n"), "{text}");
        assert!(
            text.contains("\na_zones: 1 tests, all passed (uml)\n"),
            "{text}"
        );
        assert!(!text.contains("b_lies"), "{text}");
        assert!(lies(&all, "c").starts_with(NONE));
    }

    #[test]
    fn runs_that_differ_show() {
        let mut bad = suite("2026-01-03", "uml-debug.a_lies", &[]);
        bad.entry = bad.entry.fail("failed: used_twice");
        let mut fewer = suite("2026-01-01", "qemu.a_lies", &["used_twice"]);
        fewer.entry.detail = "1 skipped; built in".into();
        let more = suite("2026-01-02", "uml.a_lies", &["used_twice", "length_huge"]);
        let all = [fewer, more, bad];
        let text = lies(&all, "a_");
        assert!(text.contains("2026-01-01 to 2026-01-03,"), "{text}");
        assert!(
            text.contains(
                "a_lies: 1 tests, all passed, 1 skipped (qemu)\na_lies: 2 tests, all passed (uml)\n\
                 a_lies: SOME FAILED, failed: used_twice (uml-debug)\n  used twice; length huge\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn throughput_is_a_row_per_guest() {
        let all = [
            measured("rng.uml.throughput.c", 1.0, "MB/s", ""),
            measured("rng.uml.throughput.rust", 200.0, "MB/s", ""),
            measured(
                "rng.uml.ratio",
                200.0,
                "x",
                "of medians; pairs: 180.0 220.0",
            ),
        ];
        let text = throughput(&all);
        assert!(
            text.contains("uml    1.00 MB/s  200.00 MB/s  200.0  180.0 220.0"),
            "{text}"
        );
        assert!(throughput(&all[..2]).starts_with(NONE));
    }

    #[test]
    fn disks_have_a_row_for_each_load() {
        let detail = "requests/s: C 43581 (35401 to 47378), Rust 42843 (39760 to 48903); \
                      ratios 0.874 to 1.243";
        let of_scrub = "requests/s: Rust 9 (8 to 10), Rust, scrubbing 8 (7 to 9); ratios 1 to 1";
        let all = [
            measured("blk.qemu.randread-4k-d32", 1.0321, "x", detail),
            measured("blk.qemu.scrub-4k-d1", 0.9, "x", of_scrub),
        ];
        let text = fill("{throughput_blk}", &all).unwrap();
        assert!(
            text.contains("qemu   randread-4k-d32  43581  42843  1.032   0.874 to 1.243"),
            "{text}"
        );
        assert!(!text.contains("scrub"), "{text}");
        assert!(fill("{throughput_blk}", &all[1..])
            .unwrap()
            .starts_with(NONE));
    }

    #[test]
    fn the_queue_and_the_disk_have_tables_of_their_own() {
        let queue = "instructions to post and to pop: C 53 + 49, Rust 50 + 47";
        let disk = "instructions per block to submit and to complete, median: \
                    C 1910 + 1176 (3086 to 3086), Rust 1812 + 1158 (2970 to 2971); \
                    the device itself: 455 and 455";
        let mut all = vec![
            measured("cost.qemu.blk-q1-d1", 0.9624, "x", disk),
            measured("cost.qemu.bytes", 0.951, "x", queue),
        ];
        let text = fill("{cost}", &all).unwrap();
        assert!(
            text.contains("bytes    0.951           53 + 49  50 + 47\n"),
            "{text}"
        );
        assert!(text.contains("request  (not measured)"), "{text}");
        assert!(!text.contains("at a time"), "{text}");
        let text = fill("{cost_blk}", &all).unwrap();
        assert!(text.contains("to read a block of 4 KiB"), "{text}");
        assert!(
            text.contains("1 queue, 1 at a time    0.962           1910 + 1176  1812 + 1158\n"),
            "{text}"
        );
        assert_eq!(text.matches(NONE).count(), 3, "{text}");
        assert!(text.lines().all(|line| line.len() <= 75), "{text}");
        all[1].entry = all[1].entry.clone().at_most(0.95);
        let text = fill("{cost}", &all).unwrap();
        assert!(text.contains("0.951, NOT <= 0.95"), "{text}");
    }

    #[test]
    fn words_fill_lines() {
        let text = words(&"word ".repeat(30));
        assert_eq!(text.lines().map(str::len).max(), Some(69));
        assert_eq!(words(&"x".repeat(80)), format!("{}\n", "x".repeat(80)));
    }
}
