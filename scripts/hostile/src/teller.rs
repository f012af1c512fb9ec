// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who decides about lies, and writes down each that was told: a lie that was not
//! told proves nothing.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::fuzz::Fuzz;
use crate::lie::{Field, Lie, Now, Rule};

/// Where lies come from.
pub enum Plan {
    Rules(Vec<Rule>),
    Fuzz(Fuzz),
}

/// A lie that was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// As a rule that tells it again.
    pub rule: Rule,
    pub seconds: f64,
    /// How many buffers the device had served.
    pub served: u64,
}

pub struct Teller {
    plan: Plan,
    log: Option<File>,
    started: Instant,
    /// How often each field of the configuration space was lied about.
    reads: Vec<usize>,
}

impl Teller {
    pub fn new(plan: Plan, log: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| path.display().to_string())
        };
        Ok(Self {
            plan,
            log: log.map(open).transpose()?,
            started: Instant::now(),
            reads: Vec::new(),
        })
    }

    /// The lies for this moment.
    pub fn lies(&self, now: &Now) -> Vec<Lie> {
        match &self.plan {
            Plan::Rules(rules) => {
                let of_now = rules.iter().filter(|rule| rule.applies(now));
                let lies = of_now.map(|rule| rule.lie.clone());
                lies.filter(|lie| !matches!(lie, Lie::Config(_))).collect()
            }
            Plan::Fuzz(fuzz) => fuzz.lies(now),
        }
    }

    /// Lies about what is read of the configuration space up to `end`.
    pub fn configure(&mut self, instance: u32, space: &mut [u8], end: usize, served: u64) {
        let fields: Vec<Field> = match &self.plan {
            Plan::Rules(rules) => rules
                .iter()
                .filter(|rule| rule.to(instance))
                .filter_map(|rule| match &rule.lie {
                    Lie::Config(field) => Some(field.clone()),
                    _ => None,
                })
                .collect(),
            Plan::Fuzz(fuzz) => fuzz.fields(instance),
        };
        self.reads.resize(fields.len().max(self.reads.len()), 0);
        for (number, field) in fields.into_iter().enumerate() {
            let last = field.offset + field.size;
            let is_read = last <= end && last <= space.len() && served >= field.after;
            if !is_read || field.values.is_empty() {
                continue;
            }
            let value = field.values[self.reads[number] % field.values.len()];
            self.reads[number] += 1;
            let bytes = value.to_le_bytes();
            space[field.offset..last].copy_from_slice(&bytes[..field.size]);
            let told = Field {
                values: vec![value],
                ..field
            };
            self.tell(
                Rule {
                    lie: Lie::Config(told),
                    at: Default::default(),
                    instance,
                    always: false,
                    nth: None,
                    from: 0,
                    kind: None,
                    queue: None,
                },
                served,
            );
        }
    }

    /// Writes down that a lie was told.
    pub fn told(&mut self, lie: &Lie, now: &Now, served: u64) {
        let is_return = now.at == Default::default();
        self.tell(
            Rule {
                lie: lie.clone(),
                at: now.at,
                instance: now.instance,
                always: false,
                nth: is_return.then_some(now.of_all),
                from: 0,
                kind: None,
                queue: Some(now.queue),
            },
            served,
        );
    }

    fn tell(&mut self, rule: Rule, served: u64) {
        let Some(log) = &mut self.log else { return };
        let told = Told {
            rule,
            seconds: self.started.elapsed().as_secs_f64(),
            served,
        };
        let Ok(mut line) = serde_json::to_vec(&told) else {
            return;
        };
        line.push(b'\n');
        // One that cannot be written counts as not told, and is missed.
        let _ = log.write_all(&line);
    }
}

/// Reads what was told.
pub fn read_log(path: &Path) -> Result<Vec<Told>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    // The last line may be torn: the device is ended when the guest is.
    Ok(text
        .lines()
        .map_while(|line| serde_json::from_str(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lie::{Kind, Moment};

    #[test]
    fn fields_are_lied_about_by_turns_and_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let rule = toml::from_str("lie = { config = { offset = 2, size = 2, values = [1, -1] } }");
        let plan = Plan::Rules(vec![rule.unwrap()]);
        let mut teller = Teller::new(plan, Some(&log)).unwrap();
        let mut space = [9; 6];
        teller.configure(0, &mut space, 3, 0);
        assert_eq!(space, [9; 6], "that field was not read");
        teller.configure(0, &mut space, 6, 0);
        assert_eq!(space, [9, 9, 1, 0, 9, 9]);
        teller.configure(0, &mut space, 6, 0);
        assert_eq!(space, [9, 9, 255, 255, 9, 9]);
        teller.configure(1, &mut space, 6, 0);
        let told = read_log(&log).unwrap();
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn what_was_told_can_be_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut teller = Teller::new(Plan::Rules(Vec::new()), Some(&log)).unwrap();
        let now = Now {
            at: Moment::Return,
            instance: 2,
            queue: 0,
            kind: Kind::Read,
            of_kind: 1,
            of_all: 40,
        };
        teller.told(&Lie::Repeat(2), &now, 40);
        let told = read_log(&log).unwrap().remove(0);
        assert!(told.rule.applies(&now));
        assert!(!told.rule.applies(&Now { of_all: 41, ..now }));
    }
}
