// SPDX-License-Identifier: GPL-2.0

//! What has to work with an honest device.

use crate::rig::{
    bit,
    check,
    check_eq,
    post,
    Config,
    FailAt,
    Feature,
    Rig,
    Setup,
    PACKED,
    PLAN,
    RINGS,
    SPLIT, //
};
use crate::shapes::{
    block,
    bytes,
    command,
    paged,
    Blk,
    Control,
    In,
    InPages,
    Out, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed,
    time::msecs_to_jiffies,
    virtio::{
        sim::Mode,
        Direction,
        DriverBuffer,
        Failure,
        QueueError, //
    }, //
};

#[kunit_tests(rust_virtio_honest)]
mod tests {
    use super::*;

    /// More than a ring of each kind holds, so that indices wrap; what the device wrote, and all of
    /// it, in order.
    #[test]
    fn device_writes_in_every_ring() -> Result {
        for features in RINGS {
            let rig = Rig::<In>::new(Setup::with(features))?;
            let mut next: u8 = 1;
            for _ in 0..100 {
                post(rig.queue(), bytes(24)?)?;
                check_eq!(rig.sim.serve(0, 1), 1);
                let mut got = [0; 32];
                let count = rig
                    .queue()
                    .with(|log, _| log.used.pop().map(|mut buffer| buffer.take(&mut got)));
                check_eq!(count, Some(24));
                for byte in &got[..24] {
                    check_eq!(*byte, next);
                    next = next.wrapping_add(1);
                }
            }
            check_eq!(rig.sim.driver_errors(), 0);
        }
        Ok(())
    }

    #[test]
    fn device_reads_in_every_ring() -> Result {
        for features in RINGS {
            let rig = Rig::<Out>::new(Setup::with(features))?;
            for i in 0..40_u8 {
                let buffer = KBox::new(DriverBuffer::copy_from(&[i; 33], GFP_KERNEL)?, GFP_KERNEL)?;
                rig.queue().with(|_, ring| ring.post(buffer))?;
                let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
                check_eq!(chain.writable_len(), 0);
                check!(*chain.readable()? == [i; 33]);
                chain.complete(0);
                rig.sim.notify(0);
                let back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
                check!(back.bytes() == [i; 33]);
            }
        }
        Ok(())
    }

