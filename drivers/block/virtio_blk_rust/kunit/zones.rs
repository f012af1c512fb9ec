// SPDX-License-Identifier: GPL-2.0

//! Disks with zones: eight, of which the first one can be written anywhere.

use super::*;
use kernel::{
    sync::Arc,
    virtio::sim::{
        DeviceLie,
        DiskLie,
        Task,
        ZoneInfo, //
    }, //
};

/// The size of a zone, in sectors.
const ZONE: u64 = SECTORS / 8;

const REPORT: u32 = bindings::VIRTIO_BLK_T_ZONE_REPORT;
const APPEND: u32 = bindings::VIRTIO_BLK_T_ZONE_APPEND;

/// Where the zones start in a report, and how long each of them is.
const REPORT_HEADER: u16 = 64;

const EMPTY: u8 = bindings::blk_zone_cond_BLK_ZONE_COND_EMPTY as u8;
const IMPLICITLY_OPEN: u8 = bindings::blk_zone_cond_BLK_ZONE_COND_IMP_OPEN as u8;
const EXPLICITLY_OPEN: u8 = bindings::blk_zone_cond_BLK_ZONE_COND_EXP_OPEN as u8;
const CLOSED: u8 = bindings::blk_zone_cond_BLK_ZONE_COND_CLOSED as u8;
const FULL: u8 = bindings::blk_zone_cond_BLK_ZONE_COND_FULL as u8;

fn zoned() -> DiskParams {
    disk(&[bit::ZONED])
        .model(bindings::VIRTIO_BLK_Z_HM as u8)
        .zone_sectors(ZONE as u32)
        .max_append_sectors(64)
        .write_granularity(512)
}

/// Zone `number` of a disk.
fn zone(rig: &Rig, number: u64) -> Result<ZoneInfo> {
    let zones = rig.io.zones(number * ZONE, 1)?;
    check_eq!(zones.len(), 1);
    Ok(zones[0])
}

fn byte(at: u16, is: u8) -> DiskLie {
    DiskLie::Byte { at, is }
}

/// Where the write pointer of a zone is, from the start of the zone, and what state it is in.
fn written(rig: &Rig, number: u64) -> Result<(u64, u8)> {
    let zone = zone(rig, number)?;
    Ok((zone.write_pointer - zone.start, zone.condition))
}

/// Appends a page, and returns where it went.
fn append(rig: &Rig, number: u64, seed: usize) -> Result<Result<u64>> {
    let bio = rig.bio(Op::ZoneAppend, number * ZONE, PAGE)?;
    bio.fill(&pattern(PAGE, seed)?)?;
    bio.submit()?;
    Ok(ended(&bio)?.map(|()| bio.sector()))
}

/// The driver does not take the disk while it lies about a byte of its report.
fn report_refused(rig: Rig, at: u16, is: u8) -> Result<Rig> {
    let Rig { io, disk } = rig;
    drop(io);
    disk.unbind();
    disk.lie_about(REPORT, byte(at, is), u32::MAX);
    check_eq!(disk.bind(), Err(ENODEV));
    check!(disk.open().is_err());
    bind_honest(&disk)?;
    Ok(Rig {
        io: disk.open()?,
        disk,
    })
}

#[kunit_tests(virtio_blk_rust_zones)]
mod tests {
    use super::*;

    #[test]
    fn are_reported() -> Result {
        let rig = Rig::new(&zoned())?;
        let zones = rig.io.zones(0, 100)?;
        check_eq!(zones.len(), 8);
        for (zone, number) in zones.iter().zip(0_u64..) {
            check_eq!(
                (zone.start, zone.len, zone.capacity),
                (number * ZONE, ZONE, ZONE)
            );
            let conventional = bindings::blk_zone_type_BLK_ZONE_TYPE_CONVENTIONAL as u8;
            check_eq!(zone.kind == conventional, number == 0);
        }
        check_eq!(rig.io.zones(ZONE + 7, 1)?[0].start, ZONE);
        check_eq!(rig.io.zones(SECTORS - 1, 100)?.len(), 1);
        rig.works_again()
    }

