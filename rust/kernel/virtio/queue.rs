// SPDX-License-Identifier: GPL-2.0

//! A virtqueue with its lock, its handler and its waiters.

use super::{
    buffer::Buffer,
    events::{
        Event,
        Events,
        EventsOfDevice, //
    },
    lock::{
        flags,
        QueueLock,
        QueueLockGuard, //
    },
    ring::{
        After,
        QueueError,
        RawQueue,
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
        Mutex,
        SetOnce,
        //
    },
    time::{
        msecs_to_jiffies,
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

/// What a driver does when buffers come back.
///
/// All callbacks run under the queue's lock with interrupts off, so they must not sleep, and must
/// not use any function of any queue.
pub trait Handler: Send + Unpin + 'static {
    /// What is posted to this queue.
    type Buffer: Buffer;

    /// The device says that it is done with `buffer`.
    ///
    /// Called in hard-interrupt context on most transports, else from
    /// [`VirtQueue::poll`] or [`VirtQueue::wait_until`]; never before DRIVER_OK or after the queue
    /// ended. Posting to `ring` from here is fine: when a device uses buffers faster than they can
    /// be posted, the rest is handled by a work item.
    fn used(&mut self, buffer: Self::Buffer, ring: &mut Ring<'_, Self::Buffer>);

    /// `buffer` was in flight when the queue ended (reset, freeze, removal) and comes back unused.
    ///
    /// Called in process context, with interrupts off.
    fn unused(&mut self, buffer: Self::Buffer);

    /// The device broke the rules of the ring. The queue does not work any more; what is in flight
    /// comes back by [`unused`](Handler::unused) as soon as the device is reset, which needs no
    /// help of the driver.
    fn broken(&mut self) {}

    /// The device interrupted: it used buffers, as a rule.
    ///
    /// Called without the lock. A driver that wants to do something with many buffers at once,
    /// after the lock was dropped, does it here, see [`VirtQueue::service`]; others need not care.
    #[inline(always)]
    fn interrupt(queue: &VirtQueue<Self>)
    where
        Self: Sized,
    {
        queue.poll();
    }
}

/// What the lock of a queue protects.
struct Inner<H: Handler> {
    /// Whether drivers and callbacks may use the queue.
    ring: State,
    /// `Some` while the queue is live.
    events: Option<EventsOfDevice>,
    /// `Some` from `attach` to `detach`. The C virtqueue exists for most of that time, and as long
    /// as the queue is live.
    vq: Option<RawQueue>,
    /// How many tasks sleep in [`VirtQueue::wait_until`].
    waiters: usize,
    /// Buffers taken back from a ring that ended, while the device may still write to them. Has
    /// the capacity for a full ring as long as `vq` is `Some`.
    limbo: KVec<Token>,
    handler: H,
}

/// A buffer that was in flight, see [`Buffer::into_token`].
struct Token(NonNull<c_void>);

// SAFETY: A token stands for the ownership of a `Buffer`, which is `Send`.
unsafe impl Send for Token {}

impl<H: Handler> Inner<H> {
    #[cold]
    #[inline(never)]
    fn raise(&self, event: Event) {
        if let (Some(_), Some(events)) = (self.ring.live(), self.events) {
            // SAFETY: The queue is live, and it is locked, or there were no reference to this.
            unsafe { events.raise(event) };
        }
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

/// The lock classes of all queues.
///
/// Generic code is compiled into the module that uses it. A class in there would be the same for
/// all modules, but its name would not, and lockdep complains when the two do not match.
mod lock_class {
    use crate::{
        prelude::*,
        static_lock_class,
        sync::LockClassKey, //
    };

    type Class = (&'static CStr, Pin<&'static LockClassKey>);

    #[inline(never)]
    pub(super) fn inner() -> Class {
        (c"VirtQueue::inner", static_lock_class!())
    }

    #[inline(never)]
    pub(super) fn changed() -> Class {
        (c"VirtQueue::changed", static_lock_class!())
    }

    #[inline(never)]
    pub(super) fn life() -> Class {
        (c"VirtQueue::life", static_lock_class!())
    }
}

/// A virtqueue that carries buffers of type `H::Buffer`.
///
/// Made by [`QueueSet::add`](super::QueueSet::add). It can outlive the device: then it is dead,
/// which every use of it reports.
///
/// # Invariants
///
/// * Every buffer in the ring `inner.vq`, and every token in `inner.limbo`, was made from an
///   `H::Buffer`.
/// * `inner.ring` is live only while `inner.vq` is `Some`, and with the same. It changes only while
///   `life` is held,
///   but for becoming [`QueueError::Broken`].
#[pin_data]
pub struct VirtQueue<H: Handler> {
    #[pin]
    inner: QueueLock<Inner<H>>,
    #[pin]
    changed: CondVar,
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

impl<H: Handler> VirtQueue<H> {
    pub(super) fn new(handler: H, polled: bool) -> impl PinInit<Self> {
        let inner = Inner {
            vq: None,
            ring: State::dead(),
            events: None,
            waiters: 0,
            limbo: KVec::new(),
            handler,
        };
        let (inner_name, inner_class) = lock_class::inner();
        let (changed_name, changed_class) = lock_class::changed();
        let (life_name, life_class) = lock_class::life();
        pin_init!(Self {
            inner <- QueueLock::new(inner, inner_name, inner_class),
            changed <- CondVar::new(changed_name, changed_class),
            life <- Mutex::new((), life_name, life_class),
            polled,
            affinity: SetOnce::new(),
        })
    }

    /// The CPUs that the interrupt of the queue goes to, if it is one of those that
    /// [`QueueSet::spread_interrupts`](super::QueueSet::spread_interrupts) spreads, and the
    /// transport can do that. Known after [`Device::find_vqs`](super::Device::find_vqs).
    pub fn affinity(&self) -> Option<&Cpumask> {
        self.affinity.as_ref().map(|cpus| &*cpus.0)
    }

    /// Calls `f` with the handler and the ring, under the lock of the queue.
    ///
    /// When `f` returns, the lock is dropped, and the device is notified after that, once for all
    /// buffers that were posted.
    ///
    /// Any context; interrupts are off in `f`, which must not sleep, and must not use any function
    /// of any queue: all locks of queues have one class.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut H, &mut Ring<'_, H::Buffer>) -> R) -> R {
        let mut guard = self.lock();
        let (handler, mut ring) = guard.split();
        f(handler, &mut ring)
    }

    /// Hands used buffers to the handler, and finds out whether the queue broke. This is all there
    /// is to do for a queue without interrupts, see
    /// [`QueueSet::add_polled`](super::QueueSet::add_polled). Any context.
    #[inline(always)]
    pub fn poll(&self) {
        self.service(Handler::used);
    }

    /// As [`poll`](Self::poll), but `each` gets the buffers, under the lock, instead of
    /// [`Handler::used`]. That still gets those which a work item or a waiting task finds.
    #[inline(always)]
    pub fn service(&self, each: impl FnMut(&mut H, H::Buffer, &mut Ring<'_, H::Buffer>)) {
        self.lock().service(each);
    }

    /// Calls `attempt` under the lock until it returns `Some`, and sleeps in between.
    ///
    /// `attempt` is called at once, and again whenever the device used buffers, the queue ended,
    /// someone called [`wake_all`](Self::wake_all), or `timeout` jiffies passed; and at least twice
    /// a second, since an interrupt can be lost without anyone being told, and a polled queue has
    /// none. The handler gets used buffers before `attempt` is called. The device is notified of
    /// what `attempt` posts before the task sleeps, and `attempt` is called once more then, unless
    /// the time is over; each time counts as one jiffy.
    ///
    /// Returns `None` when the time is over.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`] if the task received a fatal signal. Other signals do not end the wait.
    pub fn wait_until<R>(
        &self,
        timeout: Jiffies,
        mut attempt: impl FnMut(&mut H, &mut Ring<'_, H::Buffer>) -> Option<R>,
    ) -> Result<Option<R>> {
        let mut left = timeout;
        loop {
            let mut guard = self.lock();
            guard.service(H::used);
            let (handler, mut ring) = guard.split();
            if let Some(result) = attempt(handler, &mut ring) {
                return Ok(Some(result));
            }
            if left == 0 {
                return Ok(None);
            }
            if guard.after != After::Nothing {
                // What was posted is notified now. Who posts without end still runs out of time.
                drop(guard);
                left -= 1;
                if crate::current!().fatal_signal_pending() {
                    return Err(ERESTARTSYS);
                }
                continue;
            }
            guard.inner.waiters += 1;
            let slice = left.min(msecs_to_jiffies(RECHECK));
            let woken = self.changed.wait_killable_timeout(&mut guard.inner, slice);
            guard.inner.waiters -= 1;
            left -= slice;
            left += match woken {
                CondVarTimeoutResult::Woken { jiffies } => jiffies.min(slice),
                CondVarTimeoutResult::Timeout => 0,
                CondVarTimeoutResult::Signal { .. } => return Err(ERESTARTSYS),
            };
        }
    }

    /// Makes every task in [`wait_until`](Self::wait_until) try again, at once as a rule, or within
    /// half a second. Any context.
    pub fn wake_all(&self) {
        self.changed.notify_all();
    }

    /// Gives the device up, for example because it does not answer: what a device that broke the
    /// rules brings upon itself. Any context.
    ///
    /// All queues of the device end, it is reset, and what is in flight comes back by
    /// [`Handler::unused`]. Does nothing, and returns `false`, if the queue is not live.
    pub fn break_device(&self) -> bool {
        let mut guard = self.lock();
        let Some(vq) = guard.inner.ring.live() else {
            return false;
        };
        // SAFETY: The queue is live and locked.
        unsafe { bindings::__virtqueue_break(vq.as_ptr()) };
        guard.report_broken();
        true
    }

    /// Takes back all buffers in flight, which go to [`Handler::unused`], and starts again with an
    /// empty ring, of `size` entries if that is given. Nothing else of the device is affected.
    ///
    /// While this runs, the queue is dead. Process context; may sleep.
    ///
    /// C: `virtqueue_reset()`, `virtqueue_resize()`. Virtio 1.3, section 2.6.1.
    ///
    /// # Errors
    ///
    /// `ENOENT` if `VIRTIO_F_RING_RESET` was not negotiated, `EINVAL` if `size` is no power of two,
    /// `E2BIG` if it is more than the device allows, `ENOMEM` (the ring has its former size, and is
    /// empty), or a [`QueueError`] if the queue is not live or breaks.
    pub fn reset(&self, size: Option<u16>) -> Result {
        if size.is_some_and(|size| !size.is_power_of_two()) {
            return Err(EINVAL);
        }
        let limbo = match size {
            Some(size) => KVec::with_capacity(usize::from(size), GFP_KERNEL)?,
            None => KVec::new(),
        };
        let _life = self.life.lock();

        let mut inner = self.inner.lock();
        let Some(vq) = inner.ring.live() else {
            return Err(inner.ring.why().into());
        };
        // The core would do nothing if it is the size that the ring has.
        let size = size.filter(|&size| u32::from(size) != inner.ring.size());
        // INVARIANT: `life` is held.
        inner.ring.end(QueueError::Dead);
        drop(inner);

        // As in `QueueSet::delete`: whoever is about to notify the device has finished after this.
        rcu::synchronize_rcu();
        let recycle: unsafe extern "C" fn(_, _) = Self::recycle_callback;
        // SAFETY: The virtqueue exists: before it is deleted, `stop` waits for `life`. Nobody else
        // uses the ring, since it is not live. `recycle_callback` gets tokens of this queue.
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
        let inner = &mut **guard.inner;
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
        } else {
            // If nothing was done, interrupts may have been lost.
            guard.service(H::used);
        }
        drop(guard);
        drop(old_limbo);
        self.changed.notify_all();
        done
    }

    /// # Safety
    ///
    /// As for [`used_callback`](Self::used_callback); `token` was posted to this queue and does not
    /// come back otherwise.
    unsafe extern "C" fn recycle_callback(vq: *mut bindings::virtqueue, token: *mut c_void) {
        // SAFETY: By the requirements of this function.
        if let Some(queue) = unsafe { super::queue_set::of_callback::<H>(vq) } {
            queue.inner.lock().keep(token);
        }
    }

    /// Hands what is in limbo to the handler. No device has it any more.
    fn hand_back(&self) {
        loop {
            // One buffer at a time, so that interrupts are not off for all of them.
            let mut inner = self.inner.lock();
            let Some(token) = inner.limbo.pop() else {
                break;
            };
            // SAFETY: The token was in the ring, which gave it back once. By the invariants of
            // `VirtQueue` it was made from `H::Buffer`.
            let mut buffer = unsafe { H::Buffer::from_token(token.0) };
            super::buffer::Memory::returned(buffer.memory(), 0);
            inner.handler.unused(buffer);
        }
    }

    /// The queue is broken, and locked.
    #[cold]
    #[inline(never)]
    fn report_broken(&self, inner: &mut Inner<H>) {
        inner.raise(Event::Broken);
        // INVARIANT: Becoming broken needs no more than the lock.
        inner.ring.end(QueueError::Broken);
        inner.handler.broken();
        self.changed.notify_all();
    }

    /// As [`break_device`](Self::break_device), out of the way of those who notify.
    #[cold]
    #[inline(never)]
    fn unreachable(&self) {
        self.break_device();
    }

    #[inline(always)]
    fn lock(&self) -> QueueGuard<'_, H> {
        QueueGuard {
            inner: ManuallyDrop::new(self.inner.lock()),
            queue: self,
            after: After::Nothing,
        }
    }

    /// The core's callback for used buffers.
    ///
    /// # Safety
    ///
    /// `vq` is one of the virtqueues of a [`QueueSet`](super::QueueSet) that the adapter owns, the
    /// one for which [`QueueSet::add`](super::QueueSet::add) made a queue of this type.
    pub(super) unsafe extern "C" fn used_callback(vq: *mut bindings::virtqueue) {
        // SAFETY: By the requirements of this function, which are those of `of_callback`.
        if let Some(queue) = unsafe { super::queue_set::of_callback::<H>(vq) } {
            H::interrupt(queue);
        }
    }
}

/// A locked queue: exclusive access to its ring and to its handler.
///
/// When it is dropped, the lock is released first and the device is notified after that, once for
/// all buffers that were posted in between.
struct QueueGuard<'a, H: Handler> {
    /// Taken only by `drop`.
    inner: ManuallyDrop<QueueLockGuard<'a, Inner<H>>>,
    queue: &'a VirtQueue<H>,
    after: After,
}

impl<H: Handler> QueueGuard<'_, H> {
    /// The handler and the ring, both at once.
    #[inline(always)]
    fn split(&mut self) -> (&mut H, Ring<'_, H::Buffer>) {
        let inner = &mut **self.inner;
        // SAFETY: The lock is held for as long as `self` is borrowed. By the invariants of
        // `VirtQueue`, the ring holds only `H::Buffer`.
        let ring = unsafe { Ring::new(&inner.ring, &mut self.after) };
        (&mut inner.handler, ring)
    }

    /// Hands used buffers to the handler until there are none and the next one will interrupt.
    #[inline(always)]
    fn service(&mut self, mut each: impl FnMut(&mut H, H::Buffer, &mut Ring<'_, H::Buffer>)) {
        let queue = self.queue;
        let (handler, mut ring) = self.split();
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
            while let Some(buffer) = ring.pop_from(vq) {
                each(handler, buffer, &mut ring);
                budget = budget.wrapping_sub(1);
                // If no buffer is in flight, none can come back.
                if budget == 0 || vq.num_free() == size {
                    break;
                }
            }
            // SAFETY: As above.
            if queue.polled || unsafe { bindings::virtqueue_enable_cb(vq.as_ptr()) } {
                break false;
            }
            budget = budget.saturating_sub(1);
            if budget == 0 {
                break true;
            }
        };
        // Not only the task whose interrupt it is may find what another one waits for.
        if self.inner.waiters > 0 && budget != size {
            queue.changed.notify_all();
        }
        if more {
            self.inner.raise(Event::MoreUsed);
        } else if vq.is_broken() {
            self.report_broken();
        }
    }

    #[inline(always)]
    fn report_broken(&mut self) {
        self.after = After::Nothing;
        self.queue.report_broken(&mut self.inner);
    }
}

impl<H: Handler> Drop for QueueGuard<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.after == After::Broken {
            self.report_broken();
        }
        match self.inner.ring.live() {
            Some(vq) if self.after == After::Kick => {
                let flags = flags(&self.inner);
                // CAST: The C lock is what a `Lock` starts with, an `Opaque`, which C may change.
                let lock = core::ptr::from_ref(&self.queue.inner).cast_mut().cast();
                // SAFETY: The queue is live and locked by this guard, which is not used afterwards.
                // The virtqueue must not be deleted between dropping the lock and notifying: the
                // helper spans that by an RCU read-side critical section, and the adapter waits
                // for a grace period after it marked the queue dead under the lock.
                // `virtqueue_notify()` may run beside any other operation on the queue, and does
                // not sleep.
                let sent = unsafe { bindings::virtqueue_unlock_and_kick(vq.as_ptr(), lock, flags) };
                if !sent {
                    // The core marked it broken.
                    self.queue.unreachable();
                }
            }
            // SAFETY: The guard is not used afterwards.
            _ => unsafe { ManuallyDrop::drop(&mut self.inner) },
        }
    }
}

