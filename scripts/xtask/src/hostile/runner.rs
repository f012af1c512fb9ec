// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs, as many at once as there are processors and one more: a guest whose driver
//! hangs needs none.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use hostile::case::{Layout, Outcome, Transport};
use hostile::teller;
use protocol::hostile::Part;

use super::row::{Driver, Row, Run};
use super::{judge, module, pool, shown};
use crate::guest::accel::Accel;
use crate::guest::{self, liar, Lab};
use crate::process_group::check_interrupt;
use crate::scenario::{self, Boot, Liar, Lies, Platform};

/// How long a guest may say nothing: the longest that is good waits for the time-outs
/// of a few requests, one after the other.
const UML_SECONDS: u64 = 60;
const QEMU_SECONDS: u64 = 180;

/// What a guest has to tell of.
const PARTS: &[Part] = &[
    Part::Bind,
    Part::Work,
    Part::Unbind,
    Part::Again,
    Part::Unload,
];

/// Runs all; returns what came of them in the same order.
pub fn run(lab: &mut Lab, runs: Vec<Run>, file: Option<PathBuf>) -> Result<Vec<Row>> {
    all(lab, &runs, &file, |row| row.is_good())
}

/// The same where it is good that something goes wrong.
pub fn run_expecting_bad(lab: &mut Lab, runs: Vec<Run>) -> Result<Vec<Row>> {
    all(lab, &runs, &None, |row| row.void.is_none())
}

fn all(
    lab: &mut Lab,
    runs: &[Run],
    file: &Option<PathBuf>,
    is_good: impl Fn(&Row) -> bool + Sync,
) -> Result<Vec<Row>> {
    let accel = match runs.iter().any(|run| run.transport == Transport::Qemu) {
        true => lab.accel()?,
        false => Accel::None,
    };
    let lab = &*lab;
    let stage = lab.ctx.ui.stage("hostile");
    stage.set_total(Some(runs.len() as u64));
    let rows = Mutex::new(Vec::new());
    pool::each(runs.len(), lab.ctx.jobs, |number| {
        let run = &runs[number];
        // One that fails costs its own row only, unless nobody wants the others.
        let row = one(lab, run, file, &accel).unwrap_or_else(|error| failed(run, &error));
        check_interrupt()?;
        if !is_good(&row) {
            let entry = row.entry();
            stage.line(&format!("{}: {}, {}", entry.name, entry.unit, entry.detail));
        }
        let mut rows = rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        rows.push((number, row));
        stage.message(&run.name());
        stage.set_pos(rows.len() as u64);
        Ok(())
    })?;
    let mut rows = rows
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    rows.sort_by_key(|(number, _)| *number);
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    let good = rows.iter().filter(|row| is_good(row)).count();
    stage.finish(&format!("{good} of {} runs as they should be", rows.len()));
    Ok(rows)
}

/// The row of a run of which nothing came.
fn failed(run: &Run, error: &anyhow::Error) -> Row {
    Row {
        run: run.clone(),
        outcome: None,
        detail: String::new(),
        void: Some(format!("{error:#}")),
        unsaid: None,
        told: 0,
        log: String::new(),
        took: Duration::ZERO,
        excerpt: Vec::new(),
    }
}

fn one(lab: &Lab, run: &Run, file: &Option<PathBuf>, accel: &Accel) -> Result<Row> {
    let boot = boot(run, file);
    let accel = match run.transport {
        Transport::Uml => &Accel::None,
        Transport::Qemu => accel,
    };
    let dir = guest::temporary()?;
    let transcript = lab.watch_quietly(&boot, accel, dir.path())?;
    let told = teller::read_log(&liar::log(dir.path(), 0))?;
    let untold = run.case.untold(&told);
    let mut verdict = judge::judge(&transcript, &run.case.transport_complains);
    if run.case.was_shown(&told) {
        verdict.shown_to_device();
    }
    let hole = judge::hole(&transcript, PARTS);
    let void = if hole.is_some() {
        hole
    } else if run.case.is_honest() && verdict.outcome != Outcome::Clean {
        Some(format!("the honest run is not clean: {}", verdict.detail))
    } else {
        // Who hangs in one lie does not get to the next.
        let hangs = verdict.outcome >= Outcome::Hang && !told.is_empty();
        untold.filter(|_| !hangs).map(|lie| {
            let (seen, detail) = (verdict.outcome.name(), &verdict.detail);
            format!("{lie} was never told; the guest: {seen}, {detail}")
        })
    };
    Ok(Row {
        run: run.clone(),
        outcome: Some(verdict.outcome),
        detail: verdict.detail,
        void,
        unsaid: unsaid(run, &transcript.lines),
        told: told.len(),
        log: shown(lab.ctx, &transcript.log),
        took: transcript.took,
        excerpt: verdict.excerpt,
    })
}

/// What the log of our driver lacks.
fn unsaid(run: &Run, lines: &[String]) -> Option<String> {
    let says = run.case.says.as_ref()?;
    let is_said = lines.iter().any(|line| line.contains(says.as_str()));
    (run.driver == Driver::Rust && !is_said).then(|| says.clone())
}

pub fn boot(run: &Run, file: &Option<PathBuf>) -> Boot {
    let case = &run.case;
    let (platform, seconds) = match run.transport {
        Transport::Uml => (Platform::UmlDebug, UML_SECONDS),
        Transport::Qemu => (Platform::Qemu, QEMU_SECONDS),
    };
    let lies = match case.is_honest() {
        true => Lies::None,
        false => Lies::Case {
            name: case.name.clone(),
            file: file.clone(),
        },
    };
    let packed = run.layout == Layout::Packed;
    let liar = Liar {
        device: case.device(),
        lies,
        packed,
        bounced: case.bounced,
    };
    let mut boot = scenario::hostile(platform, liar, seconds);
    boot.label = Some(run.log_name());
    boot.change.clone_from(&case.kernel);
    boot.params = vec![
        ("device", case.device().name().into()),
        ("driver", module(run)),
        ("workload", case.workload.name().into()),
        ("packed", u8::from(packed).to_string()),
    ];
    if let Some(chance) = case.chance {
        boot.params.push(("seed", chance.seed.to_string()));
        boot.params.push(("seconds", chance.seconds.to_string()));
        if !chance.checked {
            boot.platform = Platform::Uml;
        }
        boot.limit += Duration::from_secs(chance.seconds);
    }
    if let (Driver::Rust, Some(parameter)) = (run.driver, &case.parameter) {
        boot.params.push(("modparam", parameter.clone()));
    }
    boot
}