    /// What goes over the end of a zone is more than one request, of which the second one starts
    /// amid a page.
    #[test]
    fn are_read_over_their_end() -> Result {
        let rig = Rig::new(&zoned())?;
        let bytes = pattern(2 * PAGE, 4)?;
        for before in [1, 4, 7] {
            let sector = ZONE - before;
            rig.disk.poke(sector << 9, &bytes)?;
            for len in [PAGE, 2 * PAGE] {
                let requests = rig.disk.commands(IN);
                let (result, read) = rig.read(sector, len)?;
                check_eq!(result, Ok(()));
                check!(*read == bytes[..len]);
                // One for each page, and one more for that which is in two zones.
                check_eq!(rig.disk.commands(IN) - requests, 1 + (len / PAGE) as u64);
            }
        }
        check_eq!(rig.disk.driver_errors(), 0);
        Ok(())
    }

    /// More of them than one report has room for, and the last one is smaller.
    #[test]
    fn are_many() -> Result {
        let mut params = zoned().zone_sectors(8).capacity(SECTORS - 3);
        params.size = Sectors(SECTORS - 3);
        let rig = Rig::new(&params)?;
        let zones = rig.io.zones(0, 1000)?;
        check_eq!(zones.len() as u64, SECTORS / 8);
        check_eq!(zones[zones.len() - 1].len, 5);
        Ok(())
    }

    #[test]
    fn are_written_in_order() -> Result {
        let rig = Rig::new(&zoned())?;
        let bytes = pattern(2 * PAGE, 7)?;
        check_eq!(rig.write(ZONE, &bytes)?, Ok(()));
        check_eq!(written(&rig, 1)?, (16, IMPLICITLY_OPEN));
        check_eq!(rig.write(ZONE + 32, &bytes)?, Err(EIO));
        check_eq!(rig.write(ZONE + 16, &bytes)?, Ok(()));
        let (result, read) = rig.read(ZONE + 16, bytes.len())?;
        check_eq!(result, Ok(()));
        check!(*read == *bytes);
        rig.works_again()
    }

    #[test]
    fn are_appended_to() -> Result {
        for features in RINGS {
            let rig = Rig::new(&zoned().offer(features))?;
            for i in 0..3 {
                let at = 2 * ZONE + 8 * i;
                check_eq!(append(&rig, 2, i as usize)?, Ok(at));
                let (result, read) = rig.read(at, PAGE)?;
                check_eq!(result, Ok(()));
                check!(*read == *pattern(PAGE, i as usize)?);
            }
            check_eq!(written(&rig, 2)?, (24, IMPLICITLY_OPEN));
            check_eq!(append(&rig, 0, 0)?, Err(EIO));
            rig.works_again()?;
        }
        Ok(())
    }

    #[test]
    fn are_opened_closed_filled_and_emptied() -> Result {
        let rig = Rig::new(&zoned())?;
        let run = |op, number| rig.run(op, number * ZONE, 0);
        check_eq!(run(Op::ZoneOpen, 3)?, Ok(()));
        check_eq!(written(&rig, 3)?, (0, EXPLICITLY_OPEN));
        check_eq!(append(&rig, 3, 1)?, Ok(3 * ZONE));
        check_eq!(run(Op::ZoneClose, 3)?, Ok(()));
        check_eq!(written(&rig, 3)?, (8, CLOSED));
        check_eq!(run(Op::ZoneFinish, 3)?, Ok(()));
        check_eq!(written(&rig, 3)?, (ZONE, FULL));
        check_eq!(append(&rig, 3, 1)?, Err(EIO));
        check_eq!(run(Op::ZoneReset, 3)?, Ok(()));
        check_eq!(written(&rig, 3)?, (0, EMPTY));
        for number in 4..6 {
            check_eq!(append(&rig, number, 1)?, Ok(number * ZONE));
        }
        check_eq!(run(Op::ZoneResetAll, 0)?, Ok(()));
        for number in 1..8 {
            check_eq!(written(&rig, number)?, (0, EMPTY));
        }
        rig.works_again()
    }

    /// Where the device manages its zones, nobody need know.
    #[test]
    fn are_not_there() -> Result {
        let none = bindings::VIRTIO_BLK_Z_NONE as u8;
        for model in [none, bindings::VIRTIO_BLK_Z_HA as u8] {
            let rig = Rig::new(&zoned().model(model))?;
            check_eq!(rig.io.zones(0, 1), Err(EOPNOTSUPP));
            rig.works()?;
        }
        Ok(())
    }

