// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who submits the series.

use std::path::Path;

use crate::command::Command;

/// As git knows the submitter.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub email: String,
    /// Nobody said who submits it, so it cannot be mailed as it is.
    pub is_placeholder: bool,
}

impl Identity {
    /// From the submitter's git configuration.
    pub fn of(repo: &Path) -> Self {
        let get = |key: &str| {
            let said = Command::new("git").args(["config", key]).dir(repo).output();
            said.ok()
                .map(|said| said.trim().to_owned())
                .filter(|said| !said.is_empty())
        };
        match (get("user.name"), get("user.email")) {
            (Some(name), Some(email)) => Self {
                name,
                email,
                is_placeholder: false,
            },
            _ => Self {
                name: "Unknown Submitter".into(),
                email: "submitter@example.invalid".into(),
                is_placeholder: true,
            },
        }
    }

    pub fn line(&self) -> String {
        format!("{} <{}>", self.name, self.email)
    }
}
