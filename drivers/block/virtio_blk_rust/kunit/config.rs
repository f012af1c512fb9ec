// SPDX-License-Identifier: GPL-2.0

//! What the device says of itself, and should not.

use super::*;
use kernel::virtio::sim::DeviceLie;

#[kunit_tests(virtio_blk_rust_config)]
mod tests {
    use super::*;

    #[test]
    fn bad_block_size() -> Result {
        for size in [0, 1, 256, 513, 1 << 31, u32::MAX] {
            refused(&disk(&[bit::BLK_SIZE]).blk_size(size))?;
        }
        Ok(())
    }

    #[test]
    fn physical_block_exponent() -> Result {
        let params = disk(&[bit::TOPOLOGY]);
        for exp in [23, 32, 64, 255] {
            refused(&params.clone().physical_block_exp(exp))?;
        }
        Rig::new(&params.physical_block_exp(3))?.works()
    }

    #[test]
    fn topology_out_of_range() -> Result {
        let params = disk(&[bit::TOPOLOGY, bit::BLK_SIZE]).blk_size(4096);
        refused(&params.clone().opt_io_size(u32::MAX))?;
        Rig::new(&params.clone().alignment_offset(u8::MAX))?.works()?;
        // Any of it is fine.
        Rig::new(&params.min_io_size(u16::MAX))?.works()
    }

    #[test]
    fn segment_size() -> Result {
        for size in [1, 511, 4095] {
            refused(&disk(&[bit::SIZE_MAX]).size_max(size))?;
        }
        let rig = Rig::with(&[])?;
        let most = rig.io.info().max_segment_size;
        drop(rig);
        // 0 is none.
        for (size, expected) in [(0, most), (4096, 4096), (8192, 8192), (u32::MAX, most)] {
            let params = disk(&[bit::SIZE_MAX, bit::SEG_MAX])
                .size_max(size)
                .seg_max(8);
            let rig = Rig::new(&params)?;
            check_eq!(rig.io.info().max_segment_size, expected);
            // The device would count longer segments as an error of the driver.
            rig.works_again()?;
        }
        Ok(())
    }

    /// As many as the ring has room for, with or without indirect descriptors.
    #[test]
    fn segments_exceed_the_ring() -> Result {
        for features in RINGS {
            for size in [4, 16, 256] {
                let params = disk(features)
                    .offer(&[bit::SEG_MAX])
                    .rings(1, size)
                    .seg_max(65535);
                let rig = Rig::new(&params)?;
                check_eq!(rig.io.info().max_segments, size - 2);
                let bytes = pattern(256 * PAGE, 5)?;
                check_eq!(rig.write(0, &bytes)?, Ok(()));
                let (result, read) = rig.read(0, bytes.len())?;
                check_eq!(result, Ok(()));
                check!(*read == *bytes);
                check_eq!(rig.disk.driver_errors(), 0);
            }
        }
        Ok(())
    }

    #[test]
    fn no_segments() -> Result {
        let rig = Rig::new(&disk(&[bit::SEG_MAX]).seg_max(0))?;
        check_eq!(rig.io.info().max_segments, 1);
        rig.works()
    }

    #[test]
    fn ring_too_small() -> Result {
        refused(&disk(&[]).rings(1, 1))?;
        refused(&disk(&[]).rings(1, 2))?;
        refused(&disk(&[bit::INDIRECT_DESC]).rings(1, 2))
    }

    #[test]
    fn number_of_queues() -> Result {
        refused(&disk(&[bit::MQ]).num_queues(0))?;
        let rig = Rig::new(&disk(&[bit::MQ]).rings(64, 16).num_queues(65535))?;
        check_eq!(rig.io.info().queues, kernel::block::usable_queues(65535));
        rig.works()?;
        drop(rig);
        // Not as many as it says.
        if kernel::block::usable_queues(65535) > 1 {
            refused(&disk(&[bit::MQ]).rings(1, 16).num_queues(65535))?;
        }
        Ok(())
    }

    /// Neither on nor off: what it may be is assumed.
    #[test]
    fn cache_is_unknown() -> Result {
        for wce in [2, 255] {
            let rig = Rig::new(&disk(&[bit::FLUSH, bit::CONFIG_WCE]).wce(wce))?;
            check!(rig.io.info().write_cache);
            check!(*rig.io.show(c"cache_type")? == *b"write back\n");
            rig.works()?;
        }
        Ok(())
    }

    #[test]
    fn capacity_of_everything() -> Result {
        for capacity in [u64::MAX, u64::MAX - 7, 1 << 63, (1 << 55) + 1] {
            let rig = Rig::new(&disk(&[]).capacity(capacity))?;
            let sectors = rig.io.info().sectors;
            check_eq!(sectors, capacity.min((1 << 54) - 1));
            rig.works()?;
            // The device has no such sector.
            check_eq!(rig.run(Op::Read, SECTORS, PAGE)?, Err(EIO));
            check_eq!(rig.run(Op::Read, sectors - 8, PAGE)?, Err(EIO));
            // The disk has not.
            check_eq!(rig.run(Op::Read, sectors - 4, PAGE)?, Err(EIO));
            rig.works_again()?;
        }
        Ok(())
    }

