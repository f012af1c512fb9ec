// SPDX-License-Identifier: MIT OR Apache-2.0

//! The verdict on a guest: what it reported, what it should have reported, and
//! what its console shows that no console may.

use protocol::splat::{self, Splat};
use protocol::Outcome;

use super::console::{End, Transcript};
use super::ktap;
use crate::report::Entry;
use crate::scenario::{Boot, Limit};
use crate::ui;

pub fn judge(boot: &Boot, transcript: &Transcript) -> Vec<Entry> {
    let mut entries: Vec<_> = boot
        .checks
        .iter()
        .map(|check| expected(boot, transcript, check))
        .collect();
    // What nobody expected can only be bad news.
    let known = |outcome: &&Outcome| !boot.checks.iter().any(|check| *check == outcome.name);
    let unexpected = transcript.outcomes.iter().filter(known);
    entries.extend(unexpected.map(|outcome| reported(boot, outcome)));
    if boot.kunit {
        entries.extend(kunit(boot, transcript));
    }
    entries.push(console(boot, transcript));
    entries
}

fn expected(boot: &Boot, transcript: &Transcript, check: &str) -> Entry {
    let found = transcript
        .outcomes
        .iter()
        .find(|outcome| outcome.name == check);
    if let Some(outcome) = found {
        return reported(boot, outcome);
    }
    let entry = Entry::new(boot.full_name(check));
    match transcript.skipped.get(check) {
        Some(reason) => entry.skip(reason),
        None => entry.fail(match &transcript.doing {
            Some(doing) => format!("not reported: the guest ended during {doing}"),
            None => "not reported: the guest never began".into(),
        }),
    }
}

fn reported(boot: &Boot, outcome: &Outcome) -> Entry {
    let entry = Entry::new(boot.full_name(&outcome.name));
    if !outcome.ok {
        return entry.fail(&outcome.detail);
    }
    let entry = entry.pass(outcome.value, &outcome.unit, &outcome.detail);
    match boot.bars.iter().find(|bar| bar.check == outcome.name) {
        Some(bar) => match bar.limit {
            Limit::AtLeast(limit) => entry.at_least(limit),
            Limit::AtMost(limit) => entry.at_most(limit),
        },
        None => entry,
    }
}

fn kunit(boot: &Boot, transcript: &Transcript) -> Vec<Entry> {
    let totals = ktap::parse(&transcript.lines);
    let mut entries: Vec<_> = totals
        .suites
        .iter()
        .map(|suite| {
            let entry = Entry::new(boot.full_name(&suite.name));
            match suite.is_good() {
                true if suite.passed.is_empty() => entry.skip("all of its tests were skipped"),
                true => {
                    let origin = suite.module.as_deref().unwrap_or("built in");
                    let detail = format!("{} skipped; {origin}", suite.skipped);
                    let count = suite.passed.len() as f64;
                    entry
                        .pass(count, "tests", detail)
                        .excerpt(suite.passed.clone())
                }
                false => entry.fail(format!("failed: {}", suite.failed.join(", "))),
            }
        })
        .collect();
    let total = Entry::new(boot.full_name("total"));
    let counts = format!(
        "{} suites, {} passed, {} failed, {} skipped; {}",
        totals.suites.len(),
        totals.passed(),
        totals.failed(),
        totals.skipped(),
        totals.origins()
    );
    entries.push(match totals.problem() {
        Some(problem) => total.fail(format!("{problem} ({counts})")),
        None if totals.failed() > 0 => total.fail(counts),
        None => total.pass(totals.passed() as f64, "tests", counts),
    });
    if transcript.end == End::PoweredOff {
        let seconds = transcript.took.as_secs_f64();
        let detail = "from power on to power off";
        entries.push(Entry::new(boot.full_name("seconds")).pass(seconds, "s", detail));
    }
    entries
}

/// The guest came to its end in good order, and the kernel never complained.
fn console(boot: &Boot, transcript: &Transcript) -> Entry {
    let entry = Entry::new(boot.full_name(&boot.console_check()));
    let splats = splat::find(&transcript.lines, splat::accepted(boot.scenario));
    let (accepted, bad): (Vec<_>, Vec<_>) =
        splats.iter().partition(|splat| splat.accepted.is_some());
    let problem = how_it_ended(transcript);
    if let Some(first) = bad.first() {
        let also = problem.map(|text| format!("; {text}")).unwrap_or_default();
        return entry
            .fail(format!("{}{also}", describe(&bad, first)))
            .excerpt(first.excerpt.clone());
    }
    if let Some(problem) = problem {
        return entry.fail(problem).excerpt(last_lines(transcript));
    }
    let mut detail = format!("{} lines", transcript.lines.len());
    if let Some(reason) = accepted.first().and_then(|splat| splat.accepted) {
        detail += &format!("; {} splats accepted: {reason}", accepted.len());
    }
    entry.pass(0.0, "splats", detail)
}

fn describe(bad: &[&Splat], first: &Splat) -> String {
    let line = first.excerpt.first().map_or("", String::as_str);
    format!("{} splats, the first: {}: {line}", bad.len(), first.meaning)
}

fn how_it_ended(transcript: &Transcript) -> Option<String> {
    let during = match &transcript.doing {
        Some(doing) => format!("during {doing}"),
        None => "before it reported anything".into(),
    };
    match (&transcript.end, transcript.done) {
        (End::Silent(limit), _) if transcript.lines.is_empty() => Some(format!(
            "the guest printed nothing within its time limit of {}",
            ui::duration(*limit)
        )),
        (End::Silent(limit), _) => Some(format!(
            "the guest said nothing for its time limit of {}: it hung {during}",
            ui::duration(*limit)
        )),
        (End::Endless(limit), _) => Some(format!(
            "the guest did not end within {}, and still said something {during}",
            ui::duration(*limit)
        )),
        (End::NoPowerOff(limit), _) => Some(format!(
            "the guest did not power off within {} of its last word",
            ui::duration(*limit)
        )),
        (End::PowerCut, _) => Some("the power was cut".into()),
        (End::PoweredOff, false) => Some(format!("the guest ended early, {during}")),
        (End::PoweredOff, true) if transcript.torn > 0 => Some(format!(
            "{} lines of the guest could not be read",
            transcript.torn
        )),
        (End::PoweredOff, true) => None,
    }
}

fn last_lines(transcript: &Transcript) -> Vec<String> {
    let skip = transcript.lines.len().saturating_sub(10);
    transcript.lines[skip..].to_vec()
}

#[cfg(test)]
mod tests;
