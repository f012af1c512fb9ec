// SPDX-License-Identifier: GPL-2.0

//! What a device can answer, and should not.

use super::*;
use kernel::virtio::sim::{
    DeviceLie,
    DiskLie,
    Lie,
    ALL_COMMANDS,
    FOREVER, //
};

/// A disk that knows all commands.
fn all_commands() -> DiskParams {
    disk(&[
        bit::FLUSH,
        bit::DISCARD,
        bit::WRITE_ZEROES,
        bit::SECURE_ERASE,
    ])
    .max_discard_sectors(128)
    .max_discard_seg(4)
    .discard_sector_alignment(1)
    .max_write_zeroes_sectors(128)
    .max_write_zeroes_seg(1)
    .max_secure_erase_sectors(128)
    .max_secure_erase_seg(4)
    .secure_erase_sector_alignment(1)
}

const OPS: [(Op, usize); 6] = [
    (Op::Read, PAGE),
    (Op::Write, PAGE),
    (Op::Flush, 0),
    (Op::Discard, PAGE),
    (Op::WriteZeroes, PAGE),
    (Op::SecureErase, PAGE),
];

/// How much of a page is not what was there before.
fn overwritten(data: &[u8]) -> usize {
    data.iter().filter(|&&byte| byte != MARKER).count()
}

#[kunit_tests(virtio_blk_rust_lies)]
mod tests {
    use super::*;

    #[test]
    fn status_unknown() -> Result {
        let rig = Rig::new(&all_commands())?;
        for (op, len) in OPS {
            for (status, error) in [
                (0x55, EIO),
                (0xff, EIO),
                (3, EIO),
                (bindings::VIRTIO_BLK_S_IOERR as u8, EIO),
                (bindings::VIRTIO_BLK_S_UNSUPP as u8, EOPNOTSUPP),
            ] {
                rig.disk.lie_about(ALL_COMMANDS, DiskLie::Status(status), 1);
                check_eq!(rig.run(op, 8, len)?, Err(error));
            }
            check_eq!(rig.run(op, 8, len)?, Ok(()));
        }
        rig.works_again()
    }

    /// The success of an earlier request is not that of a later one.
    #[test]
    fn status_not_written() -> Result {
        let rig = Rig::new(&all_commands())?;
        for (op, len) in OPS {
            // All requests have been successful.
            for _ in 0..40 {
                check_eq!(rig.run(op, 8, len)?, Ok(()));
            }
            for _ in 0..40 {
                rig.disk.lie_about(ALL_COMMANDS, DiskLie::NoStatus, 1);
                check_eq!(rig.run(op, 8, len)?, Err(EIO));
            }
        }
        rig.works_again()
    }

