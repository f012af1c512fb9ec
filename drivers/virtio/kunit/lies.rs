// SPDX-License-Identifier: GPL-2.0

//! What a device can lie about, and what becomes of it.
//!
//! A lie about a ring that the core can tell ends all queues of the device, see [`broke`]. Any
//! other one is accepted, or limited to what was posted: then no buffer is lost or comes back
//! twice, and nothing comes out of it but what the device wrote since it was posted, and zeros.

use crate::rig::{
    bit,
    check,
    check_eq,
    post,
    read_config,
    Collector,
    Feature,
    Rig,
    Setup,
    Shape,
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
    Command,
    Control,
    In,
    InPages,
    Paged, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Jiffies, //
    },
    virtio::{
        sim::{
            DeviceLie,
            Lie,
            Mode,
            Params,
            Sim,
            Task,
            FOREVER, //
        },
        Buffer,
        Direction,
        Failure,
        QueueError,
        RequestError, //
    }, //
};

/// Both layouts, with mappings that are counted.
const LAYOUTS: [u64; 2] = [SPLIT | bit::ACCESS_PLATFORM, PACKED | bit::ACCESS_PLATFORM];

/// The split rings of [`RINGS`].
const SPLIT_RINGS: [u64; 4] = [RINGS[0], RINGS[1], RINGS[2], RINGS[3]];

/// What a device reads out of range of its configuration is zero.
const CONFIG: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const CAPACITY: u64 = u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]);

/// Only a test that fails takes that long.
fn long() -> Jiffies {
    msecs_to_jiffies(5000)
}

/// Waits for what wakes nobody up.
fn eventually(condition: impl Fn() -> bool) -> bool {
    for _ in 0..1000 {
        if condition() {
            return true;
        }
        fsleep(Delta::from_millis(5));
    }
    false
}

/// Pages for data from the device.
fn from_device(pages: usize, scrub: bool) -> Result<Paged> {
    let mut request = paged(pages, Direction::FromDevice)?;
    request.data_mut().set_scrub(scrub);
    Ok(request)
}

/// A device with some buffers of 8 bytes posted.
fn posted(features: u64, count: usize) -> Result<Rig<In>> {
    let rig = Rig::<In>::new(Setup::with(features))?;
    for _ in 0..count {
        post(rig.queue(), bytes(8)?)?;
    }
    Ok(rig)
}

/// Serves the next chain with that lie.
fn serve_with<S: Shape>(rig: &Rig<S>, lie: Lie) -> Result {
    rig.sim.lie(0, lie, 1);
    check_eq!(rig.sim.serve(0, 1), 1);
    Ok(())
}

/// The oldest buffer that came back used.
fn next_used<S, B>(rig: &Rig<S>) -> Result<B>
where
    S: Shape<Handler = Collector<B>>,
    B: Buffer + Unpin,
{
    let next = rig.queue().with(|log, _| log.used.remove(0));
    next.map_err(|_| ENOENT)
}

/// How many buffers came back used and unused.
fn returned<S, B>(rig: &Rig<S>) -> (usize, usize)
where
    S: Shape<Handler = Collector<B>>,
    B: Buffer + Unpin,
{
    rig.queue()
        .with(|log, _| (log.used.len(), log.unused.len()))
}

/// Why the first queue does not work.
fn error_of<S: Shape>(rig: &Rig<S>) -> Option<QueueError> {
    rig.queue().with(|_, ring| ring.error())
}

/// Unbinds the driver, and binds it to the device that tells `lie` now.
fn bind_with<S: Shape>(rig: &mut Rig<S>, lie: DeviceLie) -> Result {
    rig.sim.unbind();
    rig.sim.device_lie(lie);
    rig.sim.bind()?;
    rig.take_over()?;
    check!(rig.sim.is_bound());
    Ok(())
}

/// Probe fails and leaves nothing.
fn does_not_bind<S: Shape>(rig: &Rig<S>) -> Result {
    check_eq!(rig.sim.bind(), Err(ENODEV));
    check!(!rig.sim.is_bound());
    check_eq!(rig.sim.mapped(), 0);
    check_eq!(PLAN.class_devices.load(Relaxed), 0);
    Ok(())
}

/// The queue broke: all that was posted came back, once, and the device was reset. Nothing can be
/// posted any more. When driver and device start anew, all is well.
///
/// Returns how many buffers were used before.
fn broke<S, B>(rig: &mut Rig<S>, posted: usize, buffer: impl Fn() -> Result<B>) -> Result<usize>
where
    S: Shape<Handler = Collector<B>>,
    B: Buffer + Unpin,
{
    let used = ended(rig, posted, &buffer)?;
    rig.works_again(buffer()?)?;
    Ok(used)
}

/// As [`broke`], but the driver stays bound.
fn ended<S, B>(rig: &Rig<S>, posted: usize, buffer: impl Fn() -> Result<B>) -> Result<usize>
where
    S: Shape<Handler = Collector<B>>,
    B: Buffer + Unpin,
{
    // By the event index, the driver may have asked for an interrupt that is still to come.
    rig.sim.interrupt(0);
    let back = rig.queue().wait_until(long(), |log, ring| {
        let (used, unused) = (log.used.len(), log.unused.len());
        let all = ring.error() == Some(QueueError::Broken) && used + unused >= posted;
        all.then_some((used, unused, log.broken))
    })?;
    let (used, unused, broken) = back.ok_or(ETIMEDOUT)?;
    check_eq!(used + unused, posted);
    check_eq!(broken, 1);
    check!(eventually(|| rig.sim.status() == 0));

    let late = buffer()?;
    let id = late.id();
    let error = rig.queue().with(|_, ring| ring.post(late)).err();
    let error = error.ok_or(EINVAL)?;
    check_eq!(error.reason, QueueError::Broken);
    check_eq!(error.buffer.id(), id);
    Ok(used)
}

