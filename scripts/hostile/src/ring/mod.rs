// SPDX-License-Identifier: MIT OR Apache-2.0

//! Virtqueues from the device's side. Nothing here checks what it is told to
//! write: that is the purpose.

mod packed;
mod split;

use anyhow::{ensure, Result};

use crate::lie::{Id, Scope};
use crate::memory::Memory;
pub use packed::Packed;
pub use split::Split;

/// Feature bits that rings depend on.
pub const INDIRECT: u64 = 1 << 28;
pub const EVENT_IDX: u64 = 1 << 29;
pub const RING_PACKED: u64 = 1 << 34;

/// Of a descriptor.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const TABLE: u16 = 4;

/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 16;

/// No driver makes longer ones.
const LONGEST: usize = 4096;
/// In bytes, likewise.
const LARGEST: u64 = 16 << 20;

/// A piece of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub at: u64,
    pub len: u32,
    /// By the device.
    pub writable: bool,
}

/// A buffer that the driver has posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub id: u16,
    pub parts: Vec<Part>,
    /// The descriptors of the ring that it takes.
    pub slots: Vec<u16>,
}

impl Buffer {
    /// How much the device may write.
    pub fn writable(&self) -> u64 {
        let parts = self.parts.iter().filter(|part| part.writable);
        parts.map(|part| u64::from(part.len)).sum()
    }

