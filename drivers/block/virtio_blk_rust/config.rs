// SPDX-License-Identifier: GPL-2.0

//! What the device says about itself, Virtio 1.3, sections 5.2.3 and 5.2.4.
//!
//! Each field is read once and checked once. What is out of range is noted, with the name of the
//! field, its value and its bounds, and the device is refused, unless a smaller value does no harm.

use super::command::Zoning;
use kernel::{
    bindings,
    block::{
        Geometry,
        Limits,
        Sectors,
        Zones, //
    },
    device::Bound,
    prelude::*,
    virtio::{
        self,
        Negotiated,
        Snapshot,
        Untrusted, //
    }, //
};

kernel::virtio_features! {
    /// What the driver implements.
    pub(super) enum Feature {
        /// The largest segment is known.
        SizeMax = 1,
        /// The largest number of segments is known.
        SegMax = 2,
        /// A geometry is known, for programs that want one.
        Geometry = 4,
        /// The device cannot be written to.
        ReadOnly = 5,
        /// The block size is known.
        BlkSize = 6,
        /// There is a cache, and a command to flush it.
        Flush = 9,
        /// It is known which requests are done best.
        Topology = 10,
        /// The cache can be turned off and on.
        ConfigWce = 11 needs Flush,
        /// There can be several queues.
        Mq = 12,
        /// There is a command to discard.
        Discard = 13,
        /// There is a command to write zeroes.
        WriteZeroes = 14,
        /// There is a command to erase securely.
        SecureErase = 16,
        /// The device can consist of zones.
        Zoned = 17,
    }
}

kernel::virtio_config! {
    /// What the driver reads.
    pub(super) struct Config(virtio_blk_config) for Feature {
        /// In units of 512 bytes.
        capacity: u64,
        /// In bytes.
        size_max: u32 if SizeMax,
        seg_max: u32 if SegMax,
        cylinders: u16 in geometry if Geometry,
        heads: u8 in geometry if Geometry,
        sectors: u8 in geometry if Geometry,
        /// In bytes.
        blk_size: u32 if BlkSize,
        /// Logical blocks per physical block, as a power of two.
        physical_block_exp: u8 if Topology,
        /// In logical blocks.
        alignment_offset: u8 if Topology,
        /// In logical blocks.
        min_io_size: u16 if Topology,
        /// In logical blocks.
        opt_io_size: u32 if Topology,
        /// 1 for write back, 0 for write through.
        wce: u8 if ConfigWce writable,
        num_queues: u16 if Mq,
        /// In units of 512 bytes.
        max_discard_sectors: u32 if Discard,
        max_discard_seg: u32 if Discard,
        /// In units of 512 bytes.
        discard_sector_alignment: u32 if Discard,
        /// In units of 512 bytes.
        max_write_zeroes_sectors: u32 if WriteZeroes,
        /// In units of 512 bytes.
        max_secure_erase_sectors: u32 if SecureErase,
        max_secure_erase_seg: u32 if SecureErase,
        /// In units of 512 bytes.
        secure_erase_sector_alignment: u32 if SecureErase,
        /// In units of 512 bytes.
        zone_sectors: u32 in zoned if Zoned,
        max_open_zones: u32 in zoned if Zoned,
        max_active_zones: u32 in zoned if Zoned,
        /// In units of 512 bytes.
        max_append_sectors: u32 in zoned if Zoned,
        /// In bytes.
        write_granularity: u32 in zoned if Zoned,
        /// Whether there are zones at all.
        model: u8 in zoned if Zoned,
    }
}

type Device = virtio::Device<Bound>;

/// The ranges of a discard have to fit into a page.
const MAX_RANGES: u32 = 256;

/// The most that the block layer can count, in sectors.
const MAX_CAPACITY: u64 = i64::MAX as u64 >> bindings::SECTOR_SHIFT;

/// A request has a header and a status besides its data.
const EXTRA_SEGMENTS: u64 = 2;

/// How many queues to ask for, if no more than `wanted` are, or as many as there are if that is 0.
pub(super) fn num_queues(
    vdev: &Device,
    features: &Negotiated<Feature>,
    wanted: u32,
) -> Result<u32> {
    let Some(offered) = vdev.config_read_if(features, Config::NUM_QUEUES)? else {
        return Ok(1);
    };
    let offered = offered.validate(|offered| match offered {
        0 => {
            dev_err!(
                vdev.as_ref(),
                "refused: num_queues is 0, not from 1 to 65535\n"
            );
            Err(EINVAL)
        }
        offered => Ok(u32::from(offered)),
    })?;
    Ok(if wanted == 0 {
        offered
    } else {
        offered.min(wanted)
    })
}

/// The size of the disk. More than the block layer can count is cut off.
pub(super) fn capacity(vdev: &Device) -> Result<Sectors> {
    vdev.config_read(Config::CAPACITY).map(countable)
}

