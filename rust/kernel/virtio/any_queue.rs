// SPDX-License-Identifier: GPL-2.0

//! What is done with a virtqueue whatever its buffers are.
//!
//! Generic code is compiled into each module that uses it, once for each type. What is here is in
//! the kernel, once: all but posting buffers and handing them to a known handler.

use super::{
    events::{
        Event,
        Events,
        EventsOfDevice, //
    },
    lock::{
        flags,
        QueueLockGuard, //
    },
    patience::Patience,
    queue::{
        Handler,
        VirtQueue, //
    },
    ring::{
        After,
        QueueError,
        RawQueue,
        RawRing,
        Ring,
        State, //
    }, //
};
use crate::{
    bindings,
    cpumask::{
        Cpumask,
        CpumaskVar, //
    },
    error::to_result,
    prelude::*,
    sync::{
        rcu,
        CondVar,
        CondVarTimeoutResult,
        LockClassKey,
        Mutex,
        SetOnce, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Jiffies,
        Msecs, //
    }, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

/// How long [`VirtQueue::wait_until`] sleeps at a time, in milliseconds.
const RECHECK: Msecs = 500;

/// How long it sleeps at a time where no interrupt comes, and a task that was killed where no
/// signal may end the wait, in milliseconds.
const PAUSE: Msecs = 10;

/// A [`Handler`] that takes tokens of its buffers, see [`Buffer::into_token`].
///
/// [`Buffer::into_token`]: super::Buffer::into_token
pub trait AnyHandler: Send + Unpin + 'static {
    /// As [`Handler::used`]; the device says that it wrote `len` bytes.
    ///
    /// # Safety
    ///
    /// `token` was posted to a queue of this handler, whose ring is `ring`, and gave it back once.
    unsafe fn take_used(&mut self, token: NonNull<c_void>, len: u32, ring: &mut RawRing<'_>);

    /// As [`Handler::unused`].
    ///
    /// # Safety
    ///
    /// `token` was posted to a queue of this handler, whose ring gave it back once.
    unsafe fn take_unused(&mut self, token: NonNull<c_void>);

    /// As [`Handler::broken`].
    fn note_broken(&mut self);
}

impl<H: Handler> AnyHandler for H {
    unsafe fn take_used(&mut self, token: NonNull<c_void>, len: u32, ring: &mut RawRing<'_>) {
        // SAFETY: By the requirements of this function.
        let (buffer, ring) = unsafe { (Ring::returned(token, len), Ring::of(ring)) };
        self.used(buffer, ring);
    }

    unsafe fn take_unused(&mut self, token: NonNull<c_void>) {
        // SAFETY: By the requirements of this function.
        self.unused(unsafe { Ring::returned(token, 0) });
    }

    fn note_broken(&mut self) {
        self.broken();
    }
}

/// What a task tries again until it succeeds.
pub(super) trait Attempt {
    /// Whether it did.
    ///
    /// # Safety
    ///
    /// `handler` is of the type that this is for, and `ring` is the ring of its queue.
    unsafe fn attempt(&mut self, handler: &mut dyn AnyHandler, ring: &mut RawRing<'_>) -> bool;
}

/// That the device used something, or has nothing.
struct Progress {
    /// What [`Ring::used`] was before, or is.
    used: u32,
    is_idle: bool,
    is_new: bool,
}

impl Attempt for Progress {
    unsafe fn attempt(&mut self, _handler: &mut dyn AnyHandler, ring: &mut RawRing<'_>) -> bool {
        self.is_idle = ring.in_flight() == 0;
        self.is_new = ring.used() != self.used;
        self.used = ring.used();
        self.is_idle || self.is_new
    }
}

/// What the lock of a queue protects.
pub(super) struct Inner<H: ?Sized> {
    any: AnyInner,
    handler: H,
}

/// The part of it that does not depend on the handler.
struct AnyInner {
    /// Whether drivers and callbacks may use the queue.
    ring: State,
    /// `Some` while the queue is live.
    events: Option<EventsOfDevice>,
    /// `Some` from `attach` until the queue was drained. The virtqueue exists all of that time.
    vq: Option<RawQueue>,
    /// How many tasks sleep in [`VirtQueue::wait_until`].
    waiters: usize,
    /// Buffers taken back from a ring that ended, while the device may still write to them. Has
    /// the capacity for a full ring as long as `vq` is `Some`.
    limbo: KVec<Token>,
}

/// A buffer that was in flight, see [`Buffer::into_token`](super::Buffer::into_token).
struct Token(NonNull<c_void>);

// SAFETY: A token stands for the ownership of a `Buffer`, which is `Send`.
unsafe impl Send for Token {}

impl<H> Inner<H> {
    pub(super) fn new(handler: H) -> Self {
        Self {
            any: AnyInner {
                ring: State::dead(),
                events: None,
                vq: None,
                waiters: 0,
                limbo: KVec::new(),
            },
            handler,
        }
    }
}

impl AnyInner {
    #[cold]
    #[inline(never)]
    fn raise(&self, event: Event) {
        if let (Some(_), Some(events)) = (self.ring.live(), self.events) {
            // SAFETY: The queue is live, and it is locked, or there were no reference to this.
            unsafe { events.raise(event) };
        }
    }

    /// The queue is broken, and locked.
    #[cold]
    #[inline(never)]
    fn report_broken(&mut self, shared: &Shared) {
        self.raise(Event::Broken);
        // INVARIANT: Becoming broken needs no more than the lock.
        self.ring.end(QueueError::Broken);
        shared.changed.notify_all();
    }

    /// Puts a buffer that the ring gave back unused where it stays until it can be handed over.
    fn keep(&mut self, token: *mut c_void) -> bool {
        let Some(token) = NonNull::new(token) else {
            return false;
        };
        // No more buffers than the ring has entries can be in flight, and there is room for as
        // many. If that were wrong, the buffer would leak, which is safe.
        let kept = self.limbo.push_within_capacity(Token(token));
        debug_assert!(kept.is_ok());
        true
    }
}

/// The parts of a queue that its lock does not protect.
#[pin_data]
pub(super) struct Shared {
    #[pin]
    pub(super) changed: CondVar,
    #[pin]
    life: Mutex<()>,
    /// Whether used buffers are found by polling only.
    polled: bool,
    /// The CPUs that its interrupt goes to.
    affinity: SetOnce<Cpus>,
}

/// CPUs, which do not change.
struct Cpus(CpumaskVar);

// SAFETY: A set of CPUs is memory like any other.
unsafe impl Send for Cpus {}

// SAFETY: There are shared references only, by which nobody changes it.
unsafe impl Sync for Cpus {}

impl Shared {
    #[inline]
    pub(super) fn new(polled: bool) -> impl PinInit<Self> {
        // SAFETY: `init` initialises it.
        unsafe {
            pin_init::pin_init_from_closure(move |slot| {
                Self::init(slot, polled);
                Ok(())
            })
        }
    }

    /// # Safety
    ///
    /// `slot` is valid for writes, and what is there stays there.
    #[inline(never)]
    unsafe fn init(slot: *mut Self, polled: bool) {
        let init = pin_init!(Self {
            changed <- crate::new_condvar!("VirtQueue::changed"),
            life <- crate::new_mutex!((), "VirtQueue::life"),
            polled,
            affinity: SetOnce::new(),
        });
        // SAFETY: By the requirements of this function.
        unsafe { pin_init::raw_init(slot, init) };
    }

    /// See [`VirtQueue::affinity`].
    pub(super) fn affinity(&self) -> Option<&Cpumask> {
        self.affinity.as_ref().map(|cpus| &*cpus.0)
    }
}

/// The lock class of all queues.
///
/// In generic code it would be the same for all modules, but its name would not, and lockdep
/// complains when the two do not match.
#[inline(never)]
pub(super) fn lock_class() -> (&'static CStr, Pin<&'static LockClassKey>) {
    (c"VirtQueue::inner", crate::static_lock_class!())
}

/// A virtqueue whose handler has some type.
pub(super) type AnyQueue = VirtQueue<dyn AnyHandler>;

impl<H: ?Sized + AnyHandler> VirtQueue<H> {
    /// Locks the queue, which is also `any`.
    #[inline(always)]
    pub(super) fn lock_as<'a>(&'a self, any: &'a AnyQueue) -> QueueGuard<'a, H> {
        QueueGuard {
            inner: self.inner.lock(),
            queue: self,
            any,
        }
    }
}

impl AnyQueue {
    #[inline(always)]
    fn lock(&self) -> QueueGuard<'_, dyn AnyHandler> {
        self.lock_as(self)
    }

    /// See [`VirtQueue::wait_until`]; if it is not `killable`, no signal ends it.
    ///
    /// # Safety
    ///
    /// `attempt` is for handlers of the type that this queue has.
    pub(super) unsafe fn wait_any(
        &self,
        timeout: Jiffies,
        killable: bool,
        attempt: &mut dyn Attempt,
    ) -> Result {
        let mut left = timeout;
        loop {
            let mut guard = self.lock();
            let mut after = After::Nothing;
            guard.service(&mut after);
            let (handler, mut ring) = guard.split(&mut after);
            // SAFETY: By the requirements of this function; both are of this queue.
            let done = unsafe { attempt.attempt(handler, &mut ring) };
            if done || left == 0 || after != After::Nothing {
                // What was posted is notified now.
                //
                // SAFETY: All of it happened under this lock.
                unsafe { guard.release(after) };
                if done || left == 0 {
                    return Ok(());
                }
                // Who posts without end still runs out of time.
                left -= 1;
                if killable && crate::current!().fatal_signal_pending() {
                    return Err(ERESTARTSYS);
                }
                continue;
            }
            guard.inner.any.waiters += 1;
            let longest = if self.shared.polled { PAUSE } else { RECHECK };
            let slice = left.min(msecs_to_jiffies(longest).max(1));
            let changed = &self.shared.changed;
            let woken = changed.wait_killable_timeout(&mut guard.inner, slice);
            guard.inner.any.waiters -= 1;
            drop(guard);
            left -= slice;
            left += match woken {
                CondVarTimeoutResult::Woken { jiffies } => jiffies.min(slice),
                CondVarTimeoutResult::Timeout => 0,
                CondVarTimeoutResult::Signal { .. } if killable => return Err(ERESTARTSYS),
                CondVarTimeoutResult::Signal { .. } => {
                    // A task that was killed is not put to sleep there. It looks again, now and
                    // then.
                    fsleep(Delta::from_millis(PAUSE.into()));
                    slice.saturating_sub(msecs_to_jiffies(PAUSE).max(1))
                }
            };
        }
    }

    /// See [`VirtQueue::wait_idle`].
    pub(super) fn wait_idle_any(&self, patience: &Patience) -> bool {
        let mut seen = Progress {
            used: 0,
            is_idle: false,
            is_new: false,
        };
        loop {
            let left = patience.left();
            // SAFETY: It is for handlers of any type. Without signals, there are no errors.
            let _ = unsafe { self.wait_any(left, false, &mut seen) };
            if seen.is_idle {
                return false;
            }
            if !seen.is_new || left == 0 {
                return self.break_any();
            }
        }
    }

    /// See [`VirtQueue::poll`].
    pub(super) fn poll_any(&self) {
        let mut guard = self.lock();
        let mut after = After::Nothing;
        guard.service(&mut after);
        // SAFETY: All of it happened under this lock.
        unsafe { guard.release(after) };
    }

    /// See [`VirtQueue::ring_size`].
    pub(super) fn ring_size_any(&self) -> u32 {
        self.inner.lock().any.vq.map_or(0, RawQueue::size)
    }

    /// See [`VirtQueue::break_device`].
    #[cold]
    #[inline(never)]
    pub(super) fn break_any(&self) -> bool {
        let mut guard = self.lock();
        let Some(vq) = guard.inner.any.ring.live() else {
            return false;
        };
        // SAFETY: The queue is live and locked.
        unsafe { bindings::__virtqueue_break(vq.as_ptr()) };
        guard.report_broken();
        true
    }

    /// See [`VirtQueue::reset`].
    pub(super) fn reset_any(&self, size: Option<u16>) -> Result {
        if size.is_some_and(|size| !size.is_power_of_two()) {
            return Err(EINVAL);
        }
        let limbo = match size {
            Some(size) => KVec::with_capacity(usize::from(size), GFP_KERNEL)?,
            None => KVec::new(),
        };
        let _life = self.shared.life.lock();

        let mut inner = self.inner.lock();
        let ring = &mut inner.any.ring;
        let Some(vq) = ring.live() else {
            return Err(ring.why().into());
        };
        // The core would do nothing if it is the size that the ring has.
        let size = size.filter(|&size| u32::from(size) != ring.size());
        // INVARIANT: `life` is held.
        ring.end(QueueError::Dead);
        drop(inner);

        // As in `QueueSet::delete`: whoever is about to notify the device has finished after this.
        rcu::synchronize_rcu();
        let recycle: unsafe extern "C" fn(_, _) = recycle_callback;
        // SAFETY: The virtqueue exists: before it is deleted, `stop` waits for `life`. Nobody else
        // uses the ring, since it is not live, but to read its size. `recycle_callback` gets tokens
        // of this queue.
        let done = to_result(unsafe {
            match size {
                Some(size) => {
                    bindings::virtqueue_resize(vq.as_ptr(), size.into(), Some(recycle), None)
                }
                None => bindings::virtqueue_reset(vq.as_ptr(), Some(recycle), None),
            }
        });

        // The device gave up the queue before its buffers were recycled.
        self.hand_back();

        let mut guard = self.lock();
        let inner = &mut guard.inner.any;
        let old_limbo = if limbo.capacity() > inner.limbo.capacity() {
            core::mem::replace(&mut inner.limbo, limbo)
        } else {
            limbo
        };
        // INVARIANT: `life` is held, and the virtqueue was not detached.
        inner.ring.begin(vq);
        if done == Err(EBUSY) {
            // The transport does not know in what state the queue is.
            guard.report_broken();
            drop(guard);
        } else {
            drop(guard);
            // If nothing was done, interrupts may have been lost.
            self.poll_any();
        }
        drop(old_limbo);
        self.shared.changed.notify_all();
        done
    }

    /// Hands what is in limbo to the handler. No device has it any more.
    fn hand_back(&self) {
        loop {
            // One buffer at a time, so that interrupts are not off for all of them.
            let mut inner = self.inner.lock();
            let Some(token) = inner.any.limbo.pop() else {
                break;
            };
            // SAFETY: By the type invariant of `VirtQueue` it was posted to this queue; the ring
            // gave it back once.
            unsafe { inner.handler.take_unused(token.0) };
        }
    }

    /// Takes the virtqueue that the transport made; the queue is not live yet.
    ///
    /// # Safety
    ///
    /// The caller guarantees the invariants of [`RawQueue`] for `vq`, and that nobody else uses
    /// `vq`; `vq` is empty.
    pub(super) unsafe fn attach(&self, vq: NonNull<bindings::virtqueue>) -> Result {
        // SAFETY: By the requirements of this function.
        let vq = unsafe { RawQueue::new(vq) };
        let limbo = KVec::with_capacity(vq.size() as usize, GFP_KERNEL)?;

        let inner = &mut self.inner.lock().any;
        inner.limbo = limbo;
        // INVARIANT: `vq` is empty and the queue is not live, so there is no buffer of any type.
        inner.vq = Some(vq);
        Ok(())
    }

    /// Remembers what [`VirtQueue::affinity`] says.
    pub(super) fn set_affinity(&self, cpus: &Cpumask) -> Result {
        let cpus = Cpus(CpumaskVar::try_clone(cpus)?);
        self.shared.affinity.populate(cpus);
        Ok(())
    }

    /// Lets drivers and callbacks use the queue, if it is attached.
    ///
    /// # Safety
    ///
    /// `events` is valid until [`stop`](Self::stop) was called.
    pub(super) unsafe fn start(&self, events: &Events) {
        let _life = self.shared.life.lock();
        let inner = &mut self.inner.lock().any;
        // If another queue broke before this one was started, all of them have ended.
        if let (Some(vq), QueueError::Dead) = (inner.vq, inner.ring.why()) {
            // SAFETY: By the requirements of this function.
            inner.events = Some(unsafe { EventsOfDevice::new(events) });
            // INVARIANT: `life` is held, and there is a virtqueue.
            inner.ring.begin(vq);
        }
    }

    /// Ends all use of the queue, and wakes up who waits for it.
    pub(super) fn stop(&self, why: QueueError) {
        let _life = self.shared.life.lock();
        let mut inner = self.inner.lock();
        // INVARIANT: `life` is held.
        inner.any.ring.end(why);
        inner.any.events = None;
        drop(inner);
        self.shared.changed.notify_all();
    }

    /// Takes all buffers out of the ring, and forgets the virtqueue, which will be deleted. The
    /// buffers are kept, not given back.
    ///
    /// # Safety
    ///
    /// The queue was stopped, a grace period passed, and the device was reset.
    pub(super) unsafe fn drain(&self) {
        loop {
            // One buffer at a time, so that interrupts are not off for all of them.
            let inner = &mut self.inner.lock().any;
            let Some(vq) = inner.vq else {
                break;
            };
            // SAFETY: The virtqueue exists, the device is reset, and nobody else uses the queue:
            // it is locked and not live.
            let token = unsafe { bindings::virtqueue_detach_unused_buf(vq.as_ptr()) };
            if !inner.keep(token) {
                inner.vq = None;
                break;
            }
        }
    }

    /// Gives the drained buffers back.
    ///
    /// # Safety
    ///
    /// The virtqueue was deleted after [`drain`](Self::drain), or there was none.
    pub(super) unsafe fn detach(&self) {
        self.hand_back();
        // Tasks that wait for buffers to come back were woken when the queue ended, too early.
        self.shared.changed.notify_all();
    }
}

/// # Safety
///
/// `vq` is one of the virtqueues of a [`QueueSet`](super::QueueSet) that the adapter owns; `token`
/// was posted to it and does not come back otherwise.
unsafe extern "C" fn recycle_callback(vq: *mut bindings::virtqueue, token: *mut c_void) {
    // SAFETY: By the requirements of this function.
    if let Some(queue) = unsafe { super::queue_set::of_callback(vq) } {
        queue.any.inner.lock().any.keep(token);
    }
}

/// A locked queue: exclusive access to its ring and to its handler.
///
/// What is to be done after that is kept beside it, in an [`After`], so that all of this can stay
/// in registers.
pub(super) struct QueueGuard<'a, H: ?Sized + AnyHandler> {
    inner: QueueLockGuard<'a, Inner<H>>,
    queue: &'a VirtQueue<H>,
    /// The same queue.
    any: &'a AnyQueue,
}

