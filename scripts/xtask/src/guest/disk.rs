// SPDX-License-Identifier: MIT OR Apache-2.0

//! The images of disks: made for a guest, offered to it, and compared with what
//! they must hold when it is gone.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context as _, Result};
use protocol::disk::{fill, host_seed, overwrite};
use protocol::{Event, Outcome};
use serde_json::{json, Value};

use crate::scenario::{Boot, Disk};

/// The check that the host makes of the images.
pub const CHECK: &str = "image";

pub fn image(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("disk{number}.img"))
}

/// Where the writes to a disk are written down.
pub fn log(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("disk{number}.log"))
}

/// The name that the device side knows the disk by, and its serial number.
pub fn name(number: usize) -> String {
    format!("disk{number}")
}

/// Makes the images that are not there yet.
pub fn make(dir: &Path, boot: &Boot) -> Result<()> {
    for (number, disk) in boot.disks.iter().enumerate() {
        let path = image(dir, number);
        if !path.exists() {
            make_one(&path, number, disk).with_context(|| path.display().to_string())?;
        }
        if disk.logged {
            File::create(log(dir, number))?;
        }
    }
    Ok(())
}

fn make_one(path: &Path, number: usize, disk: &Disk) -> Result<()> {
    let mut file = File::create(path)?;
    match disk.filled {
        true => file.write_all(&original(number, disk.kib << 10))?,
        false => file.set_len(disk.kib << 10)?,
    }
    Ok(())
}

/// What the host puts on a disk.
pub fn original(number: usize, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    fill(host_seed(number), 0, &mut bytes);
    bytes
}

/// The image as QEMU and the storage daemon are told of it.
pub fn blockdev(dir: &Path, number: usize, disk: &Disk) -> String {
    let file = |path: PathBuf, discard: &str| json!({ "driver": "file", "filename": path, "discard": discard });
    let mut node = json!({
        "driver": "raw",
        "file": file(image(dir, number), "unmap"),
        "discard": "unmap",
        "read-only": disk.read_only,
    });
    if disk.logged {
        node = json!({
            "driver": "blklogwrites",
            "file": node,
            "log": file(log(dir, number), "ignore"),
            "log-super-update-interval": 1,
        });
    }
    node["node-name"] = Value::from(name(number));
    node.to_string()
}

/// How much room the image takes, in KiB.
pub fn allocated(dir: &Path, number: usize) -> Result<u64> {
    let path = image(dir, number);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    // Space may be reserved for what has not been written out yet.
    file.sync_all()?;
    Ok(file.metadata()?.blocks() / 2)
}

/// What the guest said that disks hold, by the disk.
#[derive(Debug, Default)]
pub struct Claims(Vec<(usize, u64, u64)>);

impl Claims {
    pub fn hear(&mut self, event: &Event) {
        if let Event::Holds { disk, seed, writes } = event {
            self.0.push((*disk, *seed, *writes));
        }
    }

    /// The result, if the guest claimed anything.
    pub fn judge(&self, dir: &Path, boot: &Boot) -> Option<Outcome> {
        if self.0.is_empty() {
            return None;
        }
        let compared = self
            .0
            .iter()
            .map(|claim| compare(dir, boot, *claim))
            .sum::<Result<u64>>();
        let (value, ok, detail) = match compared {
            Ok(kib) => (
                kib as f64,
                true,
                "of images are what the guest wrote".into(),
            ),
            Err(error) => (0.0, false, format!("{error:#}")),
        };
        Some(Outcome {
            name: CHECK.into(),
            value,
            unit: "KiB".into(),
            ok,
            detail,
        })
    }
}

/// Compares byte for byte; returns how much that was.
fn compare(dir: &Path, boot: &Boot, (number, seed, count): (usize, u64, u64)) -> Result<u64> {
    let Some(disk) = boot.disks.get(number) else {
        bail!("the guest speaks of a disk {number}, which it does not have");
    };
    let size = disk.kib << 10;
    let mut expected = match disk.filled {
        true => original(number, size),
        false => vec![0; size as usize],
    };
    overwrite(seed, count, &mut expected);
    let mut found = Vec::with_capacity(expected.len());
    File::open(image(dir, number))?.read_to_end(&mut found)?;
    ensure!(
        found.len() == expected.len(),
        "the image of disk {number} has {} bytes, not {}",
        found.len(),
        expected.len()
    );
    let differ = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
    if let Some(first) = expected.iter().zip(&found).position(|(a, b)| a != b) {
        bail!(
            "{differ} bytes of the image of disk {number} are not what the guest wrote, the first \
             in sector {}",
            first / protocol::disk::SECTOR
        );
    }
    Ok(disk.kib)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::disk::writes;

    use super::*;
    use crate::scenario::{self, Platform};

    fn boot() -> Boot {
        Boot {
            disks: vec![Disk {
                filled: true,
                ..Disk::new(64)
            }],
            ..scenario::smoke(Platform::Qemu)
        }
    }

    #[test]
    fn an_image_is_compared_with_what_was_claimed() {
        let (dir, boot) = (tempfile::tempdir().unwrap(), boot());
        let mut claims = Claims::default();
        make(dir.path(), &boot).unwrap();
        assert!(claims.judge(dir.path(), &boot).is_none());
        claims.hear(&Event::Holds {
            disk: 0,
            seed: 5,
            writes: 3,
        });
        let outcome = claims.judge(dir.path(), &boot).unwrap();
        assert!(!outcome.ok, "{outcome:?}");
        let path = image(dir.path(), 0);
        let mut bytes = fs::read(&path).unwrap();
        for write in writes(5, 3, 64 << 10) {
            let at = write.at as usize;
            fill(write.seed, write.at, &mut bytes[at..at + write.len]);
        }
        fs::write(&path, &bytes).unwrap();
        assert!(claims.judge(dir.path(), &boot).unwrap().ok);
        bytes[700] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let outcome = claims.judge(dir.path(), &boot).unwrap();
        assert!(outcome.detail.contains("1 bytes"), "{outcome:?}");
        assert!(outcome.detail.contains("sector 1"), "{outcome:?}");
    }

    #[test]
    fn an_empty_image_takes_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut boot = boot();
        boot.disks[0].filled = false;
        make(dir.path(), &boot).unwrap();
        assert_eq!(allocated(dir.path(), 0).unwrap(), 0);
        assert_eq!(fs::metadata(image(dir.path(), 0)).unwrap().len(), 64 << 10);
    }

    #[test]
    fn a_log_is_put_around_the_image() {
        let disk = Disk {
            logged: true,
            ..Disk::new(64)
        };
        let node: Value = serde_json::from_str(&blockdev(Path::new("/d"), 1, &disk)).unwrap();
        assert_eq!(node["node-name"], "disk1");
        assert_eq!(node["file"]["file"]["filename"], "/d/disk1.img");
        assert_eq!(node["log"]["filename"], "/d/disk1.log");
    }
}
