// SPDX-License-Identifier: GPL-2.0

//! The descriptor chain of one buffer, while it is being posted.

use super::ring::RawQueue;
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};

/// A scatterlist of one entry. `start` is in the linear mapping, as memory from `kmalloc()` is.
pub(super) fn list_of_one(start: NonNull<u8>, len: u32) -> bindings::scatterlist {
    let mut list = bindings::scatterlist::default();
    // SAFETY: `list` is valid for writes, and `start` is an address that can be converted.
    unsafe { bindings::sg_init_one(&mut list, start.as_ptr().cast(), len) };
    list
}

/// How many scatterlists, of any length, a chain can have.
const MAX_LISTS: usize = 6;

/// Where pointers to the lists of a [`Chain`] are kept, on the stack of who posts. Nothing of it is
/// initialised: that would cost more than the rest.
pub(super) struct ChainMemory([MaybeUninit<*mut bindings::scatterlist>; MAX_LISTS]);

impl ChainMemory {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_LISTS])
    }
}

/// The memory of one buffer: what the device may read, then what it may write.
///
/// [`Memory::lend`](super::Memory::lend) fills it in. Nobody else gets at one.
///
/// # Invariants
///
/// * What is listed fulfils the requirements of [`Memory`](super::Memory), as its implementer
///   promised.
/// * The first `count` of `memory` are initialised, each with a scatterlist that
///   has an end mark; those lists have `segments` entries in all.
pub struct Chain<'a> {
    memory: &'a mut ChainMemory,
    /// How many lists there are.
    count: usize,
    /// How many of them the device may read; these come first.
    readable: usize,
    /// More than fit into a `u32` cannot be posted.
    segments: u64,
    /// There were too many lists, or they were in the wrong order.
    bad: bool,
}

impl<'a> Chain<'a> {
    #[inline(always)]
    pub(super) fn new(memory: &'a mut ChainMemory) -> Self {
        // INVARIANT: Nothing is listed.
        Self {
            memory,
            count: 0,
            readable: 0,
            segments: 0,
            bad: false,
        }
    }

    /// Lists a scatterlist of `segments` entries that the device may read.
    #[inline(always)]
    pub(crate) fn readable(&mut self, list: NonNull<bindings::scatterlist>, segments: u32) {
        self.list(list, segments, false);
    }

    /// Lists a scatterlist of `segments` entries that the device may write.
    #[inline(always)]
    pub(crate) fn writable(&mut self, list: NonNull<bindings::scatterlist>, segments: u32) {
        self.list(list, segments, true);
    }

    /// Lists a scatterlist of `segments` entries that the device may write or not.
    #[inline(always)]
    pub(super) fn list(
        &mut self,
        list: NonNull<bindings::scatterlist>,
        segments: u32,
        writable: bool,
    ) {
        if segments == 0 {
            return;
        }
        let Some(slot) = self.memory.0.get_mut(self.count) else {
            self.bad = true;
            return;
        };
        // INVARIANT: This is the one that comes next.
        slot.write(list.as_ptr());
        // There are at most `MAX_LISTS`, so this does not overflow.
        self.segments = self.segments.wrapping_add(segments.into());
        if !writable {
            self.bad |= self.readable != self.count;
            self.readable = self.readable.wrapping_add(1);
        }
        // There are at most `MAX_LISTS`.
        self.count = self.count.wrapping_add(1);
    }

    /// How many descriptors the chain needs; `None` if it is not one that can be posted.
    #[inline(always)]
    pub(super) fn segments(&self) -> Option<u64> {
        (self.segments > 0 && !self.bad).then_some(self.segments)
    }

    /// Adds the chain to the ring; returns 0 or an error code of C.
    ///
    /// # Safety
    ///
    /// The caller has exclusive access to the queue, which exists; [`Chain::segments`] is `Some`,
    /// and no more than the ring has descriptors.
    #[inline(always)]
    pub(super) unsafe fn add(self, vq: RawQueue, token: NonNull<c_void>) -> c_int {
        let (vq, data, gfp) = (vq.as_ptr(), token.as_ptr(), bindings::GFP_ATOMIC);
        // CAST: The ring has as many descriptors at least.
        let segments = self.segments as u32;
        let lists: *mut *mut bindings::scatterlist = self.memory.0.as_mut_ptr().cast();

        // As in C, one list is added by the shorter way.
        match (self.readable, self.count.wrapping_sub(self.readable)) {
            // SAFETY: By the requirements of this function; by the type invariant there is a list,
            // with that many entries.
            (0, 1) => unsafe { bindings::virtqueue_add_inbuf(vq, *lists, segments, data, gfp) },
            // SAFETY: As above.
            (1, 0) => unsafe { bindings::virtqueue_add_outbuf(vq, *lists, segments, data, gfp) },
            // SAFETY: As above, for as many lists.
            (readable, writable) => unsafe {
                bindings::virtqueue_add_sgs(
                    vq,
                    lists,
                    readable as c_uint,
                    writable as c_uint,
                    data,
                    gfp,
                )
            },
        }
    }
}
