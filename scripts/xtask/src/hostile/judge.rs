// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run comes to: from what the guest met, and from what its console shows.

use hostile::case::Outcome;
use protocol::hostile::{Met, Part};
use protocol::splat::{self, Splat};

use crate::guest::{End, Transcript};

/// The verdict on one run.
#[derive(Debug)]
pub struct Verdict {
    pub outcome: Outcome,
    pub detail: String,
    pub excerpt: Vec<String>,
}

impl Verdict {
    /// The device found the marker where it was to write.
    pub fn shown_to_device(&mut self) {
        if self.outcome < Outcome::Leak {
            self.outcome = Outcome::Leak;
            self.detail = "the device saw what the memory of readers had held before".into();
        }
    }
}

/// Words of a kernel that cannot go on.
const DEADLY: &[&str] = &[
    "Kernel panic",
    "Kernel mode fault",
    "Oops",
    "kernel BUG at",
    "unable to handle",
    "general protection",
];

/// All that was seen, the worst first; at least one.
pub fn judge(transcript: &Transcript, transport_complains: &[String]) -> Verdict {
    let mut seen = Vec::new();
    let splats = splat::find(&transcript.lines, &[]);
    let counts = |splat: &&Splat| !is_of_transport(splat, transport_complains);
    let splats: Vec<_> = splats.iter().filter(counts).collect();
    if let Some(deadly) = splats.iter().find(|splat| is_deadly(splat)) {
        seen.push((Outcome::Crash, first_line(deadly)));
    } else if let Some(first) = splats.first() {
        seen.push((Outcome::Splat, first_line(first)));
    }
    let ended_early = transcript.end == End::PoweredOff && !transcript.done;
    if ended_early && !seen.iter().any(|(outcome, _)| *outcome == Outcome::Crash) {
        let last = transcript.lines.last().cloned().unwrap_or_default();
        seen.push((Outcome::Crash, format!("the guest ended early: {last}")));
    }
    let part = transcript.doing.as_deref().unwrap_or("boot");
    let hang = match transcript.end {
        End::Silent(limit) => Some(format!(
            "the guest said nothing more for {limit:?} in part {part}"
        )),
        End::Endless(limit) => Some(format!(
            "the guest was not done after {limit:?}, in part {part}"
        )),
        _ => None,
    };
    seen.extend(hang.map(|detail| (Outcome::Hang, detail)));
    let is_stuck = transcript.met.iter().any(|met| met.stuck.is_some());
    if matches!(transcript.end, End::NoPowerOff(_)) && !is_stuck {
        seen.push((Outcome::Hang, "the guest did not power off".into()));
    }
    seen.extend(transcript.met.iter().flat_map(of_part));
    let worst = seen.into_iter().max_by_key(|(outcome, _)| *outcome);
    let (outcome, detail) = worst.unwrap_or_else(|| (Outcome::Clean, summary(&transcript.met)));
    let excerpt = splats.first().map(|splat| splat.excerpt.clone());
    Verdict {
        outcome,
        detail,
        excerpt: excerpt.unwrap_or_default(),
    }
}

/// Why what the guest told is not all that it should have told, if so: then its
/// silence means nothing.
pub fn hole(transcript: &Transcript, parts: &[Part]) -> Option<String> {
    if let Some(bad) = transcript.outcomes.iter().find(|outcome| !outcome.ok) {
        return Some(format!("the guest gave up: {}", bad.detail));
    }
    if transcript.torn > 0 {
        return Some(format!("{} lines could not be read", transcript.torn));
    }
    let met = &transcript.met;
    if !transcript.done || met.iter().any(|met| met.stuck.is_some()) {
        // That has been judged.
        return None;
    }
    let is_told = |part: Part| met.iter().any(|met| met.part == part);
    let bound = met
        .iter()
        .any(|met| met.part == Part::Bind && met.failed == 0);
    let needs = |part: &&Part| bound || !matches!(part, Part::Work | Part::Unbind);
    let missing = parts.iter().filter(needs).find(|part| !is_told(**part))?;
    Some(format!("the guest told nothing of part {missing:?}"))
}

fn is_of_transport(splat: &Splat, complains: &[String]) -> bool {
    let first = splat.excerpt.first().map_or("", String::as_str);
    complains.iter().any(|text| first.contains(text.as_str()))
}

fn is_deadly(splat: &Splat) -> bool {
    let deadly = |line: &String| DEADLY.iter().any(|word| line.contains(word));
    splat.excerpt.first().is_some_and(deadly)
}

fn first_line(splat: &Splat) -> String {
    let line = splat.excerpt.first().map_or("", String::as_str);
    format!("{}: {}", splat.meaning, line.trim())
}

