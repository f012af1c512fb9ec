// SPDX-License-Identifier: MIT OR Apache-2.0

//! Installation of what is missing, on this rule: nothing that the machine has
//! is upgraded or removed. The plan is asked for first and refused if it would.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::apt::{Apt, Packages};
use super::apt_sources::{self, Entry};
use super::os_release::OsRelease;
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::ui::Stage;

const INSTALL_LIMIT: Duration = Duration::from_secs(60 * 60);
/// For the plan: apt would not say what it wants to remove if it must not.
const ASK: &[&str] = &["--no-upgrade", "--no-install-recommends"];
const SAFE: &[&str] = &["--no-remove", "--no-upgrade", "--no-install-recommends"];

/// The machine's own archives, optionally with its backports.
pub fn host_apt(ctx: &Context, stage: &Stage, backports: bool) -> Result<Apt> {
    let os = OsRelease::read();
    let mut entries = apt_sources::of_machine(&os);
    if entries.is_empty() {
        bail_help!(
            "apt is set up without the archive of this machine's own release",
            "add it to /etc/apt/sources.list, or install what `xtask doctor` names by hand"
        );
    }
    if backports {
        entries.extend(backports_of(&os, &entries));
    }
    let apt = Apt::new(ctx, "host", &entries, Packages::Own)?;
    apt.update(stage)?;
    Ok(apt)
}

fn backports_of(os: &OsRelease, entries: &[Entry]) -> Option<Entry> {
    let mirror = apt_sources::mirror(entries, "debian")?;
    let mut backports = entries
        .iter()
        .find(|entry| entry.uri.trim_end_matches('/') == mirror && entry.suite == os.codename)?
        .clone();
    backports.suite = format!("{}-backports", os.codename);
    Some(backports)
}

/// What `apt-get -s` says that it would do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    installs: Vec<String>,
    /// `package old -> new` and `remove package`.
    changes: Vec<String>,
}

impl Plan {
    fn parse(text: &str) -> Self {
        let mut plan = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("Inst ") {
                plan.add_install(rest);
            } else if let Some(rest) = line.strip_prefix("Remv ") {
                let package = rest.split_whitespace().next().unwrap_or(rest);
                plan.changes.push(format!("remove {package}"));
            }
        }
        plan
    }

    /// `name [old] (new origin [arch])`, where `[old]` is there for an upgrade only.
    fn add_install(&mut self, rest: &str) {
        let (head, tail) = rest.split_once('(').unwrap_or((rest, ""));
        let mut words = head.split_whitespace();
        let Some(package) = words.next() else {
            return;
        };
        self.installs.push(package.to_owned());
        let Some(old) = words.next() else {
            return;
        };
        let old = old.trim_matches(['[', ']']);
        let new = tail.split_whitespace().next().unwrap_or("?");
        self.changes.push(format!("{package} {old} -> {new}"));
    }
}

/// Installs `packages`, from `release` if one is named.
pub fn install(apt: &Apt, stage: &Stage, packages: &[String], release: Option<&str>) -> Result<()> {
    stage.message(&format!("planning {}", packages.join(" ")));
    let said = request(apt.command("apt-get").arg("-s"), ASK, packages, release)
        .output()
        .with_context(|| format!("apt cannot install {}", packages.join(" ")))?;
    let plan = Plan::parse(&said);
    if !plan.changes.is_empty() {
        bail_help!(
            format!(
                "installing {} would change packages that this machine has: {}",
                packages.join(" "),
                plan.changes.join(", ")
            ),
            format!(
                "if you agree to that, run: {}",
                by_hand(&["--no-install-recommends"], packages, release)
            )
        );
    }
    let Some(root) = as_root(apt) else {
        bail_help!(
            format!("missing packages: {}", packages.join(" ")),
            format!(
                "installing them needs root: {}",
                by_hand(SAFE, packages, release)
            )
        );
    };
    stage.line(&format!(
        "installing {} (in all {} packages)",
        packages.join(" "),
        plan.installs.len()
    ));
    stage.set_total(Some(2 * plan.installs.len() as u64));
    let mut done = 0;
    request(root.arg("-y"), SAFE, packages, release)
        .limit(INSTALL_LIMIT)
        .log(apt.log())
        .lines(|line| {
            if line.starts_with("Unpacking ") || line.starts_with("Setting up ") {
                done += 1;
                stage.set_pos(done);
                stage.message(line.split(" (").next().unwrap_or(line));
            }
        })?;
    stage.set_total(None);
    Ok(())
}

/// What this machine lacks of `packages` and of all that they depend on.
pub fn lacking(apt: &Apt, packages: &[String]) -> Result<Vec<String>> {
    let said = request(apt.command("apt-get").arg("-s"), ASK, packages, None)
        .output()
        .with_context(|| format!("apt cannot find all that {} need", packages.join(" ")))?;
    Ok(Plan::parse(&said).installs)
}

fn request(
    apt_get: Command,
    options: &[&str],
    packages: &[String],
    release: Option<&str>,
) -> Command {
    let release = release.map(|release| ["-t", release]).into_iter().flatten();
    apt_get
        .arg("install")
        .args(options)
        .args(release)
        .args(packages)
}

/// What the user can type; the machine's own apt will do.
fn by_hand(options: &[&str], packages: &[String], release: Option<&str>) -> String {
    let apt_get = Command::new("sudo").arg("apt-get");
    request(apt_get, options, packages, release).shell_line()
}

/// `apt-get` with the right to install, if there is a way without a password.
fn as_root(apt: &Apt) -> Option<Command> {
    if nix::unistd::geteuid().is_root() {
        return Some(apt.command("apt-get"));
    }
    let sudo = || Command::new("sudo").arg("-n");
    sudo().arg("true").output().ok()?;
    // sudo drops most of the environment, so it is set again behind it.
    let config = format!("APT_CONFIG={}", apt.config().display());
    let command = sudo().args(["env", &config, "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"]);
    Some(command.arg("apt-get"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_only_adds_is_harmless() {
        let said = "Inst flex (2.6.4-8.2 Debian:12.11/stable [amd64])\n\
                    Conf flex (2.6.4-8.2 Debian:12.11/stable [amd64])\n";
        let plan = Plan::parse(said);
        assert_eq!(plan.installs, ["flex"]);
        assert!(plan.changes.is_empty());
    }

    #[test]
    fn upgrades_and_removals_are_named() {
        let said = "Remv busybox [1:1.35.0-4]\n\
                    Inst libelf1 [0.188-2] (0.188-2.1 Debian:12/stable [amd64]) []\n\
                    Inst busybox-static (1:1.35.0-4+b3 Debian:12/stable [amd64])\n";
        let plan = Plan::parse(said);
        assert_eq!(
            plan.changes,
            ["remove busybox", "libelf1 0.188-2 -> 0.188-2.1"]
        );
        assert_eq!(plan.installs, ["libelf1", "busybox-static"]);
    }

    #[test]
    fn the_request_never_upgrades_or_removes() {
        let line = request(
            Command::new("apt-get"),
            SAFE,
            &["flex".into()],
            Some("x-backports"),
        );
        assert_eq!(
            line.shell_line(),
            "apt-get install --no-remove --no-upgrade --no-install-recommends \
             -t x-backports flex"
        );
    }
}
