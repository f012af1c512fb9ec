// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was read of a disk, word by word.

use protocol::disk::{fill, MARKER};
use protocol::hostile::Met;

/// Words in `bytes` that hold the marker.
pub fn markers(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(MARKER.len());
    words.filter(|word| **word == MARKER).count() as u64
}

/// Tells of what begins at `at` and was to be the pattern of `seed`.
pub fn judge(met: &mut Met, seed: u64, at: u64, bytes: &[u8]) {
    let mut expected = vec![0; bytes.len()];
    fill(seed, at, &mut expected);
    let (found, expected) = (bytes.chunks_exact(8), expected.chunks_exact(8));
    for (found, _) in found.zip(expected).filter(|(found, right)| found != right) {
        match *found == MARKER {
            true => met.stale += 1,
            false => met.blank += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::hostile::Part;

    use super::*;

    #[test]
    fn words_are_right_or_stale_or_blank() {
        let mut bytes = vec![0; 4096];
        fill(3, 512, &mut bytes);
        let mut met = Met::new(Part::Work);
        judge(&mut met, 3, 512, &bytes);
        assert_eq!((met.stale, met.blank), (0, 0));
        bytes[8..16].copy_from_slice(&MARKER);
        bytes[64..80].fill(0xa5);
        judge(&mut met, 3, 512, &bytes);
        assert_eq!((met.stale, met.blank), (1, 2));
    }

    #[test]
    fn a_marker_that_is_not_a_word_is_none() {
        let mut bytes = vec![0; 64];
        bytes[3..11].copy_from_slice(&MARKER);
        assert_eq!(markers(&bytes), 0);
        bytes[40..48].copy_from_slice(&MARKER);
        assert_eq!(markers(&bytes), 1);
    }
}
