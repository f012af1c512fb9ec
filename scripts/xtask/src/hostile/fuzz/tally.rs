// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was told, and what came of it, so far.

use std::collections::{BTreeMap, BTreeSet};

use hostile::teller::Told;

use super::{Seen, Slice};

#[derive(Default)]
pub struct Tally {
    pub lies: u64,
    pub guests: u64,
    pub rounds: u64,
    pub operations: u64,
    /// What went wrong where it may not.
    pub findings: Vec<(Slice, Seen)>,
    /// Which lies were told at once, of which layout.
    combinations: BTreeSet<(&'static str, String)>,
    by_kind: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, slice: &Slice, seen: Seen) {
        self.lies += seen.told.len() as u64;
        self.guests += 1;
        self.rounds += seen.rounds;
        self.operations += seen.operations;
        for together in seen.told.chunk_by(is_same_moment) {
            let kinds: BTreeSet<_> = together.iter().map(kind).collect();
            for kind in &kinds {
                *self.by_kind.entry(kind.clone()).or_default() += 1;
            }
            let kinds: Vec<_> = kinds.into_iter().collect();
            self.combinations
                .insert((slice.layout.name(), kinds.join("+")));
        }
        if seen.is_bad() {
            self.findings.push((slice.clone(), seen));
        }
    }

    pub fn states(&self) -> usize {
        self.combinations.len()
    }

    pub fn kinds(&self) -> String {
        let kinds = self.by_kind.iter();
        let kinds: Vec<_> = kinds
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        format!("combinations of {}", kinds.join(", "))
    }
}

fn is_same_moment(a: &Told, b: &Told) -> bool {
    let moment = |told: &Told| (told.rule.at, told.rule.instance, told.rule.nth);
    moment(a) == moment(b)
}

/// Such as `len` of `{"len":{"value":5}}`.
fn kind(told: &Told) -> String {
    let json = serde_json::to_value(&told.rule.lie).unwrap_or_default();
    match (json.as_str(), json.as_object()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(object)) => object.keys().next().cloned().unwrap_or_default(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use hostile::lie::{Lie, Rule};

    use super::*;

    fn told(lie: &str, nth: u64) -> Told {
        let rule: Rule = serde_json::from_str(&format!("{{\"lie\":{lie},\"nth\":{nth}}}")).unwrap();
        Told {
            rule,
            seconds: 0.0,
            served: 0,
        }
    }

    #[test]
    fn lies_are_known_by_their_names() {
        assert_eq!(kind(&told("\"hold\"", 1)), "hold");
        assert_eq!(kind(&told("{\"len\":{\"value\":5}}", 1)), "len");
        assert_eq!(told("\"hold\"", 1).rule.lie, Lie::Hold);
        assert!(is_same_moment(
            &told("\"hold\"", 1),
            &told("\"rewrite\"", 1)
        ));
        assert!(!is_same_moment(&told("\"hold\"", 1), &told("\"hold\"", 2)));
    }
}
