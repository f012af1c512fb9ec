// SPDX-License-Identifier: MIT OR Apache-2.0

//! One mail, as `git format-patch` wrote it.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::recipients::Recipients;
use crate::stamp::write_atomically;

const BASE: &str = "base-commit: ";
const PREREQUISITE: &str = "prerequisite-patch-id: ";

pub struct Mail {
    text: String,
}

impl Mail {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Self { text })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.text.as_bytes(), 0o644)
    }

    pub fn replace(&mut self, from: &str, to: &str) {
        self.text = self.text.replacen(from, to.trim_end(), 1);
    }

    /// Gives the cover letter another name in all headers that have it.
    pub fn rename_thread(&mut self, from: &str, to: &str) {
        let end = self.text.find("\n\n").unwrap_or(self.text.len());
        let header = self.text[..end].replace(from, to);
        self.text.replace_range(..end, &header);
    }

    /// Of the header, with its brackets.
    pub fn message_id(&self) -> Option<&str> {
        let header = self.text.split("\n\n").next()?;
        let mut lines = header.lines();
        lines.find_map(|line| line.strip_prefix("Message-ID: "))
    }

    /// The lines that name the patches before these, the first one first.
    pub fn prerequisites(&self) -> Vec<String> {
        let base = self.base().map(|base| &self.text[base]);
        let lines = base.into_iter().flat_map(str::lines);
        let ids = lines.filter(|line| line.starts_with(PREREQUISITE));
        ids.map(str::to_owned).collect()
    }

    /// Replaces what git says of the base: ours is a commit that only we have.
    pub fn replace_base(&mut self, base: &str) {
        if let Some(place) = self.base() {
            let base = format!("{}\n", base.trim_end());
            self.text.replace_range(place, &base);
        }
    }

    /// Where git says what the patches go on.
    fn base(&self) -> Option<Range<usize>> {
        let start = self.text.rfind(&format!("\n{BASE}"))? + 1;
        let lines = self.text[start..].split_inclusive('\n');
        let of_base =
            lines.take_while(|line| [BASE, PREREQUISITE].iter().any(|s| line.starts_with(s)));
        Some(start..start + of_base.map(str::len).sum::<usize>())
    }

    /// Adds `To:` and `Cc:` at the end of the header.
    pub fn address(&mut self, recipients: &Recipients) {
        let Some(end) = self.text.find("\n\n") else {
            return;
        };
        let mut header = String::new();
        for (field, people) in [("To", &recipients.to), ("Cc", &recipients.cc)] {
            if !people.is_empty() {
                let people: Vec<_> = people.iter().map(String::as_str).collect();
                header += &format!("{field}: {}\n", people.join(",\n\t"));
            }
        }
        self.text.insert_str(end + 1, &header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_end_the_header() {
        let mut mail = Mail {
            text: "From: a\nSubject: [PATCH 1/2] x\n\nBody\n\nmore\n".into(),
        };
        mail.address(&Recipients {
            to: ["A <a@b>".to_owned(), "C <c@d>".to_owned()].into(),
            cc: ["e@f".to_owned()].into(),
        });
        assert_eq!(
            mail.text,
            "From: a\nSubject: [PATCH 1/2] x\nTo: A <a@b>,\n\tC <c@d>\nCc: e@f\n\nBody\n\nmore\n"
        );
    }

    #[test]
    fn threads_are_renamed_in_the_header_only() {
        let mut mail = Mail {
            text: "Message-ID: <a@x>\nIn-Reply-To: <cover.1@x>\n\n<cover.1@x>\n".into(),
        };
        mail.rename_thread("<cover.", "<cover.10-a.");
        let expected = "Message-ID: <a@x>\nIn-Reply-To: <cover.10-a.1@x>\n\n<cover.1@x>\n";
        assert_eq!(mail.text, expected);
    }

    #[test]
    fn a_mail_knows_its_name() {
        let text = "From: a\nMessage-ID: <cover.1@x>\n\nMessage-ID: <b@x>\n".into();
        assert_eq!(Mail { text }.message_id(), Some("<cover.1@x>"));
        let text = "From: a\n\nMessage-ID: <b@x>\n".into();
        assert_eq!(Mail { text }.message_id(), None);
    }

    #[test]
    fn only_the_base_is_replaced() {
        let mut mail = Mail {
            text: "x\n\nbase-commit: 12\nprerequisite-patch-id: 34\nprerequisite-patch-id: 56\n\
                   -- \n2.47\n"
                .into(),
        };
        let ids = ["prerequisite-patch-id: 34", "prerequisite-patch-id: 56"];
        assert_eq!(mail.prerequisites(), ids);
        mail.replace_base(&format!("base-tree: 78\n{}\n", ids[1]));
        assert_eq!(
            mail.text,
            "x\n\nbase-tree: 78\nprerequisite-patch-id: 56\n-- \n2.47\n"
        );
        assert!(mail.prerequisites().is_empty());
    }
}
