// SPDX-License-Identifier: GPL-2.0

//! What has to work with an honest device.

use super::*;
use kernel::block::Geometry;

#[kunit_tests(virtio_blk_rust_honest)]
mod tests {
    use super::*;

    #[test]
    fn every_ring() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            // More than a ring holds, so that indices wrap.
            for _ in 0..20 {
                rig.works()?;
            }
            check_eq!(rig.disk.driver_errors(), 0);
            rig.works_again()?;
        }
        Ok(())
    }

    #[test]
    fn answers_in_an_interrupt() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
            rig.works()?;
        }
        Ok(())
    }

    #[test]
    fn legacy_device() -> Result {
        let mut params = disk(&[]);
        params.features = 0;
        let rig = Rig::new(&params)?;
        rig.works()?;
        rig.works_again()
    }

    /// Each page is a segment of its own: as many as fit into a ring, and more.
    #[test]
    fn many_segments() -> Result {
        for features in [&[][..], &[bit::INDIRECT_DESC], &[bit::RING_PACKED]] {
            for (size, seg_max) in [(16, 14), (64, 62), (256, 200)] {
                let params = disk(features)
                    .offer(&[bit::SEG_MAX])
                    .rings(1, size)
                    .seg_max(seg_max);
                let rig = Rig::new(&params)?;
                check_eq!(rig.io.info().max_segments, seg_max);
                let bytes = pattern(256 * PAGE, 1)?;
                let before = rig.disk.commands(OUT);
                check_eq!(rig.write(8, &bytes)?, Ok(()));
                // As few requests as that takes.
                let requests = rig.disk.commands(OUT) - before;
                check_eq!(requests, u64::from(256_u32.div_ceil(seg_max)));
                let (result, read) = rig.read(8, bytes.len())?;
                check_eq!(result, Ok(()));
                check!(*read == *bytes);
                check_eq!(rig.disk.driver_errors(), 0);
            }
        }
        Ok(())
    }

    #[test]
    fn one_segment_at_a_time() -> Result {
        let rig = Rig::with(&[])?;
        check_eq!(rig.io.info().max_segments, 1);
        let bytes = pattern(64 * PAGE, 1)?;
        check_eq!(rig.write(0, &bytes)?, Ok(()));
        let (result, read) = rig.read(0, bytes.len())?;
        check_eq!(result, Ok(()));
        check!(*read == *bytes);
        Ok(())
    }

    /// More requests than the ring has room for.
    #[test]
    fn full_queue() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            rig.disk.poke(0, &pattern(100 * PAGE, 0)?)?;
            // Who has no tag waits in `submit`.
            rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
            let mut bios = KVec::new();
            for i in 0..40 {
                bios.push(rig.bio(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
            }
            rig.io.submit(&bios)?;
            for (i, bio) in bios.iter().enumerate() {
                check_eq!(ended(bio)?, Ok(()));
                let mut stored = [0; PAGE];
                rig.disk.peek((i as u64 * 16) << 9, &mut stored)?;
                check!(*bio.data(PAGE)? == stored);
            }
            check_eq!(rig.disk.driver_errors(), 0);
        }
        Ok(())
    }

    /// A full queue is not tried again until there is room: a request that was refused is queued
    /// when another one ends. The device is told that it has work.
    fn stops_when_full(rig: &Rig, queues: u32, more: u64) -> Result {
        // Three descriptors each.
        const ROOM: u64 = 16 / 3;
        let kicks = || (0..queues).map(|queue| rig.disk.kicks(queue)).sum::<u64>();
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let mut bios = KVec::new();
        for i in 0..ROOM {
            let before = kicks();
            bios.push(rig.start(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
            check!(eventually(|| kicks() > before));
        }
        check_eq!(rig.io.info().stopped, 0);

        let mut before = kicks();
        let mut batch = KVec::new();
        for i in ROOM..ROOM + more {
            batch.push(rig.bio(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
        }
        rig.io.submit(&batch)?;
        // It can be another CPU that went on with this, and so another queue.
        while queues > 1 && rig.io.info().stopped == 0 {
            let count = (bios.len() + batch.len()) as u64;
            check!(count <= ROOM * u64::from(queues));
            before = kicks();
            bios.push(rig.start(Op::Read, count * 16, PAGE)?, GFP_KERNEL)?;
        }
        check!(eventually(|| rig.io.info().stopped == 1));
        check!(eventually(|| kicks() > before));

        let serve = |most| {
            for queue in 0..queues {
                rig.disk.serve(queue, most);
            }
        };
        for _ in 0..more {
            serve(1);
        }
        check!(eventually(|| rig.io.info().stopped == 0));
        for bio in batch {
            bios.push(bio, GFP_KERNEL)?;
        }
        check!(eventually(|| {
            serve(u32::MAX);
            bios.iter().all(|bio| bio.wait(0).is_some())
        }));
        for bio in &bios {
            check_eq!(ended(bio)?, Ok(()));
        }
        check_eq!(rig.io.info().stopped, 0);
        check_eq!(rig.disk.driver_errors(), 0);
        Ok(())
    }

    #[test]
    fn full_queue_is_stopped() -> Result {
        for features in [&[][..], &[bit::RING_PACKED]] {
            for more in [1, 2] {
                stops_when_full(&Rig::with(features)?, 1, more)?;
            }
        }
        Ok(())
    }

    /// As above, for queues that have no scheduler if there are CPUs for two of them: then requests
    /// end in batches.
    #[test]
    fn full_queue_of_several_is_stopped() -> Result {
        let params = disk(&[bit::MQ]).rings(2, 16).num_queues(2);
        let rig = Rig::new(&params)?;
        stops_when_full(&rig, rig.io.info().queues, 2)
    }

    /// A batch of requests is one kick.
    #[test]
    fn a_batch_is_one_kick() -> Result {
        let rig = Rig::new(&disk(&[bit::INDIRECT_DESC]).rings(1, 64))?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let kicks = rig.disk.kicks(0);
        let mut bios = KVec::new();
        for i in 0..16 {
            bios.push(rig.bio(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
        }
        rig.io.submit(&bios)?;
        check_eq!(rig.disk.kicks(0) - kicks, 1);
        check_eq!(rig.disk.serve(0, u32::MAX), 16);
        for bio in &bios {
            check_eq!(ended(bio)?, Ok(()));
        }
        Ok(())
    }

    #[test]
    fn several_queues() -> Result {
        let params = disk(&[bit::MQ]).rings(4, 16).num_queues(4);
        let rig = Rig::new(&params)?;
        check_eq!(rig.io.info().queues, kernel::block::usable_queues(4));
        rig.works()?;
        rig.works_again()
    }

    #[test]
    fn flush() -> Result {
        let rig = Rig::with(&[bit::FLUSH])?;
        check!(rig.io.info().write_cache);
        let flushes = rig.disk.commands(bindings::VIRTIO_BLK_T_FLUSH);
        check_eq!(rig.run(Op::Flush, 0, 0)?, Ok(()));
        check_eq!(rig.disk.commands(bindings::VIRTIO_BLK_T_FLUSH) - flushes, 1);
        check_eq!(rig.disk.driver_errors(), 0);
        Ok(())
    }

    #[test]
    fn cache_off_and_on() -> Result {
        let rig = Rig::new(&disk(&[bit::FLUSH, bit::CONFIG_WCE]).wce(1))?;
        check!(*rig.io.show(c"cache_type")? == *b"write back\n");
        rig.io.store(c"cache_type", c"write through")?;
        check_eq!(rig.disk.wce()?, 0);
        check!(!rig.io.info().write_cache);
        check!(*rig.io.show(c"cache_type")? == *b"write through\n");
        check_eq!(rig.io.store(c"cache_type", c"neither"), Err(EINVAL));
        rig.io.store(c"cache_type", c"write back")?;
        check!(rig.io.info().write_cache);
        rig.works()
    }

    #[test]
    fn serial_number() -> Result {
        let rig = Rig::with(&[])?;
        check!(*rig.io.show(c"serial")? == *b"virtio-sim-disk");
        check_eq!(rig.io.store(c"serial", c"another"), Err(EACCES));
        Ok(())
    }

    #[test]
    fn geometry() -> Result {
        let told = |cylinders, heads, sectors| Geometry {
            cylinders,
            heads,
            sectors,
        };
        let rig = Rig::with(&[])?;
        check_eq!(rig.io.geometry(), Ok(told((SECTORS >> 11) as u16, 64, 32)));
        let params = disk(&[bit::GEOMETRY]).cylinders(3).heads(5).sectors(7);
        check_eq!(Rig::new(&params)?.io.geometry(), Ok(told(3, 5, 7)));
        Ok(())
    }

    fn is_zero(rig: &Rig, sector: u64, len: usize) -> Result<bool> {
        let mut stored = KVVec::from_elem(1, len, GFP_KERNEL)?;
        rig.disk.peek(sector << 9, &mut stored)?;
        Ok(stored.iter().all(|&byte| byte == 0))
    }

    /// One command with a range for each.
    #[test]
    fn discard_of_many_ranges() -> Result {
        let params = disk(&[bit::DISCARD])
            .max_discard_sectors(128)
            .max_discard_seg(32)
            .discard_sector_alignment(1);
        let rig = Rig::new(&params)?;
        check_eq!(rig.io.info().max_discard_segments, 32);
        rig.disk.poke(0, &pattern(512 * PAGE, 1)?)?;
        let mut bios = KVec::new();
        for i in 0..16 {
            bios.push(rig.bio(Op::Discard, i * 64, PAGE)?, GFP_KERNEL)?;
        }
        rig.io.submit(&bios)?;
        for bio in &bios {
            check_eq!(ended(bio)?, Ok(()));
        }
        for i in 0..16 {
            check!(is_zero(&rig, i * 64, PAGE)?);
            check!(!is_zero(&rig, i * 64 + 8, 512)?);
        }
        check_eq!(rig.disk.ranges(), 16);
        check_eq!(rig.disk.commands(bindings::VIRTIO_BLK_T_DISCARD), 1);
        check_eq!(rig.disk.driver_errors(), 0);
        drop(bios);
        rig.works_again()
    }

    #[test]
    fn zeroes_and_erasure() -> Result {
        let params = disk(&[bit::WRITE_ZEROES, bit::SECURE_ERASE])
            .max_write_zeroes_sectors(128)
            .max_write_zeroes_seg(1)
            .max_secure_erase_sectors(128)
            .max_secure_erase_seg(4)
            .secure_erase_sector_alignment(1);
        let rig = Rig::new(&params)?;
        for op in [Op::WriteZeroes, Op::SecureErase] {
            rig.disk.poke(0, &pattern(512 * PAGE, 1)?)?;
            // More than one command can do.
            check_eq!(rig.run(op, 8, 200 << 9)?, Ok(()));
            check!(is_zero(&rig, 8, 200 << 9)?);
            check!(!is_zero(&rig, 208, 512)?);
        }
        // Not offered.
        check_eq!(rig.run(Op::Discard, 8, PAGE)?, Err(EOPNOTSUPP));
        check_eq!(rig.disk.driver_errors(), 0);
        Ok(())
    }

    #[test]
    fn large_blocks() -> Result {
        let params = disk(&[bit::BLK_SIZE, bit::TOPOLOGY])
            .blk_size(4096)
            .physical_block_exp(1)
            .alignment_offset(1)
            .min_io_size(2)
            .opt_io_size(8);
        let rig = Rig::new(&params)?;
        let info = rig.io.info();
        check_eq!(info.logical_block_size, 4096);
        check_eq!(info.physical_block_size, 8192);
        check_eq!(info.alignment_offset, 4096);
        check_eq!((info.io_min, info.io_opt), (8192, 32768));
        rig.works()
    }

    #[test]
    fn read_only() -> Result {
        let rig = Rig::with(&[bit::RO])?;
        check!(rig.io.info().read_only);
        rig.disk.poke(0, &pattern(PAGE, 1)?)?;
        check!(rig.write(0, &[1; 512])?.is_err());
        let (result, data) = rig.read(0, PAGE)?;
        check_eq!(result, Ok(()));
        check!(*data == *pattern(PAGE, 1)?);
        Ok(())
    }

    #[test]
    fn grows() -> Result {
        let rig = Rig::new(&disk(&[]).capacity(SECTORS / 2))?;
        check_eq!(rig.io.info().sectors, SECTORS / 2);
        check_eq!(rig.run(Op::Read, SECTORS / 2, 512)?, Err(EIO));
        rig.disk.set_capacity(SECTORS)?;
        rig.disk.config_interrupt();
        check!(eventually(|| rig.io.info().sectors == SECTORS));
        check_eq!(rig.run(Op::Read, SECTORS / 2, 512)?, Ok(()));
        Ok(())
    }

    /// Memory that cannot be mapped now is tried again.
    #[test]
    fn mapping_fails() -> Result {
        for features in [
            &[bit::ACCESS_PLATFORM][..],
            &[bit::ACCESS_PLATFORM, bit::RING_PACKED],
        ] {
            let rig = Rig::with(features)?;
            for after in 0..3 {
                rig.disk.fail_maps(after);
                let bio = rig.start(Op::Read, 0, PAGE)?;
                check!(bio.wait(50).is_none());
                rig.disk.fail_maps(u32::MAX);
                check_eq!(ended(&bio)?, Ok(()));
            }
            rig.works_again()?;
        }
        Ok(())
    }
}
