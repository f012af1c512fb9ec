// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stamps: a product counts only when the file that vouches for it, written
//! last, says what it was made from. What was interrupted is made again.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Reads a stamp; one that is missing or unreadable vouches for nothing.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomically(path, &serde_json::to_vec_pretty(value)?, 0o644)
}

pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Replaces `path` in one step, so that no reader, and no crash, sees half of it.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let name = || format!("cannot write {}", path.display());
    fs::create_dir_all(dir).with_context(name)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(name)?;
    file.write_all(bytes).with_context(name)?;
    let permissions = fs::Permissions::from_mode(mode);
    file.as_file()
        .set_permissions(permissions)
        .with_context(name)?;
    file.persist(path)
        .map_err(|failed| failed.error)
        .with_context(name)?;
    Ok(())
}

/// A short name for contents: 16 hexadecimal digits of their SHA-256.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds one part; its length goes in front, so that parts cannot run together.
    pub fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub fn finish(&self) -> String {
        let digest = self.0.clone().finalize();
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
