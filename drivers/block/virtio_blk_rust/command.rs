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

/// Where an append was written, which only that has, and the status.
pub(super) type Answer = [u8; 9];

/// What the answer is before the device writes it: no place on a disk, and no status that exists.
pub(super) const NO_ANSWER: Answer = [0xff; 9];

/// The part of an answer that all commands have.
pub(super) const STATUS_LEN: usize = 1;

/// How long a serial number can be, in bytes.
pub(super) const SERIAL_LEN: u32 = bindings::VIRTIO_BLK_ID_BYTES;

/// A range of a discard has a sector (64 bits), a length and flags (32 bits each).
const RANGE_LEN: usize = 16;

/// The flag of a range that can be unmapped.
const WRITE_ZEROES_UNMAP: u128 = bindings::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP as u128;

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
    ZoneAppend = bindings::VIRTIO_BLK_T_ZONE_APPEND as isize,
    ZoneReport = bindings::VIRTIO_BLK_T_ZONE_REPORT as isize,
    ZoneOpen = bindings::VIRTIO_BLK_T_ZONE_OPEN as isize,
    ZoneClose = bindings::VIRTIO_BLK_T_ZONE_CLOSE as isize,
    ZoneFinish = bindings::VIRTIO_BLK_T_ZONE_FINISH as isize,
    ZoneReset = bindings::VIRTIO_BLK_T_ZONE_RESET as isize,
    ZoneResetAll = bindings::VIRTIO_BLK_T_ZONE_RESET_ALL as isize,
}

impl Command {
    #[inline(always)]
    pub(super) fn of(operation: Operation) -> Option<Self> {
        Some(match operation {
            Operation::Read => Self::In,
            Operation::Write => Self::Out,
            Operation::Flush => Self::Flush,
            Operation::Discard => Self::Discard,
            Operation::WriteZeroes => Self::WriteZeroes,
            Operation::SecureErase => Self::SecureErase,
            Operation::ZoneAppend => Self::ZoneAppend,
            Operation::ZoneOpen => Self::ZoneOpen,
            Operation::ZoneClose => Self::ZoneClose,
            Operation::ZoneFinish => Self::ZoneFinish,
            Operation::ZoneReset => Self::ZoneReset,
            Operation::ZoneResetAll => Self::ZoneResetAll,
            Operation::DriverIn | Operation::Other => return None,
        })
    }

    #[inline(always)]
    pub(super) fn has_sector(self) -> bool {
        !matches!(self, Self::Flush | Self::GetId | Self::ZoneResetAll) && !self.has_ranges()
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
        let flags = match self {
            Self::WriteZeroes if rq.may_unmap() => WRITE_ZEROES_UNMAP,
            _ => 0,
        };
        // Only discards come in several ranges: others that follow one another were made one.
        let several = self == Self::Discard && rq.ranges() > 1;
        let count = if several { rq.ranges() } else { 1 };
        let mut ranges = DriverBuffer::zeroed(count * RANGE_LEN, GFP_ATOMIC)?;
        let mut places = ranges.bytes_mut().chunks_exact_mut(RANGE_LEN);
        let mut found = 0;
        let mut put = |start: Sectors, len: Sectors| {
            found += 1;
            if let Some(place) = places.next() {
                let range = u128::from(start.0) | u128::from(len.0) << 64 | flags << 96;
                place.copy_from_slice(&range.to_le_bytes());
            }
        };
        if several {
            rq.for_each_range(put);
        } else {
            put(rq.sector(), Sectors::in_bytes(rq.bytes().into()));
        }
        if found != count {
            return Err(EIO);
        }
        Ok(ranges)
    }
}

/// Where appends can end.
#[derive(Clone, Copy)]
pub(super) struct Zoning {
    /// The size of a zone; 0 if there are none.
    pub(super) zone_sectors: u32,
    pub(super) capacity: Sectors,
    /// The size of a block, a power of two.
    pub(super) block: Sectors,
}

impl Zoning {
    /// No zones, as long as it is not known whether there are some.
    pub(super) const NONE: Self = Self {
        zone_sectors: 0,
        capacity: Sectors(0),
        block: Sectors(1),
    };
}

/// The request has no memory but that of the block layer, and an answer as most have it.
pub(super) fn reset(rq: &mut Request) {
    if !matches!(rq.operation(), Operation::Read | Operation::Write) {
        rq.data_mut().data_mut().set_own(None);
        rq.data_mut().set_trailer_len(STATUS_LEN);
    }
}

/// How a request ended that the device is done with.
#[inline(always)]
pub(super) fn status_of(rq: &mut Request, modern: bool, zoning: &Zoning) -> Status {
    let data = rq.data();
    let status = check(data.trailer_end());
    match rq.operation() {
        // All of it must be there, and the status behind it. Who does not count the status cannot
        // be told from who left out the last byte of the data.
        Operation::Read if modern && data.written() <= rq.bytes() => short(status),
        Operation::Read | Operation::Write => status,
        _ => ended(rq, status, modern, zoning),
    }
}

#[inline(always)]
fn check(status: Untrusted<u8>) -> Status {
    let checked = status.validate(|status| match u32::from(status) {
        bindings::VIRTIO_BLK_S_OK => Ok(Status::OK),
        bindings::VIRTIO_BLK_S_UNSUPP => Ok(Status::NOT_SUPPORTED),
        bindings::VIRTIO_BLK_S_ZONE_OPEN_RESOURCE => Ok(Status::ZONE_OPEN_RESOURCE),
        bindings::VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE => Ok(Status::ZONE_ACTIVE_RESOURCE),
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

/// How a request ended that neither reads nor writes.
#[inline(never)]
fn ended(rq: &mut Request, status: Status, modern: bool, zoning: &Zoning) -> Status {
    let appended = match rq.operation() {
        Operation::ZoneAppend if status == Status::OK => Some(appended_at(rq, modern, zoning)),
        _ => None,
    };
    reset(rq);
    match appended {
        Some(Ok(at)) => rq.set_appended(at),
        Some(Err(_)) => return Status::IO_ERROR,
        None => (),
    }
    status
}

/// Where an append went, which must be in the zone that it is for.
fn appended_at(rq: &Request, modern: bool, zoning: &Zoning) -> Result<Sectors> {
    let zone = rq.sector().0;
    let len = Sectors::in_bytes(rq.bytes().into()).0;
    let end = zoning.capacity.0.min(zone + u64::from(zoning.zone_sectors));
    let answer = rq.data().trailer_of_any_length();
    answer.validate(|[sector @ .., _status]: Answer| {
        let at = match modern {
            true => u64::from_le_bytes(sector),
            false => u64::from_ne_bytes(sector),
        };
        let aligned = at & (zoning.block.0 - 1) == 0;
        match at.checked_add(len) {
            Some(behind) if aligned && at >= zone && behind <= end => Ok(Sectors(at)),
            _ => Err(EIO),
        }
    })
}
