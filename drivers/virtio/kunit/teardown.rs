// SPDX-License-Identifier: GPL-2.0

//! The end of queues, in every state and beside whatever else uses them.

use crate::rig::{
    bit,
    check,
    check_eq,
    post,
    FailAt,
    Queue,
    Rig,
    Setup,
    PACKED,
    PLAN,
    RINGS,
    SPLIT, //
};
use crate::shapes::{
    bytes,
    command,
    Bytes,
    Control,
    In, //
};
use core::mem::ManuallyDrop;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    },
    virtio::{
        sim::{
            DeviceLie,
            Killed,
            Lie,
            Mode,
            Task, //
        },
        Failure,
        Patience,
        QueueError,
        Ring, //
    }, //
};

/// Where the device's mappings are counted, and a queue can be reset.
const COUNTED: u64 = bit::ACCESS_PLATFORM | bit::RING_RESET;

/// Longer than any test takes: what has to end by itself does not wait for this.
const LONG: u32 = 60_000;

/// Waits for something that happens elsewhere, and wakes nobody up.
fn eventually(mut happened: impl FnMut() -> bool) -> Result {
    let start = Instant::<Monotonic>::now();
    while !happened() {
        if start.elapsed() > Delta::from_secs(30) {
            return Err(ETIMEDOUT);
        }
        fsleep(Delta::from_micros(50));
    }
    Ok(())
}

/// How a [`Hammer`] is told to end, and what it did.
struct Blows {
    enough: AtomicFlag,
    count: Atomic<u32>,
    /// Those that did not go as they may.
    bad: Atomic<u32>,
}

/// A task that does the same again and again. Dropping this ends it.
struct Hammer {
    blows: Arc<Blows>,
    /// Dropped after it was told to end.
    _task: Task<()>,
}

