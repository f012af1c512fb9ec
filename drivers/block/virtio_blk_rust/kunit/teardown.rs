// SPDX-License-Identifier: GPL-2.0

//! The end of devices, in every state.

use super::{
    super::SILENCE,
    *, //
};
use kernel::{
    sync::Arc,
    time::delay::fsleep,
    virtio::sim::{
        DeviceLie,
        DiskLie,
        Killed,
        Task, //
    }, //
};

/// Makes each of the allocations `which` of `attempt`, counted from 1, fail in turn, and calls
/// `after` with what came of it. Returns the number of the first that there is not.
#[cfg(CONFIG_FAILSLAB)]
fn allocations_fail(
    which: impl Iterator<Item = u32>,
    mut attempt: impl FnMut() -> Result,
    mut after: impl FnMut(Result) -> Result,
) -> Result<u32> {
    use kernel::virtio::sim::{
        fail_nth,
        fail_nth_left, //
    };

    for n in which.take(10_000) {
        fail_nth(n)?;
        let result = attempt();
        let failed = fail_nth_left() == 0;
        let _ = fail_nth(0);
        after(result)?;
        if !failed {
            if n == 1 {
                pr_err!("failslab spares what may sleep: write N to failslab/ignore-gfp-wait\n");
                return Err(EINVAL);
            }
            check_eq!(result, Ok(()));
            return Ok(n);
        }
    }
    Err(E2BIG)
}

/// Every third allocation of probe, from number `first` on. There are hundreds: one test for all of
/// them takes so long in a debug kernel that the task that waits for it counts as hung.
#[cfg(CONFIG_FAILSLAB)]
fn allocations_of_probe_fail(first: u32) -> Result {
    let rig = Rig::new(
        &disk(&[bit::ACCESS_PLATFORM, bit::MQ])
            .rings(2, 16)
            .num_queues(2),
    )?;
    let Rig { io, disk } = rig;
    drop(io);
    disk.unbind();
    let end = allocations_fail(
        (first..).step_by(3),
        || disk.bind(),
        |result| {
            check_eq!(disk.is_bound(), result.is_ok());
            if result.is_err() {
                check!(disk.open().is_err());
            }
            disk.unbind();
            check_eq!(disk.mapped(), 0);
            Ok(())
        },
    )?;
    pr_info!("probe: number {end} is not there, from {first} on every third failed once\n");
    // Two rings at least, and what belongs to them.
    check!(end > 8);
    bind_honest(&disk)?;
    Rig {
        io: disk.open()?,
        disk,
    }
    .works_again()
}

#[kunit_tests(virtio_blk_rust_teardown)]
mod tests {
    use super::*;

    #[test]
    fn again_and_again() -> Result {
        let mut rig = Rig::with(&[bit::INDIRECT_DESC])?;
        for _ in 0..20 {
            let Rig { io, disk } = rig;
            unbind_in_time(&disk)?;
            drop(io);
            disk.bind()?;
            rig = Rig {
                io: disk.open()?,
                disk,
            };
            rig.works()?;
        }
        Ok(())
    }

    /// A device that does not answer does not keep anybody.
    #[test]
    fn unbind_of_a_silent_device() -> Result {
        // This takes a second each.
        for features in [&[][..], &[bit::INDIRECT_DESC], &[bit::RING_PACKED]] {
            let rig = Rig::with(features)?;
            rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
            let bios = [
                rig.start(Op::Read, 0, PAGE)?,
                rig.start(Op::Write, 16, PAGE)?,
                rig.start(Op::Flush, 0, 0)?,
            ];
            unbind_in_time(&rig.disk)?;
            // The last one is nothing to do without a cache.
            for bio in &bios[..2] {
                check_eq!(bio.wait(0), Some(Err(EIO)));
            }
            check_eq!(rig.disk.mapped(), 0);
            check_eq!(rig.run(Op::Read, 0, PAGE)?, Err(EIO));
            drop(bios);
            rig.works_again()?;
        }
        Ok(())
    }

