// SPDX-License-Identifier: MIT OR Apache-2.0

//! What compilers complain about without giving up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::kbuild::Kbuild;
use crate::assemble::{edited_files, our_files};
use crate::stamp;

/// The warnings of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Warnings {
    /// Those that name a file of ours, whole.
    pub ours: Vec<String>,
    /// How many do not.
    pub foreign: usize,
}

/// Warnings by the name of the step.
pub type ByStep = BTreeMap<String, Warnings>;

/// Makes make compile all again that may complain about our files, or about what
/// we edit.
pub fn forget_our_objects(kbuild: &Kbuild) -> Result<()> {
    let edited = edited_files(&kbuild.repo)?;
    for file in our_files(&kbuild.repo)?.into_iter().chain(edited) {
        if let Some(object) = object(&file) {
            stamp::remove(&kbuild.dir.join(object))?;
        }
    }
    Ok(())
}

/// The object that a source file goes into.
fn object(file: &Path) -> Option<PathBuf> {
    if file.starts_with("rust/kernel") {
        return Some("rust/kernel.o".into());
    }
    if file.starts_with("rust/helpers") {
        return Some("rust/helpers/helpers.o".into());
    }
    let extension = file.extension()?;
    (extension == "rs" || extension == "c").then(|| file.with_extension("o"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_known_by_their_objects() {
        let object = |path: &str| object(Path::new(path));
        let expected = Some(PathBuf::from("rust/kernel.o"));
        assert_eq!(object("rust/kernel/virtio/queue.rs"), expected);
        let expected = Some(PathBuf::from("drivers/virtio/virtio_sim.o"));
        assert_eq!(object("drivers/virtio/virtio_sim.c"), expected);
        assert_eq!(object("include/linux/virtio_sim.h"), None);
    }
}
