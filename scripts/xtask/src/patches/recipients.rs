// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who gets a patch, by the tree's own get_maintainer.pl.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Result};

use crate::command::Command;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipients {
    pub to: BTreeSet<String>,
    pub cc: BTreeSet<String>,
}

/// Those of each patch, and of files of Linux whose maintainers are asked, too.
pub fn of(tree: &Path, patches: &[PathBuf], also: &[PathBuf]) -> Result<Vec<Recipients>> {
    let mut all = of_patches(tree, patches)?;
    if !also.is_empty() {
        let also = of_files(tree, also)?;
        for recipients in &mut all {
            *recipients = union(&[recipients.clone(), also.clone()]);
        }
    }
    Ok(all)
}

fn of_patches(tree: &Path, patches: &[PathBuf]) -> Result<Vec<Recipients>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = patches.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = patches
            .chunks(share)
            .map(|patches| {
                scope.spawn(|| {
                    patches
                        .iter()
                        .map(|patch| of_patch(tree, patch))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            let some = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.extend(some?);
        }
        Ok(all)
    })
}

fn of_patch(tree: &Path, patch: &Path) -> Result<Recipients> {
    let recipients = parse(&get_maintainer(tree).arg(patch).output()?);
    if recipients == Recipients::default() {
        return Err(anyhow!(
            "get_maintainer.pl names nobody for {}",
            patch.display()
        ));
    }
    Ok(recipients)
}

fn of_files(tree: &Path, files: &[PathBuf]) -> Result<Recipients> {
    let said = get_maintainer(tree).arg("-f").args(files).output()?;
    Ok(parse(&said))
}

fn get_maintainer(tree: &Path) -> Command {
    Command::new("perl")
        .args([
            "scripts/get_maintainer.pl",
            "--no-git",
            "--no-git-fallback",
            "--rolestats",
        ])
        .dir(tree)
}

/// Lines such as `Name <mail> (maintainer:SUBSYSTEM)`; lists have no name.
fn parse(said: &str) -> Recipients {
    let mut recipients = Recipients::default();
    for line in said.lines() {
        let Some((who, role)) = line.split_once(" (") else {
            continue;
        };
        let who = encoded(who);
        let maintains = role.starts_with("maintainer:") || role.starts_with("supporter:");
        match maintains {
            true => recipients.to.insert(who),
            false => recipients.cc.insert(who),
        };
    }
    recipients
}

/// As the header of a mail has to have it, RFC 2047: in ASCII.
fn encoded(who: &str) -> String {
    let Some((name, address)) = who.split_once(" <") else {
        return who.to_owned();
    };
    if name.is_ascii() {
        return who.to_owned();
    }
    let name = name.trim_matches('"').bytes().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("={byte:02X}"),
    });
    format!("=?UTF-8?q?{}?= <{address}", name.collect::<String>())
}

/// Those of a cover letter: of any of its patches.
pub fn union(all: &[Recipients]) -> Recipients {
    let to: BTreeSet<_> = all.iter().flat_map(|one| one.to.iter().cloned()).collect();
    let cc = all.iter().flat_map(|one| one.cc.iter().cloned());
    let cc = cc.filter(|who| !to.contains(who)).collect();
    Recipients { to, cc }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\"A. B\" <a@x> (maintainer:VIRTIO CORE)\nC <c@x> (reviewer:VIRTIO CORE)\n\
        l@x (open list:VIRTIO CORE)\n";

    #[test]
    fn maintainers_are_asked_and_others_are_told() {
        let recipients = parse(SAID);
        assert_eq!(recipients.to, ["\"A. B\" <a@x>".to_owned()].into());
        assert_eq!(
            recipients.cc,
            ["C <c@x>".to_owned(), "l@x".to_owned()].into()
        );
    }

    #[test]
    fn names_beyond_ascii_are_encoded() {
        assert_eq!(encoded("\"Ö. P\" <o@x>"), "=?UTF-8?q?=C3=96=2E=20P?= <o@x>");
        assert_eq!(encoded("\"A. B\" <a@x>"), "\"A. B\" <a@x>");
        assert_eq!(encoded("l@x"), "l@x");
    }

    #[test]
    fn nobody_gets_a_cover_letter_twice() {
        let one = parse(SAID);
        let other = Recipients {
            to: ["C <c@x>".to_owned()].into(),
            cc: BTreeSet::new(),
        };
        let both = union(&[one, other]);
        assert!(both.to.contains("C <c@x>") && !both.cc.contains("C <c@x>"));
    }
}
