// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cover letter of a topic.

use anyhow::Result;

use super::results;
use crate::context::Context;
use crate::series::{Series, Topic, TopicCommits};
use crate::source::Source;

pub struct Cover<'a> {
    pub ctx: &'a Context,
    pub series: &'a Series,
    pub source: &'a Source,
    pub topic: &'a Topic,
    pub version: u32,
}

impl Cover<'_> {
    /// What is between the greeting and the list of patches.
    pub fn text(&self) -> Result<String> {
        let mut text = self.topic.cover.trim().to_owned();
        for (placeholder, table) in results::tables(self.ctx) {
            text = text.replace(placeholder, table.trim_end());
        }
        text += &self.dependencies();
        text += &changelog(self.topic, self.version);
        Ok(text)
    }

    fn dependencies(&self) -> String {
        let needs = self.topic.needs.iter().map(|(name, why)| {
            let subject = self
                .series
                .declared(name)
                .map_or("", |topic| &topic.subject);
            format!("  \"{subject}\":\n  {why}\n")
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

    /// What stands for the base: a commit that others have, or what it is.
    pub fn base(&self, topic: &TopicCommits) -> Result<String> {
        let repository = &self.series.repository;
        let base = &repository.base;
        if repository.base_is_public {
            return Ok(format!("base-commit: {base}"));
        }
        let tree = repository.git(&["rev-parse", &format!("{base}^{{tree}}")])?;
        let mut text = format!(
            "The base is the source of Linux {} in {}, whose git tree is\nbase-tree: {}",
            self.source.kernel_version,
            self.source.package,
            tree.trim()
        );
        if topic.base != *base {
            text += "\nand the patches of the topics before this one:";
        }
        Ok(text)
    }
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

    #[test]
    fn changes_are_told_from_the_second_posting_on() {
        let topic: Topic =
            toml::from_str("subject = 's'\ncover = 'c'\npatch = []\n[changes]\nv2 = '- a'\n")
                .unwrap();
        assert_eq!(changelog(&topic, 1), "");
        assert_eq!(
            changelog(&topic, 3),
            "\n\nChanges in v3:\nNo change.\n\nChanges in v2:\n- a"
        );
    }
}
