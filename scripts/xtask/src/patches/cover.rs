// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cover letter of a topic.

use std::collections::BTreeSet;

use anyhow::{ensure, Result};

use super::results::Kept;
use super::tables;
use crate::series::{Series, Topic, TopicCommits};
use crate::source::Source;

pub struct Cover<'a> {
    pub series: &'a Series,
    pub source: &'a Source,
    pub topic: &'a Topic,
    pub version: u32,
}

impl Cover<'_> {
    /// What is between the greeting and the list of patches.
    pub fn text(&self, kept: &[Kept]) -> Result<String> {
        let mut text = tables::fill(self.topic.cover.trim(), kept)?;
        text += &self.dependencies();
        text += &changelog(self.topic, self.version);
        Ok(text)
    }

    /// What the patches go on: a commit that others have, or what it is, and the
    /// patches of the topics that this one needs. Of `before`, the ids of all
    /// patches before this topic, these are some.
    pub fn base(&self, topic: &TopicCommits, before: &[String]) -> Result<String> {
        let repository = &self.series.repository;
        let base = &repository.base;
        let earlier = self.series.topics.iter();
        let earlier = earlier.take_while(|other| other.name != topic.name);
        let topics: Vec<_> = earlier
            .flat_map(|other| other.commits.iter().map(|_| other.name.as_str()))
            .collect();
        let needed = needed(&self.topic.name, &self.series.declared);
        let ids = of_topics(&topics, &needed, before)?;
        if repository.base_is_public {
            return Ok(format!("base-commit: {base}\n{ids}"));
        }
        let tree = repository.git(&["rev-parse", &format!("{base}^{{tree}}")])?;
        let what = format!(
            "The base is the source of Linux {} in {}, whose git tree is",
            self.source.kernel_version, self.source.package
        );
        let mut text = format!("{}base-tree: {}\n", tables::words(&what), tree.trim());
        if !ids.is_empty() {
            text += "and the patches of the topics that this one needs:\n";
        }
        Ok(text + &ids)
    }

    fn dependencies(&self) -> String {
        let needs = self.topic.needs.iter().map(|(name, why)| {
            let need = self.series.declared(name);
            dependency(need.map_or("", |topic| &topic.subject), name, why)
        });
        let needs: Vec<_> = needs.collect();
        match needs.is_empty() {
            true => String::new(),
            false => format!(
                "\n\nThis goes on top of, each posted as a thread of its own:\n\n{}",
                needs.join("\n")
            ),
        }
    }
}

/// The names of the topics that one needs, and of those that these need.
pub fn needed<'a>(name: &str, declared: &'a [Topic]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        let topic = declared.iter().find(|topic| topic.name == name);
        for need in topic.into_iter().flat_map(|topic| topic.needs.keys()) {
            if found.insert(need.as_str()) {
                open.push(need);
            }
        }
    }
    found
}

/// The lines that are of patches of the topics in `needed`. `ids` has one line
/// for each patch, `topics` the name of its topic.
fn of_topics(topics: &[&str], needed: &BTreeSet<&str>, ids: &[String]) -> Result<String> {
    ensure!(
        topics.len() == ids.len(),
        "git names {} patches before this topic, and there are {}",
        ids.len(),
        topics.len()
    );
    let wanted = topics.iter().zip(ids);
    let wanted = wanted.filter(|(topic, _)| needed.contains(*topic));
    Ok(wanted.map(|(_, id)| format!("{id}\n")).collect())
}

/// What stands for the name of a thread until the mails have names.
pub fn thread(topic: &str) -> String {
    format!("@thread {topic}@")
}

fn dependency(subject: &str, topic: &str, why: &str) -> String {
    let subject = tables::words(&format!("\"{subject}\":"));
    let lines = format!("{subject}{}\n{}", thread(topic), tables::words(why));
    tables::indented(&lines)
}

/// What changed since each earlier posting, the latest first.
fn changelog(topic: &Topic, version: u32) -> String {
    let mut text = String::new();
    for number in (2..=version).rev() {
        let changes = topic.changes.get(&format!("v{number}"));
        let changes = changes.map_or("No change.", |changes| changes.trim());
        text += &format!("\n\nChanges in v{number}:\n{changes}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, rest: &str) -> Topic {
        let text = format!("subject = 'the {name}'\ncover = 'c'\npatch = []\n{rest}");
        Topic {
            name: name.into(),
            ..toml::from_str(&text).unwrap()
        }
    }

    #[test]
    fn changes_are_told_from_the_second_posting_on() {
        let topic = topic("a", "[changes]\nv2 = '- a'\n");
        assert_eq!(changelog(&topic, 1), "");
        assert_eq!(
            changelog(&topic, 3),
            "\n\nChanges in v3:\nNo change.\n\nChanges in v2:\n- a"
        );
    }

    #[test]
    fn what_a_topic_needs_needs_others() {
        let declared = [
            topic("10-a", ""),
            topic("20-b", ""),
            topic("30-c", "[needs]\n10-a = 'w'"),
            topic("40-d", "[needs]\n30-c = 'w'"),
        ];
        assert_eq!(needed("40-d", &declared), ["10-a", "30-c"].into());
        assert_eq!(needed("20-b", &declared), [].into());
    }

    #[test]
    fn only_patches_of_needed_topics_are_prerequisites() {
        let topics = ["10-a", "20-b", "20-b", "30-c"];
        let ids = ["1", "2", "3", "4"].map(str::to_owned);
        let lines = |needed: &[&str], ids: &[String]| {
            of_topics(&topics, &needed.iter().copied().collect(), ids)
        };
        assert_eq!(lines(&["10-a", "30-c"], &ids).unwrap(), "1\n4\n");
        assert_eq!(lines(&["20-b"], &ids).unwrap(), "2\n3\n");
        assert_eq!(lines(&[], &ids).unwrap(), "");
        assert!(lines(&["10-a"], &ids[1..]).is_err());
    }

    #[test]
    fn dependencies_fit_in_a_mail() {
        let long = "word ".repeat(20);
        let text = dependency(long.trim(), "10-a", &long);
        assert!(text.starts_with("  \"word word"), "{text}");
        assert!(text.contains("word\":\n  @thread 10-a@\n  word"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 75), "{text}");
    }
}
