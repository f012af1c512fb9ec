// SPDX-License-Identifier: GPL-2.0

//! The lock of a queue: a spinlock that saves and restores the interrupt flag.
//!
//! It is taken twice per request. [`SpinLockIrq`](crate::sync::SpinLockIrq) does the same job, and
//! also counts how often interrupts were disabled, which costs 14 instructions more (x86-64) than
//! what a C driver does.

use crate::{
    bindings,
    prelude::*,
    sync::lock::{
        Backend,
        Guard,
        Lock, //
    }, //
};

/// The backend of [`QueueLock`].
pub(super) struct IrqSave;

pub(super) type QueueLock<T> = Lock<T, IrqSave>;
pub(super) type QueueLockGuard<'a, T> = Guard<'a, T, IrqSave>;

// SAFETY: The kernel's `spinlock_t` excludes all others while it is held. `relock` is the default
// one.
unsafe impl Backend for IrqSave {
    type State = bindings::spinlock_t;
    /// The interrupt flag as it was.
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline(always)]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::spin_lock_irqsave(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: By the requirements of this function; `flags` is valid for writes.
        unsafe { bindings::spin_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    #[inline(always)]
    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: By the requirements of this function, and `flags` comes from the lock operation.
        unsafe { bindings::spin_unlock_irqrestore(ptr, *flags) }
    }

    #[inline(always)]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: By the requirements of this function.
            unsafe { bindings::spin_assert_is_held(ptr) }
        }
    }
}

/// The interrupt flag as it was before the lock was taken.
#[inline(always)]
pub(super) fn flags<T: ?Sized>(guard: &QueueLockGuard<'_, T>) -> c_ulong {
    guard.state
}
