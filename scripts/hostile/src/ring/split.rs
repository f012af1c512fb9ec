// SPDX-License-Identifier: MIT OR Apache-2.0

//! The split layout (Virtio 1.3, section 2.7).

use anyhow::{bail, Result};

use super::{
    descriptor, goes_on, part, plausible, Areas, Buffer, DESCRIPTOR, EVENT_IDX, LONGEST, NEXT,
    TABLE,
};
use crate::memory::Memory;

/// Where a descriptor has its flags.
pub const FLAGS: u64 = 12;

pub struct Split {
    pub areas: Areas,
    /// Indices that count on: of what was taken, and of what was returned.
    taken: u16,
    returned: u16,
    event_idx: bool,
    /// Whether flags were set that say that descriptors follow.
    pub marked: bool,
}

impl Split {
    pub fn new(areas: Areas, base: u16, features: u64) -> Self {
        Self {
            areas,
            taken: base,
            returned: base,
            event_idx: features & EVENT_IDX != 0,
            marked: false,
        }
    }

    pub fn pop(&mut self, memory: &Memory) -> Result<Option<Buffer>> {
        if !self.is_posted(memory)? {
            if self.event_idx {
                // For the doorbell of the next one; then one may be there.
                let event = self.areas.device + 4 + 8 * u64::from(self.areas.size);
                memory.store(self.taken, event)?;
                std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            }
            if !self.is_posted(memory)? {
                return Ok(None);
            }
        }
        let slot = u64::from(self.taken % self.areas.size);
        let head: u16 = memory.load(self.areas.driver + 4 + 2 * slot)?;
        self.taken = self.taken.wrapping_add(1);
        let mut buffer = Buffer {
            id: head,
            parts: Vec::new(),
            slots: Vec::new(),
        };
        let mut next = head;
        loop {
            let raw = descriptor(
                memory,
                self.areas.descriptors + u64::from(next) * DESCRIPTOR,
            )?;
            buffer.slots.push(next);
            let [flags, follows] = raw.last;
            if flags & TABLE != 0 {
                indirect(memory, raw.at, &mut buffer)?;
            } else {
                buffer.parts.push(part(raw.at, raw.len, flags));
            }
            if !goes_on(flags, self.marked) {
                return plausible(buffer);
            }
            if buffer.parts.len() > LONGEST {
                bail!("the driver posted a chain without an end");
            }
            next = follows;
        }
    }

    fn is_posted(&self, memory: &Memory) -> Result<bool> {
        let index: u16 = memory.load(self.areas.driver + 2)?;
        let more = index.wrapping_sub(self.taken);
        // More than the ring holds: the driver has taken back what it had posted.
        Ok((1..=self.areas.size).contains(&more))
    }

    pub fn push(&mut self, memory: &Memory, id: u32, len: u32) -> Result<()> {
        let slot = u64::from(self.returned % self.areas.size);
        let at = self.areas.device + 4 + 8 * slot;
        memory.store(id, at)?;
        memory.store(len, at + 4)?;
        self.jump(memory, 1)
    }

    pub fn jump(&mut self, memory: &Memory, by: u16) -> Result<()> {
        self.returned = self.returned.wrapping_add(by);
        memory.store(self.returned, self.areas.device + 2)
    }

    pub fn early(&self, memory: &Memory, on: bool) -> Result<()> {
        memory.store(u16::from(on), self.areas.device + 2)
    }

    pub fn scribble(&mut self, memory: &Memory) -> Result<()> {
        let len = 8 * usize::from(self.areas.size);
        memory.write(&vec![0x5a; len], self.areas.device + 4)?;
        self.jump(memory, 3)
    }
}

