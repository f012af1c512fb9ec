// SPDX-License-Identifier: MIT OR Apache-2.0

//! A disk, as Virtio 1.3 has it in section 5.2.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{ensure, Context as _, Result};
use nix::fcntl::{fallocate, FallocateFlags};

use super::{Model, Wrong};
use crate::lie::{Kind, Status};
use crate::memory::Memory;
use crate::ring::Buffer;

const SECTOR: u64 = 512;

const SEG_MAX: u64 = 1 << 2;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const CONFIG_WCE: u64 = 1 << 11;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

const IN: u32 = 0;
const OUT: u32 = 1;
const T_FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const T_DISCARD: u32 = 11;
const T_WRITE_ZEROES: u32 = 13;

const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

/// Of a request, before its data.
const HEADER: usize = 16;
/// Of a range to be discarded.
const RANGE: usize = 16;
const SERIAL: &[u8; 20] = b"hostile-lab\0\0\0\0\0\0\0\0\0";

/// Where fields lie in the configuration space.
mod at {
    pub const CAPACITY: usize = 0;
    pub const SEG_MAX: usize = 12;
    pub const BLK_SIZE: usize = 20;
    pub const WCE: usize = 32;
    pub const NUM_QUEUES: usize = 34;
    pub const DISCARD_SECTORS: usize = 36;
    pub const DISCARD_SEGMENTS: usize = 40;
    pub const DISCARD_ALIGNMENT: usize = 44;
    pub const ZEROES_SECTORS: usize = 48;
    pub const ZEROES_SEGMENTS: usize = 52;
    pub const ZEROES_MAY_UNMAP: usize = 56;
    pub const END: usize = 96;
}

pub struct Disk {
    image: File,
    sectors: u64,
    write_back: u8,
}

impl Disk {
    pub fn open(path: &Path) -> Result<Self> {
        let image = OpenOptions::new().read(true).write(true).open(path);
        let image = image.with_context(|| path.display().to_string())?;
        let sectors = image.metadata()?.len() / SECTOR;
        Ok(Self {
            image,
            sectors,
            write_back: 1,
        })
    }

    fn place(&self, sector: u64, len: u64) -> Option<u64> {
        let end = sector.checked_add(len.div_ceil(SECTOR))?;
        (end <= self.sectors).then_some(sector * SECTOR)
    }

    /// Serves one request; returns how many bytes of data were written, and the
    /// status.
    fn request(&mut self, request: &Request, wrong: Wrong) -> Result<(u64, u8)> {
        let Request {
            memory,
            buffer,
            kind,
            sector,
            data,
        } = *request;
        let room = buffer.writable() - 1;
        let place = |len| self.place(sector, len);
        Ok(match kind {
            IN => match place(room) {
                Some(at) => {
                    let len = wrong.write.map_or(room, |amount| amount.of(room));
                    let mut bytes = vec![0; len as usize];
                    self.image.read_exact_at(&mut bytes, at)?;
                    buffer.write(memory, 0, &bytes)?;
                    (len, OK)
                }
                None => (0, IOERR),
            },
            OUT => match place(data.len() as u64) {
                Some(at) => {
                    self.image.write_all_at(data, at)?;
                    (0, OK)
                }
                None => (0, IOERR),
            },
            T_FLUSH => {
                self.image.sync_data()?;
                (0, OK)
            }
            GET_ID => {
                let len = SERIAL.len().min(room as usize);
                buffer.write(memory, 0, &SERIAL[..len])?;
                (len as u64, OK)
            }
            T_DISCARD | T_WRITE_ZEROES => (0, self.clear(data)?),
            _ => (0, UNSUPP),
        })
    }

    fn clear(&self, ranges: &[u8]) -> Result<u8> {
        for range in ranges.chunks_exact(RANGE) {
            let sector = u64::from_le_bytes(range[..8].try_into()?);
            let count = u64::from(u32::from_le_bytes(range[8..12].try_into()?));
            let Some(at) = self.place(sector, count * SECTOR) else {
                return Ok(IOERR);
            };
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            fallocate(&self.image, flags, at as i64, (count * SECTOR) as i64)?;
        }
        Ok(OK)
    }
}

/// A request, with all that the driver wrote behind its header.
struct Request<'a> {
    memory: &'a Memory,
    buffer: &'a Buffer,
    kind: u32,
    sector: u64,
    data: &'a [u8],
}

fn header(bytes: &[u8]) -> Result<(u32, u64)> {
    ensure!(bytes.len() >= HEADER, "a request without a header");
    let kind = u32::from_le_bytes(bytes[..4].try_into()?);
    Ok((kind, u64::from_le_bytes(bytes[8..16].try_into()?)))
}

impl Model for Disk {
    fn features(&self) -> u64 {
        SEG_MAX | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE | DISCARD | WRITE_ZEROES
    }

