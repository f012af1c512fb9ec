// SPDX-License-Identifier: GPL-2.0

//! What a disk can do, and how requests for it must be.

use super::{
    operation::Sectors,
    zone::Zones, //
};
use crate::{
    bindings,
    device::Device,
    error::code,
    fmt,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A limit that cannot be: says which, what it was to be, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// The name of the limit.
    pub what: &'static str,
    /// What it was to be.
    pub value: u64,
    /// The lowest value that is allowed.
    pub min: u64,
    /// The highest value that is allowed.
    pub max: u64,
    /// Whether only powers of two are.
    pub power_of_two: bool,
}

impl OutOfRange {
    /// Checks that `value` is between `min` and `max`.
    ///
    /// # Errors
    ///
    /// It is not.
    #[inline(never)]
    pub fn check(what: &'static str, value: u64, min: u64, max: u64) -> Result<u64, Self> {
        Self::check_that(true, what, value, min, max)
    }

    /// As [`check`](Self::check), and that it is a power of two.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn check_power_of_two(
        what: &'static str,
        value: u64,
        min: u64,
        max: u64,
    ) -> Result<u64, Self> {
        Self::check_that(value.is_power_of_two(), what, value, min, max).map_err(|e| Self {
            power_of_two: true,
            ..e
        })
    }

    fn check_that(
        shape: bool,
        what: &'static str,
        value: u64,
        min: u64,
        max: u64,
    ) -> Result<u64, Self> {
        if shape && (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(Self {
            what,
            value,
            min,
            max,
            power_of_two: false,
        })
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.power_of_two {
            "a power of two "
        } else {
            ""
        };
        write!(
            f,
            "{} is {}, not {}from {} to {}",
            self.what, self.value, kind, self.min, self.max
        )
    }
}

impl From<OutOfRange> for Error {
    fn from(_: OutOfRange) -> Self {
        code::EINVAL
    }
}

/// The largest logical block.
///
/// C: `BLK_MAX_BLOCK_SIZE`.
const MAX_BLOCK_SIZE: u32 = if cfg!(CONFIG_TRANSPARENT_HUGEPAGE) {
    65536
} else {
    PAGE_SIZE as u32
};

/// What a device must take in one segment, at least.
///
/// C: `BLK_MIN_SEGMENT_SIZE`.
const MIN_SEGMENT_SIZE: u32 = 4096;

/// The block layer has a byte for each zone, in one piece of memory.
const MAX_ZONES: u64 = 1 << 20;

/// The block layer has an object for each zone that can be active, or open.
const MAX_ACTIVE_ZONES: u64 = 1 << 16;

