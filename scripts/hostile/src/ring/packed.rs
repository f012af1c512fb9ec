// SPDX-License-Identifier: MIT OR Apache-2.0

//! The packed layout (Virtio 1.3, section 2.8).

use anyhow::{bail, Result};

use super::{
    descriptor, goes_on, part, plausible, Areas, Buffer, DESCRIPTOR, LONGEST, TABLE, WRITE,
};
use crate::memory::Memory;

/// Where a descriptor has its flags.
pub const FLAGS: u64 = 14;

const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// A place in the ring.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u16,
    wrap: bool,
}

impl Place {
    fn advance(&mut self, by: u16, size: u16) {
        self.slot += by;
        while self.slot >= size {
            self.slot -= size;
            self.wrap = !self.wrap;
        }
    }
}

pub struct Packed {
    pub areas: Areas,
    taken: Place,
    returned: Place,
    /// Whether flags were set that say that descriptors follow.
    pub marked: bool,
}

impl Packed {
    pub fn new(areas: Areas) -> Self {
        let start = Place {
            slot: 0,
            wrap: true,
        };
        Self {
            areas,
            taken: start,
            returned: start,
            marked: false,
        }
    }

    fn at(&self, slot: u16) -> u64 {
        self.areas.descriptors + u64::from(slot) * DESCRIPTOR
    }

    pub fn pop(&mut self, memory: &Memory) -> Result<Option<Buffer>> {
        let flags: u16 = memory.load(self.at(self.taken.slot) + FLAGS)?;
        let is_available = (flags & AVAIL != 0) == self.taken.wrap;
        let is_used = (flags & USED != 0) == self.taken.wrap;
        if !is_available || is_used {
            return Ok(None);
        }
        let mut buffer = Buffer {
            id: 0,
            parts: Vec::new(),
            slots: Vec::new(),
        };
        loop {
            let raw = descriptor(memory, self.at(self.taken.slot))?;
            buffer.slots.push(self.taken.slot);
            self.taken.advance(1, self.areas.size);
            let [id, flags] = raw.last;
            buffer.id = id;
            if flags & TABLE != 0 {
                for index in 0..u64::from(raw.len) / DESCRIPTOR {
                    let inner = descriptor(memory, raw.at + index * DESCRIPTOR)?;
                    buffer.parts.push(part(inner.at, inner.len, inner.last[1]));
                }
            } else {
                buffer.parts.push(part(raw.at, raw.len, flags));
            }
            if !goes_on(flags, self.marked) {
                return plausible(buffer);
            }
            if buffer.slots.len() >= self.areas.size.into() || buffer.parts.len() > LONGEST {
                bail!("the driver posted a chain without an end");
            }
        }
    }

    pub fn push(&mut self, memory: &Memory, id: u16, len: u32, slots: u16) -> Result<()> {
        let at = self.at(self.returned.slot);
        memory.store(len, at + 8)?;
        memory.store(id, at + 12)?;
        let marks = match self.returned.wrap {
            true => AVAIL | USED,
            false => 0,
        };
        memory.store(marks | WRITE, at + FLAGS)?;
        self.returned.advance(slots, self.areas.size);
        Ok(())
    }

    /// Marks the descriptors that follow as returned, whatever is in them. What is
    /// returned next is written where it would have been: after that the ring is in
    /// order, for a driver that did not mind.
    pub fn jump(&mut self, memory: &Memory, by: u16) -> Result<()> {
        let returned = self.returned;
        // One less than all, or what was returned just now would be marked once more.
        for _ in 0..by.min(self.areas.size - 1) {
            let at = self.at(self.returned.slot);
            let id: u16 = memory.load(at + 12)?;
            self.push(memory, id, 1, 1)?;
        }
        self.returned = returned;
        Ok(())
    }

    pub fn early(&self, memory: &Memory, on: bool) -> Result<()> {
        let marks = if on { AVAIL | USED } else { 0 };
        memory.store(marks, self.at(0) + FLAGS)
    }

    pub fn scribble(&mut self, memory: &Memory) -> Result<()> {
        for _ in 0..3 {
            self.push(memory, 0x5a5a, 0x5a5a_5a5a, 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{memory, AREAS};
    use super::super::NEXT;
    use super::*;

    fn post(memory: &Memory, slot: u16, id: u16, flags: u16) {
        let at = AREAS.descriptors + u64::from(slot) * DESCRIPTOR;
        memory.store(0x8000_u64, at).unwrap();
        memory.store(64_u32, at + 8).unwrap();
        memory.store(id, at + 12).unwrap();
        memory.store(flags, at + FLAGS).unwrap();
    }

    #[test]
    fn buffers_go_round() {
        let memory = memory();
        let mut ring = Packed::new(AREAS);
        assert_eq!(ring.pop(&memory).unwrap(), None);
        for round in 0..40_u16 {
            // Two descriptors for each buffer; what says that one is new turns
            // around with each round.
            let first = (2 * round) % AREAS.size;
            let marks = match (2 * round / AREAS.size) % 2 {
                0 => AVAIL,
                _ => USED,
            };
            post(&memory, first + 1, round, WRITE | marks);
            post(&memory, first, round, NEXT | marks);
            let buffer = ring.pop(&memory).unwrap().unwrap();
            assert_eq!(buffer.id, round);
            assert_eq!(buffer.slots, [first, first + 1]);
            assert_eq!(buffer.writable(), 64);
            assert_eq!(ring.pop(&memory).unwrap(), None);
            ring.push(&memory, round, 64, 2).unwrap();
            let at = AREAS.descriptors + u64::from(first) * DESCRIPTOR;
            let flags: u16 = memory.load(at + FLAGS).unwrap();
            assert_eq!(flags & AVAIL != 0, flags & USED != 0);
        }
    }
}
