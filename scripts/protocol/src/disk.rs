// SPDX-License-Identifier: MIT OR Apache-2.0

//! What disks hold: bytes that follow from a seed and from where they are, so
//! that guest and host know them without telling each other. No two sectors are
//! the same.

/// What everything on a disk is a multiple of, in bytes.
pub const SECTOR: usize = 512;

/// The disks of the scenario `blk`, by number. Not every machine has the last.
pub const DATA: usize = 0;
pub const SCRATCH: usize = 1;
pub const READ_ONLY: usize = 2;
pub const PACKED: usize = 3;
pub const PLUGGABLE: usize = 4;

/// Their sizes, in KiB. Not all are whole numbers of pages.
pub const KIB: [u64; 5] = [16 * 1024 + 2, 64 * 1024, 2 * 1024, 16 * 1024, 16 * 1024];

/// What memory held that a device must not see.
pub const MARKER: [u8; 8] = *b"MaRkEr!?";

/// The seed of what the host puts on the disk with this number.
pub const fn host_seed(disk: usize) -> u64 {
    0x1000 + disk as u64
}

/// The finaliser of splitmix64: every bit of the result depends on all bits.
pub(crate) const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Random numbers that can be had again.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % limit
    }
}

fn words(seed: u64, at: u64) -> impl Iterator<Item = [u8; 8]> {
    let first = at / 8;
    (first..).map(move |word| mix(mix(seed) ^ word).to_le_bytes())
}

/// Fills `bytes`, which begin at `at` on a disk; both in whole sectors.
pub fn fill(seed: u64, at: u64, bytes: &mut [u8]) {
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words(seed, at)) {
        chunk.copy_from_slice(&word);
    }
}

/// Where `bytes`, which begin at `at` on a disk, are not what [`fill`] makes.
pub fn first_difference(seed: u64, at: u64, bytes: &[u8]) -> Option<u64> {
    let mut pairs = (0_u64..).zip(bytes.chunks_exact(8).zip(words(seed, at)));
    pairs
        .find(|(_, (chunk, word))| chunk != word)
        .map(|(index, _)| at + index * 8)
}

/// One of the writes that follow from a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// In bytes.
    pub at: u64,
    pub len: usize,
    /// Of what is written.
    pub seed: u64,
    /// Past the page cache.
    pub direct: bool,
}

/// The longest write, in bytes.
pub const LONGEST_WRITE: usize = 256 << 10;

/// Writes within the first `size` bytes of a disk. They overlap.
pub fn writes(seed: u64, count: u64, size: u64) -> impl Iterator<Item = Write> {
    let mut random = Random::new(seed);
    let sectors = size / SECTOR as u64;
    (0..count).map(move |number| {
        // Short ones more often than long ones.
        let most = 1 << random.below(10);
        let len = (1 + random.below(most)).min(sectors);
        Write {
            at: random.below(sectors - len + 1) * SECTOR as u64,
            len: len as usize * SECTOR,
            seed: seed.wrapping_mul(1_000_003).wrapping_add(number),
            direct: random.below(2) == 0,
        }
    })
}

/// Does [`writes`] to what a disk holds.
pub fn overwrite(seed: u64, count: u64, disk: &mut [u8]) {
    for write in writes(seed, count, disk.len() as u64) {
        let at = write.at as usize;
        fill(write.seed, write.at, &mut disk[at..at + write.len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_it_is_in_the_whole() {
        let (mut whole, mut part) = (vec![0; 8 * SECTOR], vec![0; 2 * SECTOR]);
        fill(7, 0, &mut whole);
        fill(7, 3 * SECTOR as u64, &mut part);
        assert_eq!(whole[3 * SECTOR..5 * SECTOR], part);
        assert_eq!(first_difference(7, 0, &whole), None);
        whole[3 * SECTOR + 9] ^= 1;
        assert_eq!(first_difference(7, 0, &whole), Some(3 * SECTOR as u64 + 8));
    }

    #[test]
    fn sectors_and_seeds_differ() {
        let sector = |seed, at| {
            let mut bytes = [0; SECTOR];
            fill(seed, at, &mut bytes);
            bytes
        };
        assert_ne!(sector(1, 0), sector(1, 512));
        assert_ne!(sector(1, 0), sector(2, 0));
    }

    #[test]
    fn writes_stay_inside_and_come_again() {
        let size = 1 << 20;
        let first: Vec<_> = writes(3, 200, size).collect();
        assert_eq!(first, writes(3, 200, size).collect::<Vec<_>>());
        assert!(first.iter().all(|write| {
            write.len > 0 && write.len <= LONGEST_WRITE && write.at + write.len as u64 <= size
        }));
        assert!(first.iter().any(|write| write.direct));
        assert!(first.iter().any(|write| !write.direct));
        assert!(writes(3, 9, 512).all(|write| write.at == 0 && write.len == SECTOR));
    }
}
