// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was read of the lab's entropy device: which words it is made of.

use protocol::disk::MARKER;
use protocol::hostile::{words, Met};

/// Words in what was read, which need not begin with a whole one.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// Markers, and words that had been there before.
    pub stale: u64,
    /// As many words as the rest would be.
    pub blank: u64,
}

impl Found {
    /// The numbers may come in any order: the class keeps some of what it reads.
    pub fn of(bytes: &[u8]) -> Self {
        let mut numbers = Vec::new();
        let (mut markers, mut strange) = (0, 0_u64);
        let mut rest = bytes;
        while let Some((word, after)) = rest.split_at_checked(words::LEN) {
            let number = words::number(word);
            numbers.extend(number.map(u64::from));
            markers += u64::from(word == MARKER);
            let known = number.is_some() || word == MARKER;
            strange += u64::from(!known);
            rest = if known { after } else { &rest[1..] };
        }
        let all = numbers.len() as u64;
        numbers.sort_unstable();
        numbers.dedup();
        let different = numbers.len() as u64;
        Self {
            stale: markers + all - different,
            // The halves of a word that was cut are not worth one.
            blank: strange / words::LEN as u64,
        }
    }

    pub fn tell(&self, met: &mut Met) {
        met.stale += self.stale;
        met.blank += self.blank;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().copied().flat_map(words::word).collect()
    }

    fn found(stale: u64, blank: u64) -> Found {
        Found { stale, blank }
    }

    #[test]
    fn honest_words_are_in_order_or_not() {
        assert_eq!(Found::of(&bytes(&[5, 6, 7])), found(0, 0));
        assert_eq!(Found::of(&bytes(&[7, 6, 5])), found(0, 0));
        assert_eq!(Found::of(&[]), found(0, 0));
    }

    #[test]
    fn what_comes_twice_is_stale_and_what_never_comes_is_not() {
        assert_eq!(Found::of(&bytes(&[5, 6, 5, 5])), found(2, 0));
        assert_eq!(Found::of(&bytes(&[5, 9])), found(0, 0));
    }

    #[test]
    fn markers_are_stale_wherever_they_are() {
        let mut all = bytes(&[1]);
        all.extend([0; 3]);
        all.extend(MARKER);
        all.extend(bytes(&[2]));
        assert_eq!(Found::of(&all), found(1, 0));
    }

    #[test]
    fn zeros_are_blank_and_the_words_after_them_are_found() {
        let mut all = bytes(&[1])[3..].to_vec();
        all.extend([0; 40]);
        all.extend(bytes(&[2, 3]));
        assert_eq!(Found::of(&all), found(0, 5));
    }
}
