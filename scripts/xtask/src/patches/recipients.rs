// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who gets a patch, by the tree's own get_maintainer.pl.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::context::Context;
use crate::stamp::{self, Fingerprint};

/// What get_maintainer.pl reads, besides what it is asked about.
const SOURCES: [&str; 4] = [
    "MAINTAINERS",
    "scripts/get_maintainer.pl",
    ".get_maintainer.ignore",
    ".mailmap",
];
/// Header fields that no answer depends on, though they differ each time.
const FLEETING: [&str; 5] = [
    "From ",
    "Message-ID: ",
    "Date: ",
    "In-Reply-To: ",
    "References: ",
];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipients {
    pub to: BTreeSet<String>,
    pub cc: BTreeSet<String>,
}

/// Patches, and files of Linux whose maintainers get them, too.
pub struct Request<'a> {
    pub patches: &'a [PathBuf],
    pub also: &'a [PathBuf],
}

/// Those of each patch of each request.
pub fn of(ctx: &Context, tree: &Path, requests: &[Request]) -> Result<Vec<Vec<Recipients>>> {
    let mut subjects = Vec::new();
    for request in requests {
        let patches = request.patches.iter();
        subjects.extend(patches.map(|patch| Subject::Patch(patch)));
        subjects.push(Subject::Files(request.also));
    }
    let path = ctx.cache.join("recipients.json");
    let mut answers = Answers::read(&path, tree)?;
    answers.learn(tree, &subjects)?;
    stamp::write(&path, &answers)?;
    requests
        .iter()
        .map(|request| {
            let also = answers.of(&Subject::Files(request.also))?;
            let patches = request.patches.iter();
            patches
                .map(|patch| {
                    let own = answers.of(&Subject::Patch(patch))?;
                    Ok(union(&[own, also.clone()]))
                })
                .collect()
        })
        .collect()
}

/// What get_maintainer.pl is asked about.
enum Subject<'a> {
    Patch(&'a Path),
    Files(&'a [PathBuf]),
}

impl Subject<'_> {
    /// Names what the answer depends on, besides the tree: keywords are looked
    /// for in all of a patch.
    fn key(&self) -> Result<String> {
        let mut key = Fingerprint::default();
        match self {
            Self::Patch(path) => {
                let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
                key.add("patch").add(lasting(&text));
            }
            Self::Files(files) => {
                key.add("files");
                for file in *files {
                    key.add(file.as_os_str().as_bytes());
                }
            }
        }
        Ok(key.finish())
    }

    fn ask(&self, tree: &Path) -> Result<Recipients> {
        match self {
            Self::Patch(path) => {
                let found = parse(&get_maintainer(tree).arg(path).output()?);
                ensure!(
                    found != Recipients::default(),
                    "get_maintainer.pl names nobody for {}",
                    path.display()
                );
                Ok(found)
            }
            Self::Files([]) => Ok(Recipients::default()),
            Self::Files(files) => Ok(parse(
                &get_maintainer(tree).arg("-f").args(*files).output()?,
            )),
        }
    }
}

/// A mail without what differs each time that it is written: some fields, the
/// number of the patch and of the posting, and who signs off, as that is who it
/// is from.
fn lasting(mail: &str) -> String {
    let (header, body) = mail.split_once("\n\n").unwrap_or((mail, ""));
    // Where a long field is folded depends on these, too.
    let header = header.replace("\n ", " ");
    let is_lasting = |line: &&str| !FLEETING.iter().any(|field| line.starts_with(field));
    let lines = header.lines().filter(is_lasting);
    let lines: Vec<_> = lines
        .map(|line| match line.strip_prefix("Subject: [") {
            Some(subject) => subject
                .split_once("] ")
                .map_or(line, |(_, subject)| subject),
            None => line,
        })
        .collect();
    let is_signed = |line: &&str| line.starts_with("Signed-off-by: ");
    let body: Vec<_> = body.lines().filter(|line| !is_signed(line)).collect();
    format!("{}\n\n{}\n", lines.join("\n"), body.join("\n"))
}

/// What get_maintainer.pl said, which is kept: to ask takes half a second of a
/// core for each patch.
#[derive(Default, Serialize, Deserialize)]
struct Answers {
    /// Names what the answers were made from.
    tree: String,
    known: BTreeMap<String, Recipients>,
}