    /// What was in the memory is never the content of the disk.
    #[test]
    fn read_short() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            rig.disk.poke(0, &pattern(64 * PAGE, 1)?)?;
            for len in [0, 1, 512, 2048, 4095] {
                rig.disk.lie_about(IN, DiskLie::Short(len), 1);
                let (result, data) = rig.read(8, PAGE)?;
                check_eq!(result, Err(EIO));
                // The test would see it.
                check_eq!(overwritten(&data), len as usize);
            }
            // The status has to be behind the data.
            rig.disk.lie(0, Lie::Len(PAGE as u32), 1);
            check_eq!(rig.read(8, PAGE)?.0, Err(EIO));
            rig.disk.lie(0, Lie::Short(2048), 1);
            check_eq!(rig.read(8, PAGE)?.0, Err(EIO));
            rig.works_again()?;
        }
        Ok(())
    }

    /// A read of many requests, of which one is short.
    #[test]
    fn read_short_in_the_middle() -> Result {
        let rig = Rig::with(&[])?;
        for _ in 0..3 {
            rig.disk.lie_about(IN, DiskLie::Short(100), 1);
            check_eq!(rig.read(0, 16 * PAGE)?.0, Err(EIO));
        }
        rig.works_again()
    }

    #[test]
    fn short_and_failed() -> Result {
        let rig = Rig::with(&[])?;
        rig.disk
            .lie_about(IN, DiskLie::Status(bindings::VIRTIO_BLK_S_UNSUPP as u8), 1);
        rig.disk.lie(0, Lie::Len(1), 1);
        check_eq!(rig.read(0, PAGE)?.0, Err(EOPNOTSUPP));
        rig.works()
    }

    /// With scrub, what was not written is zero.
    #[test]
    fn read_nothing_and_claim_all() -> Result {
        let _scrub = Scrub::set(1);
        for features in RINGS {
            let rig = Rig::new(&disk(features).offer(&[bit::SEG_MAX]).seg_max(14))?;
            rig.disk.poke(0, &pattern(64 * PAGE, 1)?)?;
            for len in [0, 1, 2048, 4095] {
                rig.disk.lie_about(IN, DiskLie::Unwritten(len), 1);
                let (result, data) = rig.read(8, 8 * PAGE)?;
                check_eq!(result, Ok(()));
                check!(data[..len as usize].iter().all(|&byte| byte != MARKER));
                check!(data[len as usize..].iter().all(|&byte| byte == 0));
            }
            // Nor does it show when the answer is short.
            rig.disk.lie_about(IN, DiskLie::Short(0), 1);
            let (result, data) = rig.read(8, PAGE)?;
            check_eq!(result, Err(EIO));
            check!(data.iter().all(|&byte| byte == 0));
            // What is written is not scrubbed.
            rig.works_again()?;
        }
        Ok(())
    }

    /// Without scrub this cannot be found out. Shows that the test above sees something.
    #[test]
    fn read_nothing_without_scrub() -> Result {
        let _scrub = Scrub::set(0);
        let rig = Rig::with(&[])?;
        rig.disk.lie_about(IN, DiskLie::Unwritten(0), 1);
        let (result, data) = rig.read(8, PAGE)?;
        check_eq!(result, Ok(()));
        check_eq!(overwritten(&data), 0);
        rig.works_again()
    }

    /// The serial number is read to memory of the driver.
    #[test]
    fn serial_number_short() -> Result {
        let rig = Rig::with(&[])?;
        let get_id = bindings::VIRTIO_BLK_T_GET_ID;
        rig.disk.lie_about(get_id, DiskLie::Unwritten(0), 1);
        check_eq!(rig.io.show(c"serial")?.len(), 0);
        rig.disk.lie_about(get_id, DiskLie::NoStatus, 1);
        check_eq!(rig.io.show(c"serial")?.len(), 0);
        rig.disk.lie_about(get_id, DiskLie::Status(2), 1);
        check_eq!(rig.io.show(c"serial")?.len(), 0);
        rig.disk.lie(0, Lie::Len(u32::MAX), 1);
        check!(*rig.io.show(c"serial")? == *b"virtio-sim-disk");
        rig.works_again()
    }

    #[test]
    fn length_huge() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            for len in [PAGE as u32 + 2, 1 << 31, u32::MAX] {
                rig.disk.lie(0, Lie::Len(len), FOREVER);
                rig.works()?;
            }
            rig.works_again()?;
        }
        Ok(())
    }

    /// That of a write does not matter: what counts is its status.
    #[test]
    fn write_was_written_to() -> Result {
        let rig = Rig::with(&[])?;
        let bytes = pattern(PAGE, 9)?;
        for len in [0, 2, PAGE as u32 + 1, u32::MAX] {
            rig.disk.lie(0, Lie::Len(len), 1);
            let bio = rig.bio(Op::Write, 8, PAGE)?;
            bio.fill(&bytes)?;
            bio.submit()?;
            check_eq!(ended(&bio)?, Ok(()));
            check!(*bio.data(PAGE)? == *bytes);
        }
        rig.works_again()
    }

    /// A device that breaks the rules of the ring is given up.
    fn broken(features: &[u32], lie: Lie) -> Result {
        let rig = Rig::with(features)?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let mut bios = KVec::new();
        for i in 0..4 {
            bios.push(rig.start(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
        }
        rig.disk.lie(0, lie, 1);
        rig.disk.serve(0, 1);
        let start = Instant::<Monotonic>::now();
        let mut failed = 0;
        for bio in &bios {
            match ended(bio)? {
                Ok(()) => (),
                Err(e) => {
                    check_eq!(e, EIO);
                    failed += 1;
                }
            }
        }
        // At most the one that was used is good.
        check!(failed >= 3);
        check!(start.elapsed() < Delta::from_millis(1000));
        // Those that come now do not wait.
        for op in [Op::Read, Op::Write] {
            let start = Instant::<Monotonic>::now();
            check_eq!(rig.run(op, 0, PAGE)?, Err(EIO));
            check!(start.elapsed() < Delta::from_millis(1000));
        }
        drop(bios);
        rig.works_again()
    }

    #[test]
    fn used_id_out_of_range() -> Result {
        for features in [&[][..], &[bit::INDIRECT_DESC], &[bit::RING_PACKED]] {
            for id in [16, 0xffff, u32::MAX] {
                broken(features, Lie::Id(id))?;
            }
        }
        Ok(())
    }

    #[test]
    fn used_id_of_nothing() -> Result {
        broken(&[bit::INDIRECT_DESC], Lie::Id(9))?;
        broken(&[], Lie::Id(1))?;
        broken(&[bit::RING_PACKED], Lie::Id(15))
    }

    #[test]
    fn used_twice() -> Result {
        broken(&[], Lie::Duplicate)?;
        broken(&[bit::RING_PACKED], Lie::Duplicate)
    }

    #[test]
    fn used_index_jumps() -> Result {
        broken(&[], Lie::IdxJump(40000))?;
        broken(&[bit::INDIRECT_DESC], Lie::IdxJump(40000))
    }

    #[test]
    fn descriptors_are_rewritten() -> Result {
        for lie in [
            Lie::NextFlagAll,
            Lie::NextFlagOne,
            Lie::DescRewrite,
            Lie::NewestFirst,
        ] {
            for features in RINGS {
                let rig = Rig::with(features)?;
                rig.disk.lie(0, lie, FOREVER);
                for i in 0..20 {
                    check_eq!(rig.run(Op::Read, i * 8, PAGE)?, Ok(()));
                }
                rig.works_again()?;
            }
        }
        Ok(())
    }

    #[test]
    fn newest_first() -> Result {
        let rig = Rig::new(&disk(&[bit::INDIRECT_DESC]).rings(1, 64))?;
        rig.disk.poke(0, &pattern(100 * PAGE, 0)?)?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        rig.disk.lie(0, Lie::NewestFirst, FOREVER);
        let mut bios = KVec::new();
        for i in 0..16 {
            bios.push(rig.bio(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
        }
        rig.io.submit(&bios)?;
        rig.disk.serve(0, u32::MAX);
        for (i, bio) in bios.iter().enumerate() {
            check_eq!(ended(bio)?, Ok(()));
            let mut stored = [0; PAGE];
            rig.disk.peek((i as u64 * 16) << 9, &mut stored)?;
            check!(*bio.data(PAGE)? == stored);
        }
        Ok(())
    }

    #[test]
    fn storms() -> Result {
        let rig = Rig::with(&[])?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let bio = rig.start(Op::Read, 0, PAGE)?;
        rig.disk.storm(0, 100_000);
        rig.disk.config_storm(100_000);
        check!(bio.wait(0).is_none());
        rig.disk.serve(0, 1);
        check_eq!(ended(&bio)?, Ok(()));
        drop(bio);
        rig.works_again()
    }

    #[test]
    fn interrupts_too_early_and_too_late() -> Result {
        for used in [false, true] {
            for features in [&[][..], &[bit::RING_PACKED]] {
                if used && !features.is_empty() {
                    // The device is one entry ahead, so this is a silent device: 30 seconds.
                    continue;
                }
                let rig = Rig::with(features)?;
                let Rig { io, disk } = rig;
                drop(io);
                disk.unbind();
                disk.device_lie(DeviceLie::IrqInFindVqs { used });
                disk.device_lie(DeviceLie::IrqAfterReset);
                // With a used entry that is not true, the ring is broken at once.
                let bound = disk.bind();
                if !used {
                    check_eq!(bound, Ok(()));
                }
                if disk.is_bound() {
                    let io = disk.open()?;
                    let rig = Rig { io, disk };
                    if !used {
                        rig.works()?;
                    }
                    rig.works_again()?;
                } else {
                    // It may have been bound when the ring broke, or not yet.
                    disk.unbind();
                    bind_honest(&disk)?;
                }
            }
        }
        Ok(())
    }

    /// A device that answers in the end is not given up because several of its requests are late at
    /// different times.
    #[test]
    fn answers_late() -> Result {
        const TIMEOUT: u32 = 4000;

        let rig = Rig::with(&[])?;
        rig.io.set_timeout(TIMEOUT);
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let start = Instant::<Monotonic>::now();
        let first = rig.start(Op::Read, 0, PAGE)?;
        check!(first.wait(3000).is_none());
        let second = rig.start(Op::Read, 32, PAGE)?;
        // Then both are late, more than a second apart, but the first one not for the second time:
        // a timeout is noticed up to two seconds late.
        let early = first.wait(TIMEOUT + 500);
        rig.disk.set_mode(ALL_QUEUES, Mode::InKick);
        rig.disk.serve(0, u32::MAX);
        if start.elapsed() < Delta::from_millis(i64::from(TIMEOUT) * 2 + 500) {
            check!(early.is_none());
            check_eq!((ended(&first)?, ended(&second)?), (Ok(()), Ok(())));
        } else {
            pr_info!("not shown: this machine stopped for a second\n");
        }
        drop((first, second));
        rig.works_again()
    }

    /// The device is given up, and so are all that it has.
    #[test]
    fn never_answers() -> Result {
        for features in [&[][..], &[bit::INDIRECT_DESC], &[bit::RING_PACKED]] {
            let rig = Rig::with(features)?;
            rig.io.set_timeout(300);
            rig.disk.lie_about(ALL_COMMANDS, DiskLie::Never, FOREVER);
            let start = Instant::<Monotonic>::now();
            let bios = [
                rig.start(Op::Read, 0, PAGE)?,
                rig.start(Op::Write, 16, PAGE)?,
                rig.start(Op::Read, 32, PAGE)?,
            ];
            for bio in &bios {
                check_eq!(ended(bio)?, Err(EIO));
            }
            // A timeout is noticed up to a second late, and the device is given up if a request
            // is late once more, and nothing was answered meanwhile.
            check!(start.elapsed() < Delta::from_secs(10));
            check_eq!(rig.run(Op::Read, 0, PAGE)?, Err(EIO));
            drop(bios);
            rig.works_again()?;
        }
        Ok(())
    }
}