    #[test]
    fn cannot_be() -> Result {
        refused(&zoned().model(3))?;
        for size in [0, 3, 513, u32::MAX] {
            refused(&zoned().zone_sectors(size))?;
        }
        for granularity in [0, 513, 1 << 31] {
            refused(&zoned().write_granularity(granularity))?;
        }
        refused(&zoned().max_append_sectors(0))?;
        refused(&zoned().write_granularity(4096).max_append_sectors(7))?;
        refused(&zoned().max_active_zones(2).max_open_zones(3))?;
        // The block layer would have memory for each.
        refused(&zoned().max_open_zones(u32::MAX))?;
        refused(&zoned().max_active_zones(u32::MAX))?;
        refused(&zoned().zone_sectors(1).capacity(1 << 24))?;
        refused(&zoned().zone_sectors(1).capacity(u64::MAX))?;
        refused(&zoned().capacity(0))
    }

    #[test]
    fn are_reported_wrong_at_first() -> Result {
        let mut rig = Rig::new(&zoned())?;
        check_eq!(append(&rig, 1, 1)?, Ok(ZONE));
        let second = REPORT_HEADER + 64;
        for (at, is) in [
            // None at all.
            (0, 0),
            // Capacity: none, and more than there is room for.
            (REPORT_HEADER + 1, 0),
            (second, 1),
            // Start.
            (REPORT_HEADER + 8, 1),
            (second + 8 + 7, 0xff),
            // Write pointer: before the zone, and behind it.
            (second + 16 + 1, 0),
            (second + 16 + 7, 0x80),
            // Types that do not exist, and that do not fit the state.
            (REPORT_HEADER + 24, 0),
            (second + 24, 3),
            (second + 24, 1),
            // States of the same kind.
            (second + 25, 5),
            (second + 25, 0),
            (REPORT_HEADER + 25, 1),
        ] {
            rig = report_refused(rig, at, is)?;
        }
        check_eq!(append(&rig, 1, 2)?, Ok(ZONE + 8));
        rig.works_again()
    }

    #[test]
    fn are_reported_wrong_later() -> Result {
        let rig = Rig::new(&zoned())?;
        check_eq!(append(&rig, 1, 1)?, Ok(ZONE));
        let second = REPORT_HEADER + 64;
        let end = REPORT_HEADER.into();
        for (lie, result) in [
            (byte(0, 0), Err(EINVAL)),
            (byte(7, 0xff), Ok(8)),
            // Start, capacity, write pointer, type, state.
            (byte(REPORT_HEADER + 8, 1), Err(EIO)),
            (byte(REPORT_HEADER + 1, 0), Err(EIO)),
            (byte(second, 1), Err(EIO)),
            (byte(second + 16 + 1, 0), Err(EIO)),
            (byte(second + 16 + 7, 0x80), Err(EIO)),
            (byte(second + 24, 3), Err(EIO)),
            (byte(second + 25, 5), Err(EIO)),
            // What is not written is no zone, and not what the memory held before.
            (DiskLie::Short(0), Err(EINVAL)),
            (DiskLie::Unwritten(end), Err(EIO)),
            (DiskLie::Short(end + 100), Err(EIO)),
            (DiskLie::NoStatus, Err(EIO)),
            (
                DiskLie::Status(bindings::VIRTIO_BLK_S_UNSUPP as u8),
                Err(EOPNOTSUPP),
            ),
        ] {
            rig.disk.lie_about(REPORT, lie, 1);
            check_eq!(rig.io.zones(0, 100).map(|zones| zones.len()), result);
            check_eq!(rig.io.zones(0, 100)?.len(), 8);
        }
        // One at a time is slow, and no lie.
        rig.disk.lie_about(REPORT, byte(0, 1), u32::MAX);
        check_eq!(rig.io.zones(0, 100)?.len(), 8);
        rig.works_again()
    }

    /// Data that was appended is not looked for where it cannot be.
    #[test]
    fn are_appended_to_elsewhere() -> Result {
        let rig = Rig::new(&zoned())?;
        for (lie, error) in [
            // Before the zone, behind it, and across its end.
            (byte(1, 1), EIO),
            (byte(1, 6), EIO),
            (byte(7, 0xff), EIO),
            (byte(0, 0xff), EIO),
            (DiskLie::Short(0), EIO),
            (DiskLie::Short(7), EIO),
            (DiskLie::Unwritten(0), EIO),
            (DiskLie::NoStatus, EIO),
            (
                DiskLie::Status(bindings::VIRTIO_BLK_S_ZONE_INVALID_CMD as u8),
                EIO,
            ),
            (
                DiskLie::Status(bindings::VIRTIO_BLK_S_ZONE_UNALIGNED_WP as u8),
                EIO,
            ),
            (
                DiskLie::Status(bindings::VIRTIO_BLK_S_ZONE_OPEN_RESOURCE as u8),
                ETOOMANYREFS,
            ),
            (
                DiskLie::Status(bindings::VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE as u8),
                EOVERFLOW,
            ),
        ] {
            check_eq!(rig.run(Op::ZoneReset, 2 * ZONE, 0)?, Ok(()));
            // Two pages are left: where they start is near enough to the end for a wrong byte.
            for _ in 0..ZONE / 8 - 2 {
                check!(append(&rig, 2, 1)?.is_ok());
            }
            rig.disk.lie_about(APPEND, lie, 1);
            check_eq!(append(&rig, 2, 1)?, Err(error));
        }
        check_eq!(rig.run(Op::ZoneReset, 2 * ZONE, 0)?, Ok(()));
        check_eq!(append(&rig, 2, 1)?, Ok(2 * ZONE));
        rig.works_again()
    }