    /// Header, data and trailer in one chain.
    #[test]
    fn request_in_every_ring() -> Result {
        for features in RINGS {
            let rig = Rig::<Blk>::new(Setup::with(features))?;
            for _ in 0..40 {
                post(rig.queue(), block(512)?)?;
                let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
                check_eq!((chain.readable_len(), chain.writable_len()), (16, 513));
                check_eq!(chain.segments(), 3);
                let indirect = features & bit::INDIRECT_DESC != 0;
                check_eq!(chain.descriptors(), if indirect { 1 } else { 3 });
                check!(*chain.readable()? == [7; 16]);
                chain.write(0, &[5; 512])?;
                chain.write(512, &[0])?;
                chain.complete(513);
                rig.sim.notify(0);
                let mut back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
                check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(0));
                let mut data = [0; 512];
                check_eq!(back.data_mut().take(&mut data), 512);
                check!(data == [5; 512]);
            }
        }
        Ok(())
    }

    #[test]
    fn pages_from_the_device() -> Result {
        for features in RINGS {
            let rig = Rig::<InPages>::new(Setup::with(features))?;
            let request = paged(4, Direction::FromDevice)?;
            rig.queue().with(|_, ring| ring.post(request))?;
            let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
            check_eq!(
                (chain.readable_len(), chain.writable_len()),
                (8, 4 * 4096 + 1)
            );
            chain.write(4090, b"over the edge")?;
            chain.write(4 * 4096, &[0])?;
            chain.complete(4 * 4096 + 1);
            rig.sim.notify(0);
            let back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
            let mut text = [0; 13];
            check_eq!(back.data().read(4090, &mut text), 13);
            check!(&text == b"over the edge");
            // No more than there is.
            check_eq!(back.data().read(4 * 4096 - 5, &mut text), 5);
        }
        Ok(())
    }

    #[test]
    fn pages_to_the_device() -> Result {
        let rig = Rig::<InPages>::new(Setup::with(SPLIT))?;
        let mut request = paged(2, Direction::ToDevice)?;
        check_eq!(request.data_mut().write(4090, b"over the edge"), 13);
        rig.queue().with(|_, ring| ring.post(request))?;
        let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
        check_eq!(
            (chain.readable_len(), chain.writable_len()),
            (8 + 2 * 4096, 1)
        );
        check!(&chain.readable()?[8 + 4090..][..13] == b"over the edge");
        Ok(())
    }

    /// Several buffers posted under one lock cost one kick.
    #[test]
    fn a_batch_is_one_kick() -> Result {
        let rig = Rig::<In>::new(Setup::with(SPLIT))?;
        let kicks = rig.sim.kicks(0);
        let mut batch = KVec::new();
        for _ in 0..8 {
            batch.push(bytes(16)?, GFP_KERNEL)?;
        }
        let posted = rig.queue().with(|_, ring| {
            batch
                .drain_all()
                .map(|buffer| u32::from(ring.post(buffer).is_ok()))
                .sum::<u32>()
        });
        check_eq!(posted, 8);
        check_eq!(rig.sim.kicks(0), kicks + 1);
        check_eq!(rig.sim.serve(0, u32::MAX), 8);
        check_eq!(rig.queue().with(|log, _| log.used.len()), 8);
        Ok(())
    }

    /// A full ring says so, and gives the buffer back.
    #[test]
    fn full_ring() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<In>::new(Setup::with(features))?;
            for _ in 0..16 {
                post(rig.queue(), bytes(8)?)?;
            }
            let mut buffer = bytes(8)?;
            buffer.set_asked(5);
            let (result, free, fits) = rig
                .queue()
                .with(|_, ring| (ring.post(buffer), ring.free(), ring.fits(1)));
            let error = result.err().ok_or(EINVAL)?;
            check_eq!(error.reason, QueueError::NoSpace);
            check_eq!(error.buffer.asked(), 5);
            check_eq!((free, fits), (0, false));
            check_eq!(rig.sim.serve(0, 1), 1);
            check!(rig.queue().with(|_, ring| ring.fits(1) && !ring.fits(2)));
            rig.queue().with(|_, ring| ring.post(error.buffer))?;
        }
        Ok(())
    }

    /// A chain that no ring of this size can hold, with and without indirect descriptors.
    #[test]
    fn chain_longer_than_the_ring() -> Result {
        for features in RINGS {
            let rig = Rig::<InPages>::new(Setup {
                size: 4,
                ..Setup::with(features)
            })?;
            let request = paged(3, Direction::FromDevice)?;
            let error = rig.queue().with(|_, ring| ring.post(request)).err();
            check_eq!(error.ok_or(EINVAL)?.reason, QueueError::Shape);
            // With header and status, this is just what fits.
            let request = paged(2, Direction::FromDevice)?;
            rig.queue().with(|_, ring| ring.post(request))?;
            check_eq!(rig.sim.serve(0, 1), 1);
        }
        Ok(())
    }

    #[test]
    fn an_empty_buffer_is_refused() -> Result {
        let rig = Rig::<Out>::new(Setup::default())?;
        let nothing = KBox::new(DriverBuffer::new(KVec::new())?, GFP_KERNEL)?;
        let error = rig.queue().with(|_, ring| ring.post(nothing)).err();
        check_eq!(error.ok_or(EINVAL)?.reason, QueueError::Shape);
        Ok(())
    }

    /// The device answers inside of the kick, in the middle of `with`.
    #[test]
    fn completion_inside_the_kick() -> Result {
        for features in RINGS {
            let rig = Rig::<In>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::InKick);
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.queue().with(|log, _| log.used.len()), 1);
        }
        Ok(())
    }

    /// The device answers in a hard interrupt.
    #[test]
    fn completion_in_an_interrupt() -> Result {
        for features in RINGS {
            let rig = Rig::<In>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::Deferred);
            for _ in 0..20 {
                post(rig.queue(), bytes(8)?)?;
                let back = rig
                    .queue()
                    .wait_until(msecs_to_jiffies(5000), |log, _| log.used.pop())?;
                check_eq!(back.ok_or(ETIMEDOUT)?.written(), 8);
            }
        }
        Ok(())
    }

    /// A handler that posts again, with a device that answers at once, does not go on for ever with
    /// interrupts off, but all is done in the end.
    #[test]
    fn reposting_is_bounded_and_complete() -> Result {
        for features in RINGS {
            let rig = Rig::<In>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::InKick);
            rig.queue().with(|log, _| log.repost = 200);
            post(rig.queue(), bytes(8)?)?;
            let done = rig
                .queue()
                .wait_until(msecs_to_jiffies(5000), |log, _| log.used.pop())?;
            check!(done.is_some());
            check_eq!(rig.queue().with(|log, _| log.repost), 0);
        }
        Ok(())
    }

    /// While a handler works, the device is told not to interrupt.
    #[test]
    fn callbacks_are_off_while_the_queue_is_served() -> Result {
        let rig = Rig::<In>::new(Setup::with(SPLIT))?;
        for _ in 0..8 {
            post(rig.queue(), bytes(8)?)?;
        }
        check_eq!(rig.sim.serve(0, u32::MAX), 8);
        check_eq!(rig.sim.interrupts(0), 1);
        check_eq!(rig.queue().with(|log, _| log.used.len()), 8);
        Ok(())
    }

    /// A queue without interrupts hands out nothing by itself, and all when it is polled.
    #[test]
    fn polled_queue() -> Result {
        for features in RINGS {
            let rig = Rig::<In>::new(Setup {
                polled: true,
                ..Setup::with(features)
            })?;
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, 1), 1);
            // With an event index, the core cannot say that it wants none; nobody listens, though.
            check!(features & bit::EVENT_IDX != 0 || rig.sim.interrupts(0) == 0);
            check_eq!(rig.queue().with(|log, _| log.used.len()), 0);
            rig.queue().poll();
            check_eq!(rig.queue().with(|log, _| log.used.len()), 1);
        }
        Ok(())
    }

    /// Several queues, as many as the plan says; each has its own buffers.
    #[test]
    fn several_queues() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<In>::new(Setup {
                queues: 7,
                ..Setup::with(features)
            })?;
            check_eq!(rig.queues.len(), 7);
            for (i, queue) in rig.queues.iter().enumerate() {
                post(queue, bytes(8 + i as u32)?)?;
            }
            for (i, queue) in rig.queues.iter().enumerate() {
                check_eq!(rig.sim.serve(i as u32, u32::MAX), 1);
                let back = queue.with(|log, _| log.used.pop()).ok_or(ENOENT)?;
                check_eq!(back.written(), 8 + i as u32);
            }
        }
        Ok(())
    }

    #[test]
    fn request_and_response() -> Result {
        for features in RINGS {
            let rig = Rig::<Control>::new(Setup::with(features))?;
            for mode in [Mode::InKick, Mode::Deferred] {
                rig.sim.set_mode(0, mode);
                let reply = rig
                    .queue()
                    .request(command([1, 2, 3, 4])?, msecs_to_jiffies(5000))?;
                // The simulated device sends back what it reads.
                check_eq!(reply.trailer()?.validate(Ok::<_, Error>), Ok([1, 2, 3, 4]));
            }
        }
        Ok(())
    }

    /// The device takes its time: the late answer does no harm, and the next one is the right one.
    #[test]
    fn request_that_times_out() -> Result {
        let rig = Rig::<Control>::new(Setup::default())?;
        let error = rig
            .queue()
            .request(command([1; 4])?, 0)
            .err()
            .ok_or(EINVAL)?;
        check_eq!(error.failure, Failure::TimedOut);
        check!(error.request.is_none());
        rig.sim.set_mode(0, Mode::InKick);
        let reply = rig
            .queue()
            .request(command([2; 4])?, msecs_to_jiffies(5000))?;
        check_eq!(reply.trailer()?.validate(Ok::<_, Error>), Ok([2; 4]));
        Ok(())
    }

    /// A posted trailer holds the preset again, not what an earlier request got.
    #[test]
    fn trailer_is_preset_at_each_post() -> Result {
        let rig = Rig::<Blk>::new(Setup::default())?;
        post(rig.queue(), block(8)?)?;
        let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
        chain.write(8, &[0])?;
        chain.complete(9);
        rig.sim.notify(0);
        let back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
        check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(0));
        rig.queue().with(|_, ring| ring.post(back))?;
        rig.sim.take(0)?.ok_or(ENOENT)?.complete(9);
        rig.sim.notify(0);
        let back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
        check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(0xff));
        Ok(())
    }

    /// What was left of a reply is gone when the buffer is posted again.
    #[test]
    fn posting_wipes_what_was_left() -> Result {
        let rig = Rig::<In>::new(Setup::default())?;
        post(rig.queue(), bytes(16)?)?;
        check_eq!(rig.sim.serve(0, 1), 1);
        let back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
        rig.queue().with(|_, ring| ring.post(back))?;
        rig.sim.take(0)?.ok_or(ENOENT)?.complete(16);
        rig.sim.notify(0);
        let mut back = rig.queue().with(|log, _| log.used.pop()).ok_or(ENOENT)?;
        let mut data = [1; 16];
        check_eq!(back.take(&mut data), 16);
        check!(data == [0; 16]);
        Ok(())
    }

    /// All buffers are mapped and unmapped, and no mapping is left.
    #[test]
    fn mappings_are_balanced() -> Result {
        for features in RINGS {
            let rig = Rig::<Blk>::new(Setup::with(features | bit::ACCESS_PLATFORM))?;
            check!(rig
                .features
                .is_some_and(|features| features.access_platform()));
            let idle = rig.sim.mapped();
            post(rig.queue(), block(64)?)?;
            check!(rig.sim.mapped() >= idle + 3);
            check_eq!(rig.sim.serve(0, 1), 1);
            check_eq!(rig.sim.mapped(), idle);
            post(rig.queue(), block(64)?)?;
            rig.sim.unbind();
            check_eq!(rig.sim.mapped(), 0);
        }
        Ok(())
    }

    /// A buffer that cannot be mapped comes back, and the queue goes on.
    #[test]
    fn mapping_failure() -> Result {
        for features in RINGS {
            let rig = Rig::<Blk>::new(Setup::with(features | bit::ACCESS_PLATFORM))?;
            let idle = rig.sim.mapped();
            for after in 0..3 {
                rig.sim.fail_maps(after);
                let request = block(64)?;
                let error = rig.queue().with(|_, ring| ring.post(request)).err();
                rig.sim.fail_maps(u32::MAX);
                check_eq!(error.ok_or(EINVAL)?.reason, QueueError::NoMemory);
                check_eq!(rig.sim.mapped(), idle);
            }
            post(rig.queue(), block(64)?)?;
            check_eq!(rig.sim.serve(0, 1), 1);
        }
        Ok(())
    }

    /// One queue is reset; its buffers come back, the other queue does not notice.
    #[test]
    fn reset_of_one_queue() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<In>::new(Setup {
                queues: 2,
                ..Setup::with(features | bit::RING_RESET)
            })?;
            for queue in &rig.queues {
                post(queue, bytes(8)?)?;
            }
            rig.queue().reset(None)?;
            check_eq!(
                rig.queue()
                    .with(|log, ring| (log.unused.len(), ring.free())),
                (1, 16)
            );
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, u32::MAX), 1);
            check_eq!(rig.sim.serve(1, u32::MAX), 1);
            check_eq!(
                rig.queues[1].with(|log, _| (log.used.len(), log.unused.len())),
                (1, 0)
            );
        }
        Ok(())
    }

    #[test]
    fn resize_of_one_queue() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<In>::new(Setup::with(features | bit::RING_RESET))?;
            post(rig.queue(), bytes(8)?)?;
            rig.queue().reset(Some(4))?;
            check_eq!(
                rig.queue()
                    .with(|log, ring| (log.unused.len(), ring.size())),
                (1, 4)
            );
            for _ in 0..4 {
                post(rig.queue(), bytes(8)?)?;
            }
            check_eq!(rig.sim.serve(0, u32::MAX), 4);
            check_eq!(rig.queue().reset(Some(3)), Err(EINVAL));
            check_eq!(rig.queue().reset(Some(32)), Err(E2BIG));
            rig.queue().reset(Some(16))?;
            check_eq!(rig.queue().with(|_, ring| ring.free()), 16);
        }
        Ok(())
    }

    #[test]
    fn reset_needs_its_feature() -> Result {
        let rig = Rig::<In>::new(Setup::default())?;
        post(rig.queue(), bytes(8)?)?;
        check_eq!(rig.queue().reset(None), Err(ENOENT));
        // Nothing happened.
        check_eq!(rig.sim.serve(0, 1), 1);
        Ok(())
    }

    #[test]
    fn features_are_what_both_know() -> Result {
        // 3 is not declared by the driver.
        let offered = SPLIT | 1 << 1 | 1 << 3 | bit::EVENT_IDX;
        let rig = Rig::<In>::new(Setup::with(offered))?;
        let features = rig.features.ok_or(ENODEV)?;
        check!(features.has(Feature::SizeMax) && !features.has(Feature::Flush));
        check!(features.version_1() && features.event_idx() && !features.ring_packed());
        check_eq!(rig.sim.features() & (1 << 3), 0);
        Ok(())
    }

    #[test]
    fn a_feature_goes_with_what_it_needs() -> Result {
        let rig = Rig::<In>::new(Setup::with(SPLIT | 1 << 11 | 1 << 9))?;
        check!(rig
            .features
            .is_some_and(|features| features.has(Feature::ConfigWce)));
        drop(rig);
        let rig = Rig::<In>::new(Setup::with(SPLIT | 1 << 11))?;
        check!(rig
            .features
            .is_some_and(|features| !features.has(Feature::ConfigWce)));
        check_eq!(rig.sim.features() & (1 << 11), 0);
        Ok(())
    }

    #[test]
    fn the_driver_gives_up_a_feature() -> Result {
        let rig = Rig::<In>::new(Setup {
            refuse_unwanted: true,
            ..Setup::with(SPLIT | 1 << 5)
        })?;
        check_eq!(rig.sim.features() & (1 << 5), 0);
        drop(rig);
        let rig = Rig::<In>::new(Setup::with(SPLIT | 1 << 5))?;
        check!(rig.sim.features() & (1 << 5) != 0);
        Ok(())
    }

    /// Little-endian from the device, whatever the CPU is.
    #[test]
    fn configuration_is_read() -> Result {
        let config = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let rig = Rig::<In>::new(Setup {
            config: &config,
            ..Setup::with(SPLIT | 1 << 1)
        })?;
        let (capacity, size_max) = crate::rig::read_config()?;
        check_eq!(capacity, 0x0807_0605_0403_0201);
        check_eq!(size_max, Some(0x0c0b_0a09));
        drop(rig);
        let rig = Rig::<In>::new(Setup {
            config: &config,
            ..Setup::with(SPLIT)
        })?;
        check_eq!(crate::rig::read_config()?.1, None);
        drop(rig);
        let _ = (Config::CAPACITY, Config::WCE);
        Ok(())
    }

    #[test]
    fn changes_of_the_configuration_are_told() -> Result {
        let rig = Rig::<In>::new(Setup {
            config: &[0; 8],
            ..Setup::default()
        })?;
        rig.sim.set_config(0, &[1])?;
        rig.sim.config_interrupt();
        for _ in 0..1000 {
            if PLAN.config_changes.load(Relaxed) > 0 {
                break;
            }
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(5));
        }
        check_eq!(PLAN.config_changes.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_and_restore() -> Result {
        for features in RINGS {
            let rig = Rig::<In>::new(Setup::with(features))?;
            for _ in 0..3 {
                post(rig.queue(), bytes(8)?)?;
                rig.sim.freeze()?;
                let (unused, error) = rig
                    .queue()
                    .with(|log, ring| (log.unused.pop(), ring.error()));
                check!(unused.is_some());
                check_eq!(error, Some(QueueError::Dead));
                rig.sim.restore()?;
                post(rig.queue(), bytes(8)?)?;
                check_eq!(rig.sim.serve(0, u32::MAX), 1);
                check!(rig.queue().with(|log, _| log.used.pop()).is_some());
            }
            check_eq!(
                (PLAN.freezes.load(Relaxed), PLAN.restores.load(Relaxed)),
                (3, 3)
            );
        }
        Ok(())
    }

    /// Before and after: a queue that is not live says so.
    #[test]
    fn class_device_lives_while_queues_do() -> Result {
        let mut rig = Rig::<In>::new(Setup::default())?;
        check_eq!(PLAN.class_devices.load(Relaxed), 1);
        rig.sim.unbind();
        check_eq!(PLAN.class_devices.load(Relaxed), 0);
        let buffer = bytes(8)?;
        let error = rig.queue().with(|_, ring| ring.post(buffer)).err();
        check_eq!(error.ok_or(EINVAL)?.reason, QueueError::Dead);
        rig.sim.bind()?;
        rig.take_over()?;
        check_eq!(PLAN.class_devices.load(Relaxed), 1);
        post(rig.queue(), bytes(8)?)?;
        check_eq!(rig.sim.serve(0, 1), 1);
        Ok(())
    }

    #[test]
    fn probe_that_fails_leaves_nothing() -> Result {
        for stage in [
            FailAt::Validate,
            FailAt::BeforeQueues,
            FailAt::AfterQueues,
            FailAt::Register,
        ] {
            for features in [SPLIT, PACKED | bit::ACCESS_PLATFORM] {
                let rig = Rig::<In>::new(Setup {
                    fail_at: stage,
                    ..Setup::with(features)
                })?;
                check!(!rig.sim.is_bound());
                check_eq!(rig.sim.mapped(), 0);
                PLAN.fail_at.store(FailAt::Nowhere as u32, Relaxed);
                rig.sim.bind()?;
                check!(rig.sim.is_bound());
            }
        }
        Ok(())
    }
}