fn of_part(met: &Met) -> Vec<(Outcome, String)> {
    let mut seen = Vec::new();
    if let Some(stuck) = &met.stuck {
        seen.push((Outcome::Hang, stuck.clone()));
    }
    if met.blank > 0 {
        let detail = format!("{} words that the device did not send", met.blank);
        seen.push((Outcome::Corrupt, detail));
    }
    if met.stale > 0 {
        let detail = format!("{} words of stale memory reached the reader", met.stale);
        seen.push((Outcome::Leak, detail));
    }
    if met.failed > 0 {
        let error = met.error.clone().unwrap_or_default();
        let outcome = match met.part {
            Part::Bind => Outcome::ProbeError,
            Part::Work if met.good_after_error == 0 => Outcome::Broken,
            Part::Work => Outcome::RequestError,
            Part::Again => Outcome::Lost,
            Part::Unbind | Part::Unload => Outcome::Hang,
        };
        let detail = match met.part {
            Part::Work => format!(
                "{} of {} failed: {error}",
                met.failed,
                met.failed + met.good
            ),
            _ => error,
        };
        seen.push((outcome, detail));
    }
    seen
}

fn summary(met: &[Met]) -> String {
    let work = met.iter().find(|met| met.part == Part::Work);
    match work {
        Some(Met { good, .. }) => format!("{good} operations"),
        None => "not bound".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(part: Part) -> Met {
        Met {
            good: 5,
            ..Met::new(part)
        }
    }

    fn transcript(met: Vec<Met>, lines: &[&str]) -> Transcript {
        Transcript {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            met,
            done: true,
            ..Transcript::empty("log".as_ref())
        }
    }

    fn outcome(met: Vec<Met>, lines: &[&str]) -> Outcome {
        judge(&transcript(met, lines), &["virtio_uml.c".into()]).outcome
    }

    #[test]
    fn errors_are_told_apart() {
        let failed = |part, good_after_error| Met {
            failed: 1,
            good_after_error,
            error: Some("I/O error".into()),
            ..met(part)
        };
        assert_eq!(outcome(vec![met(Part::Work)], &[]), Outcome::Clean);
        assert_eq!(
            outcome(vec![failed(Part::Bind, 0)], &[]),
            Outcome::ProbeError
        );
        assert_eq!(outcome(vec![failed(Part::Work, 0)], &[]), Outcome::Broken);
        assert_eq!(
            outcome(vec![failed(Part::Work, 3)], &[]),
            Outcome::RequestError
        );
        let lost = vec![failed(Part::Work, 3), failed(Part::Again, 0)];
        assert_eq!(outcome(lost, &[]), Outcome::Lost);
        let stale = Met {
            stale: 1,
            ..met(Part::Work)
        };
        assert_eq!(outcome(vec![stale], &[]), Outcome::Leak);
        let stuck = Met {
            stuck: Some("x".into()),
            ..met(Part::Unbind)
        };
        assert_eq!(outcome(vec![stuck], &[]), Outcome::Hang);
    }

    #[test]
    fn silence_is_a_hole() {
        const ALL: &[Part] = &[Part::Bind, Part::Work, Part::Unload];
        let all = || ALL.iter().map(|part| met(*part)).collect::<Vec<_>>();
        assert_eq!(hole(&transcript(all(), &[]), ALL), None);
        assert!(hole(&transcript(vec![], &[]), ALL).is_some());
        let mut without_work = all();
        without_work.remove(1);
        assert!(hole(&transcript(without_work.clone(), &[]), ALL).is_some());
        without_work[0].failed = 1;
        assert_eq!(hole(&transcript(without_work, &[]), ALL), None);
        let torn = Transcript {
            torn: 1,
            ..transcript(all(), &[])
        };
        assert!(hole(&torn, ALL).is_some());
    }

    #[test]
    fn wrong_data_is_seen() {
        let wrong = Met {
            blank: 1,
            ..met(Part::Work)
        };
        assert_eq!(outcome(vec![wrong], &[]), Outcome::Corrupt);
    }

    #[test]
    fn complaints_are_worse_than_errors() {
        let warning = "WARNING: drivers/block/virtio_blk.c:1 at x";
        assert_eq!(outcome(vec![], &[warning]), Outcome::Splat);
        let panic = "Kernel panic - not syncing: x";
        assert_eq!(outcome(vec![], &[panic]), Outcome::Crash);
        let transport = "WARNING: arch/um/drivers/virtio_uml.c:1 at x";
        assert_eq!(outcome(vec![], &[transport]), Outcome::Clean);
    }

    #[test]
    fn a_guest_that_ends_early_or_never_is_bad() {
        let early = Transcript {
            done: false,
            ..transcript(vec![], &["x"])
        };
        assert_eq!(judge(&early, &[]).outcome, Outcome::Crash);
        let never = Transcript {
            end: End::Silent(std::time::Duration::from_secs(1)),
            ..transcript(vec![], &[])
        };
        assert_eq!(judge(&never, &[]).outcome, Outcome::Hang);
    }
}