/// The device served `lie` as the first of three buffers, which breaks the queue. Returns how many
/// were used.
fn breaks(features: u64, lie: Lie) -> Result<usize> {
    let mut rig = posted(features, 3)?;
    serve_with(&rig, lie)?;
    broke(&mut rig, 3, || bytes(8))
}

/// The device claims to have written `len` bytes to a buffer of 8.
fn length_is_clamped(len: u32) -> Result {
    for features in RINGS {
        let rig = Rig::<In>::new(Setup::with(features))?;
        let mut buffer = bytes(16)?;
        buffer.set_asked(8);
        post(rig.queue(), buffer)?;
        serve_with(&rig, Lie::Len(len))?;

        let mut back = next_used(&rig)?;
        check_eq!(back.written(), 8);
        let mut data = [0xaa; 16];
        check_eq!(back.take(&mut data), 8);
        check!(data[..8] == [1, 2, 3, 4, 5, 6, 7, 8] && data[8..] == [0xaa; 8]);
        check_eq!(error_of(&rig), None);
        post(rig.queue(), back)?;
        check_eq!(rig.sim.serve(0, 1), 1);
        check_eq!(next_used(&rig)?.written(), 8);
    }
    Ok(())
}

/// Why there was no reply.
fn failure(reply: Result<Command, RequestError<Command>>) -> Result<Failure> {
    Ok(reply.err().ok_or(EINVAL)?.failure)
}

/// Why a request fails that is not even sent.
fn later_request(rig: &Rig<Control>) -> Result<Failure> {
    let error = rig.queue().request(command([3; 4])?, 2 * long());
    let error = error.err().ok_or(EINVAL)?;
    check!(error.request.is_some());
    Ok(error.failure)
}

/// As `works_again`, for requests.
fn answers_again(rig: &mut Rig<Control>) -> Result {
    rig.sim.unbind();
    check_eq!(rig.sim.mapped(), 0);
    rig.sim.be_honest();
    rig.sim.bind()?;
    rig.take_over()?;
    rig.sim.set_mode(0, Mode::InKick);
    let reply = rig.queue().request(command([4; 4])?, long())?;
    check_eq!(reply.trailer()?.validate(Ok::<_, Error>), Ok([4; 4]));
    Ok(())
}

#[kunit_tests(rust_virtio_lies)]
mod tests {
    use super::*;

    #[test]
    fn used_id_is_the_ring_size() -> Result {
        for features in LAYOUTS {
            check_eq!(breaks(features, Lie::Id(16))?, 0);
        }
        Ok(())
    }

    #[test]
    fn used_id_is_all_ones() -> Result {
        for features in LAYOUTS {
            check_eq!(breaks(features, Lie::Id(u32::MAX))?, 0);
        }
        Ok(())
    }

    #[test]
    fn used_id_of_a_descriptor_that_was_never_used() -> Result {
        for features in LAYOUTS {
            check_eq!(breaks(features, Lie::Id(9))?, 0);
        }
        Ok(())
    }

