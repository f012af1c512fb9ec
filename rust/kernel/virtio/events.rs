// SPDX-License-Identifier: GPL-2.0

//! What must be done for a bound device outside of interrupts.

use crate::{
    bindings,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        }, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

/// Something that happened; several of one kind become one.
#[derive(Clone, Copy)]
pub(super) enum Event {
    /// The configuration space changed.
    Config = 1,
    /// A queue has more used buffers than one interrupt may handle.
    MoreUsed = 2,
    /// A queue broke: the device must be reset, so that what is in flight can come back.
    Broken = 4,
}

/// A set of [`Event`]s.
#[derive(Clone, Copy)]
pub(super) struct Pending(u32);

impl Pending {
    pub(super) fn has(self, event: Event) -> bool {
        self.0 & event as u32 != 0
    }
}

/// Events that wait for their work item.
#[pin_data]
pub(super) struct Events {
    pending: Atomic<u32>,
    #[pin]
    work: Opaque<bindings::work_struct>,
}

// SAFETY: Work items can be queued and cancelled from any thread.
unsafe impl Send for Events {}

// SAFETY: As above; the rest is atomic.
unsafe impl Sync for Events {}

/// Not inlined: in the modules of drivers the lock class would be the same, but its name another
/// one.
///
/// # Safety
///
/// `slot` is valid for writes, and pinned.
#[inline(never)]
unsafe fn init_work(
    slot: *mut bindings::work_struct,
    run: unsafe extern "C" fn(*mut bindings::work_struct),
) {
    let class = static_lock_class!();
    let name = c"virtio_events".as_char_ptr();
    // SAFETY: By the requirements of this function; name and class are static.
    unsafe { bindings::init_work_with_key(slot, Some(run), false, name, class.as_ptr()) };
}

impl Events {
    /// # Safety
    ///
    /// `run` may be called, in process context, with the work item of the result, whenever an event
    /// was raised and until [`cancel`](Self::cancel) returned after the last one.
    #[inline]
    pub(super) unsafe fn new(
        run: unsafe extern "C" fn(*mut bindings::work_struct),
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            pending: Atomic::new(0),
            // SAFETY: `slot` is valid for writes and pinned.
            work <- Opaque::ffi_init(move |slot| unsafe { init_work(slot, run) }),
        })
    }

    /// The events that `work` belongs to.
    ///
    /// # Safety
    ///
    /// `work` is what the function given to [`Events::new`] was called with.
    pub(super) unsafe fn from_work(work: *mut bindings::work_struct) -> *const Self {
        // SAFETY: By the requirements of this function.
        unsafe { crate::container_of!(Opaque::cast_from(work), Self, work) }
    }

    /// Takes what is pending.
    pub(super) fn take(&self) -> Pending {
        Pending(self.pending.xchg(0, Full))
    }

    /// Makes the work item run. Any context.
    pub(super) fn raise(&self, event: Event) {
        let mut old = self.pending.load(Relaxed);
        while let Err(now) = self.pending.cmpxchg(old, old | event as u32, Full) {
            old = now;
        }
        self.queue();
    }

    /// As [`raise`](Self::raise), for what was pending when [`cancel`](Self::cancel) was called.
    pub(super) fn resume(&self) {
        if self.pending.load(Relaxed) != 0 {
            self.queue();
        }
    }

    fn queue(&self) {
        // SAFETY: The work item was initialised, and is cancelled before it is freed. The system's
        // workqueue always exists.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.work.get(),
            )
        };
    }

    /// Waits for the work item, and keeps it from running. What is pending stays so, but for events
    /// of queues, which have ended.
    pub(super) fn cancel(&self) {
        // SAFETY: The work item was initialised.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
        let pending = self.take();
        if pending.has(Event::Config) {
            self.pending.store(Event::Config as u32, Relaxed);
        }
    }
}

/// The events of the device that a live queue belongs to.
///
/// # Invariants
///
/// The pointer is valid while the queue is live.
#[derive(Clone, Copy)]
pub(super) struct EventsOfDevice(NonNull<Events>);

// SAFETY: `Events` is `Sync`.
unsafe impl Send for EventsOfDevice {}

impl EventsOfDevice {
    /// # Safety
    ///
    /// The caller guarantees the invariants of the type.
    pub(super) unsafe fn new(events: &Events) -> Self {
        // INVARIANT: By the requirements of this function.
        Self(events.into())
    }

    /// # Safety
    ///
    /// The queue is locked, and was live when it was locked.
    pub(super) unsafe fn raise(self, event: Event) {
        // SAFETY: By the type invariant and the requirements of this function: a queue ends only
        // under its lock.
        unsafe { self.0.as_ref() }.raise(event);
    }
}
