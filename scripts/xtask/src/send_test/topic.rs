// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is to be sent: a folder of patches for each topic, each of them a thread.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::letter::{Letter, Person};
use crate::bail_help;

const HELP: &str = "run make patches";

/// One thread: a cover letter and its patches.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub version: u32,
    pub files: Vec<PathBuf>,
    /// What is in the files.
    pub letters: Vec<Letter>,
}

impl Topic {
    pub fn cover(&self) -> &Letter {
        &self.letters[0]
    }

    pub fn patches(&self) -> &[Letter] {
        &self.letters[1..]
    }

    pub fn sender(&self) -> &Person {
        &self.cover().from[0]
    }

    /// What points to the tip of it in the repository of the series.
    pub fn reference(&self) -> String {
        format!("refs/series/{}/v{}", self.name, self.version)
    }

    fn read(dir: &Path, name: &str) -> Result<Self> {
        let mut files = listed(dir, |path| path.extension().is_some_and(|it| it == "patch"))?;
        files.sort();
        let numbers: Option<Vec<_>> = files.iter().map(|file| number(file)).collect();
        let version = numbers.as_deref().and_then(one_version);
        let Some(version) = version.filter(|_| files.len() > 1) else {
            bail_help!(
                format!(
                    "{} does not hold one cover letter and its patches, numbered without a gap",
                    dir.display()
                ),
                format!("remove it, then {HELP}")
            );
        };
        let letters = files
            .iter()
            .map(|file| {
                let bytes = fs::read(file).with_context(|| file.display().to_string())?;
                Letter::parse(&bytes).with_context(|| file.display().to_string())
            })
            .collect::<Result<Vec<_>>>()?;
        check_senders(dir, &letters)?;
        Ok(Self {
            name: name.to_owned(),
            version,
            files,
            letters,
        })
    }
}

/// All topics in `dir`, in the order in which they build on each other.
pub fn read_all(dir: &Path) -> Result<Vec<Topic>> {
    let mut folders = match dir.is_dir() {
        true => listed(dir, Path::is_dir)?,
        false => Vec::new(),
    };
    folders.sort();
    if folders.is_empty() {
        bail_help!(format!("there are no patches in {}", dir.display()), HELP);
    }
    let read = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        Topic::read(folder, &name.to_string_lossy())
    };
    let topics = folders.iter().map(read).collect::<Result<Vec<_>>>()?;
    check_names(&topics)?;
    Ok(topics)
}

/// Archives would take two mails of one name for one. Git gives that name to
/// cover letters that it makes within one second.
fn check_names(topics: &[Topic]) -> Result<()> {
    let mut known = BTreeSet::new();
    for letter in topics.iter().flat_map(|topic| &topic.letters) {
        if !known.insert(&letter.id) {
            bail_help!(
                format!("two mails are named {}", letter.id),
                "give each cover letter a Message-ID of its own"
            );
        }
    }
    Ok(())
}

/// Two authors in one thread would make the mailer change the text.
fn check_senders(dir: &Path, letters: &[Letter]) -> Result<()> {
    let from = &letters[0].from;
    if from.len() != 1 || letters.iter().any(|letter| letter.from != *from) {
        bail_help!(
            format!("the mails in {} are not all from one person", dir.display()),
            "make the patches with git format-patch --from"
        );
    }
    Ok(())
}

fn listed(dir: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| dir.display().to_string())?.path();
        if keep(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The version and the number in `v2-0001-subject.patch` or `0001-subject.patch`.
fn number(file: &Path) -> Option<(u32, usize)> {
    let name = file.file_name()?.to_str()?;
    let (version, rest) = match name.strip_prefix('v') {
        Some(rest) => {
            let (version, rest) = rest.split_once('-')?;
            (version.parse().ok()?, rest)
        }
        None => (1, name),
    };
    let (number, _) = rest.split_once('-')?;
    Some((version, number.parse().ok()?))
}

/// The version, if it is one, and the numbers start at 0 and have no gap.
fn one_version(numbers: &[(u32, usize)]) -> Option<u32> {
    let (version, _) = numbers.first()?;
    let in_order = |(expected, number): (usize, &(u32, usize))| *number == (*version, expected);
    numbers.iter().enumerate().all(in_order).then_some(*version)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A cover letter and two patches.
    pub fn topic() -> Topic {
        let head = |id: u32, rest: &str| {
            format!(
                "Message-ID: <{id}@x>\nFrom: A <a@example.org>\nTo: B <b@example.org>\n\
                 Cc: C <c@example.org>, a@example.org\n{rest}"
            )
        };
        let reply = "In-Reply-To: <0@x>\nReferences: <0@x>\nSubject: [PATCH v2";
        let mails = [
            head(0, "Subject: [PATCH v2 0/2] both\n\nCover\n"),
            head(1, &format!("{reply} 1/2] one\n\nOne\n---\n+1\n")),
            head(2, &format!("{reply} 2/2] two\n\nTwo\n---\n+2\n")),
        ];
        let mails = mails.iter().map(|mail| Letter::parse(mail.as_bytes()));
        Topic {
            name: "10-topic".into(),
            version: 2,
            files: Vec::new(),
            letters: mails.collect::<Result<_>>().unwrap(),
        }
    }

    #[test]
    fn file_names_tell_version_and_number() {
        assert_eq!(number(Path::new("x/0003-a-b.patch")), Some((1, 3)));
        assert_eq!(number(Path::new("v12-0000-cover.patch")), Some((12, 0)));
        assert_eq!(number(Path::new("virtio.patch")), None);
        assert_eq!(one_version(&[(2, 0), (2, 1)]), Some(2));
        assert_eq!(one_version(&[(2, 0), (2, 2)]), None);
        assert_eq!(one_version(&[(1, 0), (2, 1)]), None);
        assert_eq!(one_version(&[(1, 1), (1, 2)]), None);
    }

    #[test]
    fn a_folder_with_a_gap_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("10-a");
        fs::create_dir(&folder).unwrap();
        for (file, letter) in ["0000-a.patch", "0002-b.patch"].iter().zip(topic().letters) {
            fs::write(folder.join(file), letter.raw).unwrap();
        }
        let error = read_all(dir.path()).unwrap_err();
        assert!(error.to_string().contains("without a gap"), "{error}");
        fs::rename(folder.join("0002-b.patch"), folder.join("0001-b.patch")).unwrap();
        let topics = read_all(dir.path()).unwrap();
        assert_eq!(topics[0].reference(), "refs/series/10-a/v1");
        assert_eq!(topics[0].sender().full(), "A <a@example.org>");
    }

    #[test]
    fn no_patches_are_told() {
        let error = read_all(Path::new("/no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("there are no patches"));
    }
}
