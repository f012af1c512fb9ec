// SPDX-License-Identifier: MIT OR Apache-2.0

//! A guest's console: each line goes to a log with the time when it came, and
//! those that are meant for us are understood.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use protocol::bench::Sample;
use protocol::hostile::Met;
use protocol::{Event, Outcome};

use super::disk::Claims;
use crate::scenario::Boot;

/// How a guest ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    PoweredOff,
    /// By us.
    PowerCut,
    /// It said nothing for so long.
    Silent(Duration),
    /// It went on saying something for so long.
    Endless(Duration),
    /// It said its last word, and did not end.
    NoPowerOff(Duration),
}

/// All that a guest said.
#[derive(Debug)]
pub struct Transcript {
    pub log: PathBuf,
    pub lines: Vec<String>,
    pub outcomes: Vec<Outcome>,
    /// Checks that did not run, and why.
    pub skipped: BTreeMap<String, String>,
    /// The check that began last.
    pub doing: Option<String>,
    /// What its disks must hold.
    pub claims: Claims,
    /// How often it stored something for good.
    pub stored: u64,
    /// What it met of a device that lies.
    pub met: Vec<Met>,
    /// What it measured.
    pub samples: Vec<Sample>,
    /// Whether it said that this is all.
    pub done: bool,
    /// Lines to us that could not be read.
    pub torn: usize,
    pub end: End,
    pub took: Duration,
}

impl Transcript {
    /// The boot that comes next, which is told what this one stored.
    pub fn told_to(&self, next: &Boot) -> Boot {
        let mut next = next.clone();
        next.params.push(("stored", self.stored.to_string()));
        next
    }

    /// Of a guest that has not said anything yet.
    pub fn empty(log: &Path) -> Self {
        Self {
            log: log.to_owned(),
            lines: Vec::new(),
            outcomes: Vec::new(),
            skipped: BTreeMap::new(),
            doing: None,
            claims: Claims::default(),
            stored: 0,
            met: Vec::new(),
            samples: Vec::new(),
            done: false,
            torn: 0,
            end: End::PoweredOff,
            took: Duration::ZERO,
        }
    }
}

pub struct Console {
    file: File,
    started: Instant,
    transcript: Transcript,
}

impl Console {
    /// Starts a log with `headline`.
    pub fn create(path: &Path, headline: &str) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        let mut file = File::create(path).with_context(|| path.display().to_string())?;
        writeln!(file, "$ {headline}").with_context(|| path.display().to_string())?;
        Ok(Self {
            file,
            started: Instant::now(),
            transcript: Transcript::empty(path),
        })
    }

    /// Takes in one line.
    pub fn line(&mut self, line: &str) -> Result<Option<Event>> {
        let line = line.trim_end();
        self.log(line)?;
        self.transcript.lines.push(line.to_owned());
        let event = match protocol::decode(line) {
            None => return Ok(None),
            Some(Ok(event)) => event,
            Some(Err(_)) => {
                self.transcript.torn += 1;
                return Ok(None);
            }
        };
        self.transcript.claims.hear(&event);
        match event.clone() {
            Event::Begin { name } => self.transcript.doing = Some(name),
            Event::Result(outcome) => self.transcript.outcomes.push(outcome),
            Event::Skip { name, reason } => {
                self.transcript.skipped.insert(name, reason);
            }
            Event::Done { .. } => self.transcript.done = true,
            Event::Stored { count } => self.transcript.stored = count,
            Event::Met(met) => self.transcript.met.push(met),
            Event::Sample(sample) => self.transcript.samples.push(sample),
            _ => (),
        }
        Ok(Some(event))
    }

    /// Whether something that it did hangs.
    pub fn is_stuck(&self) -> bool {
        self.transcript.met.iter().any(|met| met.stuck.is_some())
    }

    pub fn stored(&self) -> u64 {
        self.transcript.stored
    }

    /// Something that the host did, for the log only.
    pub fn remark(&mut self, text: &str) -> Result<()> {
        self.log(&format!("(host) {text}"))
    }

    pub fn close(mut self, end: End) -> Transcript {
        self.transcript.took = self.started.elapsed();
        self.transcript.end = end;
        self.transcript
    }

    fn log(&mut self, text: &str) -> Result<()> {
        let at = self.started.elapsed().as_secs_f64();
        writeln!(self.file, "[{at:10.4}] {text}")
            .with_context(|| self.transcript.log.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_logged_and_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/a.log");
        let mut console = Console::create(&path, "linux mem=1").unwrap();
        let begin = protocol::encode(&Event::Begin { name: "x".into() });
        assert!(console.line("Linux version 7.3\r").unwrap().is_none());
        assert!(console.line(&begin).unwrap().is_some());
        assert!(console.line("@@guest {\"type\":").unwrap().is_none());
        console.remark("hello").unwrap();
        let transcript = console.close(End::PoweredOff);
        assert_eq!(transcript.doing.as_deref(), Some("x"));
        assert_eq!(transcript.torn, 1);
        assert!(!transcript.done);
        let log = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0], "$ linux mem=1");
        assert!(lines[1].ends_with("] Linux version 7.3"), "{log}");
        assert!(lines[4].ends_with("(host) hello"), "{log}");
    }
}