impl Hammer {
    /// `blow` returns whether all is well.
    fn new(mut blow: impl FnMut() -> bool + Send + 'static) -> Result<Self> {
        let blows = Arc::new(
            Blows {
                enough: AtomicFlag::new(false),
                count: Atomic::new(0),
                bad: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let its = blows.clone();
        let task = Task::spawn(move || {
            while !its.enough.load(Relaxed) {
                if !blow() {
                    its.bad.fetch_add(1, Relaxed);
                }
                its.count.fetch_add(1, Relaxed);
                // The test may need this CPU.
                fsleep(Delta::from_micros(20));
            }
        })?;
        Ok(Self { blows, _task: task })
    }

    fn await_blows(&self, count: u32) -> Result {
        let now = self.blows.count.load(Relaxed);
        eventually(|| self.blows.count.load(Relaxed).wrapping_sub(now) >= count)
    }

    /// Ends it, and says whether all went well.
    fn finish(self) -> Result {
        let blows = self.blows.clone();
        drop(self);
        check_eq!(blows.bad.load(Relaxed), 0);
        Ok(())
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.blows.enough.store(true, Relaxed);
    }
}

/// What a queue can be like when it ends.
#[derive(Clone, Copy, Debug)]
enum State {
    Empty,
    /// The device has seen none of the buffers.
    Full,
    /// The device took some of the buffers, and has them.
    Taken,
    /// The device used all of them, and did not interrupt yet.
    Pending,
    /// Half of the buffers are back.
    Half,
    /// The device broke the rules, and all is over.
    Broken,
    /// The device was given up just now.
    Breaking,
}

const STATES: [State; 7] = [
    State::Empty,
    State::Full,
    State::Taken,
    State::Pending,
    State::Half,
    State::Broken,
    State::Breaking,
];

/// Brings the first queue there. Returns how many buffers that took.
fn bring(rig: &Rig<In>, state: State) -> Result<usize> {
    let count = match state {
        State::Empty => 0,
        State::Full | State::Half => 16,
        _ => 8,
    };
    for _ in 0..count {
        post(rig.queue(), bytes(8)?)?;
    }
    match state {
        State::Empty | State::Full => (),
        State::Taken => {
            for _ in 0..4 {
                check!(rig.sim.take(0)?.is_some());
            }
        }
        State::Pending => {
            while let Some(chain) = rig.sim.take(0)? {
                chain.complete(8);
            }
        }
        State::Half => {
            check_eq!(rig.sim.serve(0, 8), 8);
            rig.queue().poll();
            check_eq!(rig.queue().with(|log, _| log.used.len()), 8);
        }
        State::Broken => {
            rig.sim.lie(0, Lie::Id(0xffff), 1);
            check_eq!(rig.sim.serve(0, 1), 1);
            rig.queue().poll();
            let over = rig
                .queue()
                .wait_until(msecs_to_jiffies(LONG), |log, ring| {
                    (log.unused.len() == count).then(|| ring.error())
                })?;
            check_eq!(over.flatten(), Some(QueueError::Broken));
        }
        State::Breaking => check!(rig.queue().break_device()),
    }
    Ok(count)
}

/// All buffers are back, used or not, and each of them once.
fn all_back(queue: &Queue<In>, posted: usize) -> Result {
    let (used, unused) = queue.with(|log, _| (log.used.len(), log.unused.len()));
    check_eq!(used + unused, posted);
    Ok(())
}

/// Whatever is done with the queue, it says that it is dead, at once.
fn is_dead(queue: &Queue<In>) -> Result {
    let mut buffer = bytes(8)?;
    buffer.set_asked(5);
    let (result, size, free, fits, popped) = queue.with(|_, ring| {
        (
            ring.post(buffer),
            ring.size(),
            ring.free(),
            ring.fits(1),
            ring.pop(),
        )
    });
    let error = result.err().ok_or(EINVAL)?;
    check_eq!((error.reason, error.buffer.asked()), (QueueError::Dead, 5));
    check!((size, free, fits, popped.is_none()) == (0, 0, false, true));
    check_eq!(queue.ring_size(), 0);
    queue.poll();
    queue.wake_all();
    queue.break_device();
    check_eq!(queue.reset(None), Err(ENODEV));
    check_eq!(
        queue.wait_until(msecs_to_jiffies(LONG), |_, ring| ring.error()),
        Ok(Some(QueueError::Dead))
    );
    Ok(())
}

/// Unbinds the driver in a state, on each kind of ring.
fn unbind_in(state: State) -> Result {
    for features in RINGS {
        let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
        let posted = bring(&rig, state)?;
        rig.sim.unbind();
        all_back(rig.queue(), posted)?;
        is_dead(rig.queue())?;
        rig.works_again(bytes(8)?)?;
        check_eq!(rig.sim.driver_errors(), 0);
    }
    Ok(())
}

/// Posts again what came back, so that the number of buffers stays the same.
fn circulate(log: &mut crate::rig::Collector<Bytes>, ring: &mut Ring<'_, Bytes>) {
    while let Some(buffer) = log.used.pop().or_else(|| log.unused.pop()) {
        if let Err(e) = ring.post(buffer) {
            let _ = log.unused.push_within_capacity(e.buffer);
            return;
        }
    }
}

/// Unbinds the driver, and resets the device, while a task does `blow` to the queue, which has 16
/// buffers.
fn end_beside(mode: Mode, blow: fn(&Queue<In>) -> bool) -> Result {
    for features in [SPLIT, PACKED | bit::INDIRECT_DESC | bit::EVENT_IDX] {
        let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
        for _ in 0..10 {
            for _ in 0..16 {
                post(rig.queue(), bytes(8)?)?;
            }
            rig.sim.set_mode(0, mode);
            let queue = rig.queue().clone();
            let hammer = Hammer::new(move || blow(&queue))?;
            for _ in 0..3 {
                hammer.await_blows(3)?;
                rig.sim.reset_prepare()?;
                hammer.await_blows(1)?;
                rig.sim.reset_done()?;
            }
            hammer.await_blows(3)?;
            rig.sim.unbind();
            hammer.finish()?;
            all_back(rig.queue(), 16)?;
            is_dead(rig.queue())?;
            check_eq!(rig.sim.mapped(), 0);
            rig.sim.set_mode(0, Mode::Manual);
            rig.sim.bind()?;
            rig.take_over()?;
        }
        rig.works_again(bytes(8)?)?;
    }
    Ok(())
}

/// A task that waits until the queue has an error, for ever if need be. Sleeps when this returns.
fn waiter(queue: Queue<In>) -> Result<Task<Result<Option<QueueError>>>> {
    let asleep = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
    let its = asleep.clone();
    let own = queue.clone();
    let task = Task::spawn(move || {
        own.wait_until(msecs_to_jiffies(LONG), |_, ring| {
            its.store(true, Relaxed);
            ring.error()
        })
    })?;
    eventually(|| asleep.load(Relaxed))?;
    // It gives up the lock only to sleep.
    queue.with(|_, _| ());
    Ok(task)
}

/// What a waiting task gets to know of what happens to its device, and that it does so at once: it
/// would look by itself twice a second.
fn waiter_hears(mut happens: impl FnMut(&mut Rig<In>) -> Result) -> Result {
    for features in [SPLIT, PACKED] {
        let mut rig = Rig::<In>::new(Setup::with(features))?;
        let mut shortest = Delta::from_secs(1000);
        for _ in 0..4 {
            post(rig.queue(), bytes(8)?)?;
            let task = waiter(rig.queue().clone())?;
            let start = Instant::<Monotonic>::now();
            happens(&mut rig)?;
            check_eq!(task.join()?, Ok(Some(QueueError::Dead)));
            shortest = shortest.min(start.elapsed());
            rig.sim.unbind();
            let _ = rig.sim.restore();
            rig.sim.bind()?;
            rig.take_over()?;
        }
        check!(shortest < Delta::from_millis(400));
        rig.works_again(bytes(8)?)?;
    }
    Ok(())
}

/// A task that waits for the answer to a request that the device has.
fn requester(rig: &Rig<Control>) -> Result<Task<Option<Failure>>> {
    let queue = rig.queue().clone();
    let request = command([1; 4])?;
    let task = Task::spawn(move || {
        queue
            .request(request, msecs_to_jiffies(LONG))
            .err()
            .map(|e| e.failure)
    })?;
    let mut taken = false;
    eventually(|| {
        taken = taken || rig.sim.take(0).is_ok_and(|chain| chain.is_some());
        taken
    })?;
    Ok(task)
}

/// Makes each allocation of `attempt` fail in turn, and gives to `after` what came of it. Returns
/// how many there are.
#[cfg(CONFIG_FAILSLAB)]
fn each_allocation_fails(
    mut attempt: impl FnMut() -> Result,
    mut after: impl FnMut(Result) -> Result,
) -> Result<u32> {
    for n in 1..10_000 {
        kernel::virtio::sim::fail_nth(n)?;
        let result = attempt();
        let failed = kernel::virtio::sim::fail_nth_left() == 0;
        let _ = kernel::virtio::sim::fail_nth(0);
        after(result)?;
        if !failed {
            if n == 1 {
                pr_err!("failslab spares what may sleep: write N to failslab/ignore-gfp-wait\n");
                return Err(EINVAL);
            }
            check_eq!(result, Ok(()));
            return Ok(n - 1);
        }
    }
    Err(E2BIG)
}

#[kunit_tests(rust_virtio_teardown)]
mod tests {
    use super::*;

    /// Tasks that wait for what never comes do not keep each other awake.
    #[test]
    fn waiting_is_quiet() -> Result {
        fn wait(queue: &Queue<In>) -> Result<u32> {
            let mut attempts = 0;
            let found = queue.wait_until(msecs_to_jiffies(400), |_, _| {
                attempts += 1;
                None::<()>
            })?;
            check!(found.is_none());
            Ok(attempts)
        }
        let rig = Rig::<In>::new(Setup::default())?;
        let queue = rig.queue().clone();
        let task = Task::spawn(move || wait(&queue))?;
        let attempts = wait(rig.queue())?;
        // At the start, at the end, and perhaps when the other one woke all.
        check!(attempts <= 10);
        check!(task.join()?? <= 10);
        Ok(())
    }

    #[test]
    fn unbind_with_nothing_posted() -> Result {
        unbind_in(State::Empty)
    }

    #[test]
    fn unbind_with_a_full_ring() -> Result {
        unbind_in(State::Full)
    }

    #[test]
    fn unbind_with_buffers_at_the_device() -> Result {
        unbind_in(State::Taken)
    }

    #[test]
    fn unbind_with_completions_before_their_interrupt() -> Result {
        unbind_in(State::Pending)
    }

    #[test]
    fn unbind_with_half_of_the_buffers_back() -> Result {
        unbind_in(State::Half)
    }

    #[test]
    fn unbind_of_a_broken_queue() -> Result {
        unbind_in(State::Broken)
    }

    /// The reset of the device, for which there is a work item, is under way.
    #[test]
    fn unbind_of_a_queue_that_just_broke() -> Result {
        unbind_in(State::Breaking)
    }

    #[test]
    fn unbind_of_a_polled_queue_with_completions() -> Result {
        for features in RINGS {
            let mut rig = Rig::<In>::new(Setup {
                polled: true,
                ..Setup::with(features | COUNTED)
            })?;
            let posted = bring(&rig, State::Pending)?;
            rig.sim.unbind();
            all_back(rig.queue(), posted)?;
            is_dead(rig.queue())?;
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// A work item was to go on where an interrupt stopped, and another one to tell the driver of a
    /// change.
    #[test]
    fn unbind_with_work_to_do() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup {
                config: &[0; 8],
                ..Setup::with(features | COUNTED)
            })?;
            rig.sim.set_mode(0, Mode::InKick);
            rig.queue().with(|log, _| log.repost = 1000);
            post(rig.queue(), bytes(8)?)?;
            rig.sim.config_interrupt();
            rig.sim.unbind();
            all_back(rig.queue(), 1)?;
            let changes = PLAN.config_changes.load(Relaxed);
            rig.sim.config_interrupt();
            rig.works_again(bytes(8)?)?;
            check!(changes <= 1);
        }
        Ok(())
    }

    /// In hard-interrupt context, on another CPU if there is one.
    #[test]
    fn unbind_while_interrupts_repost() -> Result {
        for features in RINGS {
            let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
            for _ in 0..5 {
                rig.sim.set_mode(0, Mode::Deferred);
                rig.queue().with(|log, _| log.repost = u32::MAX);
                for _ in 0..8 {
                    post(rig.queue(), bytes(8)?)?;
                }
                let queue = rig.queue().clone();
                eventually(|| queue.with(|log, _| u32::MAX - log.repost > 50))?;
                rig.sim.unbind();
                all_back(&queue, 8)?;
                is_dead(&queue)?;
                rig.sim.bind()?;
                rig.take_over()?;
            }
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// The device side goes on in another task.
    #[test]
    fn unbind_while_the_device_completes() -> Result {
        for features in [SPLIT, PACKED | bit::EVENT_IDX] {
            for _ in 0..10 {
                let rig = Arc::new(Rig::<In>::new(Setup::with(features | COUNTED))?, GFP_KERNEL)?;
                for _ in 0..16 {
                    post(rig.queue(), bytes(8)?)?;
                }
                let device = rig.clone();
                let hammer = Hammer::new(move || {
                    device.sim.serve(0, 1);
                    device.sim.interrupt(0);
                    device.sim.storm(0, 3);
                    device.sim.config_interrupt();
                    true
                })?;
                hammer.await_blows(2)?;
                rig.sim.unbind();
                all_back(rig.queue(), 16)?;
                hammer.await_blows(2)?;
                hammer.finish()?;
                all_back(rig.queue(), 16)?;
                rig.sim.bind()?;
                check!(rig.sim.is_bound());
                // The last one is this: no task unregisters the driver after the test.
                check!(Arc::into_unique_or_drop(rig).is_some());
            }
        }
        Ok(())
    }

    #[test]
    fn end_while_a_task_posts() -> Result {
        for mode in [Mode::Manual, Mode::InKick, Mode::Deferred] {
            end_beside(mode, |queue| {
                queue.with(circulate);
                true
            })?;
        }
        Ok(())
    }

    #[test]
    fn end_while_a_task_polls() -> Result {
        end_beside(Mode::Deferred, |queue| {
            queue.poll();
            queue.with(circulate);
            queue.poll();
            queue.wake_all();
            true
        })
    }

    #[test]
    fn end_while_a_task_waits_for_a_moment() -> Result {
        end_beside(Mode::Deferred, |queue| {
            queue.with(circulate);
            let back = queue.wait_until(1, |log, ring| {
                (!log.used.is_empty() || ring.error().is_some()).then_some(())
            });
            back.is_ok()
        })
    }

    #[test]
    fn end_while_a_task_resets_the_queue() -> Result {
        end_beside(Mode::Manual, |queue| {
            queue.with(circulate);
            matches!(queue.reset(None), Ok(()) | Err(ENODEV))
        })
    }

    #[test]
    fn end_while_a_task_resizes_the_queue() -> Result {
        end_beside(Mode::Deferred, |queue| {
            [4, 16].into_iter().all(|size| {
                queue.with(circulate);
                matches!(queue.reset(Some(size)), Ok(()) | Err(ENODEV))
            })
        })
    }

    #[test]
    fn end_while_a_task_gives_the_device_up() -> Result {
        end_beside(Mode::Manual, |queue| {
            queue.with(circulate);
            queue.break_device();
            true
        })
    }

    /// Each request is answered, or fails because the device is gone.
    #[test]
    fn unbind_while_tasks_send_requests() -> Result {
        for mode in [Mode::InKick, Mode::Deferred] {
            let mut rig = Rig::<Control>::new(Setup::with(SPLIT | COUNTED))?;
            for _ in 0..10 {
                rig.sim.set_mode(0, mode);
                let mut hammers = KVec::with_capacity(3, GFP_KERNEL)?;
                for _ in 0..3 {
                    let queue = rig.queue().clone();
                    let hammer = Hammer::new(move || {
                        command([1; 4]).is_ok_and(|command| {
                            let reply = queue.request(command, msecs_to_jiffies(LONG));
                            let failure = reply.err().map(|e| e.failure);
                            matches!(failure, None | Some(Failure::Queue(QueueError::Dead)))
                        })
                    })?;
                    hammers.push(hammer, GFP_KERNEL)?;
                }
                for hammer in &hammers {
                    hammer.await_blows(2)?;
                }
                rig.sim.unbind();
                for hammer in hammers {
                    hammer.finish()?;
                }
                check_eq!(rig.sim.mapped(), 0);
                rig.sim.bind()?;
                rig.take_over()?;
            }
        }
        Ok(())
    }

    #[test]
    fn unbind_wakes_a_waiter() -> Result {
        waiter_hears(|rig| {
            rig.sim.unbind();
            Ok(())
        })
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_wakes_a_waiter() -> Result {
        waiter_hears(|rig| rig.sim.freeze())
    }

    #[test]
    fn end_of_a_device_wakes_a_waiter() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<In>::new(Setup::with(features))?;
            post(rig.queue(), bytes(8)?)?;
            let task = waiter(rig.queue().clone())?;
            drop(rig);
            check_eq!(task.join()?, Ok(Some(QueueError::Dead)));
        }
        Ok(())
    }

    #[test]
    fn unbind_ends_a_request() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<Control>::new(Setup::with(features | COUNTED))?;
            let task = requester(&rig)?;
            rig.sim.unbind();
            check_eq!(task.join()?, Some(Failure::Queue(QueueError::Dead)));
            check_eq!(rig.sim.mapped(), 0);
            rig.sim.bind()?;
            rig.take_over()?;
            rig.sim.set_mode(0, Mode::InKick);
            check!(rig
                .queue()
                .request(command([1; 4])?, msecs_to_jiffies(LONG))
                .is_ok());
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_ends_a_request() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<Control>::new(Setup::with(features))?;
            let task = requester(&rig)?;
            rig.sim.freeze()?;
            check_eq!(task.join()?, Some(Failure::Queue(QueueError::Dead)));
            rig.sim.restore()?;
            rig.sim.set_mode(0, Mode::InKick);
            check!(rig
                .queue()
                .request(command([1; 4])?, msecs_to_jiffies(LONG))
                .is_ok());
        }
        Ok(())
    }

