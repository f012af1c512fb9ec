// SPDX-License-Identifier: MIT OR Apache-2.0

//! The measurements that cover letters quote, each with the run that it is of.
//! They are kept in the repository: a run of some tests must not take away what
//! another run measured.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::report::Entry;
use crate::stamp;

/// Where the results are kept, in the repository.
pub const FILE: &str = "scripts/series/results.json";
/// The commands whose results are quoted.
const COMMANDS: [&str; 4] = ["run", "test", "bench", HOSTILE];
/// The command whose results `make test` has under names that begin so.
const HOSTILE: &str = "hostile";
/// How the names of KUnit suites with devices that lie end.
const LIES: [&str; 3] = ["_lies", "_config", "_zones"];
/// How the names of the results end that make a row of throughput.
pub const THROUGHPUT: &str = ".throughput.rust";
pub const THROUGHPUT_OF_C: &str = ".throughput.c";
pub const RATIO: &str = ".ratio";
/// What the queue costs, and what it is called.
pub const COST: [(&str, &str); 2] = [
    ("cost.qemu.bytes", "bytes"),
    ("cost.qemu.request", "request"),
];
/// What reading from a disk costs, and what it is called.
pub const COST_OF_BLK: [(&str, &str); 4] = [
    ("cost.qemu.blk-q1-d1", "1 queue, 1 at a time"),
    ("cost.qemu.blk-q1-d32", "1 queue, 32 at a time"),
    ("cost.qemu.blk-q2-d1", "2 queues, 1 at a time"),
    ("cost.qemu.blk-q2-d32", "2 queues, 32 at a time"),
];

/// One result, and the run that it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub entry: Entry,
    pub of: Run,
}

/// The run of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub command: String,
    pub date: String,
    pub kernel: String,
    pub machine: Vec<String>,
    /// The work tree, where the command said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

impl Run {
    pub fn day(&self) -> &str {
        self.date.split('T').next().unwrap_or_default()
    }
}

/// What a command wrote into `out`, and what is left of it here: the results that no
/// later run has.
#[derive(Serialize, Deserialize)]
struct Results {
    #[serde(flatten)]
    run: Run,
    results: Vec<Entry>,
}

/// What is kept, by name.
pub fn read(repo: &Path) -> Vec<Kept> {
    merge(Vec::new(), stamp::read(&path(repo)).unwrap_or_default())
}

/// Keeps what was measured since. Tells whether there was anything.
pub fn update(ctx: &Context) -> Result<bool> {
    let known = read(&ctx.repo);
    let results = COMMANDS
        .iter()
        .filter_map(|command| stamp::read(&ctx.out.join(format!("{command}.json"))));
    let merged = merge(known.clone(), results.collect());
    let is_new = merged != known;
    if is_new {
        stamp::write(&path(&ctx.repo), &by_run(merged))?;
    }
    Ok(is_new)
}

/// Each run once, the oldest first.
fn by_run(kept: Vec<Kept>) -> Vec<Results> {
    let mut runs: Vec<Results> = Vec::new();
    for Kept { entry, of } in kept {
        match runs.iter_mut().find(|results| results.run == of) {
            Some(results) => results.results.push(entry),
            None => runs.push(Results {
                run: of,
                results: vec![entry],
            }),
        }
    }
    runs.sort_by(|a, b| a.run.date.cmp(&b.run.date));
    runs
}

fn path(repo: &Path) -> PathBuf {
    repo.join(FILE)
}

/// Puts what is newer in the place of what has the same name.
fn merge(mut known: Vec<Kept>, results: Vec<Results>) -> Vec<Kept> {
    for Results { run, results } in results {
        let name = |entry: Entry| match run.command == HOSTILE {
            true if lie(&entry.name).is_none() => Entry {
                name: format!("{HOSTILE}.{}", entry.name),
                ..entry
            },
            _ => entry,
        };
        for entry in results
            .into_iter()
            .map(name)
            .filter(is_quoted)
            .map(in_brief)
        {
            let of = run.clone();
            match known.iter_mut().find(|kept| kept.entry.name == entry.name) {
                Some(kept) if kept.of.date < of.date => *kept = Kept { entry, of },
                Some(_) => (),
                None => known.push(Kept { entry, of }),
            }
        }
    }
    known.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    known
}

