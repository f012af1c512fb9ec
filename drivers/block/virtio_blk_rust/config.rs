// SPDX-License-Identifier: GPL-2.0

//! What the device says about itself, Virtio 1.3, sections 5.2.3 and 5.2.4.
//!
//! Each field is read once and checked once. What is out of range is an error that names the field,
//! its value and its bounds, unless a smaller value does no harm.

use super::command::Zoning;
use kernel::{
    bindings,
    block::{
        Geometry,
        Limits,
        OutOfRange,
        Sectors,
        Zones, //
    },
    cc_platform,
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
    let offered = offered
        .validate(|offered| OutOfRange::check("num_queues", offered.into(), 1, u16::MAX.into()))
        .map_err(|e| report(vdev, e))?;
    // CAST: It was a `u16`.
    let offered = offered as u32;
    Ok(if wanted == 0 {
        offered
    } else {
        offered.min(wanted)
    })
}

/// The size of the disk. More than the block layer can count is cut off.
pub(super) fn capacity(vdev: &Device) -> Result<Sectors> {
    vdev.config_read(Config::CAPACITY)?
        .validate(|sectors| Ok(Sectors(sectors.min(MAX_CAPACITY))))
}

/// Whether the device has a cache that must be flushed.
pub(super) fn write_back(vdev: &Device, features: &Negotiated<Feature>) -> Result<bool> {
    match vdev.config_read_if(features, Config::WCE)? {
        // To flush once too often does no harm.
        Some(wce) => wce.validate(|wce| Ok(wce != 0)),
        None => Ok(features.has(Feature::Flush)),
    }
}

/// What the parameter `scrub` means here, for a device that is modern or not.
pub(super) fn scrub(parameter: u8, modern: bool) -> Result<bool> {
    match parameter {
        0 => Ok(false),
        1 => Ok(true),
        2 => Ok(!modern || cc_platform::guest_memory_is_encrypted()),
        _ => Err(EINVAL),
    }
}

/// The device is refused, and the log says why.
#[cold]
fn report(vdev: &Device, e: OutOfRange) -> Error {
    dev_err!(vdev.as_ref(), "refused: {}\n", e);
    e.into()
}

/// What programs are told that want a geometry, if the device has no say in it.
pub(super) fn geometry(
    vdev: &Device,
    features: &Negotiated<Feature>,
    capacity: Sectors,
) -> Result<Geometry> {
    vdev.config_snapshot(|config| {
        // Any number is as good as another.
        let known = (
            config.read_if(features, Config::CYLINDERS),
            config.read_if(features, Config::HEADS),
            config.read_if(features, Config::SECTORS),
        );
        Ok(match known {
            (Some(cylinders), Some(heads), Some(sectors)) => Geometry {
                cylinders: cylinders.validate(Ok::<_, Error>)?,
                heads: heads.validate(Ok::<_, Error>)?,
                sectors: sectors.validate(Ok::<_, Error>)?,
            },
            _ => Geometry {
                cylinders: (capacity.0 >> 11).try_into().unwrap_or(u16::MAX),
                heads: 1 << 6,
                sectors: 1 << 5,
            },
        })
    })
}

/// What requests must be like.
pub(super) struct RequestShape {
    pub(super) limits: Limits,
    pub(super) max_segments: u16,
    pub(super) zoning: Zoning,
}

/// What was read, to be checked.
struct Raw {
    size_max: Option<Untrusted<u32>>,
    seg_max: Option<Untrusted<u32>>,
    blk_size: Option<Untrusted<u32>>,
    topology: Option<Topology>,
    discard: Option<Ranges>,
    write_zeroes: Option<Untrusted<u32>>,
    secure_erase: Option<Ranges>,
    zoned: Option<Zoned>,
}

struct Topology {
    physical_block_exp: Untrusted<u8>,
    alignment_offset: Untrusted<u8>,
    min_io_size: Untrusted<u16>,
    opt_io_size: Untrusted<u32>,
}

struct Ranges {
    max_sectors: Untrusted<u32>,
    max_ranges: Untrusted<u32>,
    alignment: Untrusted<u32>,
}

struct Zoned {
    model: Untrusted<u8>,
    zone_sectors: Untrusted<u32>,
    max_open: Untrusted<u32>,
    max_active: Untrusted<u32>,
    max_append: Untrusted<u32>,
    write_granularity: Untrusted<u32>,
}

