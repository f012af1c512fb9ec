// SPDX-License-Identifier: GPL-2.0

//! What is said to the device in a request, and what it answers, Virtio 1.3, section 5.2.6.

use super::Request;
use kernel::{
    bindings,
    block::{
        Operation,
        Sectors,
        Status, //
    },
    prelude::*,
    virtio::{
        DriverBuffer,
        Untrusted, //
    }, //
};

/// Type, priority and sector: what a request starts with.
pub(super) type Header = [u8; 16];

/// What the status is before the device writes it: none that exists.
pub(super) const NO_STATUS: u8 = 0xff;

/// How long a serial number can be, in bytes.
pub(super) const SERIAL_LEN: usize = bindings::VIRTIO_BLK_ID_BYTES as usize;

/// A range of a discard has a sector, a length and flags.
const RANGE_LEN: usize = 16;

/// What the device is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    In = bindings::VIRTIO_BLK_T_IN as isize,
    Out = bindings::VIRTIO_BLK_T_OUT as isize,
    Flush = bindings::VIRTIO_BLK_T_FLUSH as isize,
    GetId = bindings::VIRTIO_BLK_T_GET_ID as isize,
    Discard = bindings::VIRTIO_BLK_T_DISCARD as isize,
    WriteZeroes = bindings::VIRTIO_BLK_T_WRITE_ZEROES as isize,
    SecureErase = bindings::VIRTIO_BLK_T_SECURE_ERASE as isize,
}

impl Command {
    #[inline(always)]
    pub(super) fn of(operation: Operation) -> Option<Self> {
        Some(match operation {
            Operation::Read => Self::In,
            Operation::Write => Self::Out,
            Operation::Flush => Self::Flush,
            Operation::Discard => Self::Discard,
            Operation::WriteZeroes { .. } => Self::WriteZeroes,
            Operation::SecureErase => Self::SecureErase,
            _ => return None,
        })
    }

    #[inline(always)]
    pub(super) fn has_sector(self) -> bool {
        matches!(self, Self::In | Self::Out)
    }

    #[inline(always)]
    pub(super) fn has_ranges(self) -> bool {
        matches!(self, Self::Discard | Self::WriteZeroes | Self::SecureErase)
    }

    #[inline(always)]
    pub(super) fn header(self, priority: u32, sector: Sectors, little_endian: bool) -> Header {
        let (mut kind, mut priority, mut sector) = (self as u32, priority, sector.0);
        if little_endian {
            (kind, priority, sector) = (kind.to_le(), priority.to_le(), sector.to_le());
        }
        let mut header = [0; 16];
        header[..4].copy_from_slice(&kind.to_ne_bytes());
        header[4..8].copy_from_slice(&priority.to_ne_bytes());
        header[8..].copy_from_slice(&sector.to_ne_bytes());
        header
    }

    /// The ranges that `rq` is about. They are little-endian for legacy devices, too.
    pub(super) fn ranges(self, rq: &Request) -> Result<DriverBuffer> {
        let flags = match rq.operation() {
            Operation::WriteZeroes { unmap: true } => bindings::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
            _ => 0_u32,
        };
        let mut ranges = Ranges::new(flags);
        if self == Self::Discard && rq.ranges() > 1 {
            ranges.reserve(rq.ranges())?;
            let mut pushed = Ok(());
            rq.for_each_range(|start, len| {
                if pushed.is_ok() {
                    pushed = ranges.push(start, len);
                }
            });
            pushed?;
        } else {
            // Requests that follow one another were made one.
            ranges.reserve(1)?;
            ranges.push(rq.sector(), Sectors::in_bytes(rq.bytes().into()))?;
        }
        DriverBuffer::new(ranges.bytes)
    }
}

struct Ranges {
    bytes: KVec<u8>,
    flags: u32,
}

impl Ranges {
    fn new(flags: u32) -> Self {
        Self {
            bytes: KVec::new(),
            flags,
        }
    }

    fn reserve(&mut self, count: usize) -> Result {
        Ok(self.bytes.reserve(count * RANGE_LEN, GFP_ATOMIC)?)
    }

    fn push(&mut self, start: Sectors, len: Sectors) -> Result {
        let len = u32::try_from(len.0)?;
        self.bytes
            .extend_from_slice(&start.0.to_le_bytes(), GFP_ATOMIC)?;
        self.bytes
            .extend_from_slice(&len.to_le_bytes(), GFP_ATOMIC)?;
        self.bytes
            .extend_from_slice(&self.flags.to_le_bytes(), GFP_ATOMIC)?;
        Ok(())
    }
}

/// How a request ended that the device is done with.
#[inline(always)]
pub(super) fn status_of(rq: &mut Request, modern: bool) -> Status {
    let operation = rq.operation();
    let data = rq.data();
    let status = check(data.trailer_of_any_length());
    // All of it must be there, and the status behind it. Who does not count the status cannot be
    // told from who left out the last byte of the data.
    if modern && operation == Operation::Read && data.written() <= rq.bytes() {
        return short(status);
    }
    if !operation.has_data() {
        rq.data_mut().data_mut().set_own(None);
    }
    status
}

#[inline(always)]
fn check(status: Untrusted<u8>) -> Status {
    let checked = status.validate(|status| match u32::from(status) {
        bindings::VIRTIO_BLK_S_OK => Ok(Status::OK),
        bindings::VIRTIO_BLK_S_UNSUPP => Ok(Status::NOT_SUPPORTED),
        _ => Err(EIO),
    });
    checked.unwrap_or(Status::IO_ERROR)
}

/// What a read that the device did not fill is: never a success.
#[cold]
fn short(status: Status) -> Status {
    match status {
        Status::OK => Status::IO_ERROR,
        status => status,
    }
}
