// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is kept of each cell, in the repository: the matrix takes too long to
//! be run as a whole each time that somebody wants to know.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::report::Entry;
use crate::stamp;

/// One result, and what it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub value: f64,
    pub unit: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excerpt: Vec<String>,
    #[serde(flatten)]
    pub of: Subject,
}

/// What a result is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub date: String,
    pub kernel_source: String,
    pub tools: String,
    /// The work tree: Linux with the series on it.
    pub tree: String,
    /// Tree, tools and configuration: a result for others says nothing.
    pub inputs: String,
}

impl Record {
    pub fn new(entry: &Entry, of: &Subject) -> Self {
        Self {
            name: entry.name.clone(),
            value: entry.value,
            unit: entry.unit.clone(),
            ok: entry.ok,
            skipped: entry.skipped.clone(),
            detail: entry.detail.clone(),
            excerpt: entry.excerpt.clone(),
            of: of.clone(),
        }
    }

    /// The result, with the day that it is from.
    pub fn entry(&self) -> Entry {
        let day = self.of.date.split('T').next().unwrap_or_default();
        Entry {
            value: self.value,
            unit: self.unit.clone(),
            ok: self.ok,
            skipped: self.skipped.clone(),
            detail: format!("{} [kept, of {day}]", self.detail),
            excerpt: self.excerpt.clone(),
            ..Entry::new(&self.name)
        }
    }

    /// Failures and skips are tried again.
    fn is_good(&self) -> bool {
        self.ok && self.skipped.is_none()
    }
}

fn path(repo: &Path) -> PathBuf {
    repo.join("scripts/series/matrix.json")
}

fn load(repo: &Path) -> Vec<Record> {
    stamp::read(&path(repo)).unwrap_or_default()
}

/// The good results of `names` for the same inputs, if all of them are there.
pub fn kept(ctx: &Context, names: &[String], inputs: &str) -> Option<Vec<Entry>> {
    let known = load(&ctx.repo);
    let find = |name: &String| {
        let fits = |record: &&Record| record.name == *name && record.of.inputs == inputs;
        known.iter().find(fits).filter(|record| record.is_good())
    };
    names
        .iter()
        .map(|name| find(name).map(Record::entry))
        .collect()
}

/// What is kept, in a sentence, for who does not run the matrix.
pub fn summary(repo: &Path, tree: &str) -> String {
    describe(&load(repo), tree)
}

fn describe(records: &[Record], tree: &str) -> String {
    let good = records.iter().filter(|record| record.is_good()).count();
    let current = records
        .iter()
        .filter(|record| record.of.tree == tree)
        .count();
    let days = records
        .iter()
        .map(|record| record.of.date.split('T').next().unwrap_or_default());
    match days.max() {
        None => "no result of it is kept".into(),
        Some(day) => format!(
            "{} results are kept, the last of {day}: {good} good, {current} of exactly this tree",
            records.len()
        ),
    }
}

/// Puts new results in the place of those of the same names.
pub fn keep(ctx: &Context, new: Vec<Record>) -> Result<()> {
    let merged = merge(load(&ctx.repo), new);
    stamp::write(&path(&ctx.repo), &merged)
}

fn merge(mut known: Vec<Record>, new: Vec<Record>) -> Vec<Record> {
    known.retain(|record| new.iter().all(|fresh| fresh.name != record.name));
    known.extend(new);
    known.sort_by(|a, b| a.name.cmp(&b.name));
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, inputs: &str, ok: bool) -> Record {
        let entry = Entry {
            ok,
            ..Entry::new(name).pass(7.0, "objects", "detail")
        };
        let of = Subject {
            date: "2026-01-02T03:04:05Z".into(),
            inputs: inputs.into(),
            ..Subject::default()
        };
        Record::new(&entry, &of)
    }

    #[test]
    fn a_run_replaces_only_its_own_cells() {
        let known = vec![record("b", "1", true), record("c", "1", true)];
        let merged = merge(known, vec![record("a", "2", true), record("c", "2", false)]);
        let seen: Vec<_> = merged.iter().map(|r| (&*r.name, &*r.of.inputs)).collect();
        assert_eq!(seen, [("a", "2"), ("b", "1"), ("c", "2")]);
    }

    #[test]
    fn a_kept_result_tells_its_day_and_reads_back() {
        let record = record("a", "1", true);
        assert_eq!(record.entry().detail, "detail [kept, of 2026-01-02]");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(text.contains("\"inputs\":\"1\""), "{text}");
    }

    #[test]
    fn only_good_results_for_the_same_inputs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("scripts/series")).unwrap();
        let ctx = Context::in_dir(dir.path());
        keep(&ctx, vec![record("a", "1", true), record("b", "1", false)]).unwrap();
        let kept = |name: &str, inputs| kept(&ctx, &[name.to_owned()], inputs);
        assert!(kept("a", "1").is_some());
        assert!(kept("a", "2").is_none());
        assert!(kept("b", "1").is_none());
        assert!(kept("c", "1").is_none());
    }

    #[test]
    fn what_is_kept_is_told_with_its_day() {
        let of = |date: &str, tree: &str| Subject {
            date: date.into(),
            tree: tree.into(),
            ..Subject::default()
        };
        let good = Entry::new("a").pass(1.0, "objects", "");
        let records = [
            Record::new(&good, &of("2026-01-02T00:00:00Z", "old")),
            Record::new(
                &Entry::new("b").fail("x"),
                &of("2026-01-03T00:00:00Z", "new"),
            ),
        ];
        assert_eq!(
            describe(&records, "new"),
            "2 results are kept, the last of 2026-01-03: 1 good, 1 of exactly this tree"
        );
        assert_eq!(describe(&[], "new"), "no result of it is kept");
    }
}
