// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a guest whose device lies tells of the driver, and what that comes to.

use serde::{Deserialize, Serialize};

/// How large the disk of a device that lies is, in KiB: what it claims is another
/// matter.
pub const DISK_KIB: u64 = 16 << 10;

/// The parts of a run, in their order. A part that hangs is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Load the module and bind the device.
    Bind,
    /// The device at its work.
    Work,
    Unbind,
    /// Bind, work and unbind once more, with a device that is honest now.
    Again,
    Unload,
}

/// What came of one part of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Met {
    pub part: Part,
    /// Operations that succeeded.
    pub good: u64,
    /// Of these, how many came after the first error.
    pub good_after_error: u64,
    /// Operations that ended with an error, and the first error.
    pub failed: u64,
    pub error: Option<String>,
    /// Words of memory that never was meant for the reader, but reached it: the
    /// marker, or what an earlier request has had.
    pub stale: u64,
    /// Words that are not what the device holds, and not stale: zeros, and what the
    /// reader's own buffer held.
    pub blank: u64,
    /// What did not come to its end, and where it was.
    pub stuck: Option<String>,
    pub millis: u64,
}

impl Met {
    pub fn new(part: Part) -> Self {
        Self {
            part,
            good: 0,
            good_after_error: 0,
            failed: 0,
            error: None,
            stale: 0,
            blank: 0,
            stuck: None,
            millis: 0,
        }
    }

    /// Counts an operation.
    pub fn count<T>(&mut self, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => {
                self.good += 1;
                self.good_after_error += u64::from(self.failed > 0);
                Some(value)
            }
            Err(error) => {
                self.failed += 1;
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

/// Entropy as the lab's device makes it: words that tell which they are, so that one
/// that comes twice, or not at all, is seen.
pub mod words {
    const MAGIC: u8 = 0xd1;
    pub const LEN: usize = 8;

    /// The word with this number: so much of it is a check that pieces of two words,
    /// one behind the other, do not look like a third one.
    pub fn word(number: u32) -> [u8; LEN] {
        let [a, b, c, d] = number.to_be_bytes();
        // Not of the number itself: that of 0 would be 0, as much of memory is.
        let [x, y, z, ..] = crate::disk::mix(!u64::from(number)).to_be_bytes();
        [MAGIC, a, b, c, d, x, y, z]
    }

    /// The number of a word, if it is one.
    pub fn number(found: &[u8]) -> Option<u32> {
        let number = u32::from_be_bytes(found.get(1..5)?.try_into().ok()?);
        (found == word(number)).then_some(number)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn words_are_known() {
            assert_eq!(number(&word(7)), Some(7));
            assert_eq!(number(&[0; LEN]), None);
            let cut = [&word(7)[..7], &word(8)[..1]].concat();
            assert_eq!(number(&cut), None);
            assert_eq!(number(&[MAGIC, 0, 0, 0, 0, 0, 0, 0]), None);
            assert_eq!(number(&word(7)[1..]), None);
        }
    }
}
