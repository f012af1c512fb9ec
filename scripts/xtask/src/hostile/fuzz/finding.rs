// SPDX-License-Identifier: MIT OR Apache-2.0

//! A finding: repeated, reduced to the lies that it takes, and kept as a case.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hostile::case::{self, Case};
use hostile::lie::{Lie, Rule};
use hostile::teller::Told;

use super::minimise::minimise;
use super::{boot, Seen, Slice};
use crate::guest::Lab;
use crate::stamp;
use crate::ui::Stage;

/// How many guests are booted to find out which lies it takes.
const TRIES: usize = 20;

/// Keeps what a slice found as it was found, at once: all its lies, and its log.
pub fn keep(lab: &Lab, slice: &Slice, seen: &Seen) -> Result<()> {
    let case = case_of(slice, seen, rules_of(&seen.told));
    write(&path(lab, &slice.name(), "toml"), &case)?;
    let log = path(lab, &slice.name(), "log");
    fs::copy(&seen.log, &log).with_context(|| log.display().to_string())?;
    Ok(())
}

fn path(lab: &Lab, name: &str, extension: &str) -> PathBuf {
    lab.ctx.out.join("fuzz").join(format!("{name}.{extension}"))
}

/// Looks for the lies that it takes; returns what there is to say about it.
pub fn pursue(lab: &Lab, slice: &Slice, seen: &Seen, stage: &Stage) -> Result<String> {
    // As long as it took, and a bit.
    let slice = &Slice {
        seconds: (seen.took.as_secs() + 2).min(slice.seconds),
        ..slice.clone()
    };
    let name = slice.name();
    let found = path(lab, &name, "toml");
    let trial = path(lab, &format!("{name}-trial"), "toml");
    let mut tries = 0;
    let mut is_bad = |rules: &[Rule]| {
        tries += 1;
        stage.message(&format!("{name}: try {tries}, {} lies", rules.len()));
        write(&trial, &case_of(slice, seen, rules.to_vec()))?;
        Ok::<_, anyhow::Error>(boot(lab, slice, Some(&trial))?.is_bad())
    };
    let rules = rules_of(&seen.told);
    let what = format!("{}: {}", seen.verdict.outcome.name(), seen.verdict.detail);
    if rules.is_empty() || !is_bad(&rules)? {
        let _ = fs::remove_file(&trial);
        return Ok(format!(
            "{what}; its lies alone do not bring it back; they and the log are in {}, the seed is {}",
            found.display(),
            slice.seed
        ));
    }
    let least = minimise(rules, TRIES, is_bad)?;
    let count = least.len();
    write(&found, &case_of(slice, seen, least))?;
    let _ = fs::remove_file(&trial);
    Ok(format!(
        "{what}; {count} lies do it: make hostile CASE={} DRIVER={}",
        found.display(),
        slice.driver.name()
    ))
}

fn case_of(slice: &Slice, seen: &Seen, rules: Vec<Rule>) -> Case {
    Case {
        lie: format!(
            "found by the fuzzer, seed {}: {}",
            slice.seed, seen.verdict.detail
        ),
        rules,
        ..slice.case()
    }
}

fn write(path: &PathBuf, case: &Case) -> Result<()> {
    stamp::write_atomically(Path::new(path), case::write(case)?.as_bytes(), 0o644)
}

/// The rules that tell the same again: each as often as it was told, but for fields of
/// the configuration space, which are one rule with all their values.
fn rules_of(told: &[Told]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for told in told {
        let same = rules.iter_mut().find(|rule| {
            rule.instance == told.rule.instance
                && matches!((&rule.lie, &told.rule.lie), (Lie::Config(a), Lie::Config(b))
                    if (a.offset, a.size) == (b.offset, b.size))
        });
        match (same, &told.rule.lie) {
            (
                Some(Rule {
                    lie: Lie::Config(field),
                    ..
                }),
                Lie::Config(more),
            ) => field.values.extend(&more.values),
            _ => rules.push(told.rule.clone()),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        Told {
            rule: serde_json::from_str(text).unwrap(),
            seconds: 0.0,
            served: 0,
        }
    }

    #[test]
    fn reads_of_a_field_are_one_rule() {
        let field = |value: u8| {
            told(&format!(
                r#"{{"lie":{{"config":{{"offset":20,"size":4,"values":[{value}]}}}}}}"#
            ))
        };
        let all = [field(1), told(r#"{"lie":"hold","nth":3}"#), field(2)];
        let rules = rules_of(&all);
        assert_eq!(rules.len(), 2);
        match &rules[0].lie {
            Lie::Config(field) => assert_eq!(field.values, [1, 2]),
            other => panic!("{other:?}"),
        }
    }
}
