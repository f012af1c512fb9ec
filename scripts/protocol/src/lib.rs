// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the guest tells the host: one JSON object a line on the console.
//!
//! The guest writes its lines through `/dev/kmsg`, so the kernel orders them
//! among its own messages and never tears one. What is left to tolerate is a
//! prefix (a timestamp, the end of somebody's unfinished line) and a carriage
//! return.

pub mod bench;
pub mod disk;
pub mod hostile;
pub mod splat;
pub mod stats;

use serde::{Deserialize, Serialize};

/// What a line of ours carries in front of its JSON object.
pub const MARK: &str = "@@guest ";

/// The kernel refuses records above 1024 bytes, and prefixes count.
const LONGEST_LINE: usize = 900;

/// One thing that the guest has to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// A check starts; a boot that hangs is known by the last of these.
    Begin { name: String },
    /// A check has ended.
    Result(Outcome),
    /// A check cannot run here; that is neither a pass nor a failure.
    Skip { name: String, reason: String },
    /// A module is loaded next: the KUnit suites that run now are its own.
    Loading { module: String },
    /// For people who read the log.
    Note { text: String },
    /// The host is to act; the guest watches for the effect.
    Await { what: String },
    /// The host is to act and to answer on the console, see [`answer`].
    Ask(Ask),
    /// What a disk must hold in the end: what the host put there, and over it the
    /// first of the writes that follow from a seed.
    Holds { disk: usize, seed: u64, writes: u64 },
    /// So many times something was stored for good.
    Stored { count: u64 },
    /// What came of a part of a run with a device that lies.
    Met(hostile::Met),
    /// A figure of a benchmark.
    Sample(bench::Sample),
    /// The last word: the guest powers off.
    Done { passed: u32, failed: u32 },
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub name: String,
    pub value: f64,
    pub unit: String,
    pub ok: bool,
    pub detail: String,
}

/// What the host can do with disks, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    Resize {
        disk: usize,
        kib: u64,
    },
    Unplug {
        disk: usize,
    },
    /// Ends the process behind the first device, in the middle of whatever it does.
    KillBackend,
    /// As above, and starts another one in its place.
    RestartBackend,
    Plug {
        disk: usize,
    },
    /// How many flushes the device was asked for.
    Flushes {
        disk: usize,
    },
    /// How much room the image takes, in KiB.
    Allocated {
        disk: usize,
    },
    /// So many requests per second, and no more; 0: as many as there are.
    Throttle {
        disk: usize,
        iops: u64,
    },
    /// How often the marker is in the memory that the device has for requests
    /// which are on their way to its first queue.
    Markers {
        disk: usize,
    },
}

/// The host's answer to an [`Ask`], as a line: a number, or why there is none.
pub fn answer(answer: Result<u64, String>) -> String {
    match answer {
        Ok(number) => format!("@host {number}"),
        Err(why) => format!("@host cannot: {}", why.replace('\n', " ")),
    }
}

/// The other way round; `None` for a line that is no answer.
pub fn read_answer(line: &str) -> Option<Result<u64, String>> {
    let (_, said) = line.trim_end().split_once("@host ")?;
    Some(said.parse().map_err(|_| said.to_owned()))
}

/// The request to end the back end of the first device.
pub const KILL_BACKEND: &str = "kill-backend";

/// The line for `event`, shortened where it would not fit into one record.
pub fn encode(event: &Event) -> String {
    let mut event = event.clone();
    loop {
        let line = format!("{MARK}{}", json(&event));
        if line.len() <= LONGEST_LINE || !shorten(&mut event, line.len() - LONGEST_LINE) {
            return line;
        }
    }
}

fn json(event: &Event) -> String {
    serde_json::to_string(event).expect("strings and finite numbers always serialise")
}

/// Takes at least one character from the longest text, about `excess` bytes.
fn shorten(event: &mut Event, excess: usize) -> bool {
    let text = match event {
        Event::Result(outcome) => &mut outcome.detail,
        Event::Skip { reason, .. } => reason,
        Event::Note { text } => text,
        _ => return false,
    };
    let Some(last) = text.char_indices().next_back() else {
        return false;
    };
    let mut end = text.len().saturating_sub(excess.max(1)).min(last.0);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    true
}

/// The event that `line` carries, if it is one of ours.
///
/// # Errors
/// When the line bears our mark but does not parse: a bug, or a torn line.
pub fn decode(line: &str) -> Option<Result<Event, serde_json::Error>> {
    let start = line.find(MARK)? + MARK.len();
    // Whatever follows the object belongs to somebody else.
    let mut objects = serde_json::Deserializer::from_str(&line[start..]).into_iter();
    objects.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(detail: &str) -> Event {
        Event::Result(Outcome {
            name: "bind".into(),
            value: 1.5,
            unit: "ms".into(),
            ok: true,
            detail: detail.into(),
        })
    }

    #[test]
    fn every_event_survives_the_trip() {
        let events = [
            Event::Begin { name: "x".into() },
            result("said \"hello\"\nand left"),
            Event::Skip {
                name: "x".into(),
                reason: "no file".into(),
            },
            Event::Note { text: "µs".into() },
            Event::Await {
                what: KILL_BACKEND.into(),
            },
            Event::Ask(Ask::Resize { disk: 1, kib: 64 }),
            Event::Holds {
                disk: 0,
                seed: 1,
                writes: 9,
            },
            Event::Stored { count: 7 },
            Event::Done {
                passed: 3,
                failed: 0,
            },
        ];
        for event in events {
            let line = encode(&event);
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(decode(&line).unwrap().unwrap(), event);
        }
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(read_answer(&answer(Ok(5))), Some(Ok(5)));
        let why = read_answer("@host cannot: no\nway\n").unwrap();
        assert!(why.is_err());
        assert_eq!(read_answer("random line"), None);
    }

    #[test]
    fn prefix_suffix_and_carriage_return_are_tolerated() {
        let line = format!(
            "[    1.25] half a li{}[    1.26] more\r",
            encode(&result(""))
        );
        assert_eq!(decode(&line).unwrap().unwrap(), result(""));
    }

    #[test]
    fn other_lines_are_not_ours_and_torn_ones_are_errors() {
        assert!(decode("random: crng init done").is_none());
        assert!(decode("@@guest {\"type\":\"done\",\"pas").unwrap().is_err());
    }

    #[test]
    fn a_long_text_is_cut_to_one_record() {
        let line = encode(&Event::Note {
            text: "ä\"".repeat(2000),
        });
        assert!(line.len() <= LONGEST_LINE, "{}", line.len());
        assert!(matches!(decode(&line), Some(Ok(Event::Note { .. }))));
    }
}