    /// The same in the last zone, which can be smaller, and within a block.
    #[test]
    fn are_appended_to_between_blocks_and_beyond_the_end() -> Result {
        let size = SECTORS - ZONE / 2;
        let mut params = zoned()
            .offer(&[bit::BLK_SIZE])
            .blk_size(4096)
            .capacity(size);
        params.size = Sectors(size);
        let rig = Rig::new(&params)?;
        check_eq!(append(&rig, 7, 1)?, Ok(7 * ZONE));
        for lie in [byte(0, 9), byte(1, (size >> 8) as u8)] {
            rig.disk.lie_about(APPEND, lie, 1);
            check_eq!(append(&rig, 7, 1)?, Err(EIO));
        }
        rig.works_again()
    }

    /// There is an object for each zone that is partly written.
    #[test]
    fn are_active_though_they_cannot_be() -> Result {
        let rig = Rig::new(&zoned().max_active_zones(2))?;
        for number in 1..4 {
            check_eq!(append(&rig, number, 1)?, Ok(number * ZONE));
        }
        // Nobody needs an object for that.
        check_eq!(rig.io.zones(0, 100)?.len(), 8);
        let Rig { io, disk } = rig;
        drop(io);
        disk.unbind();
        check_eq!(disk.bind(), Err(ENODEV));
        check!(disk.open().is_err());
        Ok(())
    }

    /// What an append that came to nothing left behind is not in the way of other requests.
    #[test]
    fn are_appended_to_when_the_device_breaks() -> Result {
        let rig = Rig::new(&zoned())?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let mut bios = KVec::new();
        for number in 1..4 {
            bios.push(rig.start(Op::ZoneAppend, number * ZONE, PAGE)?, GFP_KERNEL)?;
        }
        rig.disk.device_lie(DeviceLie::Break);
        check_eq!(rig.run(Op::Read, 0, PAGE)?, Err(EIO));
        for bio in &bios {
            check_eq!(ended(bio)?, Err(EIO));
        }
        drop(bios);
        rig.disk.be_honest();
        rig.disk.set_mode(ALL_QUEUES, Mode::InKick);
        check_eq!(rig.disk.reset_prepare(), Ok(()));
        check_eq!(rig.disk.reset_done(), Ok(()));
        for _ in 0..2 * rig.io.info().depth {
            rig.works()?;
        }
        check_eq!(rig.disk.driver_errors(), 0);
        rig.works_again()
    }

    /// A device that does not answer does not keep who wants to know of its zones, nor who unbinds
    /// it; who asks later is told.
    #[test]
    fn are_asked_for_when_the_device_is_gone() -> Result {
        let Rig { io, disk } = Rig::new(&zoned())?;
        let io = Arc::new(io, GFP_KERNEL)?;
        disk.set_mode(ALL_QUEUES, Mode::Manual);
        let before = disk.kicks(0);
        let its = io.clone();
        let task = Task::spawn(move || its.zones(0, 1).err())?;
        check!(eventually(|| disk.kicks(0) > before));
        unbind_in_time(&disk)?;
        check_eq!(task.join()?, Some(EIO));
        check_eq!(io.zones(0, 1)?.len(), 0);
        check_eq!(io.geometry(), Err(ENODEV));
        drop(io);
        bind_honest(&disk)
    }

    #[test]
    fn device_lies_flip() -> Result {
        let Rig { io, disk } = Rig::new(&zoned())?;
        drop(io);
        for _ in 0..20 {
            disk.unbind();
            disk.device_lie(DeviceLie::ConfigFlip);
            let _ = disk.bind();
        }
        disk.unbind();
        bind_honest(&disk)
    }
}