/// What a disk can do, and how requests for it must be. Nothing that the block layer would not
/// accept, or would warn about, is set.
///
/// What is out of range is noted instead, and taken to be a value that is not: the nearest one, or
/// the least power of two. So it can be used in what follows, but no disk is made of such limits,
/// see [`accept`](Self::accept).
///
/// Set the logical block size first: others are checked against it.
///
/// C: `struct queue_limits`.
///
/// # Examples
///
/// ```
/// use kernel::block::Limits;
///
/// let mut limits = Limits::new();
/// limits.set_logical_block_size(4096);
/// limits.set_max_segments(126);
/// limits.set_write_cache(true);
/// assert!(limits.refused().is_none());
///
/// assert_eq!(limits.set_logical_block_size(100), 512);
/// let refused = limits.refused().ok_or(EINVAL)?;
/// assert_eq!((refused.what, refused.value), ("logical block size", 100));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Limits {
    raw: bindings::queue_limits,
    refused: Option<OutOfRange>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    /// Blocks of 512 bytes, no special operations, no cache; as large as a request can be.
    #[inline(never)]
    pub fn new() -> Self {
        let mut limits: bindings::queue_limits = pin_init::zeroed();
        limits.logical_block_size = Sectors::SIZE;
        limits.max_hw_sectors = u32::MAX;
        Self::from_raw(limits)
    }

    /// Says in the log of `dev` which limit cannot be, if there is one.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is one.
    pub fn accept(&self, dev: &Device) -> Result {
        match &self.refused {
            Some(e) => {
                dev_err!(dev, "refused: {}\n", e);
                Err(EINVAL)
            }
            None => Ok(()),
        }
    }

    /// The first one that cannot be, if there is one.
    pub fn refused(&self) -> Option<&OutOfRange> {
        self.refused.as_ref()
    }

    /// Returns `value`, if it is between `min` and `max`. If not, this is noted as one of the
    /// limits that cannot be, and the nearest value that can be is returned. `what` is its name.
    pub fn check(&mut self, what: &'static str, value: u64, min: u64, max: u64) -> u64 {
        self.note(OutOfRange::check(what, value, min, max))
    }

    fn check_power_of_two(&mut self, what: &'static str, value: u64, min: u64, max: u64) -> u64 {
        self.note(OutOfRange::check_power_of_two(what, value, min, max))
    }

    fn note(&mut self, checked: Result<u64, OutOfRange>) -> u64 {
        checked.unwrap_or_else(|e| {
            self.refused.get_or_insert(e);
            if e.power_of_two {
                e.min
            } else {
                e.value.min(e.max).max(e.min)
            }
        })
    }

    /// What the device addresses, in bytes: a power of two, from 512 to the size of a page (64 KiB
    /// with transparent huge pages). Returns what was set.
    pub fn set_logical_block_size(&mut self, bytes: u32) -> u32 {
        let (min, max) = (Sectors::SIZE.into(), MAX_BLOCK_SIZE.into());
        let bytes = self.check_power_of_two("logical block size", bytes.into(), min, max);
        // CAST: It was just checked.
        self.raw.logical_block_size = bytes as u32;
        self.raw.logical_block_size
    }

    /// What the device writes without having to read, in bytes: a power of two, not less than the
    /// logical block size.
    pub fn set_physical_block_size(&mut self, bytes: u64) {
        let logical = self.raw.logical_block_size.into();
        let bytes = self.check_power_of_two("physical block size", bytes, logical, 1 << 31);
        // CAST: It was just checked.
        self.raw.physical_block_size = bytes as u32;
    }

    /// Where the first physical block starts, in bytes; what is more than one of them is left out.
    pub fn set_alignment_offset(&mut self, bytes: u64) {
        let physical = self
            .raw
            .physical_block_size
            .max(self.raw.logical_block_size);
        // CAST: It is less than that, which is a power of two.
        self.raw.alignment_offset = (bytes & u64::from(physical - 1)) as u32;
    }

    /// The smallest and the best size of a request, in bytes, each 0 if there is none.
    pub fn set_io_sizes(&mut self, min: u64, opt: u64) {
        let min = self.check("minimum I/O size", min, 0, u32::MAX.into());
        let opt = self.check("optimal I/O size", opt, 0, u32::MAX.into());
        // CAST: Just checked.
        (self.raw.io_min, self.raw.io_opt) = (min as u32, opt as u32);
    }

    /// How many runs of memory the data of a request can have, at least 1.
    pub fn set_max_segments(&mut self, count: u32) {
        let count = self.check("number of segments", count.into(), 1, u16::MAX.into());
        // CAST: It was just checked.
        self.raw.max_segments = count as u16;
    }

    /// How long such a run can be, in bytes, at least 4096.
    pub fn set_max_segment_size(&mut self, bytes: u32) {
        let (min, max) = (MIN_SEGMENT_SIZE.into(), u32::MAX.into());
        let bytes = self.check("segment size", bytes.into(), min, max);
        // CAST: It was just checked.
        self.raw.max_segment_size = bytes as u32;
    }

    /// The device can discard, at most `max` sectors at a time in at most `segments` ranges (1 to
    /// 65535), by multiples of `granularity` bytes. That is what counts for
    /// [`set_secure_erase`](Self::set_secure_erase), too. If not even that, or a block, may be
    /// asked for at a time, nothing is. The size of blocks has to be set before.
    pub fn set_discard(&mut self, max: u32, segments: u32, granularity: u64) {
        let what = "number of discard ranges";
        let segments = self.check(what, segments.into(), 1, u16::MAX.into());
        let granularity = self.check("discard granularity", granularity, 0, u32::MAX.into());
        let least = granularity.max(self.raw.physical_block_size.into());
        self.raw.max_hw_discard_sectors = self.if_at_least(least, max);
        let erase = self.raw.max_secure_erase_sectors;
        self.raw.max_secure_erase_sectors = self.if_at_least(least, erase);
        // CAST: Just checked.
        self.raw.max_discard_segments = segments as u16;
        self.raw.discard_granularity = granularity as u32;
    }

    /// The device can erase securely, at most `max` sectors at a time. To be called before
    /// [`set_discard`](Self::set_discard), which says in which multiples.
    pub fn set_secure_erase(&mut self, max: u32) {
        self.raw.max_secure_erase_sectors = max;
    }

    /// The device can write zeroes, at most `max` sectors at a time. If that is less than a block,
    /// it is not asked to. The size of blocks has to be set before.
    pub fn set_write_zeroes(&mut self, max: u32) {
        self.raw.max_write_zeroes_sectors = self.if_at_least(0, max);
    }

    /// A largest number of sectors, or 0 if that is less than so many bytes, or a block: the block
    /// layer would not split what is longer, but send it whole.
    fn if_at_least(&self, bytes: u64, max: u32) -> u32 {
        let least = bytes.max(self.raw.logical_block_size.into());
        if u64::from(max) << bindings::SECTOR_SHIFT < least {
            0
        } else {
            max
        }
    }

    /// The device has a cache that must be flushed.
    pub fn set_write_cache(&mut self, on: bool) {
        self.set_feature(bindings::BLK_FEAT_WRITE_CACHE, on);
    }

    /// It is worth while to order requests.
    pub fn set_rotational(&mut self, on: bool) {
        self.set_feature(bindings::BLK_FEAT_ROTATIONAL, on);
    }

    /// The disk consists of zones. It cannot discard.
    pub fn set_zones(&mut self, zones: &Zones) {
        if !cfg!(CONFIG_BLK_DEV_ZONED) {
            self.check("zone size, without BLK_DEV_ZONED,", zones.size.into(), 0, 0);
        }
        let block = self.raw.logical_block_size.into();
        let granularity = zones.write_granularity.into();
        let granularity = self.check_power_of_two("write granularity", granularity, 1, 1 << 31);
        let granularity = granularity.max(block);
        let least = Sectors::in_bytes(granularity).0;
        self.check_power_of_two("zone size", zones.size.into(), least, 1 << 31);
        let append = zones.max_append.into();
        self.check("largest append", append, least, u32::MAX.into());
        let active = zones.max_active.into();
        self.check("number of active zones", active, 0, MAX_ACTIVE_ZONES);
        let most_open = if active == 0 {
            MAX_ACTIVE_ZONES
        } else {
            active
        };
        self.check("number of open zones", zones.max_open.into(), 0, most_open);
        if self.refused.is_some() {
            return;
        }

        self.set_feature(bindings::BLK_FEAT_ZONED, true);
        self.raw.chunk_sectors = zones.size;
        self.raw.max_open_zones = zones.max_open;
        self.raw.max_active_zones = zones.max_active;
        self.raw.max_hw_zone_append_sectors = zones.max_append;
        // CAST: Just checked.
        self.raw.zone_write_granularity = granularity as u32;
        self.raw.physical_block_size = granularity as u32;
        self.raw.io_min = granularity as u32;
        self.raw.max_hw_discard_sectors = 0;
    }

    /// What is said about zones is as it was before: there are objects for them.
    pub(super) fn keep_zones_of(&mut self, before: &bindings::queue_limits) {
        let zoned = before.features & bindings::BLK_FEAT_ZONED != 0;
        self.set_feature(bindings::BLK_FEAT_ZONED, zoned);
        self.raw.chunk_sectors = before.chunk_sectors;
        self.raw.max_open_zones = before.max_open_zones;
        self.raw.max_active_zones = before.max_active_zones;
        self.raw.max_hw_zone_append_sectors = before.max_hw_zone_append_sectors;
        self.raw.max_zone_append_sectors = before.max_zone_append_sectors;
        self.raw.zone_write_granularity = before.zone_write_granularity;
    }

    /// How many zones can be active, by what the disk says, or by what there can be.
    pub(super) fn most_active_zones(max_active: u32) -> u32 {
        match max_active {
            // CAST: It is a small number.
            0 => MAX_ACTIVE_ZONES as u32,
            most => most,
        }
    }

    /// Whether the disk consists of zones. If so, checks that there are not too many.
    pub(super) fn check_zones(&self, capacity: Sectors) -> Result<bool, OutOfRange> {
        if self.raw.features & bindings::BLK_FEAT_ZONED == 0 {
            return Ok(false);
        }
        let size = self.raw.chunk_sectors.max(1);
        let zones = capacity.0.saturating_add(u64::from(size - 1)) >> size.trailing_zeros();
        OutOfRange::check("number of zones", zones, 1, MAX_ZONES)?;
        Ok(true)
    }

    fn set_feature(&mut self, feature: bindings::blk_features_t, on: bool) {
        if on {
            self.raw.features |= feature;
        } else {
            self.raw.features &= !feature;
        }
    }

    pub(super) fn from_raw(limits: bindings::queue_limits) -> Self {
        Self {
            raw: limits,
            refused: None,
        }
    }

    pub(super) fn as_raw(&mut self) -> *mut bindings::queue_limits {
        &mut self.raw
    }
}

