// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cuts our files and edits into what each patch changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use super::chunk;
use super::declaration::{Patch, Topic, DIR};
use crate::assemble::{merge_maintainers, our_contents, Content, Contents, Listing, Patcher};
use crate::bail_help;
use crate::failure::Failure;
use crate::source::Source;

const MAINTAINERS: &str = "MAINTAINERS";

/// One patch and the files that it changes, as they are after it.
pub struct Step<'a> {
    pub topic: &'a Topic,
    pub patch: &'a Patch,
    pub contents: Contents,
}

/// Every step of every topic, in order.
///
/// # Errors
/// When a file, an edit or a part belongs to no patch or to two, or when the
/// last step does not leave the work tree as `assemble` makes it.
pub fn cut<'a>(
    repo: &Path,
    source: &Source,
    listing: &Listing,
    topics: &'a [Topic],
) -> Result<Vec<Step<'a>>> {
    let ours = our_contents(repo, listing)?;
    let patches: Vec<_> = topics
        .iter()
        .flat_map(|topic| topic.patches.iter().map(move |patch| (topic, patch)))
        .collect();
    let plan: Vec<_> = patches.iter().map(|(_, patch)| *patch).collect();
    check_owners(repo, &ours, &plan)?;
    let parts = Parts::find(&ours, &plan)?;
    let mut patcher = Patcher::new(repo, source, listing)?;
    let mut maintainers = Maintainers::read(repo, source)?;
    let mut there = BTreeSet::new();
    let mut steps = Vec::new();
    for (number, (topic, patch)) in patches.into_iter().enumerate() {
        there.extend(patch.files.iter().cloned());
        let mut contents = Contents::new();
        for path in patch.files.iter().chain(patch.lines.keys()) {
            if !there.contains(path) {
                return Err(refused(
                    patch,
                    &format!("names lines of {}, which is not there yet", path.display()),
                ));
            }
            contents.insert(path.clone(), parts.content(path, &ours[path], number));
        }
        for edit in &patch.edits {
            contents.extend(patcher.apply(&edit_path(repo, edit))?);
        }
        if let Some(content) = maintainers.after(&there)? {
            contents.insert(MAINTAINERS.into(), content);
        }
        steps.push(Step {
            topic,
            patch,
            contents,
        });
    }
    check_end(repo, source, listing, &steps)?;
    Ok(steps)
}

fn edit_path(repo: &Path, name: &str) -> PathBuf {
    repo.join(crate::assemble::EDITS)
        .join(format!("{name}.patch"))
}

fn refused(patch: &Patch, what: &str) -> anyhow::Error {
    Failure::new(
        format!("the patch {:?} {what}", patch.subject),
        format!("see {DIR}"),
    )
    .into()
}

