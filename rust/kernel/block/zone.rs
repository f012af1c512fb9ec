// SPDX-License-Identifier: GPL-2.0

//! Zones: parts of a disk that have to be written from their start to their end.

use super::{
    disk::Disk,
    limits::OutOfRange,
    operation::Sectors,
    registration::DiskParams, //
};
use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
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

impl ZoneState {
    /// Whether it is partly written, as far as the device has to remember.
    fn is_active(self) -> bool {
        matches!(
            self,
            Self::ImplicitlyOpen | Self::ExplicitlyOpen | Self::Closed
        )
    }
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

/// How many zones a driver reports at a time, at most.
const BATCH: u32 = 64;

/// How long a report may take, whatever the device answers.
const LONGEST: Delta = Delta::from_secs(120);

/// Zones that a driver reports, one behind the other: some of those that somebody asked for.
///
/// What the device says is checked here: the zones follow one another without gaps, and nothing is
/// outside of its zone.
pub struct ZoneReport<'a> {
    disk: &'a Disk,
    zones: KVec<bindings::blk_zone>,
    /// How many there can be.
    room: u32,
    /// The size of a zone.
    size: u64,
    /// Where the next zone starts.
    next: u64,
    /// How many zones so far are partly written, and how many can be.
    active: u32,
    most_active: u32,
}

impl ZoneReport<'_> {
    /// Where the next zone starts.
    pub fn next(&self) -> Sectors {
        Sectors(self.next)
    }

    /// Whether there are as many as are wanted now, or there can be.
    pub fn is_full(&self) -> bool {
        self.zones.len() >= self.room as usize || self.next >= self.disk.capacity().0
    }

    /// Reports the next zone.
    ///
    /// # Errors
    ///
    /// `EIO`, with a message, if there cannot be such a zone, `EINVAL` if the report
    /// [`is_full`](Self::is_full).
    pub fn push(&mut self, zone: &Zone) -> Result {
        if self.is_full() {
            return Err(EINVAL);
        }
        let len = self.size.min(self.disk.capacity().0 - self.next);
        let raw = self.check(zone, len).map_err(|e| {
            pr_err!("{}: zone at {}: {}\n", self.disk.name(), self.next, e);
            EIO
        })?;
        self.zones.push(raw, GFP_KERNEL)?;
        self.next += len;
        Ok(())
    }

    fn check(&mut self, zone: &Zone, len: u64) -> Result<bindings::blk_zone, OutOfRange> {
        let raw = check(zone, self.next, len)?;
        if zone.state.is_active() {
            self.active += 1;
            let most = self.most_active.into();
            OutOfRange::check("number of active zones", self.active.into(), 0, most)?;
        }
        Ok(raw)
    }
}

/// Has the driver report zones from the one in which `from` is, and hands them on. The driver is
/// called by `ask`, and not while they are handed on: that can take as long as user space likes.
/// Returns how many there were.
///
/// Process context; may sleep.
///
/// # Errors
///
/// What `ask` says, or who wants the zones; `EINVAL` if there is none, `ETIMEDOUT`.
///
/// # Safety
///
/// `args` is what the block layer gave to `report_zones()` of the disk, and is valid meanwhile.
/// `ask` is for disks with the operations of this one.
pub(super) unsafe fn report(
    disk: &Disk,
    from: Sectors,
    wanted: u32,
    args: *mut bindings::blk_report_zones_args,
    ask: unsafe fn(&Disk, &mut ZoneReport<'_>) -> Result,
) -> Result<u32> {
    let (size, most_active) = disk.zones();
    let size = u64::from(size.max(1));
    let mut report = ZoneReport {
        disk,
        zones: KVec::with_capacity(BATCH as usize, GFP_KERNEL)?,
        room: 0,
        size,
        // It is a power of two.
        next: from.0 & !(size - 1),
        active: 0,
        // Zones can change between answers, but not before anybody uses the disk.
        most_active: if disk.is_live() {
            u32::MAX
        } else {
            most_active
        },
    };
    let start = Instant::<Monotonic>::now();
    let mut count = 0;
    while count < wanted {
        report.room = BATCH.min(wanted - count);
        if report.is_full() {
            break;
        }
        if start.elapsed() > LONGEST {
            pr_err!("{}: reporting zones takes too long\n", disk.name());
            return Err(ETIMEDOUT);
        }
        // SAFETY: By the requirements of this function.
        unsafe { ask(disk, &mut report)? };
        if report.zones.is_empty() {
            break;
        }
        for zone in report.zones.iter_mut() {
            if cfg!(CONFIG_BLK_DEV_ZONED) {
                // SAFETY: The disk is valid, and so is `args`, by the requirements of this
                // function. `count` is less than what was asked for.
                to_result(unsafe { bindings::disk_report_zone(disk.as_raw(), zone, count, args) })?;
            }
            count += 1;
        }
        report.zones.clear();
    }
    match count {
        0 => Err(EINVAL),
        count => Ok(count),
    }
}

/// Reads the zones of a disk that has some.
pub(super) fn look_at(
    parent: &Device<Bound>,
    disk: *mut bindings::gendisk,
    params: &DiskParams,
) -> Result {
    let zoned = params.limits.check_zones(params.capacity);
    let zoned = zoned.inspect_err(|e| dev_err!(parent, "{}\n", e))?;
    if !zoned {
        return Ok(());
    }
    // SAFETY: The table was set, and is there as long as the disk.
    if unsafe { (*(*disk).fops).report_zones }.is_none() {
        return Err(EINVAL);
    }
    if cfg!(CONFIG_BLK_DEV_ZONED) {
        // SAFETY: The disk can report its zones now, and nobody else uses it.
        return to_result(unsafe { bindings::blk_revalidate_disk_zones(disk) });
    }
    Ok(())
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
        state if state.is_active() => OutOfRange::check(
            "write pointer",
            zone.write_pointer.0,
            start,
            start + capacity,
        )?,
        _ => u64::MAX,
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
