// SPDX-License-Identifier: GPL-2.0

//! A virtqueue with its lock, its handler and its waiters.

use super::{
    any_queue::{
        lock_class,
        AnyHandler,
        AnyQueue,
        Attempt,
        Inner,
        Shared, //
    },
    buffer::Buffer,
    lock::QueueLock,
    patience::Patience,
    queue_set,
    ring::{
        After,
        RawRing,
        Ring, //
    }, //
};
use crate::{
    bindings,
    cpumask::Cpumask,
    prelude::*,
    sync::Arc,
    time::Jiffies, //
};
use core::marker::PhantomData;

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

/// A virtqueue with a [`Handler`] `H`, which carries buffers of type `H::Buffer`.
///
/// Made by [`QueueSet::add`](super::QueueSet::add). It can outlive the device: then it is dead,
/// which every use of it reports.
///
/// # Invariants
///
/// * Every buffer in the ring, and every token in limbo, was made from an `H::Buffer`, by whatever
///   name the type of the handler goes.
/// * The ring in `inner` is live only while there is a virtqueue in `inner`, which is the same. It
///   changes only while `shared.life` is held, but for becoming
///   [`QueueError::Broken`](super::QueueError::Broken).
#[pin_data]
pub struct VirtQueue<H: ?Sized> {
    #[pin]
    pub(super) shared: Shared,
    #[pin]
    pub(super) inner: QueueLock<Inner<H>>,
}

impl<H: Handler> VirtQueue<H> {
    pub(super) fn new(handler: H, polled: bool) -> Result<Arc<Self>> {
        let (name, class) = lock_class();
        let init = pin_init!(Self {
            shared <- Shared::new(polled),
            inner <- QueueLock::new(Inner::new(handler), name, class),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// The CPUs that the interrupt of the queue goes to, if it is one of those that
    /// [`QueueSet::spread_interrupts`](super::QueueSet::spread_interrupts) spreads, and the
    /// transport can do that. Known after [`Device::find_vqs`](super::Device::find_vqs).
    pub fn affinity(&self) -> Option<&Cpumask> {
        self.shared.affinity()
    }

    /// How many descriptors the ring has, or will have once the queue is live; 0 if there is no
    /// ring: before [`Device::find_vqs`](super::Device::find_vqs), while the device is frozen, and
    /// after it was removed, or reset because it broke.
    ///
    /// Any context, but not in [`with`](Self::with) or a handler.
    ///
    /// C: `virtqueue_get_vring_size()`.
    pub fn ring_size(&self) -> u32 {
        AnyQueue::ring_size_any(self)
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
        let mut guard = self.lock_as(self);
        let mut after = After::Nothing;
        let (handler, mut ring) = guard.split(&mut after);
        // SAFETY: By the type invariant.
        let result = f(handler, unsafe { Ring::of(&mut ring) });
        // SAFETY: All of it happened under this lock.
        unsafe { guard.release(after) };
        result
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
    pub fn service(&self, mut each: impl FnMut(&mut H, H::Buffer, &mut Ring<'_, H::Buffer>)) {
        let mut guard = self.lock_as(self);
        let mut after = After::Nothing;
        guard.service_each(&mut after, |handler, token, len, ring| {
            // SAFETY: By the type invariant; the ring just gave the token back.
            let (buffer, ring) = unsafe { (Ring::returned(token, len), Ring::of(ring)) };
            each(handler, buffer, ring);
        });
        // SAFETY: All of it happened under this lock.
        unsafe { guard.release(after) };
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
        attempt: impl FnMut(&mut H, &mut Ring<'_, H::Buffer>) -> Option<R>,
    ) -> Result<Option<R>> {
        let mut wait = Wait {
            attempt,
            result: None,
            _handler: PhantomData,
        };
        // SAFETY: The handler is the one of this queue.
        unsafe { AnyQueue::wait_any(self, timeout, true, &mut wait)? };
        Ok(wait.result)
    }

    /// Waits until nothing is in flight, and gives the device up when that takes more than
    /// `patience`. Returns whether this gave it up: then what was in flight comes back by
    /// [`Handler::unused`], a little later. So it does if somebody else did, and the queue is dead
    /// when this returns.
    ///
    /// If buffers are posted meanwhile, these are waited for, too.
    ///
    /// Process context; may sleep. No signal ends it.
    pub fn wait_idle(&self, patience: &Patience) -> bool {
        AnyQueue::wait_idle_any(self, patience)
    }

    /// Makes every task in [`wait_until`](Self::wait_until) try again, at once as a rule, or within
    /// half a second. Any context.
    pub fn wake_all(&self) {
        self.shared.changed.notify_all();
    }

    /// Gives the device up, for example because it does not answer: what a device that broke the
    /// rules brings upon itself. Any context.
    ///
    /// All queues of the device end, it is reset, and what is in flight comes back by
    /// [`Handler::unused`]. Does nothing, and returns `false`, if the queue is not live.
    pub fn break_device(&self) -> bool {
        AnyQueue::break_any(self)
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
    /// empty), or a [`QueueError`](super::QueueError) if the queue is not live or breaks.
    pub fn reset(&self, size: Option<u16>) -> Result {
        AnyQueue::reset_any(self, size)
    }

    /// The core's callback for used buffers.
    ///
    /// # Safety
    ///
    /// `vq` is one of the virtqueues of a [`QueueSet`](super::QueueSet) that the adapter owns, the
    /// one for which [`QueueSet::add`](super::QueueSet::add) made a queue of this type.
    pub(super) unsafe extern "C" fn used_callback(vq: *mut bindings::virtqueue) {
        // SAFETY: By the requirements of this function, which are those of `of_callback`; the type
        // of the queue is this one.
        if let Some(queue) = unsafe { queue_set::of_callback(vq) } {
            // SAFETY: As above.
            H::interrupt(unsafe { &*queue.thin.cast::<Self>() });
        }
    }
}

/// What a task waits for.
struct Wait<H, F, R> {
    attempt: F,
    result: Option<R>,
    _handler: PhantomData<fn(H)>,
}

impl<H, F, R> Attempt for Wait<H, F, R>
where
    H: Handler,
    F: FnMut(&mut H, &mut Ring<'_, H::Buffer>) -> Option<R>,
{
    unsafe fn attempt(&mut self, handler: &mut dyn AnyHandler, ring: &mut RawRing<'_>) -> bool {
        // SAFETY: By the requirements of this function, the handler is an `H`; so what is in the
        // ring is an `H::Buffer`.
        let (handler, ring) =
            unsafe { (&mut *core::ptr::from_mut(handler).cast(), Ring::of(ring)) };
        self.result = (self.attempt)(handler, ring);
        self.result.is_some()
    }
}