fn countable(sectors: Untrusted<u64>) -> Sectors {
    sectors.sanitize(|sectors| Sectors(sectors.min(MAX_CAPACITY)))
}

/// Whether the device has a cache that must be flushed.
#[inline(never)]
pub(super) fn write_back(vdev: &Device, features: &Negotiated<Feature>) -> Result<bool> {
    let wce = vdev.config_read_if(features, Config::WCE)?;
    Ok(is_write_back(wce, features))
}

fn is_write_back(wce: Option<Untrusted<u8>>, features: &Negotiated<Feature>) -> bool {
    match wce {
        // To flush once too often does no harm.
        Some(wce) => wce.sanitize(|wce| wce != 0),
        None => features.has(Feature::Flush),
    }
}

/// What the parameter `scrub` means for a device that is modern or not, in a guest whose memory is
/// encrypted or not.
pub(super) fn scrub(parameter: u8, modern: bool, encrypted: bool) -> bool {
    match parameter {
        0 => false,
        2 => !modern || encrypted,
        _ => true,
    }
}

/// What programs are told that want a geometry, if the device has no say in it.
pub(super) fn geometry(
    vdev: &Device,
    features: &Negotiated<Feature>,
    capacity: Sectors,
) -> Result<Geometry> {
    let config = vdev.config_snapshot::<Config>(features)?;
    // Any number is as good as another.
    let known = (
        config.read_if(Config::CYLINDERS),
        config.read_if(Config::HEADS),
        config.read_if(Config::SECTORS),
    );
    Ok(match known {
        (Some(cylinders), Some(heads), Some(sectors)) => Geometry {
            cylinders: cylinders.sanitize(|count| count),
            heads: heads.sanitize(|count| count),
            sectors: sectors.sanitize(|count| count),
        },
        _ => Geometry {
            cylinders: (capacity.0 >> 11).try_into().unwrap_or(u16::MAX),
            heads: 1 << 6,
            sectors: 1 << 5,
        },
    })
}

/// What the disk and its requests are like.
pub(super) struct Shape {
    pub(super) capacity: Sectors,
    pub(super) limits: Limits,
    pub(super) max_segments: u16,
    pub(super) zoning: Zoning,
}

impl Shape {
    /// Checks what the device says. What cannot be is noted in the limits, and replaced by what
    /// can. `ring_size` is how many descriptors a request can have, `segment_size` how long a
    /// segment.
    #[inline(never)]
    pub(super) fn new(
        config: &Snapshot<Config>,
        features: &Negotiated<Feature>,
        ring_size: u32,
        segment_size: usize,
    ) -> Self {
        let mut limits = Limits::new();
        limits.set_rotational(true);
        let wce = config.read_if(Config::WCE);
        limits.set_write_cache(is_write_back(wce, features));

        let room = u64::from(ring_size).saturating_sub(EXTRA_SEGMENTS);
        let room = limits.check("ring size without header and status", room, 1, u64::MAX);
        // CAST: It is less than `ring_size`, or 1.
        let room = (room as u32).min(u16::MAX.into());
        let max_segments = match config.read_if(Config::SEG_MAX) {
            // There must be one, whatever the device says.
            Some(seg_max) => seg_max.sanitize(|max| max.min(room).max(1)),
            None => 1,
        };
        limits.set_max_segments(max_segments);
        let mut segment_size = u32::try_from(segment_size).unwrap_or(u32::MAX);
        if let Some(size_max) = config.read_if(Config::SIZE_MAX) {
            // The storage daemon of QEMU says 0.
            segment_size = segment_size.min(size_max.sanitize(or_no_limit));
        }
        limits.set_max_segment_size(segment_size);

        let mut block = Sectors::SIZE;
        if let Some(blk_size) = config.read_if(Config::BLK_SIZE) {
            block = blk_size.sanitize(|size| limits.set_logical_block_size(size));
        }
        check_topology(config, &mut limits, block.into());
        check_ranges(config, &mut limits, max_segments);
        if let Some(max) = config.read_if(Config::MAX_WRITE_ZEROES_SECTORS) {
            limits.set_write_zeroes(max.sanitize(or_no_limit));
        }
        let capacity = countable(config.read(Config::CAPACITY));
        let zoning = Zoning {
            // Last, since a disk with zones cannot discard, whatever the device says.
            zone_sectors: check_zones(config, &mut limits),
            capacity,
            block: Sectors::in_bytes(block.into()),
        };
        Self {
            capacity,
            limits,
            // CAST: It is at most `room`.
            max_segments: max_segments as u16,
            zoning,
        }
    }
}