/// What the adapter does with a queue, whatever its buffers are.
pub(super) trait AnyQueue: Send + Sync {
    /// Takes the virtqueue that the transport made; the queue is not live yet.
    ///
    /// # Safety
    ///
    /// The caller guarantees the invariants of [`RawQueue`] for `vq`, and that nobody else uses
    /// `vq`; `vq` is empty.
    unsafe fn attach(&self, vq: NonNull<bindings::virtqueue>) -> Result;

    /// Remembers what [`VirtQueue::affinity`] says.
    fn set_affinity(&self, cpus: &Cpumask) -> Result;

    /// Lets drivers and callbacks use the queue, if it is attached.
    ///
    /// # Safety
    ///
    /// `events` is valid until [`stop`](Self::stop) was called.
    unsafe fn start(&self, events: &Events);

    /// Ends all use of the queue, and wakes up who waits for it.
    fn stop(&self, why: QueueError);

    /// Takes all buffers out of the ring. They are kept, not given back.
    ///
    /// # Safety
    ///
    /// The queue was stopped, a grace period passed, and the device was reset.
    unsafe fn drain(&self);

    /// Forgets the virtqueue, and gives the drained buffers back.
    ///
    /// # Safety
    ///
    /// The virtqueue was deleted after [`drain`](Self::drain), or there was none.
    unsafe fn detach(&self);