    #[test]
    fn used_id_of_a_buffer_that_came_back() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            check_eq!(rig.sim.serve(0, 1), 1);
            serve_with(&rig, Lie::Id(0))?;
            check_eq!(broke(&mut rig, 3, || bytes(8))?, 1);
        }
        Ok(())
    }

    #[test]
    fn used_id_in_the_middle_of_a_chain() -> Result {
        for features in LAYOUTS {
            for id in [1, 2] {
                let mut rig = Rig::<Blk>::new(Setup::with(features))?;
                post(rig.queue(), block(8)?)?;
                post(rig.queue(), block(8)?)?;
                serve_with(&rig, Lie::Id(id))?;
                check_eq!(broke(&mut rig, 2, || block(8))?, 0);
            }
        }
        Ok(())
    }

    /// A used entry on a queue that the driver left empty.
    #[test]
    fn used_entry_for_nothing() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 0)?;
            rig.sim.used(0, 0, 8);
            check_eq!(broke(&mut rig, 0, || bytes(8))?, 0);
        }
        Ok(())
    }

    /// The driver cannot know that the device did not look at it.
    #[test]
    fn used_before_it_was_taken() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 1)?;
            rig.sim.used(0, 0, 8);
            rig.sim.interrupt(0);
            let mut back = next_used(&rig)?;
            let mut data = [0xaa; 8];
            check_eq!(back.take(&mut data), 8);
            check!(data == [0; 8]);
            check_eq!(error_of(&rig), None);
            rig.works_again(back)?;
        }
        Ok(())
    }

    #[test]
    fn duplicate_id() -> Result {
        for features in LAYOUTS {
            check_eq!(breaks(features, Lie::Duplicate)?, 1);
        }
        Ok(())
    }

    /// The id stands for another post of the same buffer then, which is used and not twice.
    #[test]
    fn duplicate_id_of_a_buffer_that_was_posted_again() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 2)?;
            rig.queue().with(|log, _| log.repost = 1);
            serve_with(&rig, Lie::Duplicate)?;
            check_eq!(returned(&rig), (1, 0));
            check_eq!(error_of(&rig), None);
            rig.sim.unbind();
            check_eq!(returned(&rig), (1, 1));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn newest_first_is_accepted() -> Result {
        for features in RINGS {
            let rig = posted(features, 0)?;
            for _ in 0..10 {
                for len in 8..13 {
                    post(rig.queue(), bytes(len)?)?;
                }
                rig.sim.lie(0, Lie::NewestFirst, 1);
                check_eq!(rig.sim.serve(0, u32::MAX), 5);
                rig.queue().poll();
                for len in (8..13).rev() {
                    check_eq!(next_used(&rig)?.written(), len);
                }
            }
            check_eq!(error_of(&rig), None);
            check_eq!(rig.sim.driver_errors(), 0);
        }
        Ok(())
    }

    #[test]
    fn used_index_jumps_far_ahead() -> Result {
        for features in SPLIT_RINGS {
            check_eq!(breaks(features, Lie::IdxJump(40_000))?, 1);
        }
        Ok(())
    }

    #[test]
    fn used_index_jumps_a_little_ahead() -> Result {
        for features in SPLIT_RINGS {
            check_eq!(breaks(features, Lie::IdxJump(1))?, 1);
        }
        Ok(())
    }

    /// What is in flight is used by that, each buffer once; the next descriptor names none.
    #[test]
    fn all_descriptors_of_a_packed_ring_are_marked_used() -> Result {
        for features in [PACKED, PACKED | bit::EVENT_IDX] {
            check_eq!(breaks(features, Lie::IdxJump(15))?, 3);
        }
        Ok(())
    }

    /// Once around the ring and further, so that the device marks its first entry as not used: the
    /// driver sees nothing.
    #[test]
    fn used_position_in_a_packed_ring_jumps_far_ahead() -> Result {
        for features in [PACKED, PACKED | bit::EVENT_IDX] {
            let mut rig = posted(features, 3)?;
            serve_with(&rig, Lie::IdxJump(40_000))?;
            rig.sim.interrupt(0);
            check_eq!(returned(&rig), (0, 0));
            check_eq!(error_of(&rig), None);
            rig.sim.unbind();
            check_eq!(returned(&rig), (0, 3));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// Nobody wrote to these buffers: they hold zeros.
    #[test]
    fn descriptors_in_flight_are_marked_used() -> Result {
        for features in [PACKED, PACKED | bit::EVENT_IDX] {
            let mut rig = posted(features, 3)?;
            serve_with(&rig, Lie::IdxJump(2))?;
            rig.sim.interrupt(0);
            check_eq!(returned(&rig), (3, 0));
            check_eq!(error_of(&rig), None);
            for expected in [[1, 2, 3, 4, 5, 6, 7, 8], [0; 8], [0; 8]] {
                let mut data = [0; 8];
                next_used(&rig)?.take(&mut data);
                check!(data == expected);
            }
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn used_index_goes_back() -> Result {
        for features in SPLIT_RINGS {
            for by in [1, 2, 40_000] {
                let mut rig = posted(features, 3)?;
                check_eq!(rig.sim.serve(0, 1), 1);
                serve_with(&rig, Lie::IdxBack(by))?;
                check_eq!(broke(&mut rig, 3, || bytes(8))?, 1);
            }
        }
        Ok(())
    }

    /// The driver does not look where it was before, so this is as if nothing was used.
    #[test]
    fn used_position_in_a_packed_ring_goes_back() -> Result {
        for features in [PACKED, PACKED | bit::EVENT_IDX] {
            let mut rig = posted(features, 3)?;
            check_eq!(rig.sim.serve(0, 1), 1);
            serve_with(&rig, Lie::IdxBack(1))?;
            check_eq!(rig.sim.serve(0, 1), 1);
            rig.sim.interrupt(0);
            check_eq!(returned(&rig), (1, 0));
            check_eq!(error_of(&rig), None);
            rig.sim.unbind();
            check_eq!(returned(&rig), (1, 2));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn length_is_one_too_much() -> Result {
        length_is_clamped(9)
    }

    #[test]
    fn length_is_negative() -> Result {
        length_is_clamped(0x8000_0000)
    }

    #[test]
    fn length_is_all_ones() -> Result {
        length_is_clamped(u32::MAX)
    }

    #[test]
    fn length_of_a_request_is_too_much() -> Result {
        for features in RINGS {
            for len in [10, 0x8000_0000, u32::MAX] {
                let rig = Rig::<Blk>::new(Setup::with(features))?;
                post(rig.queue(), block(8)?)?;
                serve_with(&rig, Lie::Len(len))?;
                let mut back = next_used(&rig)?;
                check_eq!((back.written(), back.data().written()), (9, 8));
                // The header came back as data, so the status is part of it.
                check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(7));
                let mut data = [0; 16];
                check_eq!(back.data_mut().take(&mut data), 8);
                check!(data[..8] == [7; 8] && data[8..] == [0; 8]);
            }
        }
        Ok(())
    }

    #[test]
    fn length_of_pages_is_too_much() -> Result {
        for features in RINGS {
            let rig = Rig::<InPages>::new(Setup::with(features))?;
            post(rig.queue(), from_device(2, false)?)?;
            serve_with(&rig, Lie::Len(u32::MAX))?;
            let back = next_used(&rig)?;
            let len = back.data().len();
            check_eq!(back.data().written(), len);
            check_eq!(back.data().read(len - 3, &mut [0; 8]), 3);
            check_eq!(back.data().read(len, &mut [0; 8]), 0);
        }
        Ok(())
    }

    #[test]
    fn length_is_zero() -> Result {
        for features in RINGS {
            let rig = posted(features, 1)?;
            serve_with(&rig, Lie::Len(0))?;
            let mut back = next_used(&rig)?;
            check_eq!(back.written(), 0);
            let mut data = [0xaa; 8];
            check_eq!(back.take(&mut data), 0);
            check!(data == [0xaa; 8]);
            check_eq!(error_of(&rig), None);
            // What the device wrote all the same does not come out later either.
            post(rig.queue(), back)?;
            serve_with(&rig, Lie::Unwritten)?;
            check_eq!(next_used(&rig)?.take(&mut data), 8);
            check!(data == [0; 8]);
        }
        Ok(())
    }

    /// No status is taken from a device that says that it did not write one.
    #[test]
    fn length_of_a_request_is_short() -> Result {
        for features in RINGS {
            let rig = Rig::<Blk>::new(Setup::with(features))?;
            for len in [0, 100, 512] {
                post(rig.queue(), block(512)?)?;
                serve_with(&rig, Lie::Short(len))?;
                let mut back = next_used(&rig)?;
                check_eq!(back.trailer().err(), Some(QueueError::Malformed));
                check_eq!(
                    back.trailer_of_any_length().validate(Ok::<_, Error>),
                    Ok(0xff)
                );
                check_eq!((back.written(), back.data().written()), (len, len));
                check_eq!(back.data_mut().take(&mut [0; 512]), len as usize);
            }
            check_eq!(error_of(&rig), None);
            post(rig.queue(), block(512)?)?;
            check_eq!(rig.sim.serve(0, 1), 1);
            check!(next_used(&rig)?.trailer().is_ok());
        }
        Ok(())
    }

    /// The device claims what it did not write, after an honest reply in the same memory.
    #[test]
    fn nothing_written_to_bytes() -> Result {
        for features in RINGS {
            let rig = posted(features, 1)?;
            let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
            chain.write(0, b"a secret")?;
            chain.complete(8);
            rig.sim.notify(0);
            let mut back = next_used(&rig)?;
            let mut data = [0; 4];
            check_eq!(back.take(&mut data), 4);
            check!(data == *b"a se");

            post(rig.queue(), back)?;
            serve_with(&rig, Lie::Unwritten)?;
            let mut back = next_used(&rig)?;
            let mut data = [0xaa; 8];
            check_eq!(back.take(&mut data), 8);
            check!(data == [0; 8]);
        }
        Ok(())
    }

    #[test]
    fn nothing_written_to_a_request() -> Result {
        for features in RINGS {
            let rig = Rig::<Blk>::new(Setup::with(features))?;
            post(rig.queue(), block(8)?)?;
            let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
            chain.write(0, b"a secret\0")?;
            chain.complete(9);
            rig.sim.notify(0);
            let back = next_used(&rig)?;
            check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(0));

            post(rig.queue(), back)?;
            serve_with(&rig, Lie::Unwritten)?;
            let mut back = next_used(&rig)?;
            check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(0xff));
            let mut data = [0xaa; 8];
            check_eq!(back.data_mut().take(&mut data), 8);
            check!(data == [0; 8]);
        }
        Ok(())
    }

    #[test]
    fn nothing_written_to_scrubbed_pages() -> Result {
        for features in RINGS {
            let rig = Rig::<InPages>::new(Setup::with(features))?;
            post(rig.queue(), from_device(2, true)?)?;
            let chain = rig.sim.take(0)?.ok_or(ENOENT)?;
            chain.write(4092, b"a secret")?;
            let len = chain.writable_len();
            chain.complete(len);
            rig.sim.notify(0);
            let back = next_used(&rig)?;
            let mut data = [0; 8];
            check_eq!(back.data().read(4092, &mut data), 8);
            check!(data == *b"a secret");

            post(rig.queue(), back)?;
            serve_with(&rig, Lie::Unwritten)?;
            let back = next_used(&rig)?;
            for at in (0..back.data().len()).step_by(data.len()) {
                check_eq!(back.data().read(at, &mut data), 8);
                check!(data == [0; 8]);
            }
            check_eq!(back.trailer()?.validate(Ok::<_, Error>), Ok(0xff));
        }
        Ok(())
    }

    /// What was in pages before stays behind what the device wrote, scrubbed or not.
    #[test]
    fn pages_are_short() -> Result {
        for features in RINGS {
            let rig = Rig::<InPages>::new(Setup::with(features))?;
            let mut request = from_device(2, false)?;
            request.data_mut().write(0, &[0x5e; 200]);
            post(rig.queue(), request)?;
            serve_with(&rig, Lie::Short(100))?;
            let back = next_used(&rig)?;
            check_eq!(back.trailer().err(), Some(QueueError::Malformed));
            check_eq!(back.data().written(), 100);
            let mut data = [0; 200];
            check_eq!(back.data().read(0, &mut data), 100);
            check!(data[100..] == [0; 100]);
            check_eq!(back.data().read(100, &mut data), 0);
        }
        Ok(())
    }

    /// The core has copies of its own.
    #[test]
    fn descriptors_are_rewritten() -> Result {
        for features in RINGS {
            let mut rig = Rig::<Blk>::new(Setup::with(features | bit::ACCESS_PLATFORM))?;
            let idle = rig.sim.mapped();
            rig.sim.lie(0, Lie::DescRewrite, FOREVER);
            for _ in 0..20 {
                post(rig.queue(), block(8)?)?;
                post(rig.queue(), block(8)?)?;
                check_eq!(rig.sim.serve(0, 2), 2);
                rig.queue().poll();
                check_eq!(next_used(&rig)?.trailer()?.validate(Ok::<_, Error>), Ok(7));
                check_eq!(next_used(&rig)?.trailer()?.validate(Ok::<_, Error>), Ok(7));
                check_eq!(rig.sim.mapped(), idle);
            }
            check_eq!(rig.queue().with(|_, ring| ring.free()), 16);
            check_eq!(rig.sim.driver_errors(), 0);
            post(rig.queue(), block(8)?)?;
            rig.works_again(block(8)?)?;
        }
        Ok(())
    }

    /// The free list is made from the core's copy of the flag, or this does not end.
    #[test]
    fn next_flag_on_every_descriptor() -> Result {
        for features in SPLIT_RINGS {
            let mut rig = Rig::<Blk>::new(Setup::with(features | bit::ACCESS_PLATFORM))?;
            let idle = rig.sim.mapped();
            for _ in 0..5 {
                post(rig.queue(), block(8)?)?;
            }
            rig.sim.lie(0, Lie::NextFlagAll, FOREVER);
            check_eq!(rig.sim.serve(0, u32::MAX), 5);
            rig.queue().poll();
            check_eq!(returned(&rig), (5, 0));
            check_eq!(rig.sim.mapped(), idle);
            check_eq!(rig.queue().with(|_, ring| ring.free()), 16);
            check_eq!(error_of(&rig), None);
            rig.works_again(block(8)?)?;
        }
        Ok(())
    }

    /// No descriptor becomes free that is not, or the core ends in a `BUG` at the latest when the
    /// driver is unbound.
    #[test]
    fn next_flag_on_one_descriptor() -> Result {
        for features in SPLIT_RINGS {
            let mut rig = posted(features | bit::ACCESS_PLATFORM, 2)?;
            serve_with(&rig, Lie::NextFlagOne)?;
            check_eq!(returned(&rig), (1, 0));
            check_eq!(rig.queue().with(|_, ring| ring.free()), 15);
            for _ in 0..15 {
                post(rig.queue(), bytes(8)?)?;
            }
            rig.sim.unbind();
            check_eq!(returned(&rig), (1, 16));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// To begin with: what is true with buffers in order.
    #[test]
    fn in_order_without_a_lie() -> Result {
        for features in LAYOUTS {
            let rig = posted(features | bit::IN_ORDER, 0)?;
            check!(rig.features.is_some_and(|features| features.in_order()));
            for _ in 0..40 {
                post(rig.queue(), bytes(8)?)?;
                check_eq!(rig.sim.serve(0, 1), 1);
                check_eq!(next_used(&rig)?.written(), 8);
            }
            check_eq!(rig.sim.driver_errors(), 0);
        }
        Ok(())
    }

    /// In order, an id ends a batch: one that is not in flight must not complete all there is.
    #[test]
    fn in_order_id_is_out_of_range() -> Result {
        for features in LAYOUTS {
            for id in [16, u32::MAX] {
                check_eq!(breaks(features | bit::IN_ORDER, Lie::Id(id))?, 0);
            }
        }
        Ok(())
    }

    #[test]
    fn in_order_id_is_not_in_flight() -> Result {
        for features in LAYOUTS {
            check_eq!(breaks(features | bit::IN_ORDER, Lie::Id(9))?, 0);
            check_eq!(breaks(features | bit::IN_ORDER, Lie::Duplicate)?, 1);
        }
        Ok(())
    }

    #[test]
    fn in_order_id_in_the_middle_of_a_chain() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Blk>::new(Setup::with(features | bit::IN_ORDER))?;
            post(rig.queue(), block(8)?)?;
            post(rig.queue(), block(8)?)?;
            serve_with(&rig, Lie::Id(1))?;
            check_eq!(broke(&mut rig, 2, || block(8))?, 0);
        }
        Ok(())
    }

    /// The device may say that a batch is done by its last id, so this is accepted; what it did not
    /// write to is zero.
    #[test]
    fn in_order_batch_that_was_not_written() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features | bit::IN_ORDER, 3)?;
            serve_with(&rig, Lie::Id(2))?;
            check_eq!(returned(&rig), (3, 0));
            for expected in [[1, 2, 3, 4, 5, 6, 7, 8], [0; 8], [0; 8]] {
                let mut data = [0; 8];
                next_used(&rig)?.take(&mut data);
                check!(data == expected);
            }
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// The first id says that all are used, and the others are not looked at.
    #[test]
    fn in_order_newest_first() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features | bit::IN_ORDER, 5)?;
            rig.sim.lie(0, Lie::NewestFirst, 1);
            check_eq!(rig.sim.serve(0, u32::MAX), 5);
            rig.queue().poll();
            check_eq!(returned(&rig), (5, 0));
            check_eq!(error_of(&rig), None);
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, u32::MAX), 1);
            check_eq!(returned(&rig), (6, 0));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn interrupt_before_the_driver_is_ready() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 0)?;
            bind_with(&mut rig, DeviceLie::IrqInFindVqs { used: false })?;
            check_eq!(returned(&rig), (0, 0));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// It is found when the queue is live: nothing was posted, so it is not true.
    #[test]
    fn used_entry_before_the_driver_is_ready() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 0)?;
            bind_with(&mut rig, DeviceLie::IrqInFindVqs { used: true })?;
            check_eq!(returned(&rig), (0, 0));
            check_eq!(error_of(&rig), None);
            check_eq!(broke(&mut rig, 0, || bytes(8))?, 0);
        }
        Ok(())
    }

    #[test]
    fn used_entry_and_interrupt_after_reset() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 3)?;
            rig.sim.device_lie(DeviceLie::IrqAfterReset);
            rig.sim.unbind();
            check_eq!(returned(&rig), (0, 3));
            rig.works_again(bytes(8)?)?;

            post(rig.queue(), bytes(8)?)?;
            rig.sim.device_lie(DeviceLie::IrqAfterReset);
            rig.sim.reset_prepare()?;
            // The other one is of `works_again`.
            check_eq!(returned(&rig), (1, 1));
            rig.sim.reset_done()?;
            check_eq!(returned(&rig), (1, 1));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn used_entry_after_reset_of_a_broken_queue() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            rig.sim.device_lie(DeviceLie::IrqAfterReset);
            serve_with(&rig, Lie::Id(16))?;
            check_eq!(broke(&mut rig, 3, || bytes(8))?, 0);
        }
        Ok(())
    }

    #[test]
    fn interrupt_storm_with_nothing_used() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 1)?;
            let before = rig.sim.interrupts(0);
            rig.sim.storm(0, 100_000);
            check_eq!(rig.sim.interrupts(0), before + 100_000);
            check_eq!(returned(&rig), (0, 0));
            check_eq!(error_of(&rig), None);
            check_eq!(rig.sim.serve(0, 1), 1);
            check_eq!(returned(&rig), (1, 0));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn interrupt_storm_on_a_broken_queue() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            serve_with(&rig, Lie::Id(16))?;
            rig.sim.storm(0, 100_000);
            // It is told once that the queue broke.
            check_eq!(broke(&mut rig, 3, || bytes(8))?, 0);
        }
        Ok(())
    }

    /// The driver is called from a work item, which many changes share.
    #[test]
    fn configuration_change_storm() -> Result {
        const COUNT: u32 = 100_000;

        for features in LAYOUTS {
            let mut rig = posted(features, 1)?;
            rig.sim.config_storm(COUNT);
            check!(eventually(|| PLAN.config_changes.load(Relaxed) > 0));
            check!(PLAN.config_changes.load(Relaxed) < COUNT / 2);
            check_eq!(rig.sim.serve(0, 1), 1);
            check_eq!(returned(&rig), (1, 0));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn never_completed_then_unbound() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 16)?;
            rig.sim.lie(0, Lie::Never, FOREVER);
            check_eq!(rig.sim.serve(0, u32::MAX), 16);
            rig.sim.unbind();
            check_eq!(returned(&rig), (0, 16));
            check_eq!(error_of(&rig), Some(QueueError::Dead));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn never_completed_then_frozen() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 16)?;
            rig.sim.lie(0, Lie::Never, FOREVER);
            check_eq!(rig.sim.serve(0, u32::MAX), 16);
            rig.sim.freeze()?;
            check_eq!(returned(&rig), (0, 16));
            check_eq!(error_of(&rig), Some(QueueError::Dead));
            rig.sim.be_honest();
            rig.sim.restore()?;
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, u32::MAX), 1);
            check_eq!(returned(&rig), (1, 16));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn many_answers_inside_of_the_kick() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 0)?;
            rig.sim.set_mode(0, Mode::InKick);
            let mut batch = KVec::new();
            for _ in 0..16 {
                batch.push(bytes(8)?, GFP_KERNEL)?;
            }
            rig.queue().with(|log, ring| {
                log.repost = 10_000;
                batch.drain_all().try_for_each(|buffer| ring.post(buffer))
            })?;
            let all = rig.queue().wait_until(long(), |log, _| {
                (log.used.len() == 16).then_some(log.repost)
            })?;
            check_eq!(all, Some(0));
            check_eq!(error_of(&rig), None);
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// A handler that always posts again, and a device that always answers: other tasks go on, and
    /// the driver can be unbound.
    #[test]
    fn answers_without_end() -> Result {
        for features in RINGS {
            let mut rig = posted(features, 0)?;
            rig.sim.set_mode(0, Mode::Deferred);
            rig.queue().with(|log, _| log.repost = u32::MAX);
            post(rig.queue(), bytes(8)?)?;
            let some = || u32::MAX - rig.queue().with(|log, _| log.repost) > 20;
            check!(eventually(some));
            check_eq!(returned(&rig), (0, 0));
            rig.sim.unbind();
            check_eq!(returned(&rig), (0, 1));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn features_ok_does_not_stay() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 0)?;
            rig.sim.unbind();
            rig.sim.device_lie(DeviceLie::RefuseFeaturesOk);
            does_not_bind(&rig)?;
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// The driver is told, after a few reads.
    #[test]
    fn generation_never_holds_still() -> Result {
        let mut rig = Rig::<In>::new(Setup {
            config: &CONFIG,
            ..Setup::default()
        })?;
        bind_with(&mut rig, DeviceLie::GenerationUnstable(u32::MAX))?;
        check_eq!(read_config(), Err(EIO));
        rig.works_again(bytes(8)?)?;
        check_eq!(read_config(), Ok((CAPACITY, None)));
        Ok(())
    }

    #[test]
    fn generation_holds_still_at_last() -> Result {
        let mut rig = Rig::<In>::new(Setup {
            config: &CONFIG,
            ..Setup::default()
        })?;
        bind_with(&mut rig, DeviceLie::GenerationUnstable(4))?;
        check_eq!(read_config(), Ok((CAPACITY, None)));
        rig.works_again(bytes(8)?)?;
        Ok(())
    }

    /// Each field is read once, so there is no second value of it.
    #[test]
    fn configuration_flips_between_reads() -> Result {
        let mut rig = Rig::<In>::new(Setup {
            config: &CONFIG,
            ..Setup::with(SPLIT | 1 << 1)
        })?;
        let size_max = u64::from(u32::from_le_bytes([9, 10, 11, 12]));
        let mut flip = 0;
        for _ in 0..4 {
            bind_with(&mut rig, DeviceLie::ConfigFlip)?;
            let expected = (
                CAPACITY ^ (flip * 0x0101_0101_0101_0101),
                Some(size_max ^ (flip * 0x0101_0101)),
            );
            check_eq!(read_config(), Ok(expected));
            flip ^= 1;
        }
        rig.works_again(bytes(8)?)?;
        Ok(())
    }

    #[test]
    fn feature_without_the_one_that_it_needs() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features | 1 << 11, 0)?;
            let negotiated = rig.features.ok_or(ENODEV)?;
            check!(!negotiated.has(Feature::ConfigWce) && !negotiated.has(Feature::Flush));
            check_eq!(rig.sim.features() & (1 << 11), 0);
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// Of all 128 bits, those are accepted that the driver declared, and those that the core knows.
    #[test]
    fn every_feature_is_offered() -> Result {
        const DEVICE_SPECIFIC: u128 = !((1 << 50) - (1 << 24));
        const DECLARED: u128 = 1 << 1 | 1 << 5 | 1 << 9 | 1 << 11;

        // On each kind of ring that comes with it.
        for left_out in [
            0,
            bit::RING_PACKED,
            bit::IN_ORDER,
            bit::RING_PACKED | bit::IN_ORDER,
        ] {
            let mut rig = posted(SPLIT, 0)?;
            rig.sim.unbind();
            rig.sim = Sim::new(Params {
                features: !u128::from(left_out),
                ..Params::new(<In as Shape>::DEVICE)
            })?;
            if !rig.sim.is_bound() {
                // The bus was told not to probe by itself.
                rig.sim.bind()?;
            }
            rig.take_over()?;
            check!(rig.sim.is_bound());
            check_eq!(rig.sim.features() & DEVICE_SPECIFIC, DECLARED);
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// There is nothing to be had by a feature that was not offered.
    #[test]
    fn feature_is_negotiated_without_being_offered() -> Result {
        for extra in [1, 3, 127] {
            let mut rig = posted(SPLIT, 0)?;
            bind_with(&mut rig, DeviceLie::ExtraFeature(extra))?;
            check!(rig
                .features
                .is_some_and(|features| !features.has(Feature::Flush)));
            // The configuration space ends before the field.
            check_eq!(read_config(), Ok((0, (extra == 1).then_some(0))));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn no_memory_for_one_of_the_queues() -> Result {
        for features in LAYOUTS {
            for queue in 0..3 {
                let mut rig = Rig::<In>::new(Setup {
                    queues: 3,
                    ..Setup::with(features)
                })?;
                rig.sim.unbind();
                rig.sim.device_lie(DeviceLie::FindVqsFails(queue));
                does_not_bind(&rig)?;
                rig.works_again(bytes(8)?)?;
                check_eq!(rig.queues.len(), 3);
            }
        }
        Ok(())
    }

    #[test]
    fn fewer_queues_than_the_driver_needs() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 0)?;
            rig.sim.unbind();
            PLAN.queues.store(2, Relaxed);
            does_not_bind(&rig)?;
            PLAN.queues.store(1, Relaxed);
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn no_memory_for_a_queue_after_a_freeze() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            rig.sim.freeze()?;
            rig.sim.device_lie(DeviceLie::FindVqsFails(0));
            check_eq!(rig.sim.restore(), Err(ENOMEM));
            check_eq!(returned(&rig), (0, 3));
            check_eq!(error_of(&rig), Some(QueueError::Dead));
            check_eq!(rig.sim.mapped(), 0);
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// Nobody is interrupted when a transport marks queues broken.
    #[test]
    fn device_breaks_while_a_task_waits() -> Result {
        static ATTEMPTS: Atomic<u32> = Atomic::new(0);

        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            let queue = rig.queue().clone();
            ATTEMPTS.store(0, Relaxed);
            let task = Task::spawn(move || {
                queue.wait_until(2 * long(), |_, ring| {
                    ATTEMPTS.fetch_add(1, Relaxed);
                    ring.error()
                })
            })?;
            check!(eventually(|| ATTEMPTS.load(Relaxed) > 0));
            rig.sim.device_lie(DeviceLie::Break);
            check_eq!(task.join()?, Ok(Some(QueueError::Broken)));
            check_eq!(broke(&mut rig, 3, || bytes(8))?, 0);
        }
        Ok(())
    }

    #[test]
    fn device_breaks_while_a_request_waits() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Control>::new(Setup::with(features))?;
            let (queue, kicks) = (rig.queue().clone(), rig.sim.kicks(0));
            let request = command([1; 4])?;
            let task = Task::spawn(move || queue.request(request, 2 * long()))?;
            check!(eventually(|| rig.sim.kicks(0) > kicks));
            rig.sim.device_lie(DeviceLie::Break);
            check_eq!(failure(task.join()?)?, Failure::Queue(QueueError::Broken));
            check_eq!(later_request(&rig)?, Failure::Queue(QueueError::Broken));
            check!(eventually(|| rig.sim.status() == 0));
            answers_again(&mut rig)?;
        }
        Ok(())
    }

    /// One that nobody waits for: the next one who posts is told.
    #[test]
    fn device_breaks_with_no_one_there() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            rig.sim.device_lie(DeviceLie::Break);
            let buffer = bytes(8)?;
            let error = rig.queue().with(|_, ring| ring.post(buffer)).err();
            check_eq!(error.ok_or(EINVAL)?.reason, QueueError::Broken);
            rig.queue().poll();
            check_eq!(broke(&mut rig, 3, || bytes(8))?, 0);
        }
        Ok(())
    }

    #[test]
    fn broken_device_is_unbound_at_once() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            rig.sim.device_lie(DeviceLie::Break);
            rig.sim.unbind();
            check_eq!(returned(&rig), (0, 3));
            rig.works_again(bytes(8)?)?;

            // Found by an interrupt, and the reset of the device still to come.
            post(rig.queue(), bytes(8)?)?;
            serve_with(&rig, Lie::Id(16))?;
            rig.sim.unbind();
            check_eq!(returned(&rig), (1, 1));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn one_queue_ends_all_of_the_device() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<In>::new(Setup {
                queues: 3,
                ..Setup::with(features)
            })?;
            for queue in &rig.queues {
                post(queue, bytes(8)?)?;
                post(queue, bytes(8)?)?;
            }
            rig.sim.lie(1, Lie::Id(16), 1);
            check_eq!(rig.sim.serve(1, 1), 1);
            for queue in &rig.queues {
                let back = queue.wait_until(long(), |log, ring| {
                    let all = log.unused.len() == 2;
                    all.then_some((log.used.len(), ring.error()))
                })?;
                check_eq!(back, Some((0, Some(QueueError::Broken))));
            }
            check_eq!(rig.queues[1].with(|log, _| log.broken), 1);
            check!(eventually(|| rig.sim.status() == 0));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// The driver finds that the device is silent for too long.
    #[test]
    fn silent_device_is_given_up() -> Result {
        for features in RINGS {
            let mut rig = posted(features | bit::ACCESS_PLATFORM, 3)?;
            rig.sim.lie(0, Lie::Never, FOREVER);
            check_eq!(rig.sim.serve(0, u32::MAX), 3);
            let answer = rig.queue().wait_until(1, |log, _| log.used.pop())?;
            check!(answer.is_none());
            rig.queue().break_device();
            // Giving up twice is no more than once.
            rig.queue().break_device();
            check_eq!(broke(&mut rig, 3, || bytes(8))?, 0);
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn broken_device_works_after_a_freeze() -> Result {
        for features in LAYOUTS {
            let mut rig = posted(features, 3)?;
            serve_with(&rig, Lie::Id(16))?;
            check_eq!(ended(&rig, 3, || bytes(8))?, 0);
            rig.sim.freeze()?;
            rig.sim.restore()?;
            check_eq!(error_of(&rig), None);
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, u32::MAX), 1);
            check_eq!(returned(&rig), (1, 3));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn reply_is_too_short() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Control>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::InKick);
            for len in [0, 3] {
                rig.sim.lie(0, Lie::Short(len), 1);
                let reply = rig.queue().request(command([1; 4])?, long())?;
                check_eq!(reply.trailer().err(), Some(QueueError::Malformed));
                check_eq!(reply.written(), len);
            }
            answers_again(&mut rig)?;
        }
        Ok(())
    }

    /// Not what an earlier request got, either.
    #[test]
    fn reply_was_not_written() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Control>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::InKick);
            let reply = rig.queue().request(command([1; 4])?, long())?;
            rig.sim.lie(0, Lie::Unwritten, 1);
            let reply = rig.queue().request(reply, long())?;
            check_eq!(reply.trailer()?.validate(Ok::<_, Error>), Ok([0xff; 4]));
            answers_again(&mut rig)?;
        }
        Ok(())
    }

    /// The late one comes after that to a later request, which must not be taken for it.
    #[test]
    fn reply_to_a_request_that_timed_out() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Control>::new(Setup::with(features))?;
            let late = rig.queue().request(command([1; 4])?, 1);
            check_eq!(failure(late)?, Failure::TimedOut);

            let (queue, kicks) = (rig.queue().clone(), rig.sim.kicks(0));
            let request = command([2; 4])?;
            let task = Task::spawn(move || queue.request(request, 2 * long()))?;
            check!(eventually(|| rig.sim.kicks(0) > kicks));
            rig.sim.lie(0, Lie::NewestFirst, 1);
            check_eq!(rig.sim.serve(0, u32::MAX), 2);
            check_eq!(
                task.join()??.trailer()?.validate(Ok::<_, Error>),
                Ok([2; 4])
            );
            answers_again(&mut rig)?;
        }
        Ok(())
    }

    /// The first one counts.
    #[test]
    fn reply_comes_twice() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Control>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::InKick);
            rig.sim.lie(0, Lie::Duplicate, 1);
            let reply = rig.queue().request(command([1; 4])?, long())?;
            check_eq!(reply.trailer()?.validate(Ok::<_, Error>), Ok([1; 4]));
            check_eq!(later_request(&rig)?, Failure::Queue(QueueError::Broken));
            answers_again(&mut rig)?;
        }
        Ok(())
    }

    #[test]
    fn reply_has_a_wrong_id() -> Result {
        for features in LAYOUTS {
            let mut rig = Rig::<Control>::new(Setup::with(features))?;
            rig.sim.set_mode(0, Mode::InKick);
            rig.sim.lie(0, Lie::Id(9), 1);
            let reply = rig.queue().request(command([1; 4])?, long());
            check_eq!(failure(reply)?, Failure::Queue(QueueError::Broken));
            check_eq!(later_request(&rig)?, Failure::Queue(QueueError::Broken));
            answers_again(&mut rig)?;
        }
        Ok(())
    }
}
