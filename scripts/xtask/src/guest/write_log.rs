// SPDX-License-Identifier: MIT OR Apache-2.0

//! What QEMU's `blklogwrites` writes down: each write and each flush, in order.
//! From that comes what a disk with a volatile cache holds after a power cut.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{Random, SECTOR};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// What became of the writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub writes: u64,
    pub flushes: u64,
    /// Those behind the last flush, of which some are lost, or torn.
    pub unsafe_writes: u64,
    pub lost: u64,
}

struct Entry<'a> {
    sector: u64,
    sectors: u64,
    flags: u64,
    data: &'a [u8],
}

/// Makes `image`, which was empty at first, anew: with all writes in `log` up to the
/// last flush, and with some of the others.
pub fn replay(log: &Path, image: &Path, size: u64, seed: u64) -> Result<Replayed> {
    let bytes = fs::read(log).with_context(|| log.display().to_string())?;
    let entries = parse(&bytes)?;
    let is_flush = |entry: &Entry| entry.flags & (FLUSH | FUA) != 0;
    let safe = entries
        .iter()
        .rposition(is_flush)
        .map_or(0, |last| last + 1);
    let mut random = Random::new(seed);
    let mut replayed = Replayed {
        flushes: entries.iter().filter(|entry| is_flush(entry)).count() as u64,
        ..Replayed::default()
    };
    let file = File::create(image).with_context(|| image.display().to_string())?;
    file.set_len(size)?;
    for (index, entry) in entries.iter().enumerate() {
        if entry.sectors == 0 {
            continue;
        }
        replayed.writes += 1;
        let mut kept = entry.sectors;
        if index >= safe {
            replayed.unsafe_writes += 1;
            kept = match random.below(3) {
                0 => entry.sectors,
                1 => 0,
                _ => random.below(entry.sectors + 1),
            };
            replayed.lost += u64::from(kept < entry.sectors);
        }
        let (at, len) = (entry.sector * SECTOR as u64, kept as usize * SECTOR);
        match entry.flags & DISCARD {
            0 => file.write_all_at(&entry.data[..len], at)?,
            _ => file.write_all_at(&vec![0; len], at)?,
        }
    }
    Ok(replayed)
}

/// The entries, as far as they were written.
fn parse(bytes: &[u8]) -> Result<Vec<Entry<'_>>> {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    ensure!(word(0) == Some(MAGIC), "this is no log of writes");
    let sector_size = bytes.get(24..28).unwrap_or_default();
    ensure!(
        sector_size == (SECTOR as u32).to_le_bytes(),
        "the log's sectors are of another size"
    );
    let mut entries = Vec::new();
    let mut at = SECTOR;
    while let (Some(sector), Some(sectors), Some(flags)) = (word(at), word(at + 8), word(at + 16)) {
        if sectors == 0 && flags == 0 {
            break;
        }
        at += SECTOR;
        let len = match flags & DISCARD {
            0 => sectors as usize * SECTOR,
            _ => 0,
        };
        let Some(data) = bytes.get(at..at + len) else {
            break;
        };
        at += len;
        entries.push(Entry {
            sector,
            sectors,
            flags,
            data,
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, u64, u64, u8)]) -> Vec<u8> {
        let mut bytes = vec![0; SECTOR];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[24..28].copy_from_slice(&512_u32.to_le_bytes());
        for (sector, sectors, flags, fill) in entries {
            let mut header = vec![0; SECTOR];
            header[..8].copy_from_slice(&sector.to_le_bytes());
            header[8..16].copy_from_slice(&sectors.to_le_bytes());
            header[16..24].copy_from_slice(&flags.to_le_bytes());
            bytes.extend(header);
            if flags & DISCARD == 0 {
                bytes.extend(vec![*fill; *sectors as usize * SECTOR]);
            }
        }
        bytes
    }

    fn replayed(entries: &[(u64, u64, u64, u8)], seed: u64) -> (Replayed, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let (path, image) = (dir.path().join("log"), dir.path().join("image"));
        fs::write(&path, log(entries)).unwrap();
        let replayed = replay(&path, &image, 4 * SECTOR as u64, seed).unwrap();
        let bytes = fs::read(image).unwrap();
        (
            replayed,
            bytes.chunks(SECTOR).map(|sector| sector[0]).collect(),
        )
    }

    #[test]
    fn what_was_flushed_is_there_and_of_the_rest_some() {
        let entries = [
            (0, 2, 0, 7),
            (1, 1, DISCARD, 0),
            (0, 0, FLUSH, 0),
            (2, 2, 0, 9),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let (replayed, sectors) = replayed(&entries, seed);
            assert_eq!(sectors[..2], [7, 0]);
            assert_eq!((replayed.writes, replayed.flushes), (3, 1));
            assert_eq!(replayed.unsafe_writes, 1);
            seen.insert(sectors[2..].to_vec());
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            [[0, 0], [9, 0], [9, 9]]
        );
    }

    #[test]
    fn a_log_may_end_early_but_must_be_one() {
        let whole = log(&[(0, 1, 0, 1), (1, 1, 0, 2)]);
        assert_eq!(parse(&whole).unwrap().len(), 2);
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap().len(), 1);
        assert!(parse(&[0; 1024]).is_err());
    }
}
