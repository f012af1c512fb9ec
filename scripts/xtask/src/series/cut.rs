// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cuts our files and edits into what each patch changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Result};

use super::chunk;
use super::declaration::{Patch, Topic};
use super::maintainers::{self, Maintainers};
use super::owners::{self, edit_path, refused};
use crate::assemble::{our_contents, Content, Contents, Listing, Patcher};
use crate::source::Source;

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
    owners::check(repo, &ours, &plan)?;
    maintainers::check(repo, &ours)?;
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
            contents.insert(maintainers::FILE.into(), content);
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