    /// Writes `bytes` from `offset` of the writable part on.
    pub fn write(&self, memory: &Memory, offset: u64, bytes: &[u8]) -> Result<()> {
        let (mut skip, mut bytes) = (offset, bytes);
        for part in self.parts.iter().filter(|part| part.writable) {
            let len = u64::from(part.len);
            if skip >= len {
                skip -= len;
                continue;
            }
            let count = bytes.len().min((len - skip) as usize);
            memory.write(&bytes[..count], part.at + skip)?;
            bytes = &bytes[count..];
            skip = 0;
            if bytes.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Whether `word` is anywhere in what the device may write.
    pub fn holds(&self, memory: &Memory, word: &[u8; 8]) -> Result<bool> {
        for part in self.parts.iter().filter(|part| part.writable) {
            let mut bytes = vec![0; part.len as usize];
            memory.read(part.at, &mut bytes)?;
            if bytes.chunks_exact(word.len()).any(|found| found == word) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All that the driver wrote.
    pub fn read(&self, memory: &Memory) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for part in self.parts.iter().filter(|part| !part.writable) {
            let start = all.len();
            all.resize(start + part.len as usize, 0);
            memory.read(part.at, &mut all[start..])?;
        }
        Ok(all)
    }
}

/// Where a ring lies, in the guest's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    pub size: u16,
    pub descriptors: u64,
    /// What the driver writes.
    pub driver: u64,
    /// What the device writes.
    pub device: u64,
}

pub enum Ring {
    Split(Split),
    Packed(Packed),
}

impl Ring {
    /// The next buffer, if there is one.
    pub fn pop(&mut self, memory: &Memory) -> Result<Option<Buffer>> {
        match self {
            Self::Split(ring) => ring.pop(memory),
            Self::Packed(ring) => ring.pop(memory),
        }
    }

    /// Returns a buffer, or what is said to be one.
    pub fn push(&mut self, memory: &Memory, id: u32, len: u32, slots: usize) -> Result<()> {
        match self {
            Self::Split(ring) => ring.push(memory, id, len),
            Self::Packed(ring) => ring.push(memory, id as u16, len, slots as u16),
        }
    }

    /// Says that `by` more buffers are returned than are.
    pub fn jump(&mut self, memory: &Memory, by: u16) -> Result<()> {
        match self {
            Self::Split(ring) => ring.jump(memory, by),
            Self::Packed(ring) => ring.jump(memory, by),
        }
    }

    /// Sets the flag of a following descriptor.
    pub fn set_next(&mut self, memory: &Memory, buffer: &Buffer, scope: Scope) -> Result<()> {
        let all: Vec<u16>;
        let slots = match scope {
            Scope::One => &buffer.slots,
            Scope::All => {
                all = (0..self.areas().size).collect();
                &all
            }
        };
        // Where the flags are differs.
        let offset = match self {
            Self::Split(_) => split::FLAGS,
            Self::Packed(_) => packed::FLAGS,
        };
        for slot in slots {
            let at = self.areas().descriptors + u64::from(*slot) * DESCRIPTOR + offset;
            memory.set_bits(NEXT, at)?;
        }
        match self {
            Self::Split(ring) => ring.marked = true,
            Self::Packed(ring) => ring.marked = true,
        }
        Ok(())
    }

    /// Overwrites the addresses and lengths of descriptors that are in flight.
    pub fn rewrite(&self, memory: &Memory, in_flight: &[Buffer]) -> Result<()> {
        for slot in in_flight.iter().flat_map(|buffer| &buffer.slots) {
            let at = self.areas().descriptors + u64::from(*slot) * DESCRIPTOR;
            memory.store(0x4141_4141_4141_4141_u64, at)?;
            memory.store(0xffff_fff0_u32, at + 8)?;
            if let Self::Split(_) = self {
                // What follows, if anything does.
                memory.store(0xfffe_u16, at + split::FLAGS + 2)?;
            }
        }
        Ok(())
    }

    /// The number that a lie about an id stands for, if there is one.
    pub fn lied_id(&self, id: Id, buffer: &Buffer, in_flight: &[Buffer]) -> Option<u32> {
        let size = self.areas().size;
        let all = || in_flight.iter().chain([buffer]);
        let is_taken = |number: u16| match self {
            Self::Split(_) => all().any(|buffer| buffer.slots.contains(&number)),
            Self::Packed(_) => all().any(|buffer| buffer.id == number),
        };
        match (id, self) {
            (Id::RingSize, _) => Some(size.into()),
            (Id::Max, Self::Split(_)) => Some(u32::MAX),
            (Id::Max, Self::Packed(_)) => Some(u16::MAX.into()),
            (Id::MidChain, Self::Split(_)) => buffer.slots.get(1).map(|slot| (*slot).into()),
            // Here only whole buffers have ids.
            (Id::Free | Id::MidChain, _) => {
                let free = (0..size).rev().find(|number| !is_taken(*number));
                free.map(u32::from)
            }
            (Id::Value(value), _) => Some(value),
        }
    }

    /// Says that the first buffer is returned, before any was posted; or takes that
    /// back.
    pub fn early(&self, memory: &Memory, on: bool) -> Result<()> {
        match self {
            Self::Split(ring) => ring.early(memory, on),
            Self::Packed(ring) => ring.early(memory, on),
        }
    }

    /// Rubbish where the device says what it has returned.
    pub fn scribble(&mut self, memory: &Memory) -> Result<()> {
        match self {
            Self::Split(ring) => ring.scribble(memory),
            Self::Packed(ring) => ring.scribble(memory),
        }
    }

    fn areas(&self) -> &Areas {
        match self {
            Self::Split(ring) => &ring.areas,
            Self::Packed(ring) => &ring.areas,
        }
    }
}

/// Whether another descriptor follows. Once we have set flags that say so ourselves,
/// which are not to be told from the driver's, only tables are believed.
fn goes_on(flags: u16, marked: bool) -> bool {
    flags & NEXT != 0 && !marked
}

/// A device that misread something would overwrite what is not its own.
fn plausible(buffer: Buffer) -> Result<Option<Buffer>> {
    let len: u64 = buffer.parts.iter().map(|part| u64::from(part.len)).sum();
    ensure!(len <= LARGEST, "the driver posted {len} bytes at once");
    Ok(Some(buffer))
}

/// One descriptor as it is in memory.
#[derive(Clone, Copy, Debug)]
struct Raw {
    at: u64,
    len: u32,
    /// `flags` and `next`, or `id` and `flags`.
    last: [u16; 2],
}

fn part(at: u64, len: u32, flags: u16) -> Part {
    let writable = flags & WRITE != 0;
    Part { at, len, writable }
}

fn descriptor(memory: &Memory, at: u64) -> Result<Raw> {
    let mut bytes = [0; DESCRIPTOR as usize];
    memory.read(at, &mut bytes)?;
    let (address, rest) = bytes.split_at(8);
    let half = |from: usize| u16::from_le_bytes([rest[from], rest[from + 1]]);
    Ok(Raw {
        at: u64::from_le_bytes(address.try_into()?),
        len: u32::from_le_bytes(rest[..4].try_into()?),
        last: [half(4), half(6)],
    })
}

#[cfg(test)]
pub mod tests {
    use std::fs::File;

    use vhost::vhost_user::message::VhostUserMemoryRegion;

    use super::*;

    /// 1 MiB of memory from address 0 on.
    pub fn memory() -> Memory {
        let file: File = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let region = VhostUserMemoryRegion {
            guest_phys_addr: 0,
            memory_size: 1 << 20,
            user_addr: 0x7000_0000,
            mmap_offset: 0,
        };
        Memory::new(&[region], vec![file]).unwrap()
    }

    pub const AREAS: Areas = Areas {
        size: 8,
        descriptors: 0x1000,
        driver: 0x2000,
        device: 0x3000,
    };

    #[test]
    fn a_buffer_is_written_across_its_parts() {
        let memory = memory();
        let part = |at, len, writable| Part { at, len, writable };
        let buffer = Buffer {
            id: 0,
            parts: vec![part(64, 4, false), part(128, 3, true), part(256, 5, true)],
            slots: vec![0, 1, 2],
        };
        memory.write(b"head", 64).unwrap();
        assert_eq!(buffer.read(&memory).unwrap(), b"head");
        assert_eq!(buffer.writable(), 8);
        buffer.write(&memory, 2, b"abcd").unwrap();
        let mut found = [0; 5];
        memory.read(128, &mut found[..3]).unwrap();
        assert_eq!(&found[..3], b"\0\0a");
        memory.read(256, &mut found).unwrap();
        assert_eq!(&found, b"bcd\0\0");
        assert_eq!(memory.translate(0x7000_0010), Some(0x10));
        assert_eq!(memory.translate(0x10), None);
    }
}