    fn queues(&self) -> u16 {
        1
    }

    fn config(&self) -> Vec<u8> {
        let mut space = vec![0; at::END];
        let mut put = |offset: usize, bytes: &[u8]| {
            space[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        let most = (4_u32 << 20) / SECTOR as u32;
        put(at::CAPACITY, &self.sectors.to_le_bytes());
        put(at::SEG_MAX, &126_u32.to_le_bytes());
        put(at::BLK_SIZE, &(SECTOR as u32).to_le_bytes());
        put(at::WCE, &[self.write_back]);
        put(at::NUM_QUEUES, &1_u16.to_le_bytes());
        put(at::DISCARD_SECTORS, &most.to_le_bytes());
        put(at::DISCARD_SEGMENTS, &1_u32.to_le_bytes());
        put(at::DISCARD_ALIGNMENT, &1_u32.to_le_bytes());
        put(at::ZEROES_SECTORS, &most.to_le_bytes());
        put(at::ZEROES_SEGMENTS, &1_u32.to_le_bytes());
        put(at::ZEROES_MAY_UNMAP, &[1]);
        space
    }

    fn set_config(&mut self, offset: usize, bytes: &[u8]) {
        if let (at::WCE, [value]) = (offset, bytes) {
            self.write_back = *value & 1;
        }
    }

    fn kind(&self, memory: &Memory, buffer: &Buffer) -> Kind {
        let mut bytes = [0; HEADER];
        let first = buffer.parts.iter().find(|part| !part.writable);
        let read = first.is_some_and(|part| {
            part.len as usize >= HEADER && memory.read(part.at, &mut bytes).is_ok()
        });
        match header(&bytes) {
            Ok((IN, _)) if read => Kind::Read,
            Ok((OUT, _)) if read => Kind::Write,
            Ok((T_FLUSH, _)) if read => Kind::Flush,
            _ => Kind::Other,
        }
    }

    fn serve(&mut self, memory: &Memory, buffer: &Buffer, wrong: Wrong) -> Result<u64> {
        let all = buffer.read(memory)?;
        let (kind, sector) = header(&all)?;
        ensure!(buffer.writable() > 0, "a request without a status");
        let request = Request {
            memory,
            buffer,
            kind,
            sector,
            data: &all[HEADER..],
        };
        let (written, status) = self.request(&request, wrong)?;
        let status = match wrong.status {
            None => status,
            Some(Status::Value(value)) => value,
            Some(Status::NotWritten) => return Ok(written),
        };
        buffer.write(memory, buffer.writable() - 1, &[status])?;
        Ok(written + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lie::Amount;
    use crate::ring::tests::memory;
    use crate::ring::Part;

    fn part(at: u64, len: u32, writable: bool) -> Part {
        Part { at, len, writable }
    }

    fn request(memory: &Memory, kind: u32, sector: u64, data: Part) -> Buffer {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[8..].copy_from_slice(&sector.to_le_bytes());
        memory.write(&bytes, 0x100).unwrap();
        memory.write(&[0xee], 0x200).unwrap();
        Buffer {
            id: 0,
            parts: vec![
                part(0x100, HEADER as u32, false),
                data,
                part(0x200, 1, true),
            ],
            slots: vec![0],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 * SECTOR).unwrap();
        let (memory, mut disk) = (memory(), Disk::open(file.path()).unwrap());
        memory.write(&[7; 512], 0x1000).unwrap();
        let write = request(&memory, OUT, 3, part(0x1000, 512, false));
        assert_eq!(disk.kind(&memory, &write), Kind::Write);
        assert_eq!(disk.serve(&memory, &write, Wrong::default()).unwrap(), 1);
        let read = request(&memory, IN, 3, part(0x2000, 512, true));
        assert_eq!(disk.kind(&memory, &read), Kind::Read);
        let half = Wrong {
            write: Some(Amount::Half),
            status: None,
        };
        assert_eq!(disk.serve(&memory, &read, half).unwrap(), 257);
        let mut found = [0; 512];
        memory.read(0x2000, &mut found).unwrap();
        assert_eq!((found[255], found[256]), (7, 0));
        let silent = Wrong {
            write: None,
            status: Some(Status::NotWritten),
        };
        memory.write(&[0xee], 0x200).unwrap();
        assert_eq!(disk.serve(&memory, &read, silent).unwrap(), 512);
        assert_eq!(memory.load::<u8>(0x200).unwrap(), 0xee);
        let beyond = request(&memory, IN, 64, part(0x2000, 512, true));
        assert_eq!(disk.serve(&memory, &beyond, Wrong::default()).unwrap(), 1);
        assert_eq!(memory.load::<u8>(0x200).unwrap(), IOERR);
    }
}