    #[test]
    fn capacity_of_nothing() -> Result {
        let rig = Rig::new(&disk(&[]).capacity(0))?;
        check_eq!(rig.run(Op::Read, 0, PAGE)?, Err(EIO));
        check_eq!(rig.run(Op::Write, 0, PAGE)?, Err(EIO));
        Ok(())
    }

    /// What is behind the new end fails, whether the driver noticed or not.
    #[test]
    fn shrinks() -> Result {
        let rig = Rig::with(&[])?;
        check_eq!(rig.run(Op::Read, SECTORS - 8, PAGE)?, Ok(()));
        rig.disk.set_capacity(64)?;
        rig.disk.config_interrupt();
        check!(eventually(|| rig.io.info().sectors == 64));
        let before = rig.disk.commands(IN) + rig.disk.commands(OUT);
        check_eq!(rig.run(Op::Read, 64, PAGE)?, Err(EIO));
        check_eq!(rig.run(Op::Write, SECTORS - 8, PAGE)?, Err(EIO));
        check_eq!(rig.disk.commands(IN) + rig.disk.commands(OUT), before);
        check_eq!(rig.run(Op::Read, 56, PAGE)?, Ok(()));
        rig.works_again()
    }

    #[test]
    fn ranges_out_of_range() -> Result {
        let discard = disk(&[bit::DISCARD]);
        for (sectors, ranges, alignment) in [
            (0, 0, 0),
            (u32::MAX, u32::MAX, 1),
            (1, 65535, 3),
            (8, 1, 1 << 20),
        ] {
            let params = discard
                .clone()
                .max_discard_sectors(sectors)
                .max_discard_seg(ranges)
                .discard_sector_alignment(alignment);
            let rig = Rig::new(&params)?;
            check!(rig.io.info().max_discard_segments <= 256);
            rig.works()?;
            let _ = rig.run(Op::Discard, 0, 64 * PAGE)?;
            check_eq!(rig.disk.driver_errors(), 0);
        }
        // More than there are bytes in a `u32`.
        refused(&discard.discard_sector_alignment(u32::MAX))?;
        let erase = disk(&[bit::SECURE_ERASE])
            .max_secure_erase_sectors(8)
            .max_secure_erase_seg(1)
            .secure_erase_sector_alignment(1);
        refused(&erase.clone().max_secure_erase_sectors(0))?;
        refused(&erase.clone().max_secure_erase_seg(0))?;
        refused(&erase.clone().secure_erase_sector_alignment(0))?;
        Rig::new(&erase)?.works()
    }

    #[test]
    fn scrubbing_where_it_counts() -> Result {
        use crate::config::scrub;

        for modern in [true, false] {
            for encrypted in [true, false] {
                check!(!scrub(0, modern, encrypted));
                check!(scrub(1, modern, encrypted));
                check_eq!(scrub(2, modern, encrypted), !modern || encrypted);
                // To be on the safe side.
                check!(scrub(3, modern, encrypted));
            }
        }
        Ok(())
    }

    /// The device as a whole refuses, or changes its mind all the time.
    #[test]
    fn device_cannot_be_bound() -> Result {
        for lie in [
            DeviceLie::RefuseFeaturesOk,
            DeviceLie::GenerationUnstable(u32::MAX),
            DeviceLie::FindVqsFails(0),
        ] {
            let rig = Rig::new(&disk(&[bit::BLK_SIZE]).blk_size(512))?;
            let Rig { io, disk } = rig;
            drop(io);
            disk.unbind();
            disk.device_lie(lie);
            check_eq!(disk.bind(), Err(ENODEV));
            check!(!disk.is_bound());
            check!(disk.open().is_err());
            bind_honest(&disk)?;
            let rig = Rig {
                io: disk.open()?,
                disk,
            };
            rig.works()?;
        }
        Ok(())
    }

    /// Every second read is another one: whatever it is, it was checked.
    #[test]
    fn fields_flip() -> Result {
        let params = disk(&[bit::BLK_SIZE, bit::SEG_MAX, bit::TOPOLOGY, bit::MQ])
            .rings(2, 16)
            .blk_size(512)
            .seg_max(4)
            .num_queues(1);
        let rig = Rig::new(&params)?;
        let Rig { io, disk } = rig;
        drop(io);
        for _ in 0..20 {
            disk.unbind();
            disk.device_lie(DeviceLie::ConfigFlip);
            let _ = disk.bind();
            if disk.is_bound() {
                let io = disk.open()?;
                check!(matches!(io.info().logical_block_size, 512 | 1024));
            }
        }
        disk.unbind();
        bind_honest(&disk)
    }
}
