// SPDX-License-Identifier: MIT OR Apache-2.0

//! How programs are run here: with none of the caller's environment and none of
//! the user's or the machine's git settings and, where the machine allows it, in
//! a network that has a loopback and nothing else.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::Command;

/// A redirection of mail is a git setting, so none of them is read.
const SETTINGS: &[(&str, &str)] = &[
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("LC_ALL", "C.UTF-8"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// What stands between a program and the world.
#[derive(Clone, Debug)]
pub struct Cage {
    /// Enters the network, if it is one of its own.
    enter: Vec<String>,
    envs: Vec<(String, String)>,
    home: PathBuf,
}

impl Cage {
    /// In the caller's network, with `envs` as the whole environment.
    pub fn new(home: &Path, envs: &[(String, String)]) -> Self {
        let fixed = SETTINGS
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Self {
            enter: Vec::new(),
            envs: envs.iter().cloned().chain(fixed).collect(),
            home: home.to_owned(),
        }
    }

    /// The same in the network of the process `pid`, made by `network`.
    pub fn inside(&self, network: Network, pid: u32) -> Self {
        let enter = network.enter(pid);
        Self {
            enter,
            ..self.clone()
        }
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.command_with(&[], program)
    }

    /// As [`Cage::command`], with more variables.
    pub fn command_with(
        &self,
        more: &[(&str, &Path)],
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Command {
        let mut words = self.enter.clone();
        words.extend(["env", "-i"].map(str::to_owned));
        words.push(format!("HOME={}", self.home.display()));
        words.extend(
            self.envs
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        let more = more.iter();
        words.extend(more.map(|(key, value)| format!("{key}={}", value.display())));
        Command::new(&words[0]).args(&words[1..]).arg(program)
    }
}

/// Whose network the mail server is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// One of its own, in a user namespace: what a user may make.
    OfUser,
    /// One of its own, made by root.
    OfRoot,
    /// The machine's.
    Shared,
}

impl Network {
    /// The best that `works`, and why it is not one of its own if it is not.
    pub fn choose(works: impl Fn(Self) -> Result<()>) -> (Self, Option<String>) {
        let mut refused = String::new();
        for network in [Self::OfUser, Self::OfRoot] {
            match works(network) {
                Ok(()) => return (network, None),
                Err(error) => {
                    let text = format!("{error:#}");
                    text.lines()
                        .last()
                        .unwrap_or_default()
                        .clone_into(&mut refused);
                }
            }
        }
        (Self::Shared, Some(refused))
    }

    pub fn is_own(self) -> bool {
        self != Self::Shared
    }

    /// Starts `program` in a new network of this kind.
    pub fn command(self, program: &Path) -> Command {
        match self {
            Self::OfUser => Command::new("unshare")
                .args(["-r", "-n", "--"])
                .arg(program),
            Self::OfRoot => Command::new("unshare").args(["-n", "--"]).arg(program),
            Self::Shared => Command::new(program),
        }
    }

    fn enter(self, pid: u32) -> Vec<String> {
        let words: &[&str] = match self {
            Self::OfUser => &["nsenter", "--preserve-credentials", "-U", "-n"],
            Self::OfRoot => &["nsenter", "-n"],
            Self::Shared => return Vec::new(),
        };
        let target = ["-t".to_owned(), pid.to_string(), "--".to_owned()];
        let words = words.iter().map(|word| (*word).to_owned());
        words.chain(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment_gets_in() {
        let envs = [("PATH".to_owned(), std::env::var("PATH").unwrap())];
        let cage = Cage::new(Path::new("/nowhere"), &envs);
        let text = cage.command("env").output().unwrap();
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert!(!text.contains("CARGO_MANIFEST_DIR"), "{text}");
        assert!(text.contains("HOME=/nowhere\n"), "{text}");
        assert!(text.contains("GIT_CONFIG_GLOBAL=/dev/null\n"), "{text}");
    }

    #[test]
    fn the_best_network_that_works_is_chosen() {
        let only = |allowed: Network| {
            let works = move |network| match network == allowed {
                true => Ok(()),
                false => Err(anyhow::anyhow!("unshare failed:\nnot permitted")),
            };
            Network::choose(works)
        };
        assert_eq!(only(Network::OfUser), (Network::OfUser, None));
        assert_eq!(only(Network::OfRoot), (Network::OfRoot, None));
        let reason = Some("not permitted".to_owned());
        assert_eq!(only(Network::Shared), (Network::Shared, reason));
    }

    #[test]
    fn a_network_is_entered_by_the_process_that_holds_it() {
        assert_eq!(
            Network::OfUser.enter(7).join(" "),
            "nsenter --preserve-credentials -U -n -t 7 --"
        );
        assert!(Network::Shared.enter(7).is_empty());
    }
}