/// The parts of a table of descriptors.
fn indirect(memory: &Memory, table: u64, buffer: &mut Buffer) -> Result<()> {
    let mut next = 0;
    loop {
        let raw = descriptor(memory, table + u64::from(next) * DESCRIPTOR)?;
        let [flags, follows] = raw.last;
        buffer.parts.push(part(raw.at, raw.len, flags));
        if flags & NEXT == 0 {
            return Ok(());
        }
        if buffer.parts.len() > LONGEST {
            bail!("the driver posted a chain without an end");
        }
        next = follows;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{memory, AREAS};
    use super::super::{Id, Ring, Scope, WRITE};
    use super::*;

    fn post(memory: &Memory, slot: u16, len: u32, flags: u16, next: u16) {
        let at = AREAS.descriptors + u64::from(slot) * DESCRIPTOR;
        memory
            .store(0x8000_u64 + u64::from(slot) * 256, at)
            .unwrap();
        memory.store(len, at + 8).unwrap();
        memory.store(flags, at + FLAGS).unwrap();
        memory.store(next, at + FLAGS + 2).unwrap();
    }

    fn offer(memory: &Memory, heads: &[u16]) {
        let mut index: u16 = memory.load(AREAS.driver + 2).unwrap();
        for head in heads {
            let at = AREAS.driver + 4 + 2 * u64::from(index % AREAS.size);
            memory.store(*head, at).unwrap();
            index += 1;
        }
        memory.store(index, AREAS.driver + 2).unwrap();
    }

    #[test]
    fn a_chain_comes_and_goes() {
        let memory = memory();
        let mut ring = Ring::Split(Split::new(AREAS, 0, 0));
        assert_eq!(ring.pop(&memory).unwrap(), None);
        post(&memory, 2, 16, NEXT, 5);
        post(&memory, 5, 64, WRITE, 0);
        offer(&memory, &[2]);
        let buffer = ring.pop(&memory).unwrap().unwrap();
        assert_eq!((buffer.id, buffer.slots.as_slice()), (2, &[2, 5][..]));
        assert_eq!(buffer.writable(), 64);
        assert_eq!(ring.pop(&memory).unwrap(), None);
        let other = Buffer {
            id: 7,
            parts: Vec::new(),
            slots: vec![7],
        };
        assert_eq!(ring.lied_id(Id::MidChain, &buffer, &[]), Some(5));
        assert_eq!(ring.lied_id(Id::MidChain, &other, &[]), None);
        assert_eq!(ring.lied_id(Id::Free, &buffer, &[other]), Some(6));
        ring.push(&memory, 2, 64, 2).unwrap();
        assert_eq!(memory.load::<u16>(AREAS.device + 2).unwrap(), 1);
        assert_eq!(memory.load::<u32>(AREAS.device + 4).unwrap(), 2);
        assert_eq!(memory.load::<u32>(AREAS.device + 8).unwrap(), 64);
        ring.jump(&memory, 40_000).unwrap();
        assert_eq!(memory.load::<u16>(AREAS.device + 2).unwrap(), 40_001);
        ring.set_next(&memory, &buffer, Scope::All).unwrap();
        let at = AREAS.descriptors + 7 * DESCRIPTOR + FLAGS;
        assert_eq!(memory.load::<u16>(at).unwrap(), NEXT);
    }

    #[test]
    fn a_table_of_descriptors_is_one_slot() {
        let memory = memory();
        let mut ring = Ring::Split(Split::new(AREAS, 0, EVENT_IDX));
        post(&memory, 0, 32, TABLE, 0);
        let table = 0x8000;
        for (slot, flags) in [(0_u64, NEXT), (1, WRITE)] {
            let at = table + slot * DESCRIPTOR;
            memory.store(0x9000_u64, at).unwrap();
            memory.store(100_u32, at + 8).unwrap();
            memory.store(flags, at + FLAGS).unwrap();
            memory.store(1_u16, at + FLAGS + 2).unwrap();
        }
        offer(&memory, &[0]);
        let buffer = ring.pop(&memory).unwrap().unwrap();
        assert_eq!(buffer.slots, [0]);
        assert_eq!(buffer.parts.len(), 2);
        assert_eq!(ring.pop(&memory).unwrap(), None);
        let event = AREAS.device + 4 + 8 * u64::from(AREAS.size);
        assert_eq!(memory.load::<u16>(event).unwrap(), 1);
    }

    #[test]
    fn what_was_taken_back_is_not_there() {
        let memory = memory();
        let mut ring = Ring::Split(Split::new(AREAS, 0, 0));
        post(&memory, 1, 16, WRITE, 0);
        post(&memory, 2, 16, WRITE, 0);
        offer(&memory, &[1, 2]);
        assert!(ring.pop(&memory).unwrap().is_some());
        assert!(ring.pop(&memory).unwrap().is_some());
        memory.store(1_u16, AREAS.driver + 2).unwrap();
        assert_eq!(ring.pop(&memory).unwrap(), None);
    }

    #[test]
    fn a_chain_without_an_end_is_given_up() {
        let memory = memory();
        let mut ring = Ring::Split(Split::new(AREAS, 0, 0));
        post(&memory, 1, 16, NEXT, 1);
        offer(&memory, &[1]);
        assert!(ring.pop(&memory).is_err());
    }
}