impl Answers {
    /// Those for the same MAINTAINERS.
    fn read(path: &Path, tree: &Path) -> Result<Self> {
        let mut key = Fingerprint::default();
        for source in SOURCES.map(|source| tree.join(source)) {
            match source.exists() {
                true => key.add(fs::read(&source).with_context(|| source.display().to_string())?),
                false => key.add("none"),
            };
        }
        let tree = key.finish();
        let kept = stamp::read(path).filter(|kept: &Self| kept.tree == tree);
        Ok(kept.unwrap_or(Self {
            tree,
            ..Self::default()
        }))
    }

    /// Asks about what is not known yet.
    fn learn(&mut self, tree: &Path, subjects: &[Subject]) -> Result<()> {
        let mut open = BTreeMap::new();
        for subject in subjects {
            let key = subject.key()?;
            if !self.known.contains_key(&key) {
                open.insert(key, subject);
            }
        }
        self.known.extend(ask_all(tree, &Vec::from_iter(open))?);
        Ok(())
    }

    fn of(&self, subject: &Subject) -> Result<Recipients> {
        let known = self.known.get(&subject.key()?);
        known.cloned().context("a patch changed meanwhile")
    }
}

/// The answers by their keys, with each core asking for a share.
fn ask_all(tree: &Path, open: &[(String, &Subject)]) -> Result<Vec<(String, Recipients)>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = open.len().div_ceil(cores).max(1);
    let ask = |(key, subject): &(String, &Subject)| Ok((key.clone(), subject.ask(tree)?));
    std::thread::scope(|scope| {
        let workers: Vec<_> = open
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().map(ask).collect::<Result<Vec<_>>>()))
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

fn get_maintainer(tree: &Path) -> Command {
    Command::new("perl")
        .args([
            "scripts/get_maintainer.pl",
            "--no-git",
            "--no-git-fallback",
            "--rolestats",
        ])
        // A user's own .get_maintainer.conf says what that user wants to see.
        .env("HOME", tree)
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
    fn a_mail_that_is_written_again_is_the_same() {
        let mail = |hash: &str, number: &str, fold: &str, sign: &str| {
            lasting(&format!(
                "From {hash} Mon Sep 17 00:00:00 2001\nMessage-ID: <{hash}@x>\nFrom: A <a@b>\n\
                 Date: {hash}\nSubject: [PATCH {number}] a:{fold}[b] c\n\n[PATCH] text\nDate: d\n{sign}"
            ))
        };
        let expected = "From: A <a@b>\na: [b] c\n\n[PATCH] text\nDate: d\n";
        assert_eq!(mail("12", "2/3", " ", ""), expected);
        assert_eq!(mail("34", "v2 1/2", "\n ", "Signed-off-by: A\n"), expected);
    }

    /// A tree whose get_maintainer.pl counts how often it was run.
    fn tree(dir: &Path) -> PathBuf {
        let tree = dir.join("tree");
        fs::create_dir_all(tree.join("scripts")).unwrap();
        let script = "open(my $f, '>>', 'count'); print $f 'x'; print qq{L (open list)\n};";
        fs::write(tree.join("scripts/get_maintainer.pl"), script).unwrap();
        fs::write(tree.join("MAINTAINERS"), "a").unwrap();
        tree
    }

    #[test]
    fn nobody_is_asked_twice_about_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (ctx, tree) = (Context::in_dir(dir.path()), tree(dir.path()));
        let patch = dir.path().join("1.patch");
        let also = [PathBuf::from("b.c")];
        let asked = |date: &str, text: &str| {
            let mail =
                format!("From 12\nMessage-ID: <{date}>\nDate: {date}\nSubject: s\n\n{text}\n");
            fs::write(&patch, mail).unwrap();
            let request = Request {
                patches: std::slice::from_ref(&patch),
                also: &also,
            };
            let none = Request {
                patches: &[],
                also: &[],
            };
            let found = of(&ctx, &tree, &[request, none]).unwrap();
            assert_eq!(found[0][0].cc, ["L".to_owned()].into());
            assert!(found[1].is_empty());
            fs::read(tree.join("count")).unwrap().len()
        };
        assert_eq!(asked("2026-01-02", "text"), 2);
        assert_eq!(asked("2026-01-03", "text"), 2);
        assert_eq!(asked("2026-01-03", "other"), 3);
        assert_eq!(asked("2026-01-03", "text"), 3);
        fs::write(tree.join("MAINTAINERS"), "b").unwrap();
        assert_eq!(asked("2026-01-03", "text"), 5);
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
