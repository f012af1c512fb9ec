// SPDX-License-Identifier: GPL-2.0

//! A virtqueue with its lock, its handler and its waiters.

use super::{
    buffer::Buffer,
    ring::{
        RawQueue,
        Ring, //
    }, //
};
use crate::{
    bindings,
    prelude::*,
    sync::{
        rcu,
        CondVar,
        CondVarTimeoutResult,
        SpinLockIrq,
        SpinLockIrqGuard, //
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
/// All callbacks run under the queue's lock with interrupts off, so they must not sleep.
pub trait Handler: Send + Unpin + 'static {
    /// What is posted to this queue.
    type Buffer: Buffer;

    /// The device used buffers, or pretends that it did: pop until there are none.
    ///
    /// Called in hard-interrupt context on most transports. May come without any used buffer, and
    /// never comes before DRIVER_OK or after the queue ended. A handler that posts from here must
    /// bound how often it does, since a device may use buffers as fast as they come.
    fn used(&mut self, ring: &mut Ring<'_, Self::Buffer>);

    /// `buffer` was in flight when the queue ended (removal or freeze) and comes back unused.
    ///
    /// Called in process context, with interrupts off.
    fn unused(&mut self, buffer: Self::Buffer);
}

/// What the lock of a queue protects.
struct Inner<H: Handler> {
    /// `Some` from `attach` to `detach`. The C virtqueue exists for most of that time, and as long
    /// as the queue is live.
    vq: Option<RawQueue>,
    /// Whether drivers and callbacks may use `vq`.
    live: bool,
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
    #[inline]
    fn live_queue(&self) -> Option<RawQueue> {
        if self.live {
            self.vq
        } else {
            None
        }
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
/// * While `inner.live` is set, `inner.vq` is `Some`.
#[pin_data]
pub struct VirtQueue<H: Handler> {
    #[pin]
    inner: SpinLockIrq<Inner<H>>,
    #[pin]
    changed: CondVar,
}

impl<H: Handler> VirtQueue<H> {
    pub(super) fn new(handler: H) -> impl PinInit<Self> {
        let inner = Inner {
            vq: None,
            live: false,
            waiters: 0,
            limbo: KVec::new(),
            handler,
        };
        let (inner_name, inner_class) = lock_class::inner();
        let (changed_name, changed_class) = lock_class::changed();
        pin_init!(Self {
            inner <- SpinLockIrq::new(inner, inner_name, inner_class),
            changed <- CondVar::new(changed_name, changed_class),
        })
    }

    /// Locks the queue.
    ///
    /// Interrupts are off until the guard is dropped. Any context. The same task must not lock a
    /// queue twice.
    #[inline]
    pub fn lock(&self) -> QueueGuard<'_, H> {
        QueueGuard {
            inner: ManuallyDrop::new(self.inner.lock()),
            posted: false,
        }
    }

    /// Calls `attempt` under the lock until it returns `Some`, and sleeps in between.
    ///
    /// `attempt` is called at once, and again whenever the device used buffers, the queue ended,
    /// someone called [`wake_all`](Self::wake_all), or `timeout` jiffies passed; and at least twice
    /// a second, since a queue can break, or an interrupt be lost, without anyone being told. What
    /// `attempt` posts is notified to the device before the task sleeps, so it is called once more
    /// then; it must not post without bound.
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
            let (handler, mut ring) = guard.split();
            if let Some(result) = attempt(handler, &mut ring) {
                return Ok(Some(result));
            }
            if guard.posted {
                continue;
            }
            if left == 0 {
                return Ok(None);
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

    /// Makes every task in [`wait_until`](Self::wait_until) try again. Any context.
    pub fn wake_all(&self) {
        self.changed.notify_all();
    }

    /// The core's callback for used buffers.
    ///
    /// # Safety
    ///
    /// `vq` is one of the virtqueues of a [`QueueSet`](super::QueueSet) that the adapter owns, the
    /// one for which [`QueueSet::add`](super::QueueSet::add) made a queue of this type.
    pub(super) unsafe extern "C" fn used_callback(vq: *mut bindings::virtqueue) {
        // SAFETY: By the requirements of this function, which are those of `of_callback`.
        let Some(queue) = (unsafe { super::queue_set::of_callback::<H>(vq) }) else {
            return;
        };
        let mut guard = queue.lock();
        if !guard.inner.live {
            return;
        }
        let (handler, mut ring) = guard.split();
        handler.used(&mut ring);
        let wake = guard.inner.waiters > 0;
        drop(guard);
        if wake {
            queue.wake_all();
        }
    }
}

/// A locked queue: exclusive access to its ring and to its handler.
///
/// When it is dropped, the lock is released first and the device is notified after that, once for
/// all buffers that were posted in between. Leaking a guard leaves the queue locked, as with any
/// lock.
pub struct QueueGuard<'a, H: Handler> {
    /// Taken only by `drop`.
    inner: ManuallyDrop<SpinLockIrqGuard<'a, Inner<H>>>,
    /// Whether the device has to be notified.
    posted: bool,
}

impl<H: Handler> QueueGuard<'_, H> {
    /// The handler and the ring, both at once.
    #[inline]
    pub fn split(&mut self) -> (&mut H, Ring<'_, H::Buffer>) {
        let inner = &mut **self.inner;
        let vq = inner.live_queue();
        // SAFETY: The lock is held for as long as `self` is borrowed, and the queue ends only
        // under the lock. By the invariants of `VirtQueue`, the ring holds only `H::Buffer`.
        let ring = unsafe { Ring::new(vq, &mut self.posted) };
        (&mut inner.handler, ring)
    }
}

impl<H: Handler> Drop for QueueGuard<'_, H> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: This is the only place that takes it, and the guard is not used afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        let Some(vq) = inner.live_queue().filter(|_| self.posted) else {
            return;
        };
        // The virtqueue must not be deleted between dropping the lock and notifying. The adapter
        // waits for an RCU grace period after it marked the queue dead under the lock.
        let rcu = rcu::read_lock();
        // SAFETY: The queue is live and locked.
        let notify = unsafe { bindings::virtqueue_kick_prepare(vq.as_ptr()) };
        drop(inner);
        if notify {
            // SAFETY: The queue was live under the lock, inside of this RCU read-side critical
            // section, so it still exists. `virtqueue_notify()` may run beside any other operation
            // on the queue, and does not sleep. If it fails, it marks the queue broken.
            unsafe { bindings::virtqueue_notify(vq.as_ptr()) };
        }
        drop(rcu);
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

    /// Lets drivers and callbacks use the queue, if it is attached.
    fn start(&self);

    /// Ends all use of the queue, and wakes up who waits for it.
    fn stop(&self);

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
}