/// Whether a cover letter may tell it. A failure of a suite is told as well;
/// what failed to be measured has no unit.
fn is_quoted(entry: &Entry) -> bool {
    let name = entry.name.as_str();
    let is_cost = |of: &[(&str, &str)]| of.iter().any(|(cost, _)| *cost == name);
    let of_rng = |end: &&str| name.starts_with("rng.") && name.ends_with(*end);
    let is_number = is_cost(&COST)
        || is_cost(&COST_OF_BLK)
        || [THROUGHPUT, THROUGHPUT_OF_C, RATIO].iter().any(of_rng);
    let is_measured = is_number && !entry.unit.is_empty() || is_speed_of_disk(entry);
    entry.skipped.is_none() && (suite(name).is_some() || is_measured || is_lie(entry))
}

/// How many requests a second, by both drivers.
pub fn is_speed_of_disk(entry: &Entry) -> bool {
    let name = entry.name.strip_prefix("blk.").unwrap_or_default();
    entry.detail.starts_with("requests/s: C ") && !name.is_empty()
}

/// What came of a lie of the lab's device, if that proves anything.
fn is_lie(entry: &Entry) -> bool {
    lie(&entry.name).is_some() && entry.value >= 0.0 && !entry.detail.starts_with("proves nothing")
}

/// The case, the driver and the ring of a name such as `hostile.irq-storm.c.split`.
pub fn lie(name: &str) -> Option<(&str, &str, &str)> {
    let name = name.strip_prefix(HOSTILE)?.strip_prefix('.')?;
    let (rest, ring) = name.rsplit_once('.')?;
    let (case, driver) = rest.rsplit_once('.')?;
    (["c", "rust"].contains(&driver) && ["split", "packed"].contains(&ring))
        .then_some((case, driver, ring))
}

/// Of a lie only the outcome is quoted.
fn in_brief(entry: Entry) -> Entry {
    match is_lie(&entry) {
        true => Entry {
            detail: String::new(),
            excerpt: Vec::new(),
            ..entry
        },
        false => entry,
    }
}

