// SPDX-License-Identifier: MIT OR Apache-2.0

//! A finding: repeated, reduced to the lies that it takes, and kept as a case.

use std::path::{Path, PathBuf};

use anyhow::Result;
use hostile::case::{self, Case};
use hostile::lie::{Lie, Rule};
use hostile::teller::Told;

use super::minimise::minimise;
use super::{boot, tell, Seen, Slice};
use crate::guest::Lab;
use crate::stamp;
use crate::ui::Stage;

/// How many guests are booted to find out which lies it takes.
const TRIES: usize = 20;

/// Repeats what a slice found; returns what there is to say about it.
pub fn pursue(lab: &Lab, slice: &Slice, stage: &Stage) -> Result<String> {
    tell(stage, slice, "once more");
    let seen = boot(lab, slice, None)?;
    let dir = lab.ctx.out.join("fuzz");
    let name = slice.name();
    let path = dir.join(format!("{name}.toml"));
    if !seen.is_bad() {
        return Ok(format!(
            "{name} did not come again; its log is out/logs/fuzz-{name}.log, and the seed {} the \
             same lies",
            slice.seed
        ));
    }
    let rules = rules_of(&seen.told);
    let trial = dir.join(format!("{name}-trial.toml"));
    let mut tries = 0;
    let is_bad = |rules: &[Rule]| {
        tries += 1;
        tell(stage, slice, &format!("try {tries}, {} lies", rules.len()));
        write(&trial, &case_of(slice, &seen, rules.to_vec()))?;
        Ok(boot(lab, slice, Some(&trial))?.is_bad())
    };
    let least = minimise(last_first(rules), TRIES, is_bad)?;
    let count = least.len();
    write(&path, &case_of(slice, &seen, least))?;
    let _ = std::fs::remove_file(&trial);
    Ok(format!(
        "{}: {}; {count} lies do it: make hostile CASE={} DRIVER={}",
        seen.verdict.outcome.name(),
        seen.verdict.detail,
        path.display(),
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

/// What was told last is the most likely to matter: what is left out first comes
/// first.
fn last_first(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort_by_key(|rule| rule.instance);
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