    /// See [`VirtQueue::poll`].
    fn poll(&self);
}

impl<H: Handler> AnyQueue for VirtQueue<H> {
    unsafe fn attach(&self, vq: NonNull<bindings::virtqueue>) -> Result {
        // SAFETY: By the requirements of this function.
        let vq = unsafe { RawQueue::new(vq) };
        // SAFETY: By the requirements of this function.
        let size = unsafe { bindings::virtqueue_get_vring_size(vq.as_ptr()) };
        let limbo = KVec::with_capacity(size as usize, GFP_KERNEL)?;

        let mut inner = self.inner.lock();
        inner.limbo = limbo;
        // INVARIANT: `vq` is empty and the queue is not live, so there is no buffer of any type.
        inner.vq = Some(vq);
        Ok(())
    }

    fn set_affinity(&self, cpus: &Cpumask) -> Result {
        self.affinity.populate(Cpus(CpumaskVar::try_clone(cpus)?));
        Ok(())
    }

    unsafe fn start(&self, events: &Events) {
        let _life = self.life.lock();
        let mut inner = self.inner.lock();
        // If another queue broke before this one was started, all of them have ended.
        if let (Some(vq), QueueError::Dead) = (inner.vq, inner.ring.why()) {
            // SAFETY: By the requirements of this function.
            inner.events = Some(unsafe { EventsOfDevice::new(events) });
            // INVARIANT: `life` is held, and there is a virtqueue.
            inner.ring.begin(vq);
        }
    }

    fn stop(&self, why: QueueError) {
        let _life = self.life.lock();
        let mut inner = self.inner.lock();
        // INVARIANT: `life` is held.
        inner.ring.end(why);
        inner.events = None;
        drop(inner);
        self.changed.notify_all();
    }

    unsafe fn drain(&self) {
        loop {
            // One buffer at a time, so that interrupts are not off for all of them.
            let mut inner = self.inner.lock();
            let Some(vq) = inner.vq else {
                break;
            };
            // SAFETY: The virtqueue exists, the device is reset, and nobody else uses the queue:
            // it is locked and not live.
            let token = unsafe { bindings::virtqueue_detach_unused_buf(vq.as_ptr()) };
            if !inner.keep(token) {
                break;
            }
        }
    }

    unsafe fn detach(&self) {
        let mut inner = self.inner.lock();
        inner.vq = None;
        drop(inner);
        self.hand_back();
        // Tasks that wait for buffers to come back were woken when the queue ended, too early.
        self.changed.notify_all();
    }

    fn poll(&self) {
        self.poll();
    }
}