/// The kernel and the name of a suite of lies.
pub fn suite(name: &str) -> Option<(&str, &str)> {
    let (kernel, suite) = name.strip_prefix("kunit.")?.split_once('.')?;
    let lies = LIES.iter().any(|end| suite.ends_with(end));
    lies.then_some((kernel, suite))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn kept(date: &str, entry: Entry) -> Kept {
        Kept {
            entry,
            of: run("test", date),
        }
    }

    fn run(command: &str, date: &str) -> Run {
        Run {
            command: command.into(),
            date: date.into(),
            kernel: "7.3.4".into(),
            machine: vec!["TCG".into()],
            tree: None,
        }
    }

    fn results(date: &str, results: Vec<Entry>) -> Results {
        let run = run("test", date);
        Results { run, results }
    }

    fn cost(name: &str, value: f64) -> Entry {
        Entry::new(format!("cost.qemu.{name}"))
            .pass(value, "x", "instructions: C 1, Rust 1")
            .at_most(2.0)
    }

    #[test]
    fn newer_results_replace_older_ones_of_the_same_name() {
        let known = vec![
            kept("2026-01-02", cost("bytes", 1.0)),
            kept("2026-01-02", cost("request", 1.0)),
        ];
        let newer = results("2026-01-03", vec![cost("request", 1.5)]);
        let older = results(
            "2026-01-01",
            vec![cost("bytes", 1.5), cost("blk-q1-d1", 0.9)],
        );
        let merged = merge(known, vec![newer, older]);
        let seen: Vec<_> = merged
            .iter()
            .map(|kept| (kept.entry.value, &*kept.of.date))
            .collect();
        assert_eq!(
            seen,
            [
                (0.9, "2026-01-01"),
                (1.0, "2026-01-02"),
                (1.5, "2026-01-03")
            ]
        );
        assert_eq!(merged[0].entry.name, "cost.qemu.blk-q1-d1");
    }

    #[test]
    fn only_what_covers_quote_is_kept() {
        let failed = |name: &str| Entry::new(name).fail("failed: a");
        for name in [
            "kunit.uml-debug.virtio_blk_rust_zones",
            "kunit.uml.rust_virtio_lies",
        ] {
            assert!(is_quoted(&failed(name)), "{name}");
            assert!(!is_quoted(&Entry::new(name).skip("no device")), "{name}");
        }
        assert!(!is_quoted(&failed("kunit.uml.rust_virtio_honest")));
        assert!(!is_quoted(&failed("cost.qemu.bytes")));
        assert!(is_quoted(&cost("bytes", 3.0)));
        assert!(!is_quoted(&cost("blk-sweep", 1.0)));
        let speed = |name: &str| is_quoted(&Entry::new(name).pass(1.0, "MB/s", ""));
        assert!(speed("rng.uml.throughput.c") && speed("rng.uml.ratio"));
        assert!(!speed("blk.uml.ratio") && !speed("rng.uml.throughput.kernel-log"));
    }

    #[test]
    fn lies_of_the_lab_are_kept_in_brief_and_by_one_name() {
        let outcome = |name: &str, value: f64, detail: &str| {
            Entry::new(name).pass(value, "hang", format!("{detail}; 1 lies told"))
        };
        let of = |command: &str, date: &str, entry| Results {
            run: Run {
                command: command.into(),
                ..run("", date)
            },
            results: vec![entry],
        };
        let merged = merge(
            Vec::new(),
            vec![
                of("test", "1", outcome("hostile.irq-storm.c.split", 6.0, "a")),
                of("hostile", "2", outcome("irq-storm.c.split", 7.0, "b")),
                of("hostile", "2", outcome("irq-storm.c.packed", -1.0, "c")),
                of(
                    "hostile",
                    "2",
                    outcome("x.rust.split", 6.0, "proves nothing"),
                ),
                of("test", "2", outcome("hostile.drain-skipped", 6.0, "d")),
                of("bench", "2", outcome("irq-storm.c.split", 6.0, "e")),
            ],
        );
        assert_eq!(merged.len(), 1, "{merged:?}");
        assert_eq!(merged[0].entry.value, 7.0);
        assert_eq!(merged[0].entry.name, "hostile.irq-storm.c.split");
        assert_eq!(merged[0].entry.detail, "");
    }

    #[test]
    fn what_is_kept_reads_back_with_each_run_once() {
        let lie = Entry::new("hostile.irq-storm.c.split").pass(7.0, "hang", "");
        let mut of_lab = kept("2026-01-01", lie);
        of_lab.of.command = HOSTILE.into();
        let all = vec![
            kept("2026-01-02", cost("bytes", 1.0).excerpt(vec!["a".into()])),
            kept("2026-01-02", cost("request", 1.0)),
            of_lab,
        ];
        let text = serde_json::to_string(&by_run(all.clone())).unwrap();
        assert!(text.contains("\"bar\":\"<= 2\""), "{text}");
        assert_eq!(text.matches("\"date\":\"2026-01-02\"").count(), 1, "{text}");
        let runs: Vec<Results> = serde_json::from_str(&text).unwrap();
        assert_eq!(runs[0].run.date, "2026-01-01");
        assert_eq!(merge(Vec::new(), runs), all);
    }

    #[test]
    fn results_of_a_command_are_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = Context::in_dir(dir.path());
        assert!(!update(&ctx).unwrap());
        let of_test = r#"{"command": "test", "kernel": "7.3.4", "kernel_source": "x",
            "date": "2026-01-02", "machine": [], "results": [{"name": "cost.qemu.bytes",
            "value": 1.0, "unit": "x", "bar": null, "ok": true, "detail": ""}]}"#;
        std::fs::create_dir_all(&ctx.out).unwrap();
        std::fs::write(ctx.out.join("test.json"), of_test).unwrap();
        assert!(update(&ctx).unwrap());
        assert!(!update(&ctx).unwrap());
        assert_eq!(read(dir.path())[0].of.date, "2026-01-02");
    }
}
