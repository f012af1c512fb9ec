// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where rustdoc writes: fifty thousand small files for each patch, which nobody
//! reads, so they go to memory if there is room.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

const MEMORY: &str = "/dev/shm";
/// What all of it takes, twice over.
const ROOM: u64 = 1 << 30;

/// Makes `make rustdoc` in `build_dir` write into a directory that goes away.
pub fn redirect(build_dir: &Path) -> Result<TempDir> {
    let has_room =
        statvfs(MEMORY).is_ok_and(|stat| stat.blocks_available() * stat.fragment_size() >= ROOM);
    let builder = || tempfile::Builder::new().prefix("rustdoc-").to_owned();
    let in_memory = has_room
        .then(|| builder().tempdir_in(MEMORY).ok())
        .flatten();
    let dir = match in_memory {
        Some(dir) => dir,
        None => builder()
            .tempdir()
            .context("cannot create a scratch directory")?,
    };
    let output = build_dir.join("Documentation/output");
    let name = || output.display().to_string();
    match fs::symlink_metadata(&output) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&output).with_context(name)?,
        Ok(_) => fs::remove_file(&output).with_context(name)?,
        Err(_) => (),
    }
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).with_context(name)?;
    }
    symlink(dir.path(), &output).with_context(name)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_makes_way() {
        let build = tempfile::tempdir().unwrap();
        let output = build.path().join("Documentation/output");
        fs::create_dir_all(output.join("rust")).unwrap();
        for _ in 0..2 {
            let dir = redirect(build.path()).unwrap();
            fs::write(output.join("index.html"), "").unwrap();
            assert!(dir.path().join("index.html").exists());
        }
        assert!(!output.exists());
    }
}