impl Raw {
    fn read(config: &Snapshot<'_>, features: &Negotiated<Feature>) -> Self {
        macro_rules! read {
            ($($field:ident),+) => {
                ($(config.read_if(features, Config::$field)?),+)
            };
        }
        let topology = || {
            let (physical_block_exp, alignment_offset, min_io_size, opt_io_size) = read!(
                PHYSICAL_BLOCK_EXP,
                ALIGNMENT_OFFSET,
                MIN_IO_SIZE,
                OPT_IO_SIZE
            );
            Some(Topology {
                physical_block_exp,
                alignment_offset,
                min_io_size,
                opt_io_size,
            })
        };
        let ranges = |max_sectors, max_ranges, alignment| {
            Some(Ranges {
                max_sectors: config.read_if(features, max_sectors)?,
                max_ranges: config.read_if(features, max_ranges)?,
                alignment: config.read_if(features, alignment)?,
            })
        };
        let zoned = || {
            let (model, zone_sectors, max_open, max_active, max_append, write_granularity) = read!(
                MODEL,
                ZONE_SECTORS,
                MAX_OPEN_ZONES,
                MAX_ACTIVE_ZONES,
                MAX_APPEND_SECTORS,
                WRITE_GRANULARITY
            );
            Some(Zoned {
                model,
                zone_sectors,
                max_open,
                max_active,
                max_append,
                write_granularity,
            })
        };
        Self {
            size_max: config.read_if(features, Config::SIZE_MAX),
            seg_max: config.read_if(features, Config::SEG_MAX),
            blk_size: config.read_if(features, Config::BLK_SIZE),
            topology: topology(),
            discard: ranges(
                Config::MAX_DISCARD_SECTORS,
                Config::MAX_DISCARD_SEG,
                Config::DISCARD_SECTOR_ALIGNMENT,
            ),
            write_zeroes: config.read_if(features, Config::MAX_WRITE_ZEROES_SECTORS),
            secure_erase: ranges(
                Config::MAX_SECURE_ERASE_SECTORS,
                Config::MAX_SECURE_ERASE_SEG,
                Config::SECURE_ERASE_SECTOR_ALIGNMENT,
            ),
            zoned: zoned(),
        }
    }
}

impl RequestShape {
    /// Reads and checks what there is. `ring_size` is how many descriptors a request can have.
    pub(super) fn read(
        vdev: &Device,
        features: &Negotiated<Feature>,
        capacity: Sectors,
        ring_size: u32,
    ) -> Result<Self> {
        let raw = vdev.config_snapshot(|config| Ok(Raw::read(config, features)))?;
        let mut limits = Limits::new();
        limits.set_rotational(true);
        limits.set_write_cache(write_back(vdev, features)?);
        let segment_size = u32::try_from(vdev.max_segment_size()).unwrap_or(u32::MAX);
        raw.check(limits, capacity, ring_size, segment_size)
            .map_err(|e| report(vdev, e))
    }
}

impl Raw {
    #[inline(never)]
    fn check(
        self,
        mut limits: Limits,
        capacity: Sectors,
        ring_size: u32,
        mut segment_size: u32,
    ) -> Result<RequestShape, OutOfRange> {
        let room = u64::from(ring_size).saturating_sub(EXTRA_SEGMENTS);
        let room = OutOfRange::check("ring size without header and status", room, 1, u64::MAX)?;
        // CAST: It is less than `ring_size`.
        let room = (room as u32).min(u16::MAX.into());
        let max_segments = match self.seg_max {
            // There must be one, whatever the device says.
            Some(seg_max) => seg_max.validate(|max| Ok(max.clamp(1, room)))?,
            None => 1,
        };
        limits.set_max_segments(max_segments)?;
        if let Some(size_max) = self.size_max {
            // The storage daemon of QEMU says 0.
            segment_size = segment_size.min(size_max.validate(or_no_limit)?);
        }
        limits.set_max_segment_size(segment_size)?;

        let mut block = Sectors::SIZE;
        if let Some(blk_size) = self.blk_size {
            block = blk_size.validate(|size| {
                limits.set_logical_block_size(size)?;
                Ok(size)
            })?;
        }
        if let Some(topology) = self.topology {
            topology.check(&mut limits, block.into())?;
        }
        check_ranges(&mut limits, self.discard, self.secure_erase, max_segments)?;
        if let Some(max) = self.write_zeroes {
            limits.set_write_zeroes(max.validate(or_no_limit)?);
        }
        // Last, since a disk with zones cannot discard, whatever the device says.
        let zone_sectors = match self.zoned {
            Some(zoned) => zoned.check(&mut limits)?,
            None => 0,
        };
        let zoning = Zoning {
            zone_sectors,
            capacity,
            block: Sectors::in_bytes(block.into()),
        };
        Ok(RequestShape {
            limits,
            // CAST: It is at most `room`.
            max_segments: max_segments as u16,
            zoning,
        })
    }
}