impl<H: ?Sized + AnyHandler> QueueGuard<'_, H> {
    /// The handler and the ring, both at once.
    #[inline(always)]
    pub(super) fn split<'r>(&'r mut self, after: &'r mut After) -> (&'r mut H, RawRing<'r>) {
        let inner = &mut *self.inner;
        // SAFETY: The lock is held for as long as `self` is borrowed.
        let ring = unsafe { RawRing::new(&inner.any.ring, after) };
        (&mut inner.handler, ring)
    }

    /// Hands used buffers to `each` until there are none and the next one will interrupt.
    #[inline(always)]
    pub(super) fn service_each(
        &mut self,
        after: &mut After,
        mut each: impl FnMut(&mut H, NonNull<c_void>, u32, &mut RawRing<'_>),
    ) {
        let queue = self.queue;
        let (handler, mut ring) = self.split(after);
        let Some(vq) = ring.live() else {
            return;
        };
        // No more than this were in flight when it began. A handler that posts and a device that
        // is as fast, or one that plays with its index, would go on for ever with interrupts off.
        let size = ring.size();
        let mut budget = size;
        let more = loop {
            // SAFETY: The queue is live and locked.
            unsafe { bindings::virtqueue_disable_cb(vq.as_ptr()) };
            // SAFETY: It is the virtqueue of this ring.
            while let Some((token, len)) = unsafe { ring.pop(vq) } {
                each(handler, token, len, &mut ring);
                budget = budget.wrapping_sub(1);
                // If no buffer is in flight, none can come back.
                if budget == 0 || vq.num_free() == size {
                    break;
                }
            }
            // SAFETY: As above.
            if queue.shared.polled || unsafe { bindings::virtqueue_enable_cb(vq.as_ptr()) } {
                break false;
            }
            budget = budget.saturating_sub(1);
            if budget == 0 {
                break true;
            }
        };
        let inner = &mut self.inner.any;
        // Not only the task whose interrupt it is may find what another one waits for.
        if inner.waiters > 0 && budget != size {
            queue.shared.changed.notify_all();
        }
        if more {
            inner.raise(Event::MoreUsed);
        } else if vq.is_broken() {
            *after = After::Broken;
        }
    }

    /// Unlocks the queue, and then notifies the device, once for all buffers that were posted. That
    /// the queue is broken is told before it is unlocked; then nobody is notified.
    ///
    /// # Safety
    ///
    /// `after` was [`After::Nothing`] when the queue was locked, and only what has
    /// [`split`](Self::split) this guard changed it.
    #[inline(always)]
    pub(super) unsafe fn release(mut self, after: After) {
        match after {
            After::Kick(vq) => {
                let guard = ManuallyDrop::new(self.inner);
                let flags = flags(&guard);
                // CAST: The C lock is what a `Lock` starts with, an `Opaque`, which C may change.
                let lock = core::ptr::from_ref(&self.queue.inner).cast_mut().cast();
                // SAFETY: By the requirements of this function the queue is live, with this
                // virtqueue, and it is locked by this guard, which is not used afterwards.
                // The virtqueue must not be deleted between dropping the lock and notifying: the
                // helper spans that by an RCU read-side critical section, and the adapter waits
                // for a grace period after it marked the queue dead under the lock.
                // `virtqueue_notify()` may run beside any other operation on the queue, and does
                // not sleep.
                let sent = unsafe { bindings::virtqueue_unlock_and_kick(vq.as_ptr(), lock, flags) };
                if !sent {
                    // The core marked it broken.
                    self.any.break_any();
                }
            }
            After::Broken => self.report_broken(),
            After::Nothing => (),
        }
    }

    #[inline(always)]
    fn report_broken(&mut self) {
        self.inner.any.report_broken(&self.queue.shared);
        self.inner.handler.note_broken();
    }
}

impl QueueGuard<'_, dyn AnyHandler> {
    /// Hands used buffers to the handler.
    fn service(&mut self, after: &mut After) {
        // SAFETY: By the type invariant of `VirtQueue` it was posted to this queue, whose ring just
        // gave it back.
        self.service_each(after, |handler, token, len, ring| unsafe {
            handler.take_used(token, len, ring);
        });
    }
}