impl<H: Handler> AnyQueue for VirtQueue<H> {
    unsafe fn attach(&self, vq: NonNull<bindings::virtqueue>) -> Result {
        // SAFETY: `vq` is valid by the requirements of this function.
        let size = unsafe { bindings::virtqueue_get_vring_size(vq.as_ptr()) };
        let limbo = KVec::with_capacity(size as usize, GFP_KERNEL)?;

        let mut inner = self.inner.lock();
        inner.limbo = limbo;
        // SAFETY: By the requirements of this function.
        //
        // INVARIANT: `vq` is empty and the queue is not live, so there is no buffer of any type.
        inner.vq = Some(unsafe { RawQueue::new(vq) });
        Ok(())
    }

    fn start(&self) {
        let mut inner = self.inner.lock();
        // INVARIANT: Live only with a virtqueue.
        inner.live = inner.vq.is_some();
    }

    fn stop(&self) {
        self.inner.lock().live = false;
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
            let Some(token) = NonNull::new(token) else {
                break;
            };
            // No more buffers than the ring has entries can be in flight, and there is room for as
            // many. If that were wrong, the buffer would leak, which is safe.
            let kept = inner.limbo.push_within_capacity(Token(token));
            debug_assert!(kept.is_ok());
        }
    }

    unsafe fn detach(&self) {
        loop {
            let mut inner = self.inner.lock();
            inner.vq = None;
            let Some(token) = inner.limbo.pop() else {
                break;
            };
            // SAFETY: The token was in the ring, which gave it back once. By the invariants of
            // `VirtQueue` it was made from `H::Buffer`.
            let buffer = unsafe { H::Buffer::from_token(token.0) };
            inner.handler.unused(buffer);
        }
    }
}