#[macros::kunit_tests(rust_block_limits)]
mod tests {
    use super::*;

    /// What is noted when `set` sets something.
    fn noted(set: impl FnOnce(&mut Limits)) -> Option<(&'static str, u64, u64, u64)> {
        let mut limits = Limits::new();
        set(&mut limits);
        limits.refused().map(|e| (e.what, e.value, e.min, e.max))
    }

    #[test]
    fn each_is_refused_by_name() {
        const U32: u64 = u32::MAX as u64;
        const U16: u64 = u16::MAX as u64;

        let block = noted(|limits| assert_eq!(limits.set_logical_block_size(513), 512));
        assert_eq!(
            block,
            Some(("logical block size", 513, 512, MAX_BLOCK_SIZE.into()))
        );
        let physical = noted(|limits| limits.set_physical_block_size(1 << 32));
        assert_eq!(
            physical,
            Some(("physical block size", 1 << 32, 512, 1 << 31))
        );
        let min = noted(|limits| limits.set_io_sizes(1 << 32, 0));
        assert_eq!(min, Some(("minimum I/O size", 1 << 32, 0, U32)));
        let opt = noted(|limits| limits.set_io_sizes(0, 1 << 33));
        assert_eq!(opt, Some(("optimal I/O size", 1 << 33, 0, U32)));
        let segments = noted(|limits| limits.set_max_segments(0));
        assert_eq!(segments, Some(("number of segments", 0, 1, U16)));
        let size = noted(|limits| limits.set_max_segment_size(4095));
        assert_eq!(size, Some(("segment size", 4095, 4096, U32)));
        let ranges = noted(|limits| limits.set_discard(1, 0, 512));
        assert_eq!(ranges, Some(("number of discard ranges", 0, 1, U16)));
        let granularity = noted(|limits| limits.set_discard(1, 1, 1 << 32));
        assert_eq!(granularity, Some(("discard granularity", 1 << 32, 0, U32)));
        let own = noted(|limits| assert_eq!(limits.check("a field", 7, 2, 5), 5));
        assert_eq!(own, Some(("a field", 7, 2, 5)));
    }

