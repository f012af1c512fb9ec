// SPDX-License-Identifier: MIT OR Apache-2.0

//! Our entries in MAINTAINERS, each at its place in the alphabet.

use anyhow::{anyhow, bail, Result};

/// What the list of entries begins with, after the explanations.
const START: &str = "Maintainers List\n----------------\n";
/// Always the last entry, whatever the alphabet says.
const LAST: &str = "THE REST";

/// `theirs` with the entries of `ours` put in.
pub fn merge(theirs: &str, ours: &str) -> Result<String> {
    let split = theirs
        .find(START)
        .ok_or_else(|| anyhow!("MAINTAINERS of the source has no \"Maintainers List\""))?;
    let (head, list) = theirs.split_at(split + START.len());
    let mut entries: Vec<&str> = paragraphs(list).collect();
    for entry in paragraphs(ours).filter(|entry| is_entry(entry)) {
        if entries.iter().any(|other| title(other) == title(entry)) {
            bail!(
                "MAINTAINERS of the source has the entry {} already",
                title(entry)
            );
        }
        entries.insert(place(&entries, title(entry)), entry);
    }
    Ok(format!("{head}\n{}\n", entries.join("\n\n")))
}

fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n")
        .map(|paragraph| paragraph.trim_matches('\n'))
        .filter(|paragraph| !paragraph.is_empty())
}

/// A title and at least one field; a comment of ours is neither.
fn is_entry(paragraph: &str) -> bool {
    !paragraph.starts_with('#') && paragraph.lines().any(|line| line.get(1..3) == Some(":\t"))
}

fn title(entry: &str) -> &str {
    entry.lines().next().unwrap_or_default()
}

/// Where the fewest neighbours are out of order: some entries always are, and
/// the first greater one may be among them.
fn place(entries: &[&str], new: &str) -> usize {
    let greater = |entry: &&str| title(entry) > new || title(entry) == LAST;
    let mut disorder = entries.iter().filter(|entry| !greater(entry)).count();
    let mut best = (disorder, 0);
    for (index, entry) in entries.iter().enumerate() {
        match greater(entry) {
            true => disorder += 1,
            false => disorder -= 1,
        }
        if disorder < best.0 {
            best = (disorder, index + 1);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "Explanations.\n\nMaintainers List\n----------------\n\n\
        AAA\nM:\tx\n\nZZ MISPLACED\nM:\tx\n\nCCC\nM:\tx\n\nDDD\nM:\tx\n\nXXX\nM:\tx\n\nTHE REST\nM:\tx\n";

    fn titles(merged: &str) -> Vec<&str> {
        let (_, list) = merged.split_once(START).unwrap();
        paragraphs(list).map(title).collect()
    }

    #[test]
    fn entries_go_to_their_places() {
        let ours = "# ours\n\nBBB\nM:\tx\n\nVIRTIO RUST\nM:\tx\nF:\trust/\n\nTZ\nM:\tx\n";
        let merged = merge(THEIRS, ours).unwrap();
        assert_eq!(
            titles(&merged),
            [
                "AAA",
                "BBB",
                "ZZ MISPLACED",
                "CCC",
                "DDD",
                "TZ",
                "VIRTIO RUST",
                "XXX",
                "THE REST"
            ]
        );
        assert!(merged.starts_with("Explanations.\n"));
    }

    #[test]
    fn nothing_to_add_changes_nothing() {
        assert_eq!(merge(THEIRS, "").unwrap(), THEIRS);
    }

    #[test]
    fn the_rest_stays_last() {
        let merged = merge(THEIRS, "ZZZ\nM:\tx\n").unwrap();
        assert_eq!(titles(&merged).last(), Some(&LAST));
    }

    #[test]
    fn an_entry_that_is_there_is_an_error() {
        assert!(merge(THEIRS, "CCC\nM:\tx\n").is_err());
    }
}