    /// As above, with more than the device has room for.
    #[test]
    fn unbind_of_a_full_device() -> Result {
        let rig = Rig::with(&[])?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let mut bios = KVec::new();
        // As many as there are tags, or `submit` would wait.
        for i in 0..u64::from(rig.io.info().depth.min(8)) {
            bios.push(rig.start(Op::Read, i * 16, PAGE)?, GFP_KERNEL)?;
        }
        unbind_in_time(&rig.disk)?;
        for bio in &bios {
            check_eq!(bio.wait(0), Some(Err(EIO)));
        }
        drop(bios);
        rig.works_again()
    }

    /// What the device has is answered while the driver is being unbound.
    #[test]
    fn unbind_of_a_slow_device() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
            let bios = [
                rig.start(Op::Read, 0, PAGE)?,
                rig.start(Op::Read, 16, PAGE)?,
                rig.start(Op::Write, 32, PAGE)?,
            ];
            unbind_in_time(&rig.disk)?;
            for bio in &bios {
                check!(bio.wait(0).is_some());
            }
            drop(bios);
            rig.works_again()?;
        }
        Ok(())
    }

    /// The transport is gone.
    #[test]
    fn device_breaks() -> Result {
        let rig = Rig::with(&[])?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let bio = rig.start(Op::Read, 0, PAGE)?;
        rig.disk.device_lie(DeviceLie::Break);
        check_eq!(rig.run(Op::Read, 0, PAGE)?, Err(EIO));
        let start = Instant::<Monotonic>::now();
        unbind_in_time(&rig.disk)?;
        check_eq!(bio.wait(0), Some(Err(EIO)));
        check!(start.elapsed() < Delta::from_millis(1500));
        drop(bio);
        rig.works_again()
    }

    /// Who has the disk open gets errors when the device is gone, and nothing worse.
    #[test]
    fn open_beyond_the_end() -> Result {
        let Rig { io, disk } = Rig::with(&[])?;
        drop(disk);
        let bio = io.prepare(Op::Read, 0, 4096)?;
        bio.submit()?;
        check!(ended(&bio)?.is_err());
        check_eq!(io.show(c"serial").err(), Some(ENODEV));
        Ok(())
    }

    /// What is asked of a frozen device waits.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_and_restore() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            rig.works()?;
            for _ in 0..3 {
                check_eq!(rig.disk.freeze(), Ok(()));
                let bio = rig.start(Op::Read, 16, 2 * PAGE)?;
                check!(bio.wait(50).is_none());
                check_eq!(rig.disk.restore(), Ok(()));
                check_eq!(ended(&bio)?, Ok(()));
                check!(*bio.data(2 * PAGE)? == *pattern(2 * PAGE, 3)?);
                rig.works()?;
            }
            rig.works_again()?;
        }
        Ok(())
    }

    /// The device has requests when it is frozen, and answers them.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_in_flight() -> Result {
        let rig = Rig::with(&[])?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
        let bio = rig.start(Op::Read, 16, PAGE)?;
        check_eq!(rig.disk.freeze(), Ok(()));
        check_eq!(ended(&bio)?, Ok(()));
        check_eq!(rig.disk.restore(), Ok(()));
        drop(bio);
        rig.works()?;
        rig.works_again()
    }

    /// As above, and does not answer: they fail, and so it can be frozen.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_of_a_silent_device() -> Result {
        let rig = Rig::with(&[])?;
        rig.io.set_timeout(300);
        rig.disk.set_mode(ALL_QUEUES, Mode::Manual);
        let bio = rig.start(Op::Read, 16, PAGE)?;
        let start = Instant::<Monotonic>::now();
        check_eq!(rig.disk.freeze(), Ok(()));
        check!(start.elapsed() < LIMIT);
        check_eq!(ended(&bio)?, Err(EIO));
        check_eq!(rig.disk.restore(), Ok(()));
        drop(bio);
        rig.works_again()
    }

    /// More is asked for than the ring has room for: what has begun ends before.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_with_a_full_ring() -> Result {
        let rig = Rig::new(&disk(&[bit::SEG_MAX]).rings(1, 16).seg_max(14))?;
        rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
        let mut bios = KVec::new();
        for i in 0..8 {
            bios.push(rig.start(Op::Read, i * 64, 8 * PAGE)?, GFP_KERNEL)?;
        }
        check_eq!(rig.disk.freeze(), Ok(()));
        for bio in &bios {
            check_eq!(ended(bio)?, Ok(()));
        }
        check_eq!(rig.disk.restore(), Ok(()));
        drop(bios);
        rig.works()?;
        rig.works_again()
    }

    /// The device refuses what it agreed to before. What is asked of the disk waits, until the
    /// device changes its mind, or is unbound.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_after_a_restore_that_failed() -> Result {
        for again in [true, false] {
            let rig = Rig::with(&[])?;
            check_eq!(rig.disk.freeze(), Ok(()));
            let bio = rig.start(Op::Read, 16, PAGE)?;
            rig.disk.device_lie(DeviceLie::RefuseFeaturesOk);
            check!(rig.disk.restore().is_err());
            check!(bio.wait(50).is_none());
            if again {
                check_eq!(rig.disk.freeze(), Ok(()));
                rig.disk.be_honest();
                check_eq!(rig.disk.restore(), Ok(()));
                check_eq!(ended(&bio)?, Ok(()));
            } else {
                unbind_in_time(&rig.disk)?;
                check_eq!(ended(&bio)?, Err(EIO));
            }
            drop(bio);
            rig.works_again()?;
        }
        Ok(())
    }

    /// What waited for the device fails.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn unbind_while_frozen() -> Result {
        let rig = Rig::with(&[])?;
        check_eq!(rig.disk.freeze(), Ok(()));
        let bio = rig.start(Op::Read, 16, PAGE)?;
        check!(bio.wait(50).is_none());
        unbind_in_time(&rig.disk)?;
        check_eq!(ended(&bio)?, Err(EIO));
        drop(bio);
        rig.works_again()
    }

    /// While the transport resets the device, nobody is unbound or bound.
    #[test]
    fn unbind_while_the_transport_resets() -> Result {
        for driver in [true, false] {
            let Rig { io, disk } = Rig::with(&[])?;
            let disk = Arc::new(disk, GFP_KERNEL)?;
            if !driver {
                unbind_in_time(&disk)?;
            }
            check_eq!(disk.reset_prepare(), Ok(()));
            let bio = io.prepare(Op::Read, 16, PAGE as u32)?;
            if driver {
                bio.submit()?;
            }
            let its = disk.clone();
            let task = Task::spawn(move || {
                its.unbind();
                its.bind()
            })?;
            fsleep(Delta::from_millis(50));
            let early = (bio.wait(0).is_some(), task.has_result());
            let done = disk.reset_done();
            check_eq!(task.join()?, Ok(()));
            check_eq!((early, done), ((false, false), Ok(())));
            if driver {
                // It waited for the end of the reset, and whoever unbound for it.
                check_eq!(ended(&bio)?, Ok(()));
            }
            drop(bio);
            drop(io);
            let disk = Arc::into_unique_or_drop(disk).ok_or(EINVAL)?;
            check!(disk.is_bound());
            disk.unbind();
            bind_honest(&disk)?;
        }
        Ok(())
    }

    /// A reset takes the device back to the mode that it began with, and the driver to the other.
    #[test]
    fn cache_type_after_the_transport_reset() -> Result {
        let rig = Rig::new(&disk(&[bit::FLUSH, bit::CONFIG_WCE]).wce(1))?;
        for (kind, wce) in [(c"write through", 0), (c"write back", 1)] {
            rig.io.store(c"cache_type", kind)?;
            check_eq!(rig.disk.reset_prepare(), Ok(()));
            check_eq!(rig.disk.reset_done(), Ok(()));
            check_eq!(rig.disk.wce(), Ok(wce));
            check_eq!(rig.io.info().write_cache, wce == 1);
        }
        rig.works_again()
    }

    /// The device is not that of before, and tells nobody.
    #[test]
    fn capacity_after_the_transport_reset() -> Result {
        let rig = Rig::with(&[])?;
        check_eq!(rig.disk.reset_prepare(), Ok(()));
        rig.disk.set_config(0, &(SECTORS / 2).to_le_bytes())?;
        check_eq!(rig.disk.reset_done(), Ok(()));
        check!(eventually(|| rig.io.info().sectors == SECTORS / 2));
        rig.works_again()
    }

    /// The transport does not reset what sleeps.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn reset_while_frozen() -> Result {
        let rig = Rig::with(&[])?;
        check_eq!(rig.disk.freeze(), Ok(()));
        check_eq!(rig.disk.reset_prepare(), Err(EBUSY));
        check_eq!(rig.disk.reset_done(), Err(EINVAL));
        check_eq!(rig.disk.restore(), Ok(()));
        rig.works()?;
        rig.works_again()
    }

    /// A device that is slow, and always has something. That is waited for, also by a task that
    /// nobody waits for any more.
    #[test]
    fn slow_device() -> Result {
        for unbind in [false, true] {
            for kill in [false, true] {
                let rig = Rig::with(&[])?;
                rig.disk.set_mode(ALL_QUEUES, Mode::Slow);
                let mut bios = KVec::new();
                for i in 0..6 {
                    bios.push(rig.start(Op::Read, i * 8, PAGE)?, GFP_KERNEL)?;
                }
                let killed = kill.then(Killed::new);
                if unbind {
                    rig.disk.unbind();
                } else {
                    check_eq!(rig.disk.reset_prepare(), Ok(()));
                }
                drop(killed);
                for bio in &bios {
                    check_eq!(bio.wait(0), Some(Ok(())));
                }
                if !unbind {
                    check_eq!(rig.disk.reset_done(), Ok(()));
                }
                drop(bios);
                rig.works_again()?;
            }
        }
        Ok(())
    }

    /// A device may be silent for as long as a request may take, whatever whoever unbinds it waits.
    #[test]
    fn freeze_of_a_device_that_takes_its_time() -> Result {
        let Rig { io, disk } = Rig::with(&[])?;
        let disk = Arc::new(disk, GFP_KERNEL)?;
        disk.set_mode(ALL_QUEUES, Mode::Manual);
        let bio = io.prepare(Op::Read, 16, PAGE as u32)?;
        bio.submit()?;
        let device = disk.clone();
        let task = Task::spawn(move || {
            fsleep(SILENCE * 2);
            device.serve(0, 1)
        })?;
        check_eq!(disk.reset_prepare(), Ok(()));
        check_eq!(bio.wait(0), Some(Ok(())));
        check_eq!(task.join()?, 1);
        drop(bio);
        let disk = Arc::into_unique_or_drop(disk).ok_or(EINVAL)?;
        check_eq!(disk.reset_done(), Ok(()));
        unbind_in_time(&disk)?;
        drop(io);
        bind_honest(&disk)
    }

    /// A device that is slower than it may be is given up, whether it has all of the requests or
    /// one by one.
    #[test]
    fn device_that_is_too_slow() -> Result {
        for pages in [1, 8] {
            let rig = Rig::new(&disk(&[bit::SEG_MAX]).rings(1, 64).seg_max(62))?;
            rig.disk.set_mode(ALL_QUEUES, Mode::Slow);
            rig.io.set_timeout(1000);
            // Six seconds.
            let mut bios = KVec::new();
            for i in 0..30 {
                bios.push(rig.start(Op::Read, i * 64, pages * PAGE)?, GFP_KERNEL)?;
            }
            check_eq!(rig.disk.reset_prepare(), Ok(()));
            for bio in &bios {
                check!(bio.wait(0).is_some());
            }
            check_eq!(bios[29].wait(0), Some(Err(EIO)));
            check_eq!(rig.disk.reset_done(), Ok(()));
            drop(bios);
            rig.works_again()?;
        }
        Ok(())
    }

    /// The transport resets the device: what it has is answered before, what comes meanwhile waits.
    #[test]
    fn reset_by_the_transport() -> Result {
        for features in RINGS {
            let rig = Rig::with(features)?;
            rig.works()?;
            rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
            let before = rig.start(Op::Read, 16, 2 * PAGE)?;
            rig.disk.reset_prepare()?;
            check_eq!(ended(&before)?, Ok(()));
            let meanwhile = rig.start(Op::Read, 16, 2 * PAGE)?;
            check!(meanwhile.wait(50).is_none());
            rig.disk.reset_done()?;
            check_eq!(ended(&meanwhile)?, Ok(()));
            check!(*meanwhile.data(2 * PAGE)? == *pattern(2 * PAGE, 3)?);
            drop((before, meanwhile));
            rig.works()?;
            rig.works_again()?;
        }
        Ok(())
    }

    /// The device keeps a write for ever, and answers reads: these earn it no time.
    fn keeps_one(timeout: u32, end: impl FnOnce(&Disk) -> Result) -> Result {
        let rig = Rig::with(&[])?;
        rig.io.set_timeout(timeout);
        rig.disk.lie_about(OUT, DiskLie::Never, u32::MAX);
        rig.disk.set_mode(ALL_QUEUES, Mode::Deferred);
        let kept = rig.start(Op::Write, 32, PAGE)?;
        let reads = [
            rig.start(Op::Read, 0, PAGE)?,
            rig.start(Op::Read, 16, PAGE)?,
        ];
        end(&rig.disk)?;
        for bio in &reads {
            check_eq!(ended(bio)?, Ok(()));
        }
        check_eq!(kept.wait(0), Some(Err(EIO)));
        drop((kept, reads));
        rig.works_again()
    }

    #[test]
    fn unbind_of_a_device_that_keeps_one() -> Result {
        keeps_one(3 * LONG, unbind_in_time)
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_of_a_device_that_keeps_one() -> Result {
        keeps_one(1500, |disk| {
            let start = Instant::<Monotonic>::now();
            check_eq!(disk.freeze(), Ok(()));
            check!(start.elapsed() < LIMIT);
            disk.restore()
        })
    }

    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn allocations_1_4_7_of_probe_fail() -> Result {
        allocations_of_probe_fail(1)
    }

    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn allocations_2_5_8_of_probe_fail() -> Result {
        allocations_of_probe_fail(2)
    }

    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn allocations_3_6_9_of_probe_fail() -> Result {
        allocations_of_probe_fail(3)
    }

    /// Reading and writing does not depend on memory: it may be what frees some.
    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn requests_allocate_nothing() -> Result {
        use kernel::virtio::sim::{
            fail_nth,
            fail_nth_left, //
        };

        let rig = Rig::new(&disk(&[bit::SEG_MAX]).rings(1, 64).seg_max(14))?;
        for op in [Op::Write, Op::Read] {
            let bio = rig.bio(op, 0, 8 * PAGE)?;
            fail_nth(1)?;
            let submitted = bio.submit();
            let left = fail_nth_left();
            let _ = fail_nth(0);
            submitted?;
            check_eq!(left, 1);
            check_eq!(ended(&bio)?, Ok(()));
        }
        rig.works_again()
    }

    /// An operation that there is no memory for now is tried again, or fails.
    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn each_allocation_of_a_request_fails() -> Result {
        for op in [Op::Write, Op::Discard] {
            let params = disk(&[bit::INDIRECT_DESC, bit::DISCARD, bit::SEG_MAX])
                .seg_max(14)
                .max_discard_sectors(128)
                .max_discard_seg(4)
                .discard_sector_alignment(1);
            let rig = Rig::new(&params)?;
            let end = allocations_fail(
                1..,
                || {
                    let bio = rig.bio(op, 0, 8 * PAGE)?;
                    bio.submit()?;
                    ended(&bio)?
                },
                |result| {
                    // It could not even be prepared.
                    check!(matches!(result, Ok(()) | Err(ENOMEM)));
                    check_eq!(rig.disk.driver_errors(), 0);
                    Ok(())
                },
            )?;
            pr_info!("{op:?}: number {end} is not there, each before it failed once\n");
            rig.works_again()?;
        }
        Ok(())
    }
}
