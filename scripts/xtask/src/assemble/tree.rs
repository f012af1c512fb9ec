// SPDX-License-Identifier: MIT OR Apache-2.0

//! The work tree's files: made equal to the source, touching only what differs.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use super::listing::{mtime_of, Entry, Listing};
use super::ours::{Content, Contents};
use super::state::{Settled, State};
use crate::process_group::check_interrupt;
use crate::stamp::write_atomically;
use crate::ui::Stage;

/// How many names of changed files are printed before only a number is.
const NAMED: usize = 10;

/// One work tree and what it is made from.
pub struct Sync<'a> {
    pub source_dir: &'a Path,
    pub source: &'a Listing,
    pub tree_dir: &'a Path,
    pub tree: &'a Listing,
    pub stage: &'a Stage,
}

/// What had to be done, for the report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub copied: usize,
    /// Files that had come to differ from the source since the last run.
    pub restored: Vec<PathBuf>,
    /// Files of this checkout that were written or taken away.
    pub ours: usize,
}

impl Sync<'_> {
    /// Makes the tree hold the source's files and `contents`, nothing else.
    pub fn run(&self, state: &mut State, contents: &Contents) -> Result<Changes> {
        let mut changes = Changes::default();
        self.remove_strangers(state, contents, &mut changes)?;
        self.copy_source(state, contents, &mut changes)?;
        for (path, content) in contents {
            state.settled.remove(path);
            if self.write(path, content)? {
                changes.ours += 1;
            }
        }
        state.managed = contents.keys().cloned().collect();
        self.report(&changes);
        Ok(changes)
    }

    fn remove_strangers(
        &self,
        state: &mut State,
        contents: &Contents,
        changes: &mut Changes,
    ) -> Result<()> {
        let strangers = self
            .tree
            .keys()
            .filter(|path| !self.source.contains_key(*path) && !contents.contains_key(*path));
        for path in strangers {
            let full = self.tree_dir.join(path);
            fs::remove_file(&full).with_context(|| full.display().to_string())?;
            remove_empty_parents(self.tree_dir, path);
            state.settled.remove(path);
            if state.managed.contains(path) {
                changes.ours += 1;
            } else if state.complete {
                changes.restored.push(path.clone());
            }
        }
        Ok(())
    }

    fn copy_source(
        &self,
        state: &mut State,
        contents: &Contents,
        changes: &mut Changes,
    ) -> Result<()> {
        if !state.complete {
            self.stage.message("copying the source");
            self.stage.set_total(Some(self.source.len() as u64));
        }
        for (done, (path, wanted)) in self.source.iter().enumerate() {
            if done % 256 == 0 {
                check_interrupt()?;
                self.stage.set_pos(done as u64);
            }
            if contents.contains_key(path) || self.is_settled(state, path, wanted) {
                continue;
            }
            if !state.complete {
                self.copy(path, wanted, true)?;
                changes.copied += 1;
            } else if self.bring_up_to_date(state, path, wanted)? {
                match state.managed.contains(path) {
                    true => changes.ours += 1,
                    false => changes.restored.push(path.clone()),
                }
            }
        }
        self.stage.set_total(None);
        Ok(())
    }

    /// Whether size and times say that nothing happened to a file.
    fn is_settled(&self, state: &State, path: &Path, wanted: &Entry) -> bool {
        let Some(found) = self.tree.get(path) else {
            return false;
        };
        if found == wanted {
            return true;
        }
        let times = Settled {
            tree: found.mtime,
            source: wanted.mtime,
        };
        let same = Entry {
            mtime: wanted.mtime,
            ..found.clone()
        } == *wanted;
        same && state.settled.get(path) == Some(&times)
    }

    /// Returns whether the content was another one.
    fn bring_up_to_date(&self, state: &mut State, path: &Path, wanted: &Entry) -> Result<bool> {
        let full = self.tree_dir.join(path);
        let changed = !self.same_content(path, wanted);
        if changed {
            self.copy(path, wanted, false)?;
        }
        let meta = fs::symlink_metadata(&full).with_context(|| full.display().to_string())?;
        if wanted.link.is_none() {
            let times = Settled {
                tree: mtime_of(&meta),
                source: wanted.mtime,
            };
            state.settled.insert(path.to_owned(), times);
        }
        Ok(changed)
    }

    fn same_content(&self, path: &Path, wanted: &Entry) -> bool {
        let Some(found) = self.tree.get(path) else {
            return false;
        };
        if found.link.is_some() || wanted.link.is_some() {
            return found.link == wanted.link;
        }
        if found.size != wanted.size || found.executable != wanted.executable {
            return false;
        }
        let read = |dir: &Path| fs::read(dir.join(path)).ok();
        let content = read(self.tree_dir);
        content.is_some() && content == read(self.source_dir)
    }

    /// Copies one file of the source, with its time or with a new one.
    fn copy(&self, path: &Path, wanted: &Entry, keep_time: bool) -> Result<()> {
        let (from, to) = (self.source_dir.join(path), self.tree_dir.join(path));
        let name = || format!("cannot write {}", to.display());
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(name)?;
        }
        // A link, or a file that a program maps, is replaced, not written into.
        if fs::symlink_metadata(&to).is_ok() {
            fs::remove_file(&to).with_context(name)?;
        }
        if let Some(target) = &wanted.link {
            return symlink(target, &to).with_context(name);
        }
        // The kernel shares the blocks of both files where it can.
        fs::copy(&from, &to).with_context(name)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(wanted.mode())).with_context(name)?;
        let time = match keep_time {
            true => SystemTime::UNIX_EPOCH + Duration::from_nanos(wanted.mtime.max(0) as u64),
            false => SystemTime::now(),
        };
        let file = File::options().write(true).open(&to).with_context(name)?;
        file.set_modified(time).with_context(name)
    }

    /// Returns whether the file had to be written.
    fn write(&self, path: &Path, content: &Content) -> Result<bool> {
        let full = self.tree_dir.join(path);
        let unchanged = fs::symlink_metadata(&full).is_ok_and(|meta| {
            meta.is_file() && (meta.permissions().mode() & 0o777) == content.mode
        }) && fs::read(&full).is_ok_and(|bytes| bytes == content.bytes);
        if !unchanged {
            write_atomically(&full, &content.bytes, content.mode)?;
        }
        Ok(!unchanged)
    }

    fn report(&self, changes: &Changes) {
        for path in changes.restored.iter().take(NAMED) {
            let what = match self.source.contains_key(path) {
                true => "differed from the source: copied again",
                false => "is not in the source: removed",
            };
            self.stage.line(&format!("{} {what}", path.display()));
        }
        let more = changes.restored.len().saturating_sub(NAMED);
        if more > 0 {
            self.stage.line(&format!("and {more} more"));
        }
    }
}

fn remove_empty_parents(top: &Path, path: &Path) {
    for parent in path.ancestors().skip(1) {
        // Fails, as it should, for the first one that still holds something.
        if parent.as_os_str().is_empty() || fs::remove_dir(top.join(parent)).is_err() {
            return;
        }
    }
}