impl Zoned {
    /// The size of a zone, 0 if there are none.
    fn check(self, limits: &mut Limits) -> Result<u32, OutOfRange> {
        let model = self.model.validate(|model| {
            OutOfRange::check(
                "zoned.model",
                model.into(),
                0,
                bindings::VIRTIO_BLK_Z_HA.into(),
            )
        })?;
        // Where the host manages the zones, the driver need not know of them.
        if model != bindings::VIRTIO_BLK_Z_HM.into() {
            return Ok(0);
        }
        let zones = Zones {
            size: self.zone_sectors.validate(Ok)?,
            max_open: self.max_open.validate(Ok)?,
            max_active: self.max_active.validate(Ok)?,
            max_append: self.max_append.validate(Ok)?,
            write_granularity: self.write_granularity.validate(Ok)?,
        };
        limits.set_zones(&zones)?;
        Ok(zones.size)
    }
}

impl Topology {
    fn check(self, limits: &mut Limits, block: u64) -> Result<(), OutOfRange> {
        self.physical_block_exp.validate(|exp| {
            // Larger shifts would not be defined.
            let exp = OutOfRange::check("physical_block_exp", exp.into(), 0, u32::BITS.into())?;
            limits.set_physical_block_size(block << exp)
        })?;
        self.alignment_offset.validate(|blocks| {
            limits.set_alignment_offset(u64::from(blocks) * block);
            Ok(())
        })?;
        let min = self
            .min_io_size
            .validate(|blocks| Ok(u64::from(blocks) * block))?;
        self.opt_io_size
            .validate(|blocks| limits.set_io_sizes(min, u64::from(blocks) * block))
    }
}

/// The block layer has the same limits for what is discarded and what is erased, so the smaller
/// ones count.
fn check_ranges(
    limits: &mut Limits,
    discard: Option<Ranges>,
    secure_erase: Option<Ranges>,
    max_segments: u32,
) -> Result<(), OutOfRange> {
    if discard.is_none() && secure_erase.is_none() {
        return Ok(());
    }
    let (mut max_sectors, mut max_ranges, mut alignment) = (0, 0, 0);
    if let Some(discard) = discard {
        max_sectors = discard.max_sectors.validate(or_no_limit)?;
        max_ranges = discard.max_ranges.validate(Ok)?;
        alignment = discard.alignment.validate(Ok)?;
    }
    if let Some(erase) = secure_erase {
        let not_zero = |field, value: u32| {
            OutOfRange::check(field, value.into(), 1, u32::MAX.into())?;
            Ok(value)
        };
        let sectors = erase
            .max_sectors
            .validate(|max| not_zero("max_secure_erase_sectors", max))?;
        let ranges = erase
            .max_ranges
            .validate(|max| not_zero("max_secure_erase_seg", max))?;
        let erase_alignment = erase
            .alignment
            .validate(|sectors| not_zero("secure_erase_sector_alignment", sectors))?;
        limits.set_secure_erase(sectors);
        max_ranges = smaller_but_0(max_ranges, ranges);
        alignment = smaller_but_0(alignment, erase_alignment);
    }
    if max_ranges == 0 {
        max_ranges = max_segments;
    }
    // If it is 0, the block layer takes the block size.
    let granularity = u64::from(alignment) << bindings::SECTOR_SHIFT;
    limits.set_discard(max_sectors, max_ranges.min(MAX_RANGES), granularity)
}

/// Here 0 means that there is no limit.
fn or_no_limit(max: u32) -> Result<u32, OutOfRange> {
    Ok(match max {
        0 => u32::MAX,
        max => max,
    })
}

/// The smaller one of two limits, of which the first may not be set.
fn smaller_but_0(first: u32, second: u32) -> u32 {
    match first {
        0 => second,
        first => first.min(second),
    }
}