    #[test]
    fn reset_of_the_queue_ends_a_request() -> Result {
        for features in [SPLIT, PACKED] {
            let rig = Rig::<Control>::new(Setup::with(features | COUNTED))?;
            let task = requester(&rig)?;
            rig.queue().reset(None)?;
            check_eq!(task.join()?, Some(Failure::Queue(QueueError::Dead)));
            rig.sim.set_mode(0, Mode::InKick);
            check!(rig
                .queue()
                .request(command([1; 4])?, msecs_to_jiffies(LONG))
                .is_ok());
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_in_every_state() -> Result {
        for features in RINGS {
            for state in STATES {
                let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
                for _ in 0..2 {
                    let posted = bring(&rig, state)?;
                    rig.sim.freeze()?;
                    all_back(rig.queue(), posted)?;
                    is_dead(rig.queue())?;
                    check_eq!(rig.sim.mapped(), 0);
                    rig.sim.restore()?;

                    rig.queue().with(|log, _| {
                        log.used.clear();
                        log.unused.clear();
                    });
                    post(rig.queue(), bytes(8)?)?;
                    check_eq!(rig.sim.serve(0, u32::MAX), 1);
                    check!(rig.queue().with(|log, _| log.used.pop()).is_some());
                }
                rig.works_again(bytes(8)?)?;
            }
        }
        Ok(())
    }

    /// Without a [`restore`](sim::Sim::restore) that worked.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn unbind_after_a_restore_that_failed() -> Result {
        for features in [SPLIT, PACKED] {
            for lie in [DeviceLie::FindVqsFails(1), DeviceLie::RefuseFeaturesOk] {
                let mut rig = Rig::<In>::new(Setup {
                    queues: 2,
                    ..Setup::with(features | COUNTED)
                })?;
                let posted = bring(&rig, State::Taken)?;
                rig.sim.freeze()?;
                rig.sim.device_lie(lie);
                check!(rig.sim.restore().is_err());
                all_back(rig.queue(), posted)?;
                is_dead(rig.queue())?;
                check_eq!(rig.sim.mapped(), 0);
                rig.works_again(bytes(8)?)?;
            }
        }
        Ok(())
    }

    /// The transport resets the device by itself.
    #[test]
    fn reset_by_the_transport() -> Result {
        for state in STATES {
            let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
            let posted = bring(&rig, state)?;
            rig.sim.reset_prepare()?;
            all_back(rig.queue(), posted)?;
            is_dead(rig.queue())?;
            check_eq!(rig.sim.mapped(), 0);
            rig.sim.reset_done()?;
            rig.queue().with(|log, _| {
                log.used.clear();
                log.unused.clear();
            });
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, u32::MAX), 1);
            check!(rig.queue().with(|log, _| log.used.pop()).is_some());
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// What the driver says does not keep the transport from it.
    #[test]
    fn reset_by_the_transport_against_the_driver() -> Result {
        for state in STATES {
            let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
            let posted = bring(&rig, state)?;
            PLAN.fail_at.store(FailAt::Freeze as u32, Relaxed);
            rig.sim.reset_prepare()?;
            PLAN.fail_at.store(FailAt::Nowhere as u32, Relaxed);
            all_back(rig.queue(), posted)?;
            is_dead(rig.queue())?;
            rig.sim.reset_done()?;
            post(rig.queue(), bytes(8)?)?;
            check_eq!(rig.sim.serve(0, u32::MAX), 1);
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// It does keep the system awake, with the device as it was.
    #[test]
    #[cfg(CONFIG_PM_SLEEP)]
    fn freeze_against_the_driver() -> Result {
        let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
        post(rig.queue(), bytes(8)?)?;
        PLAN.fail_at.store(FailAt::Freeze as u32, Relaxed);
        check!(rig.sim.freeze().is_err());
        PLAN.fail_at.store(FailAt::Nowhere as u32, Relaxed);
        check_eq!(rig.sim.serve(0, u32::MAX), 1);
        check!(rig.queue().with(|log, _| log.used.pop()).is_some());
        rig.works_again(bytes(8)?)
    }

    /// There is nobody to prepare; who comes afterwards works.
    #[test]
    fn reset_by_the_transport_without_a_driver() -> Result {
        let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
        rig.sim.unbind();
        rig.sim.reset_prepare()?;
        rig.sim.reset_done()?;
        check_eq!(rig.sim.reset_done(), Err(EINVAL));
        rig.works_again(bytes(8)?)
    }

    fn forever() -> Patience {
        Patience::new(Delta::from_secs(60), 1)
    }

    /// Whoever waits for a queue to be idle gets all of it, with interrupts and without.
    #[test]
    fn idle_queue() -> Result {
        for polled in [false, true] {
            for killed in [false, true] {
                let mut rig = Rig::<In>::new(Setup {
                    polled,
                    ..Setup::with(SPLIT | COUNTED)
                })?;
                rig.sim.set_mode(0, Mode::Slow);
                for _ in 0..3 {
                    post(rig.queue(), bytes(8)?)?;
                }
                let killed = killed.then(Killed::new);
                check!(!rig.queue().wait_idle(&forever()));
                drop(killed);
                check_eq!(rig.queue().with(|log, _| log.used.len()), 3);
                rig.works_again(bytes(8)?)?;
            }
        }
        Ok(())
    }

    /// The device is given up when it is silent for too long, and when it takes too long in all.
    #[test]
    fn queue_that_is_not_idle() -> Result {
        for (mode, silence, times) in [
            (Mode::Manual, 100, 100),
            (Mode::Slow, 700, 1),
            (Mode::Slow, 700, 0),
        ] {
            let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
            rig.sim.set_mode(0, mode);
            for _ in 0..12 {
                post(rig.queue(), bytes(8)?)?;
            }
            let patience = Patience::new(Delta::from_millis(silence), times);
            check!(rig.queue().wait_idle(&patience));
            check!(!rig.queue().wait_idle(&patience));
            eventually(|| {
                rig.queue()
                    .with(|log, _| log.used.len() + log.unused.len() == 12)
            })?;
            check!(rig.queue().with(|log, _| !log.unused.is_empty()));
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// A fatal signal ends a wait for anything else.
    #[test]
    fn killed_waiter() -> Result {
        let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
        post(rig.queue(), bytes(8)?)?;
        let killed = Killed::new();
        let waited = rig.queue().wait_until(msecs_to_jiffies(LONG), |log, _| {
            (!log.used.is_empty()).then_some(())
        });
        drop(killed);
        check_eq!(waited, Err(ERESTARTSYS));
        rig.works_again(bytes(8)?)
    }

    /// A queue that is ending takes nothing: what the device claims to have used at the end of its
    /// reset, and again when the virtqueue is deleted, came back unused.
    #[test]
    fn completions_after_the_reset_are_not_believed() -> Result {
        for features in RINGS {
            let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
            for pause in [true, false] {
                let posted = bring(&rig, State::Taken)?;
                let queue = rig.queue().clone();
                rig.sim.device_lie(DeviceLie::IrqAfterReset);
                if pause {
                    rig.sim.reset_prepare()?;
                } else {
                    rig.sim.unbind();
                }
                let back = queue.with(|log, _| (log.used.len(), log.unused.len()));
                check_eq!(back, (0, posted));
                check_eq!(queue.with(|log, _| log.broken), 0);
                rig.sim.be_honest();
                if pause {
                    rig.sim.reset_done()?;
                    queue.with(|log, _| log.unused.clear());
                }
            }
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// The device goes, as if pulled out.
    #[test]
    fn end_of_a_device_in_every_state() -> Result {
        for features in [SPLIT, PACKED | bit::INDIRECT_DESC] {
            for state in STATES {
                let rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
                let posted = bring(&rig, state)?;
                let queue = rig.queue().clone();
                drop(rig);
                all_back(&queue, posted)?;
                is_dead(&queue)?;
            }
        }
        Ok(())
    }

    /// The driver goes, as when its module is unloaded, and somebody still has the queue.
    #[test]
    fn end_of_a_driver_in_every_state() -> Result {
        for features in [SPLIT, PACKED | bit::INDIRECT_DESC] {
            for state in STATES {
                let rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
                let posted = bring(&rig, state)?;
                let (queues, device) = rig.without_driver();
                check!(!device.is_bound());
                check_eq!(device.mapped(), 0);
                all_back(&queues[0], posted)?;
                is_dead(&queues[0])?;
                check_eq!(device.bind(), Err(ENODEV));
                drop(device);
                is_dead(&queues[0])?;
            }
        }
        Ok(())
    }

    /// At each stage, also with a device that uses buffers after its reset.
    #[test]
    fn probe_that_fails_tears_down() -> Result {
        for features in [SPLIT, PACKED | bit::INDIRECT_DESC] {
            for stage in [
                FailAt::Validate,
                FailAt::BeforeQueues,
                FailAt::AfterQueues,
                FailAt::Register,
            ] {
                let mut rig = Rig::<In>::new(Setup {
                    queues: 3,
                    fail_at: stage,
                    ..Setup::with(features | COUNTED)
                })?;
                for lie in [None, Some(DeviceLie::IrqAfterReset)] {
                    if let Some(lie) = lie {
                        rig.sim.device_lie(lie);
                    }
                    check!(rig.sim.bind().is_err());
                    check!(!rig.sim.is_bound());
                    check_eq!(rig.sim.mapped(), 0);
                    check_eq!(PLAN.class_devices.load(Relaxed), 0);
                    rig.take_over()?;
                    // Only a driver that failed after its queues were handed out left any.
                    check_eq!(
                        rig.queues.len(),
                        if stage == FailAt::Register { 3 } else { 0 }
                    );
                    for queue in &rig.queues {
                        is_dead(queue)?;
                    }
                }
                PLAN.fail_at.store(FailAt::Nowhere as u32, Relaxed);
                rig.works_again(bytes(8)?)?;
            }
        }
        Ok(())
    }

    #[test]
    fn probe_gets_its_queues_at_last() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup {
                queues: 3,
                ..Setup::with(features | COUNTED)
            })?;
            rig.sim.unbind();
            PLAN.fail_at.store(FailAt::Queues as u32, Relaxed);
            rig.sim.bind()?;
            rig.take_over()?;
            check_eq!(rig.queues.len(), 3);
            for queue in &rig.queues {
                check_eq!(queue.ring_size(), Setup::default().size);
            }
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    #[test]
    fn probe_without_one_of_the_queues() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup {
                queues: 3,
                ..Setup::with(features | COUNTED)
            })?;
            for queue in 0..3 {
                rig.sim.unbind();
                rig.sim.device_lie(DeviceLie::FindVqsFails(queue));
                check!(rig.sim.bind().is_err());
                check!(!rig.sim.is_bound());
                check_eq!(rig.sim.mapped(), 0);
                rig.works_again(bytes(8)?)?;
            }
        }
        Ok(())
    }

    #[test]
    fn unbind_and_bind_fifty_times() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup {
                queues: 3,
                ..Setup::with(features | COUNTED)
            })?;
            for i in 0..50 {
                rig.queue().with(|log, _| log.used.clear());
                let posted = bring(&rig, STATES[i % STATES.len()])?;
                let old = rig.queue().clone();
                rig.works_again(bytes(8)?)?;
                all_back(&old, posted)?;
                is_dead(&old)?;
            }
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn each_allocation_of_probe_fails() -> Result {
        for features in [SPLIT, PACKED | bit::INDIRECT_DESC] {
            let rig = Rig::<In>::new(Setup {
                queues: 2,
                ..Setup::with(features | COUNTED)
            })?;
            rig.sim.unbind();
            let failed = each_allocation_fails(
                || rig.sim.bind(),
                |result| {
                    check_eq!(rig.sim.is_bound(), result.is_ok());
                    if result.is_err() {
                        check_eq!(rig.sim.mapped(), 0);
                        check_eq!(PLAN.class_devices.load(Relaxed), 0);
                        rig.sim.bind()?;
                        check!(rig.sim.is_bound());
                    }
                    rig.sim.unbind();
                    check_eq!(rig.sim.mapped(), 0);
                    Ok(())
                },
            )?;
            pr_info!("probe: {failed} allocations, each of them failed once\n");
            // Two rings at least, and what belongs to them.
            check!(failed > 8);
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn each_allocation_of_restore_fails() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup {
                queues: 2,
                ..Setup::with(features | COUNTED)
            })?;
            rig.sim.reset_prepare()?;
            let queue = rig.queue().clone();
            let sim = &rig.sim;
            each_allocation_fails(
                || sim.reset_done(),
                |result| {
                    if result.is_err() {
                        is_dead(&queue)?;
                        check_eq!(sim.mapped(), 0);
                        // The state after an error is that of a frozen device.
                        sim.unbind();
                        sim.bind()?;
                    }
                    check!(sim.is_bound());
                    sim.reset_prepare()
                },
            )?;
            rig.sim.reset_done()?;
            rig.take_over()?;
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    /// The ring keeps its size then.
    #[test]
    #[cfg(CONFIG_FAILSLAB)]
    fn each_allocation_of_a_resize_fails() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
            let queue = rig.queue().clone();
            each_allocation_fails(
                || queue.reset(Some(4)),
                |result| {
                    let size = queue.with(|_, ring| ring.size());
                    check_eq!(size, if result.is_ok() { 4 } else { 16 });
                    post(&queue, bytes(8)?)?;
                    check_eq!(rig.sim.serve(0, u32::MAX), 1);
                    check!(queue.with(|log, _| log.used.pop()).is_some());
                    queue.reset(Some(16))
                },
            )?;
            rig.works_again(bytes(8)?)?;
        }
        Ok(())
    }

    // To forget is not to drop. What is forgotten here is found again in the end, and dropped then,
    // so that nothing leaks; for the device and its driver it makes no difference.

    #[test]
    fn forgotten_queue() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
            bring(&rig, State::Half)?;
            let forgotten = ManuallyDrop::new(rig.queue().clone());
            rig.works_again(bytes(8)?)?;
            is_dead(&forgotten)?;
            drop(rig);
            is_dead(&forgotten)?;
            drop(ManuallyDrop::into_inner(forgotten));
        }
        Ok(())
    }

    #[test]
    fn forgotten_buffers() -> Result {
        for features in [SPLIT, PACKED] {
            let mut rig = Rig::<In>::new(Setup::with(features | COUNTED))?;
            bring(&rig, State::Full)?;
            let one_more = bytes(8)?;
            let refused = rig.queue().with(|_, ring| ring.post(one_more)).err();
            let refused = ManuallyDrop::new(refused.ok_or(EINVAL)?);
            check_eq!(rig.sim.serve(0, 2), 2);
            rig.queue().poll();
            let used = rig.queue().with(|log, _| log.used.pop());
            let used = ManuallyDrop::new(used.ok_or(ENOENT)?);
            let old = rig.queue().clone();
            rig.works_again(bytes(8)?)?;
            all_back(&old, 15)?;
            check_eq!(refused.reason, QueueError::NoSpace);
            check_eq!(used.written(), 8);
            drop(ManuallyDrop::into_inner(refused));
            drop(ManuallyDrop::into_inner(used));
        }
        Ok(())
    }

    #[test]
    fn forgotten_request() -> Result {
        let mut rig = Rig::<Control>::new(Setup::with(SPLIT | COUNTED))?;
        rig.sim.set_mode(0, Mode::InKick);
        let reply = rig
            .queue()
            .request(command([1; 4])?, msecs_to_jiffies(LONG))?;
        // It owns no memory, so this is what forgetting it comes to.
        let _ = ManuallyDrop::new(reply.trailer()?);
        let reply = ManuallyDrop::new(reply);
        rig.sim.unbind();
        let refused = rig
            .queue()
            .request(command([1; 4])?, 0)
            .err()
            .ok_or(EINVAL)?;
        let refused = ManuallyDrop::new(refused);
        check_eq!(refused.failure, Failure::Queue(QueueError::Dead));
        check!(refused.request.is_some());
        rig.sim.bind()?;
        rig.take_over()?;
        check!(rig
            .queue()
            .request(command([1; 4])?, msecs_to_jiffies(LONG))
            .is_ok());
        drop(ManuallyDrop::into_inner(refused));
        drop(ManuallyDrop::into_inner(reply));
        Ok(())
    }

    /// What the device took is nothing that it can write to after the end.
    #[test]
    fn forgotten_chain() -> Result {
        let mut rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
        post(rig.queue(), bytes(8)?)?;
        let chain = ManuallyDrop::new(rig.sim.take(0)?.ok_or(ENOENT)?);
        rig.sim.unbind();
        check_eq!(chain.write(0, &[1; 8]), Err(ESTALE));
        rig.sim.bind()?;
        check_eq!(chain.write(0, &[1; 8]), Err(ESTALE));
        drop(ManuallyDrop::into_inner(chain));
        rig.works_again(bytes(8)?)
    }

    /// The driver is gone, and comes back to a device that nobody unregistered.
    #[test]
    fn forgotten_device() -> Result {
        let rig = Rig::<In>::new(Setup::with(SPLIT | COUNTED))?;
        bring(&rig, State::Taken)?;
        let (queues, device) = rig.without_driver();
        let device = ManuallyDrop::new(device);
        let other = Rig::<In>::new(Setup::default())?;
        device.bind()?;
        check!(device.is_bound() && other.sim.is_bound());
        check_eq!(PLAN.class_devices.load(Relaxed), 2);
        drop(other);
        check!(!device.is_bound());
        check_eq!((device.mapped(), PLAN.class_devices.load(Relaxed)), (0, 0));
        is_dead(&queues[0])?;
        drop(ManuallyDrop::into_inner(device));
        Ok(())
    }
}
