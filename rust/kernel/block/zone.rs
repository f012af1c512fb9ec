// SPDX-License-Identifier: GPL-2.0

//! Zones: parts of a disk that have to be written from their start to their end.

use super::{
    disk::Disk,
    limits::OutOfRange,
    operation::Sectors, //
};
use crate::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// What the zones of a disk are like, see [`Limits::set_zones`](super::Limits::set_zones).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zones {
    /// The size of each zone but the last one, which can be smaller: a power of two, in sectors.
    pub size: u32,
    /// How many zones can be open at a time; 0 if there is no limit.
    pub max_open: u32,
    /// How many zones can be partly written at a time; 0 if there is no limit.
    pub max_active: u32,
    /// The most that can be appended by one request, in sectors.
    pub max_append: u32,
    /// What is written has to be a multiple of this: a power of two, in bytes.
    pub write_granularity: u32,
}

/// What can be done with a zone.
///
/// C: `enum blk_zone_cond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ZoneState {
    /// It can be written anywhere: a conventional zone, which has no other state.
    Conventional = bindings::blk_zone_cond_BLK_ZONE_COND_NOT_WP as u8,
    /// Nothing was written.
    Empty = bindings::blk_zone_cond_BLK_ZONE_COND_EMPTY as u8,
    /// Partly written, and open because of that.
    ImplicitlyOpen = bindings::blk_zone_cond_BLK_ZONE_COND_IMP_OPEN as u8,
    /// Open because that was asked for.
    ExplicitlyOpen = bindings::blk_zone_cond_BLK_ZONE_COND_EXP_OPEN as u8,
    /// Partly written, and not open.
    Closed = bindings::blk_zone_cond_BLK_ZONE_COND_CLOSED as u8,
    /// It cannot be written any more.
    ReadOnly = bindings::blk_zone_cond_BLK_ZONE_COND_READONLY as u8,
    /// There is no room left.
    Full = bindings::blk_zone_cond_BLK_ZONE_COND_FULL as u8,
    /// It can neither be read nor written any more.
    Offline = bindings::blk_zone_cond_BLK_ZONE_COND_OFFLINE as u8,
}

/// A zone, as a device reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Where it starts.
    pub start: Sectors,
    /// How much of it can be used, from its start on.
    pub capacity: Sectors,
    /// Where it is to be written next; of no meaning unless it is partly written.
    pub write_pointer: Sectors,
    /// What can be done with it.
    pub state: ZoneState,
}

/// Who asked for zones, and gets them one after the other.
///
/// What the device says is checked here: the zones follow one another without gaps, and nothing is
/// outside of its zone.
pub struct ZoneReport<'a> {
    disk: &'a Disk,
    args: *mut bindings::blk_report_zones_args,
    /// The size of a zone.
    size: u64,
    /// Where the next zone starts.
    next: u64,
    /// How many were asked for.
    wanted: u32,
    /// How many were reported.
    count: u32,
}

impl<'a> ZoneReport<'a> {
    /// # Safety
    ///
    /// `args` is what the block layer gave to `report_zones()` of the disk, which has zones, and
    /// is valid as long as `'a`.
    pub(super) unsafe fn new(
        disk: &'a Disk,
        from: Sectors,
        wanted: u32,
        args: *mut bindings::blk_report_zones_args,
    ) -> Self {
        let size = disk.zone_size().max(1).into();
        Self {
            disk,
            args,
            size,
            next: from.0 - from.0 % size,
            wanted,
            count: 0,
        }
    }

    /// Where the zone starts that is to be reported next; `None` if that is enough.
    pub fn next(&self) -> Option<Sectors> {
        (self.count < self.wanted && self.next < self.disk.capacity().0)
            .then_some(Sectors(self.next))
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Reports the next zone.
    ///
    /// # Errors
    ///
    /// `EIO`, with a message, if there cannot be such a zone; or what the one who asked says.
    pub fn push(&mut self, zone: &Zone) -> Result {
        let room = self.disk.capacity().0.saturating_sub(self.next);
        let len = self.size.min(room);
        let checked = check(zone, self.next, len);
        let mut raw = checked.map_err(|e| {
            pr_err!("{}: zone at {}: {}\n", self.disk.name(), self.next, e);
            EIO
        })?;
        if cfg!(CONFIG_BLK_DEV_ZONED) {
            // SAFETY: The disk is valid, and so is `args`, by the requirements of `new`.
            to_result(unsafe {
                bindings::disk_report_zone(self.disk.as_raw(), &mut raw, self.count, self.args)
            })?;
        }
        self.next += len;
        self.count += 1;
        Ok(())
    }
}

/// What the block layer is told of a zone that is to be at `start` and of length `len`.
fn check(zone: &Zone, start: u64, len: u64) -> Result<bindings::blk_zone, OutOfRange> {
    OutOfRange::check("start", zone.start.0, start, start)?;
    let conventional = zone.state == ZoneState::Conventional;
    let least = if conventional { len } else { 1 };
    let capacity = OutOfRange::check("capacity", zone.capacity.0, least, len)?;
    let wp = match zone.state {
        ZoneState::Empty => start,
        ZoneState::Full => start + len,
        ZoneState::ImplicitlyOpen | ZoneState::ExplicitlyOpen | ZoneState::Closed => {
            OutOfRange::check(
                "write pointer",
                zone.write_pointer.0,
                start,
                start + capacity,
            )?
        }
        ZoneState::Conventional | ZoneState::ReadOnly | ZoneState::Offline => u64::MAX,
    };
    let mut raw: bindings::blk_zone = pin_init::zeroed();
    (raw.start, raw.len, raw.capacity, raw.wp) = (start, len, capacity, wp);
    raw.cond = zone.state as u8;
    // CAST: Both are small numbers.
    raw.type_ = if conventional {
        bindings::blk_zone_type_BLK_ZONE_TYPE_CONVENTIONAL as u8
    } else {
        bindings::blk_zone_type_BLK_ZONE_TYPE_SEQWRITE_REQ as u8
    };
    Ok(raw)
}
