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

/// Something that happened to a queue; several of one kind become one.
#[derive(Clone, Copy)]
pub(super) enum Event {
    /// It has more used buffers than one interrupt may handle.
    MoreUsed = 1,
    /// It broke: the device must be reset, so that what is in flight can come back.
    Broken = 2,
}

/// A set of [`Event`]s.
#[derive(Clone, Copy)]
pub(super) struct Pending(u32);

impl Pending {
    pub(super) fn has(self, event: Event) -> bool {
        self.0 & event as u32 != 0
    }
}

/// What waits for its work item.
///
/// There are two. A driver that is told of a change may wait for its device, by an allocation for
/// example; that must not keep the device from being reset, which would end the wait.
#[pin_data]
pub(super) struct Events {
    /// [`Event`]s of queues.
    pending: Atomic<u32>,
    /// Whether the configuration space changed.
    changed: Atomic<bool>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    #[pin]
    change_work: Opaque<bindings::work_struct>,
}

/// What runs as a work item.
pub(super) type Run = unsafe extern "C" fn(*mut bindings::work_struct);

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
unsafe fn init_work(slot: *mut bindings::work_struct, run: Run) {
    let class = static_lock_class!();
    let name = c"virtio_events".as_char_ptr();
    // SAFETY: By the requirements of this function; name and class are static.
    unsafe { bindings::init_work_with_key(slot, Some(run), false, name, class.as_ptr()) };
}

/// As [`init_work`]; what one of them waits for is not what the other one does.
///
/// # Safety
///
/// As for [`init_work`].
#[inline(never)]
unsafe fn init_change_work(slot: *mut bindings::work_struct, run: Run) {
    let class = static_lock_class!();
    let name = c"virtio_config_change".as_char_ptr();
    // SAFETY: By the requirements of this function; name and class are static.
    unsafe { bindings::init_work_with_key(slot, Some(run), false, name, class.as_ptr()) };
}

impl Events {
    /// # Safety
    ///
    /// `run` may be called, in process context, with the work item of the result, whenever an event
    /// was raised and until [`cancel`](Self::cancel) returned after the last one. The same holds
    /// for `run_change`, its work item, and [`change`](Self::change).
    #[inline]
    pub(super) unsafe fn new(run: Run, run_change: Run) -> impl PinInit<Self> {
        pin_init!(Self {
            pending: Atomic::new(0),
            changed: Atomic::new(false),
            // SAFETY: `slot` is valid for writes and pinned.
            work <- Opaque::ffi_init(move |slot| unsafe { init_work(slot, run) }),
            // SAFETY: As above.
            change_work <- Opaque::ffi_init(move |slot| unsafe {
                init_change_work(slot, run_change)
            }),
        })
    }

    /// The events that `work` belongs to.
    ///
    /// # Safety
    ///
    /// `work` is what the first function given to [`Events::new`] was called with.
    pub(super) unsafe fn from_work(work: *mut bindings::work_struct) -> *const Self {
        // SAFETY: By the requirements of this function.
        unsafe { crate::container_of!(Opaque::cast_from(work), Self, work) }
    }

    /// The events that `work` belongs to.
    ///
    /// # Safety
    ///
    /// `work` is what the second function given to [`Events::new`] was called with.
    pub(super) unsafe fn from_change_work(work: *mut bindings::work_struct) -> *const Self {
        // SAFETY: By the requirements of this function.
        unsafe { crate::container_of!(Opaque::cast_from(work), Self, change_work) }
    }

    /// Takes what is pending of queues.
    pub(super) fn take(&self) -> Pending {
        Pending(self.pending.xchg(0, Full))
    }

    /// Takes whether the configuration space changed.
    pub(super) fn take_change(&self) -> bool {
        self.changed.xchg(false, Full)
    }

    /// Makes the work item for queues run. Any context.
    pub(super) fn raise(&self, event: Event) {
        let mut old = self.pending.load(Relaxed);
        while let Err(now) = self.pending.cmpxchg(old, old | event as u32, Full) {
            old = now;
        }
        Self::queue(&self.work);
    }

    /// Makes the work item for changes of the configuration space run. Any context.
    pub(super) fn change(&self) {
        self.changed.xchg(true, Full);
        Self::queue(&self.change_work);
    }

    /// As [`change`](Self::change), if one was pending when its work item was cancelled.
    pub(super) fn resume(&self) {
        if self.changed.load(Relaxed) {
            Self::queue(&self.change_work);
        }
    }

    fn queue(work: &Opaque<bindings::work_struct>) {
        // SAFETY: The work item was initialised, and is cancelled before it is freed. The system's
        // workqueue always exists.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                work.get(),
            )
        };
    }

    /// Waits for the work item for changes, and keeps it from running. A change stays pending.
    /// Process context; may sleep.
    pub(super) fn cancel_change(&self) {
        // SAFETY: The work item was initialised.
        unsafe { bindings::cancel_work_sync(self.change_work.get()) };
    }

    /// Waits for the work items, and keeps them from running. A change stays pending; events of
    /// queues do not, as these have ended.
    pub(super) fn cancel(&self) {
        // The driver may wait for its device when it is told of a change, so that comes first.
        self.cancel_change();
        // SAFETY: The work item was initialised.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
        self.take();
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
