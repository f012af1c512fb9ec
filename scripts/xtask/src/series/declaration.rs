// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the checkout is cut into patches, as a person writes it: one file for
//! each topic, that is, for each mail thread, in the order of their names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::bail_help;

/// Where the topics are declared.
pub const DIR: &str = "scripts/series";
/// What fits in a list of commits.
const SUBJECT_WIDTH: usize = 75;
/// Of the text of a mail.
const MESSAGE_WIDTH: usize = 75;

/// One mail thread.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The name of the file, with the number that orders it.
    #[serde(skip)]
    pub name: String,
    /// Of the cover letter.
    pub subject: String,
    pub cover: String,
    /// The topics without which this one does not build or work, and why.
    #[serde(default)]
    pub needs: BTreeMap<String, String>,
    /// Files of Linux whose maintainers get the topic, too.
    #[serde(default)]
    pub also_ask: Vec<PathBuf>,
    /// What changed, by posting: `v2` and so on.
    #[serde(default)]
    pub changes: BTreeMap<String, String>,
    #[serde(rename = "patch")]
    pub patches: Vec<Patch>,
}

/// One commit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub subject: String,
    pub message: String,
    #[serde(default)]
    pub kind: Kind,
    /// New files, except what later patches name in `lines`.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Names in `scripts/series/edits`, without the extension.
    #[serde(default)]
    pub edits: Vec<String>,
    /// Parts of files that an earlier patch began, by how they begin.
    #[serde(default)]
    pub lines: BTreeMap<PathBuf, Vec<String>>,
}

/// What decides how long a patch may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Core,
    Driver,
    Test,
}

/// All topics, in order.
pub fn read(repo: &Path) -> Result<Vec<Topic>> {
    let dir = repo.join(DIR);
    let mut paths = Vec::new();
    for entry in dir.read_dir().with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let topics: Vec<_> = paths
        .iter()
        .map(|path| read_topic(path))
        .collect::<Result<_>>()?;
    check_needs(&topics)?;
    Ok(topics)
}

fn read_topic(path: &Path) -> Result<Topic> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &text).with_context(|| path.display().to_string())
}

fn parse(name: &str, text: &str) -> Result<Topic> {
    let topic: Topic = toml::from_str(text)?;
    if topic.patches.is_empty() {
        bail_help!("there is no patch in it", "add one: [[patch]]");
    }
    check_words("the cover letter", &topic.subject, &topic.cover)?;
    for (posting, changes) in &topic.changes {
        check_words(&format!("the changes of {posting}"), "", changes)?;
    }
    for patch in &topic.patches {
        let what = format!("the patch {:?}", patch.subject);
        check_words(&what, &patch.subject, &patch.message)?;
    }
    Ok(Topic {
        name: name.to_owned(),
        ..topic
    })
}

fn check_words(what: &str, subject: &str, message: &str) -> Result<()> {
    let message = message.trim();
    // Neither a reference nor what is quoted can be wrapped.
    let may_be_wide = |line: &str| {
        !line.contains(' ')
            || [" ", "\t", "Fixes: ", "Link: "]
                .iter()
                .any(|start| line.starts_with(start))
    };
    let width = |line: &str| line.chars().count();
    let wide = message
        .lines()
        .find(|line| width(line) > MESSAGE_WIDTH && !may_be_wide(line));
    let complaint = match wide {
        _ if width(subject) > SUBJECT_WIDTH => "the subject is too long".to_owned(),
        Some(line) => format!("a line of the message is too long: {line:?}"),
        None if message.is_empty() => "the message is empty".to_owned(),
        None => return Ok(()),
    };
    bail_help!(
        format!("{what}: {complaint}"),
        format!("subjects end at column {SUBJECT_WIDTH}, messages at column {MESSAGE_WIDTH}")
    )
}

fn check_needs(topics: &[Topic]) -> Result<()> {
    for (index, topic) in topics.iter().enumerate() {
        for need in topic.needs.keys() {
            if !topics[..index].iter().any(|other| other.name == *need) {
                bail_help!(
                    format!("{} needs {need}, which does not come before it", topic.name),
                    format!("topics are ordered by the names of their files in {DIR}")
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "subject = 's'\ncover = 'c'\n[[patch]]\nsubject = 'a: b'\n\
        message = 'Why.'\nkind = 'test'\nfiles = ['a/b.rs']\nlines = { 'a/c.rs' = ['mod b;'] }\n";

    #[test]
    fn a_topic_is_read() {
        let topic = parse("10-a", TOPIC).unwrap();
        assert_eq!(topic.name, "10-a");
        assert_eq!(topic.patches[0].kind, Kind::Test);
        assert_eq!(topic.patches[0].lines[Path::new("a/c.rs")], ["mod b;"]);
    }

    #[test]
    fn misspelt_keys_and_long_lines_are_refused() {
        assert!(parse("a", &TOPIC.replace("files", "file")).is_err());
        let long = format!("a {}", "b".repeat(MESSAGE_WIDTH));
        assert!(parse("a", &TOPIC.replace("Why.", &long)).is_err());
        assert!(parse("a", &TOPIC.replace("a: b", &long)).is_err());
        assert!(parse("a", &TOPIC.replace("Why.", " ")).is_err());
    }

    #[test]
    fn covers_fit_in_a_mail() {
        let long = format!("a {}", "b".repeat(MESSAGE_WIDTH));
        let cover = |text: &str| {
            let cover = format!("cover = \"\"\"c\n{text}\n\"\"\"");
            parse("a", &TOPIC.replace("cover = 'c'", &cover))
        };
        assert!(cover(&long).is_err());
        assert!(cover(&format!("  {long}")).is_ok());
        assert!(cover(&format!("\t{long}")).is_ok());
        assert!(cover(&format!("https://{}", "b".repeat(MESSAGE_WIDTH))).is_ok());
        assert!(cover(&"ü ".repeat(MESSAGE_WIDTH / 2)).is_ok());
        let subject = TOPIC.replacen("'s'", &format!("'{long}'"), 1);
        let error = parse("a", &subject).unwrap_err().to_string();
        assert!(error.contains("the cover letter: the subject"), "{error}");
        let changes = format!("[changes]\nv2 = '{long}'\n[[patch]]");
        let error = parse("a", &TOPIC.replace("[[patch]]", &changes)).unwrap_err();
        assert!(error.to_string().contains("the changes of v2"), "{error}");
    }

    #[test]
    fn a_topic_may_only_need_earlier_ones() {
        let mut late = parse("10-a", TOPIC).unwrap();
        late.needs.insert("20-b".into(), "why".into());
        let early = parse("20-b", TOPIC).unwrap();
        assert!(check_needs(&[late, early]).is_err());
    }
}