fn check_owners(repo: &Path, ours: &Contents, plan: &[&Patch]) -> Result<()> {
    let edits = crate::assemble::edit_files(repo)?;
    let edits: BTreeSet<_> = edits.iter().cloned().collect();
    let mut owners: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for patch in plan {
        let named = patch.files.iter().cloned();
        let named = named.chain(patch.edits.iter().map(|edit| edit_path(repo, edit)));
        for path in named {
            if !ours.contains_key(&path) && !edits.contains(&path) {
                return Err(refused(
                    patch,
                    &format!("names {}, which is not there", path.display()),
                ));
            }
            *owners.entry(path).or_default() += 1;
        }
    }
    let all = ours.keys().chain(&edits);
    let wrong: Vec<_> = all
        .filter_map(|path| match owners.get(path) {
            None => Some(format!("  {} belongs to no patch", path.display())),
            Some(1) => None,
            Some(_) => Some(format!("  {} belongs to two patches", path.display())),
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail_help!(
        format!("the series is not the checkout:\n{}", wrong.join("\n")),
        format!("every file and every edit belongs to one patch: add it to a topic in {DIR}")
    )
}

/// Which lines of a file come with which later patch.
struct Parts(BTreeMap<PathBuf, Vec<(usize, std::ops::Range<usize>)>>);

impl Parts {
    fn find(ours: &Contents, plan: &[&Patch]) -> Result<Self> {
        let mut parts: BTreeMap<PathBuf, Vec<(usize, std::ops::Range<usize>)>> = BTreeMap::new();
        for (number, patch) in plan.iter().enumerate() {
            for (path, starts) in &patch.lines {
                let content = ours.get(path).ok_or_else(|| {
                    refused(
                        patch,
                        &format!(
                            "names lines of {}, which is no file of ours",
                            path.display()
                        ),
                    )
                })?;
                let text = std::str::from_utf8(&content.bytes)?;
                let lines: Vec<_> = text.lines().collect();
                for start in starts {
                    let range = chunk::find(&lines, start).map_err(|error| {
                        refused(patch, &format!("cannot cut {}: {error}", path.display()))
                    })?;
                    let known = parts.entry(path.clone()).or_default();
                    if known
                        .iter()
                        .any(|(_, other)| other.start < range.end && range.start < other.end)
                    {
                        return Err(refused(
                            patch,
                            &format!(
                                "names lines of {} that are named already: {start:?}",
                                path.display()
                            ),
                        ));
                    }
                    known.push((number, range));
                }
            }
        }
        Ok(Self(parts))
    }

    /// The file as it is after the patch of that number.
    fn content(&self, path: &Path, whole: &Content, number: usize) -> Content {
        let Some(parts) = self.0.get(path) else {
            return whole.clone();
        };
        let later = |index: usize| {
            parts
                .iter()
                .any(|(with, range)| *with > number && range.contains(&index))
        };
        let lines = whole.bytes.split_inclusive(|byte| *byte == b'\n');
        let kept = lines.enumerate().filter(|(index, _)| !later(*index));
        Content {
            bytes: kept.flat_map(|(_, line)| line).copied().collect(),
            mode: whole.mode,
        }
    }
}

/// MAINTAINERS, as far as what it names is there: an entry comes with the first
/// of its files, each of its lines with the first file that it covers.
struct Maintainers {
    theirs: String,
    ours: String,
    last: String,
}

impl Maintainers {
    fn read(repo: &Path, source: &Source) -> Result<Self> {
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let theirs = read(source.dir.join(MAINTAINERS))?;
        Ok(Self {
            last: theirs.clone(),
            ours: read(repo.join(MAINTAINERS))?,
            theirs,
        })
    }

    /// The file with what covers `files`, if that is new.
    fn after(&mut self, files: &BTreeSet<PathBuf>) -> Result<Option<Content>> {
        let entries: Vec<_> = self
            .ours
            .split("\n\n")
            .filter_map(|entry| covering(entry, files))
            .collect();
        let merged = match entries.is_empty() {
            true => self.theirs.clone(),
            false => merge_maintainers(&self.theirs, &entries.join("\n\n"))?,
        };
        if merged == self.last {
            return Ok(None);
        }
        self.last.clone_from(&merged);
        Ok(Some(Content {
            bytes: merged.into_bytes(),
            mode: 0o644,
        }))
    }
}

/// The entry with those of its `F:` lines that cover one of `files`.
fn covering(entry: &str, files: &BTreeSet<PathBuf>) -> Option<String> {
    let wanted = |line: &&str| match line.strip_prefix("F:\t") {
        Some(pattern) => files.iter().any(|file| covers(pattern, file)),
        None => true,
    };
    let lines: Vec<_> = entry.lines().filter(wanted).collect();
    let any = lines.iter().any(|line| line.starts_with("F:\t"));
    any.then(|| lines.join("\n"))
}

/// As get_maintainer.pl reads a pattern: a directory covers all below it; a star
/// matches within one name.
fn covers(pattern: &str, file: &Path) -> bool {
    let file = file.to_string_lossy();
    if pattern.ends_with('/') {
        return file.starts_with(pattern);
    }
    let mut pieces = pattern.split('*');
    let Some(mut rest) = file.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        let found = match pieces.peek() {
            None => rest.ends_with(piece).then(|| rest.len() - piece.len()),
            Some(_) => rest.find(piece),
        };
        let Some(at) = found else { return false };
        if rest[..at].contains('/') {
            return false;
        }
        rest = &rest[at + piece.len()..];
    }
    true
}

/// The steps together have to make what `assemble` makes.
fn check_end(repo: &Path, source: &Source, listing: &Listing, steps: &[Step]) -> Result<()> {
    let mut end = Contents::new();
    for step in steps {
        end.extend(
            step.contents
                .iter()
                .map(|(path, content)| (path.clone(), content.clone())),
        );
    }
    let whole = crate::assemble::contents(repo, source, listing)?;
    if let Some(path) = whole
        .keys()
        .chain(end.keys())
        .find(|path| whole.get(*path) != end.get(*path))
    {
        return Err(anyhow!(
            "after the last patch, {} is not what the checkout has",
            path.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_as_in_maintainers() {
        let covers = |pattern: &str, file: &str| covers(pattern, Path::new(file));
        assert!(covers("rust/kernel/virtio/", "rust/kernel/virtio/ring.rs"));
        assert!(!covers("rust/kernel/virtio/", "rust/kernel/virtio.rs"));
        assert!(covers(
            "drivers/virtio/virtio_sim*",
            "drivers/virtio/virtio_sim_map.c"
        ));
        assert!(!covers(
            "drivers/virtio/virtio_sim*",
            "drivers/virtio/virtio_sim/map.c"
        ));
        assert!(covers("a/b*.rs", "a/b_kunit.rs"));
        assert!(!covers("a/b*.rs", "a/b_kunit.c"));
        assert!(!covers("a/b.rs", "a/b.rsx"));
    }

    #[test]
    fn an_entry_has_only_the_lines_whose_files_are_there() {
        let files = [PathBuf::from("a/x.rs")].into();
        let entry = "TITLE\nL:\tlist\nF:\ta/\nF:\tb/";
        assert_eq!(covering(entry, &files).unwrap(), "TITLE\nL:\tlist\nF:\ta/");
        assert_eq!(covering("TITLE\nF:\tb/", &files), None);
    }

    #[test]
    fn parts_of_later_patches_are_left_out() {
        let parts = Parts([(PathBuf::from("f"), vec![(1, 1..2), (2, 2..4)])].into());
        let whole = Content {
            bytes: b"a\nb\nc\nd\ne\n".to_vec(),
            mode: 0o644,
        };
        let text = |number| {
            let content = parts.content(Path::new("f"), &whole, number);
            String::from_utf8(content.bytes).unwrap()
        };
        assert_eq!(text(0), "a\ne\n");
        assert_eq!(text(1), "a\nb\ne\n");
        assert_eq!(text(2), "a\nb\nc\nd\ne\n");
    }
}
