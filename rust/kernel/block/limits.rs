// SPDX-License-Identifier: GPL-2.0

//! What a disk can do, and how requests for it must be.

use super::{
    operation::Sectors,
    zone::Zones, //
};
use crate::{
    bindings,
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
/// accept, or would warn about, can be set.
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
/// limits.set_logical_block_size(4096)?;
/// limits.set_max_segments(126)?;
/// limits.set_write_cache(true);
/// let refused = limits.set_logical_block_size(513).err().ok_or(EINVAL)?;
/// assert_eq!((refused.what, refused.value), ("logical block size", 513));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Limits(bindings::queue_limits);

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    /// Blocks of 512 bytes, no special operations, no cache; as large as a request can be.
    pub fn new() -> Self {
        let mut limits: bindings::queue_limits = pin_init::zeroed();
        limits.logical_block_size = Sectors::SIZE;
        limits.max_hw_sectors = u32::MAX;
        Self(limits)
    }

    /// What the device addresses, in bytes: a power of two, from 512 to the size of a page (64 KiB
    /// with transparent huge pages).
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_logical_block_size(&mut self, bytes: u32) -> Result<(), OutOfRange> {
        OutOfRange::check_power_of_two(
            "logical block size",
            bytes.into(),
            Sectors::SIZE.into(),
            MAX_BLOCK_SIZE.into(),
        )?;
        self.0.logical_block_size = bytes;
        Ok(())
    }

    /// What the device writes without having to read, in bytes: a power of two, not less than the
    /// logical block size.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_physical_block_size(&mut self, bytes: u64) -> Result<(), OutOfRange> {
        let logical = self.0.logical_block_size.into();
        let bytes = OutOfRange::check_power_of_two("physical block size", bytes, logical, 1 << 31)?;
        // CAST: It was just checked.
        self.0.physical_block_size = bytes as u32;
        Ok(())
    }

    /// Where the first physical block starts, in bytes; what is more than one of them is left out.
    pub fn set_alignment_offset(&mut self, bytes: u64) {
        let physical = self.0.physical_block_size.max(self.0.logical_block_size);
        // CAST: It is less than that, which is a power of two.
        self.0.alignment_offset = (bytes & u64::from(physical - 1)) as u32;
    }

    /// The smallest and the best size of a request, in bytes, each 0 if there is none.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_io_sizes(&mut self, min: u64, opt: u64) -> Result<(), OutOfRange> {
        let min = OutOfRange::check("minimum I/O size", min, 0, u32::MAX.into())?;
        let opt = OutOfRange::check("optimal I/O size", opt, 0, u32::MAX.into())?;
        // CAST: Just checked.
        (self.0.io_min, self.0.io_opt) = (min as u32, opt as u32);
        Ok(())
    }

    /// How many runs of memory the data of a request can have, at least 1.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_max_segments(&mut self, count: u32) -> Result<(), OutOfRange> {
        let count = OutOfRange::check("number of segments", count.into(), 1, u16::MAX.into())?;
        // CAST: It was just checked.
        self.0.max_segments = count as u16;
        Ok(())
    }

    /// How long such a run can be, in bytes, at least 4096.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_max_segment_size(&mut self, bytes: u32) -> Result<(), OutOfRange> {
        OutOfRange::check(
            "segment size",
            bytes.into(),
            MIN_SEGMENT_SIZE.into(),
            u32::MAX.into(),
        )?;
        self.0.max_segment_size = bytes;
        Ok(())
    }

    /// The device can discard, at most `max` at a time in at most `segments` ranges (1 to 65535),
    /// by multiples of `granularity` bytes.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_discard(
        &mut self,
        max: u32,
        segments: u32,
        granularity: u64,
    ) -> Result<(), OutOfRange> {
        let segments = OutOfRange::check(
            "number of discard ranges",
            segments.into(),
            1,
            u16::MAX.into(),
        )?;
        let granularity =
            OutOfRange::check("discard granularity", granularity, 0, u32::MAX.into())?;
        self.0.max_hw_discard_sectors = max;
        // CAST: Just checked.
        self.0.max_discard_segments = segments as u16;
        self.0.discard_granularity = granularity as u32;
        Ok(())
    }

    /// The device can erase securely, at most `max` sectors at a time.
    pub fn set_secure_erase(&mut self, max: u32) {
        self.0.max_secure_erase_sectors = max;
    }

    /// The device can write zeroes, at most `max` sectors at a time.
    pub fn set_write_zeroes(&mut self, max: u32) {
        self.0.max_write_zeroes_sectors = max;
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
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn set_zones(&mut self, zones: &Zones) -> Result<(), OutOfRange> {
        if !cfg!(CONFIG_BLK_DEV_ZONED) {
            OutOfRange::check("zone size, without BLK_DEV_ZONED,", zones.size.into(), 0, 0)?;
        }
        let check = OutOfRange::check;
        let check_power_of_two = OutOfRange::check_power_of_two;
        let block = self.0.logical_block_size.into();
        let granularity = zones.write_granularity.into();
        let granularity = check_power_of_two("write granularity", granularity, 1, 1 << 31)?;
        let granularity = granularity.max(block);
        let least = Sectors::in_bytes(granularity).0;
        check_power_of_two("zone size", zones.size.into(), least, 1 << 31)?;
        check(
            "largest append",
            zones.max_append.into(),
            least,
            u32::MAX.into(),
        )?;
        check(
            "number of active zones",
            zones.max_active.into(),
            0,
            MAX_ACTIVE_ZONES,
        )?;
        let max_active = match zones.max_active {
            0 => MAX_ACTIVE_ZONES,
            max_active => max_active.into(),
        };
        check("number of open zones", zones.max_open.into(), 0, max_active)?;

        self.set_feature(bindings::BLK_FEAT_ZONED, true);
        self.0.chunk_sectors = zones.size;
        self.0.max_open_zones = zones.max_open;
        self.0.max_active_zones = zones.max_active;
        self.0.max_hw_zone_append_sectors = zones.max_append;
        // CAST: Just checked.
        self.0.zone_write_granularity = granularity as u32;
        self.0.physical_block_size = granularity as u32;
        self.0.io_min = granularity as u32;
        self.0.max_hw_discard_sectors = 0;
        Ok(())
    }

    /// What is said about zones is as it was before: there are objects for them.
    pub(super) fn keep_zones_of(&mut self, before: &bindings::queue_limits) {
        let zoned = before.features & bindings::BLK_FEAT_ZONED != 0;
        self.set_feature(bindings::BLK_FEAT_ZONED, zoned);
        self.0.chunk_sectors = before.chunk_sectors;
        self.0.max_open_zones = before.max_open_zones;
        self.0.max_active_zones = before.max_active_zones;
        self.0.max_hw_zone_append_sectors = before.max_hw_zone_append_sectors;
        self.0.zone_write_granularity = before.zone_write_granularity;
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
        if self.0.features & bindings::BLK_FEAT_ZONED == 0 {
            return Ok(false);
        }
        let size = self.0.chunk_sectors.max(1);
        let zones = capacity.0.saturating_add(u64::from(size - 1)) >> size.trailing_zeros();
        OutOfRange::check("number of zones", zones, 1, MAX_ZONES)?;
        Ok(true)
    }

    fn set_feature(&mut self, feature: bindings::blk_features_t, on: bool) {
        if on {
            self.0.features |= feature;
        } else {
            self.0.features &= !feature;
        }
    }

    pub(super) fn from_raw(limits: bindings::queue_limits) -> Self {
        Self(limits)
    }

    pub(super) fn as_raw(&mut self) -> *mut bindings::queue_limits {
        &mut self.0
    }
}