/// What kind of requests the device likes. `block` is the size of a block.
fn check_topology(config: &Snapshot<Config>, limits: &mut Limits, block: u64) {
    if let Some(exp) = config.read_if(Config::PHYSICAL_BLOCK_EXP) {
        exp.sanitize(|exp| {
            // Larger shifts would not be defined.
            let exp = limits.check("physical_block_exp", exp.into(), 0, u32::BITS.into());
            limits.set_physical_block_size(block << exp);
        });
    }
    if let Some(offset) = config.read_if(Config::ALIGNMENT_OFFSET) {
        offset.sanitize(|blocks| limits.set_alignment_offset(u64::from(blocks) * block));
    }
    let in_bytes = |blocks: u32| u64::from(blocks) * block;
    let min = config.read_if(Config::MIN_IO_SIZE);
    let min = min.map_or(0, |min| min.sanitize(|blocks| in_bytes(blocks.into())));
    let opt = config.read_if(Config::OPT_IO_SIZE);
    limits.set_io_sizes(min, opt.map_or(0, |opt| opt.sanitize(in_bytes)));
}

/// The block layer has the same limits for what is discarded and what is erased, so the smaller
/// ones count.
fn check_ranges(config: &Snapshot<Config>, limits: &mut Limits, max_segments: u32) {
    let discard = (
        config.read_if(Config::MAX_DISCARD_SECTORS),
        config.read_if(Config::MAX_DISCARD_SEG),
        config.read_if(Config::DISCARD_SECTOR_ALIGNMENT),
    );
    let erase = (
        config.read_if(Config::MAX_SECURE_ERASE_SECTORS),
        config.read_if(Config::MAX_SECURE_ERASE_SEG),
        config.read_if(Config::SECURE_ERASE_SECTOR_ALIGNMENT),
    );
    let (mut max_sectors, mut max_ranges, mut alignment) = (0, 0, 0);
    let mut any = false;
    if let (Some(sectors), Some(ranges), Some(align)) = discard {
        max_sectors = sectors.sanitize(or_no_limit);
        max_ranges = ranges.sanitize(|max| max);
        alignment = align.sanitize(|sectors| sectors);
        any = true;
    }
    if let (Some(sectors), Some(ranges), Some(align)) = erase {
        let sectors = not_zero(limits, "max_secure_erase_sectors", sectors);
        limits.set_secure_erase(sectors);
        let ranges = not_zero(limits, "max_secure_erase_seg", ranges);
        max_ranges = smaller_but_0(max_ranges, ranges);
        let align = not_zero(limits, "secure_erase_sector_alignment", align);
        alignment = smaller_but_0(alignment, align);
        any = true;
    }
    if any {
        if max_ranges == 0 {
            max_ranges = max_segments;
        }
        // If it is 0, the block layer takes the block size.
        let granularity = u64::from(alignment) << bindings::SECTOR_SHIFT;
        limits.set_discard(max_sectors, max_ranges.min(MAX_RANGES), granularity);
    }
}

fn not_zero(limits: &mut Limits, field: &'static str, value: Untrusted<u32>) -> u32 {
    // CAST: It was a `u32`.
    value.sanitize(|value| limits.check(field, value.into(), 1, u32::MAX.into()) as u32)
}

/// The size of a zone, 0 if there are none.
fn check_zones(config: &Snapshot<Config>, limits: &mut Limits) -> u32 {
    let known = (
        config.read_if(Config::MODEL),
        config.read_if(Config::ZONE_SECTORS),
        config.read_if(Config::MAX_OPEN_ZONES),
        config.read_if(Config::MAX_ACTIVE_ZONES),
        config.read_if(Config::MAX_APPEND_SECTORS),
        config.read_if(Config::WRITE_GRANULARITY),
    );
    let (Some(model), Some(size), Some(open), Some(active), Some(append), Some(granularity)) =
        known
    else {
        return 0;
    };
    let highest = bindings::VIRTIO_BLK_Z_HA.into();
    let model = model.sanitize(|model| limits.check("zoned.model", model.into(), 0, highest));
    // Where the host manages the zones, the driver need not know of them.
    if model != bindings::VIRTIO_BLK_Z_HM.into() {
        return 0;
    }
    // These are checked by `set_zones`.
    let zones = Zones {
        size: size.sanitize(|sectors| sectors),
        max_open: open.sanitize(|count| count),
        max_active: active.sanitize(|count| count),
        max_append: append.sanitize(|sectors| sectors),
        write_granularity: granularity.sanitize(|bytes| bytes),
    };
    limits.set_zones(&zones);
    zones.size
}

/// Here 0 means that there is no limit.
fn or_no_limit(max: u32) -> u32 {
    match max {
        0 => u32::MAX,
        max => max,
    }
}

/// The smaller one of two limits, of which the first may not be set.
fn smaller_but_0(first: u32, second: u32) -> u32 {
    match first {
        0 => second,
        first => first.min(second),
    }
}
