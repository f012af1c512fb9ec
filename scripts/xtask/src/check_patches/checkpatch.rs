// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the tree's own checkpatch.pl says of a patch, and what of that is
//! waived.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{anyhow, Context as _, Result};

use crate::bail_help;
use crate::command::Command;

const WAIVERS: &str = "scripts/series/checkpatch-waivers.txt";

/// Kinds of complaints, each with a reason in the file.
pub struct Waivers(BTreeSet<String>);

impl Waivers {
    pub fn read(repo: &Path) -> Result<Self> {
        let path = repo.join(WAIVERS);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        parse(&text)
    }

    /// The complaints that are left.
    pub fn check(&self, tree: &Path, patch: &Path) -> Result<Vec<String>> {
        let mut said = Vec::new();
        // It fails where it complains.
        let result = Command::new("perl")
            .args([
                "scripts/checkpatch.pl",
                "--strict",
                "--terse",
                "--no-summary",
                "--show-types",
            ])
            .arg(patch)
            .dir(tree)
            .lines(|line| said.push(line.to_owned()));
        match (result, said.is_empty()) {
            (Err(error), true) => Err(error),
            (Err(_), false) => Ok(self.left(&said)),
            (Ok(()), _) => Ok(Vec::new()),
        }
    }

    fn left(&self, said: &[String]) -> Vec<String> {
        let waived = |line: &&String| kind(line).is_some_and(|kind| self.0.contains(kind));
        said.iter().filter(|line| !waived(line)).cloned().collect()
    }
}

fn parse(text: &str) -> Result<Waivers> {
    let mut waivers = BTreeSet::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (kind, reason) = line
            .split_once(": ")
            .ok_or_else(|| anyhow!("{WAIVERS}: {line:?} is no kind with a reason"))?;
        if reason.split_whitespace().count() < 3 {
            bail_help!(
                format!("{WAIVERS}: {kind} is waived without a reason"),
                "say why"
            );
        }
        waivers.insert(kind.to_owned());
    }
    Ok(Waivers(waivers))
}

/// `LONG_LINE` of `a.patch:10: WARNING:LONG_LINE: line length of 115`.
fn kind(line: &str) -> Option<&str> {
    const LEVELS: &[&str] = &[" ERROR:", " WARNING:", " CHECK:"];
    let at = LEVELS
        .iter()
        .find_map(|level| Some(line.find(level)? + level.len()))?;
    line[at..].split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_waived_is_left_out() {
        let waivers = parse("# x\nMISSING_SIGN_OFF: only people can do that\n").unwrap();
        let said = [
            "a: ERROR:MISSING_SIGN_OFF: Missing",
            "a:1: WARNING:LONG_LINE: 115",
        ]
        .map(str::to_owned);
        assert_eq!(waivers.left(&said), &said[1..]);
        let odd = ["Use of uninitialized value".to_owned()];
        assert_eq!(waivers.left(&odd), odd);
    }

    #[test]
    fn a_waiver_needs_a_reason() {
        assert!(parse("LONG_LINE: because\n").is_err());
        assert!(parse("LONG_LINE\n").is_err());
    }
}
