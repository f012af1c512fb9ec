// SPDX-License-Identifier: MIT OR Apache-2.0

use std::time::Duration;

use super::*;
use crate::scenario::{self, Platform};

fn transcript(lines: &[&str]) -> Transcript {
    Transcript {
        lines: lines.iter().map(|line| line.to_string()).collect(),
        doing: Some("bind".into()),
        done: true,
        took: Duration::from_secs(1),
        ..Transcript::empty("x.log".as_ref())
    }
}

fn outcome(name: &str, value: f64, ok: bool) -> Outcome {
    Outcome {
        name: name.into(),
        value,
        unit: "x".into(),
        ok,
        detail: "detail".into(),
    }
}

fn entry<'a>(entries: &'a [Entry], name: &str) -> &'a Entry {
    entries
        .iter()
        .find(|entry| entry.name == name)
        .unwrap_or_else(|| panic!("no {name} in {entries:?}"))
}

#[test]
fn what_is_missing_fails_and_what_is_skipped_does_not() {
    let mut said = transcript(&["Linux"]);
    said.outcomes = vec![outcome("suspend.kernel-log", 0.0, true)];
    said.done = false;
    let entries = judge(&scenario::suspend(Platform::Qemu), &said);
    assert!(!entry(&entries, "rng.qemu.suspend").ok);
    assert!(entry(&entries, "rng.qemu.suspend.kernel-log").ok);
    assert!(!entry(&entries, "rng.qemu.suspend.console").ok);
    said.skipped.insert("suspend".into(), "no file".into());
    said.done = true;
    let entries = judge(&scenario::suspend(Platform::Qemu), &said);
    let skipped = entry(&entries, "rng.qemu.suspend");
    assert_eq!(skipped.skipped.as_deref(), Some("no file"));
    assert!(entries.iter().all(|entry| entry.ok));
}

#[test]
fn bars_are_applied() {
    let boot = scenario::throughput(Platform::Uml, 5, 10.0);
    for (value, ok) in [(10.0, true), (9.99, false)] {
        let mut said = transcript(&[]);
        said.outcomes = vec![outcome("ratio", value, true)];
        let entries = judge(&boot, &said);
        let ratio = entry(&entries, "rng.uml.ratio");
        assert_eq!((ratio.ok, ratio.value), (ok, value));
        assert_eq!(ratio.bar.as_deref(), Some(">= 10"));
    }
}

#[test]
fn a_suite_that_skipped_all_tests_is_no_pass() {
    let said = transcript(&[
        "KTAP version 1",
        "1..1",
        "    KTAP version 1",
        "    # Subtest: gone",
        "    1..1",
        "    ok 1 only # SKIP no device",
        "ok 1 gone # SKIP",
    ]);
    let entries = judge(&scenario::kunit(Platform::Uml), &said);
    let gone = entry(&entries, "kunit.uml.gone");
    assert!(gone.ok && gone.skipped.is_some(), "{gone:?}");
}

#[test]
fn an_unexpected_failure_counts() {
    let mut said = transcript(&[]);
    said.outcomes = vec![outcome("scenario", 0.0, false)];
    let entries = judge(&scenario::smoke(Platform::Qemu), &said);
    assert!(!entry(&entries, "rng.qemu.scenario").ok);
}

#[test]
fn a_splat_fails_whatever_was_reported() {
    let said = transcript(&[
        "Linux",
        "BUG: KASAN: slab-out-of-bounds in f+0x1/0x2",
        "trace",
    ]);
    let entries = judge(&scenario::smoke(Platform::UmlDebug), &said);
    let console = entry(&entries, "rng.uml-debug.smoke.console");
    assert!(!console.ok);
    assert_eq!(console.excerpt.len(), 2);
}

#[test]
fn an_accepted_splat_is_told_with_its_reason() {
    let said = transcript(&["WARNING: arch/um/drivers/virtio_uml.c:1 at vu_del_vqs+0x1/0x2"]);
    let entries = judge(&scenario::backend_dies(Platform::Uml), &said);
    let console = entry(&entries, "rng.uml.backend-dies.console");
    assert!(console.ok);
    assert!(
        console.detail.contains("virtio_uml itself"),
        "{}",
        console.detail
    );
}

#[test]
fn each_way_to_end_badly_is_told() {
    let limit = Duration::from_secs(20);
    let mut said = transcript(&[]);
    said.end = End::Silent(limit);
    assert!(how_it_ended(&said)
        .unwrap()
        .contains("printed nothing within"));
    said.lines.push("Linux".into());
    assert!(how_it_ended(&said).unwrap().contains("hung during bind"));
    said.end = End::Endless(limit);
    assert!(how_it_ended(&said)
        .unwrap()
        .contains("still said something during bind"));
    said.end = End::NoPowerOff(limit);
    assert!(how_it_ended(&said).unwrap().contains("did not power off"));
    said.end = End::PoweredOff;
    said.torn = 1;
    assert!(how_it_ended(&said).unwrap().contains("could not be read"));
    said.done = false;
    assert!(how_it_ended(&said).unwrap().contains("ended early"));
}
