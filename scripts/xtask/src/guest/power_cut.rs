// SPDX-License-Identifier: MIT OR Apache-2.0

//! The power is cut while a guest writes, again and again; each time the next
//! boot shows what is left. The disk has a cache, and forgets what is in there.

use std::time::Duration;

use anyhow::{anyhow, ensure, Result};
use protocol::disk::Random;
use protocol::splat;

use super::accel::Accel;
use super::console::{End, Transcript};
use super::{disk, judge, temporary, write_log, Lab};
use crate::report::Entry;
use crate::scenario::{self, Boot};
use crate::ui::Stage;

/// When to cut the power.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// As soon as something was stored so often,
    pub stored: u64,
    /// and then so much later.
    pub delay: Duration,
}

/// What one round found.
struct Round {
    stored: u64,
    replayed: write_log::Replayed,
}

pub fn run(lab: &Lab, boot: &Boot, accel: &Accel, stage: &Stage, rounds: u64) -> Result<Entry> {
    let entry = Entry::new(boot.full_name("power-cut"));
    let mut all = Vec::new();
    for round in 1..=rounds {
        stage.message(&format!("round {round} of {rounds}"));
        match one(lab, boot, accel, stage, round) {
            Ok(found) => all.push(found),
            Err(error) => {
                crate::process_group::check_interrupt()?;
                return Ok(entry.fail(format!("round {round}: {error:#}")));
            }
        }
    }
    let sum = |what: fn(&Round) -> u64| all.iter().map(what).sum::<u64>();
    let detail = format!(
        "{} files that were synced are there, e2fsck is content; {} writes, {} flushes, {} of {} \
         writes behind the last flush lost",
        sum(|round| round.stored),
        sum(|round| round.replayed.writes),
        sum(|round| round.replayed.flushes),
        sum(|round| round.replayed.lost),
        sum(|round| round.replayed.unsafe_writes)
    );
    Ok(entry
        .pass(rounds as f64, "power cuts", detail)
        .at_least(1.0))
}

fn one(lab: &Lab, boot: &Boot, accel: &Accel, stage: &Stage, seed: u64) -> Result<Round> {
    let dir = temporary()?;
    let mut random = Random::new(seed);
    let cut = Cut {
        stored: 1 + random.below(60),
        delay: Duration::from_micros(random.below(50_000)),
    };
    let load = Boot {
        cut: Some(cut),
        ..boot.clone()
    };
    let transcript = lab.watch(&load, accel, Some(stage), dir.path())?;
    was_cut(&transcript)?;
    let replayed = write_log::replay(
        &disk::log(dir.path(), 0),
        &disk::image(dir.path(), 0),
        boot.disks[0].kib << 10,
        seed,
    )?;
    ensure!(replayed.flushes > 0, "the disk was never asked to flush");
    let next = transcript.told_to(&scenario::what_is_left(boot));
    let after = lab.watch(&next, accel, Some(stage), dir.path())?;
    let bad = judge::judge(&next, &after)
        .into_iter()
        .find(|entry| !entry.ok);
    match bad {
        Some(entry) => Err(anyhow!("{}: {}", entry.name, entry.detail)),
        None => Ok(Round {
            stored: transcript.stored,
            replayed,
        }),
    }
}

/// Until then all must have been well.
fn was_cut(transcript: &Transcript) -> Result<()> {
    if let Some(failed) = transcript.outcomes.iter().find(|outcome| !outcome.ok) {
        return Err(anyhow!("{}: {}", failed.name, failed.detail));
    }
    if let Some(found) = splat::find(&transcript.lines, &[]).first() {
        return Err(anyhow!("{}: {}", found.meaning, found.excerpt.join(" | ")));
    }
    ensure!(
        transcript.end == End::PowerCut,
        "the guest ended before the power was cut: {:?}",
        transcript.end
    );
    Ok(())
}