    #[test]
    fn first_is_noted() {
        let first = noted(|limits| {
            limits.set_max_segments(0);
            limits.set_max_segment_size(0);
        });
        assert_eq!(first.map(|e| e.0), Some("number of segments"));
    }

    #[test]
    fn what_can_be_is_not_noted() {
        let none = noted(|limits| {
            assert_eq!(limits.set_logical_block_size(4096), 4096);
            limits.set_physical_block_size(1 << 31);
            limits.set_alignment_offset(u64::MAX);
            limits.set_io_sizes(u32::MAX.into(), u32::MAX.into());
            limits.set_max_segments(u16::MAX.into());
            limits.set_max_segment_size(u32::MAX);
            limits.set_discard(u32::MAX, u16::MAX.into(), u32::MAX.into());
            assert_eq!(limits.check("a field", 5, 2, 5), 5);
        });
        assert_eq!(none, None);
    }

    /// What is shorter than the block layer can make it is not asked for at all.
    #[test]
    fn discards_of_less_than_can_be() {
        for (max, granularity, can) in [(8, 4096, true), (7, 4096, false), (1, 0, false)] {
            let mut limits = Limits::new();
            limits.set_physical_block_size(1024);
            limits.set_secure_erase(max);
            limits.set_discard(max, 1, granularity);
            let expected = if can { max } else { 0 };
            assert_eq!(limits.raw.max_hw_discard_sectors, expected);
            assert_eq!(limits.raw.max_secure_erase_sectors, expected);
            limits.set_write_zeroes(max);
            assert_eq!(limits.raw.max_write_zeroes_sectors, max);
            assert_eq!(limits.set_logical_block_size(4096), 4096);
            limits.set_write_zeroes(max);
            assert_eq!(limits.raw.max_write_zeroes_sectors, expected);
            assert!(limits.refused().is_none());
        }
    }

    /// Zones of which something is wrong leave no trace.
    #[test]
    fn zones_that_cannot_be() {
        let mut zones = Zones {
            size: 128,
            max_open: 4,
            max_active: 3,
            max_append: 128,
            write_granularity: 512,
        };
        let mut limits = Limits::new();
        limits.set_zones(&zones);
        assert!(limits.refused().is_some());
        assert_eq!(limits.raw.features & bindings::BLK_FEAT_ZONED, 0);
        assert_eq!(limits.raw.chunk_sectors, 0);

        zones.max_open = 3;
        let refused = noted(|limits| limits.set_zones(&zones));
        assert_eq!(refused.is_some(), !cfg!(CONFIG_BLK_DEV_ZONED));
    }
}
