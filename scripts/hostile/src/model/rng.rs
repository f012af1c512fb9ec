// SPDX-License-Identifier: MIT OR Apache-2.0

//! Entropy that is none: each word tells which it is, so that the guest sees what
//! comes twice, and what never does.

use anyhow::Result;
use protocol::hostile::words;

use super::{Model, Wrong};
use crate::lie::Kind;
use crate::memory::Memory;
use crate::ring::Buffer;

pub struct Rng {
    next: u64,
    /// For tests of randomness: whoever reads cannot tell words.
    random: bool,
}

impl Rng {
    pub fn new(random: bool) -> Self {
        Self { next: 0, random }
    }
}

impl Model for Rng {
    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> u16 {
        1
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn kind(&self, _: &Memory, _: &Buffer) -> Kind {
        Kind::Entropy
    }

    fn serve(&mut self, memory: &Memory, buffer: &Buffer, wrong: Wrong) -> Result<u64> {
        let all = buffer.writable();
        let len = wrong.write.map_or(all, |amount| amount.of(all));
        let count = len.div_ceil(words::LEN as u64);
        let mut bytes: Vec<u8> = (self.next..self.next + count)
            .flat_map(|number| words::word(number as u32))
            .collect();
        if self.random {
            protocol::disk::fill(1, self.next * words::LEN as u64, &mut bytes);
        }
        self.next += count;
        bytes.truncate(len as usize);
        buffer.write(memory, 0, &bytes)?;
        Ok(len)
    }
}
