// SPDX-License-Identifier: GPL-2.0

//! Bytes that a device reads or writes.

use super::{
    buffer::Memory,
    chain::{
        list_of_one,
        Chain, //
    }, //
};
use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    prelude::*, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

/// Memory owned by a driver, for data that a device writes.
///
/// Only the bytes that the device says it wrote can be read, each of them once:
/// [`take`](DeviceBuffer::take) copies bytes out and wipes them. Posting wipes the rest, so a
/// device that claims to have written more than it did gives away zeros, never earlier content,
/// and where DMA is bounced the device side sees zeros as well.
///
/// No Rust reference to the memory is ever made: a device without an IOMMU in front of it can
/// keep writing after it said that it was done.
///
/// # Invariants
///
/// * `mem` is the start of a [`KVec<u8>`] of length and capacity `capacity`, all of it
///   initialised, that this object owns. `capacity` is not 0.
/// * `taken <= written <= asked <= capacity`, and `asked` is not 0.
/// * Nothing was posted or written behind the first `dirty` bytes since they were wiped, and
///   `written <= dirty <= capacity`.
pub struct DeviceBuffer {
    mem: NonNull<u8>,
    /// A list of one entry: the first `asked` bytes.
    list: bindings::scatterlist,
    capacity: u32,
    asked: u32,
    written: u32,
    taken: u32,
    dirty: u32,
}

// SAFETY: The object owns its memory, which can be freed from any thread.
unsafe impl Send for DeviceBuffer {}

impl DeviceBuffer {
    /// Allocates a zeroed buffer of `capacity` bytes (at least 1), which is what it will ask for
    /// unless [`set_asked`](DeviceBuffer::set_asked) says otherwise.
    ///
    /// May sleep if `flags` allow it. The memory comes from `kmalloc()`, shares no cache line with
    /// anything else that matters for DMA, and is never on the stack or in vmalloc space.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory.
    pub fn new(capacity: u32, flags: Flags) -> Result<Self, AllocError> {
        let capacity = capacity.max(1);
        let mut memory = ManuallyDrop::new(KVec::<u8>::zeroed(capacity as usize, flags)?);

        // SAFETY: A vector that holds at least one byte has a non-null pointer.
        let mem = unsafe { NonNull::new_unchecked(memory.as_mut_ptr()) };

        // INVARIANT: `mem` and `capacity` describe the vector, which nobody else owns any more;
        // `zeroed()` initialised it, and the counters are in order.
        Ok(Self {
            mem,
            list: list_of_one(mem, capacity),
            capacity,
            asked: capacity,
            written: 0,
            taken: 0,
            dirty: 0,
        })
    }

    /// Sets how many bytes the next post offers to the device, limited to 1..=capacity.
    ///
    /// Bytes that were not taken yet are given up.
    pub fn set_asked(&mut self, bytes: u32) {
        self.wipe();
        // INVARIANT: `wipe` set `taken` and `written` to 0.
        self.asked = bytes.clamp(1, self.capacity);
        self.list.length = self.asked;
    }

    /// How many bytes the next post offers, or the last one offered.
    #[inline]
    pub fn asked(&self) -> u32 {
        self.asked
    }

    /// How many bytes the device said it wrote, at most what was asked.
    #[inline]
    pub fn written(&self) -> u32 {
        self.written
    }

    /// Moves bytes into `dst` and wipes them here; returns how many.
    ///
    /// Fewer than `dst.len()` are returned when the buffer ends, 0 when it is empty.
    pub fn take(&mut self, dst: &mut [u8]) -> usize {
        let left = (self.written - self.taken) as usize;
        let count = left.min(dst.len());

        // SAFETY: By the type invariant, `taken + count <= written <= capacity`, so the source is
        // inside the memory that this object owns. `dst` is a Rust slice, which cannot overlap with
        // memory that no Rust reference points to. The device may still write to the source; then
        // `dst` gets some mixture of bytes, which for payload is as good as any other.
        unsafe {
            let src = self.mem.as_ptr().add(self.taken as usize);
            core::ptr::copy_nonoverlapping(src, dst.as_mut_ptr(), count);
        }
        self.zero(self.taken, count);
        // INVARIANT: `count` is at most `written - taken`. It fits, since `written` is a `u32`.
        self.taken += count as u32;
        count
    }

    /// Wipes everything that was offered to the device, and empties the buffer.
    pub fn wipe(&mut self) {
        // INVARIANT: What `dirty` stands for is wiped; the other counters are 0.
        self.zero(0, self.dirty as usize);
        self.dirty = 0;
        self.written = 0;
        self.taken = 0;
    }

    fn zero(&mut self, from: u32, count: usize) {
        debug_assert!(from as usize + count <= self.capacity as usize);
        // SAFETY: All callers pass a range that ends at `written` or `dirty` at most, which by the
        // type invariant is inside the memory that this object owns.
        //
        // `memzero_explicit()` is a C function, so the write is not optimised out when the memory
        // is freed next.
        unsafe { bindings::memzero_explicit(self.mem.as_ptr().add(from as usize).cast(), count) };
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        self.wipe();
        // SAFETY: By the type invariant, these are the parts of a vector that this object owns.
        drop(unsafe {
            KVec::from_raw_parts(
                self.mem.as_ptr(),
                self.capacity as usize,
                self.capacity as usize,
            )
        });
    }
}

// SAFETY: The memory is a `kmalloc()` allocation of at least `asked` initialised bytes, hence
// contiguous and mappable. It lives as long as this object, and no reference to it is made.
unsafe impl Memory for DeviceBuffer {
    #[inline(always)]
    fn lend(&mut self, chain: &mut Chain<'_>) {
        self.wipe();
        // INVARIANT: `asked` is at most `capacity`.
        self.dirty = self.asked;
        chain.writable((&mut self.list).into(), 1);
    }

    #[inline]
    fn writable_len(&self) -> u32 {
        self.asked
    }

    #[inline]
    fn returned(&mut self, written: u32) {
        // INVARIANT: Nothing was taken since `lend`, and `written` is limited here too.
        self.taken = 0;
        self.written = written.min(self.dirty);
    }
}

/// Bytes owned by a driver that a device reads.
///
/// # Invariants
///
/// There are at most `u32::MAX` bytes. If there are any, `list` has one entry: all of them.
pub struct DriverBuffer {
    bytes: KVec<u8>,
    list: bindings::scatterlist,
}

// SAFETY: The list points to the bytes, which this object owns; both can be used from any thread.
unsafe impl Send for DriverBuffer {}

impl DriverBuffer {
    /// Takes over bytes, at most `u32::MAX`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are more.
    pub fn new(mut bytes: KVec<u8>) -> Result<Self> {
        let len = u32::try_from(bytes.len()).map_err(|_| EINVAL)?;
        let list = match NonNull::new(bytes.as_mut_ptr()) {
            Some(start) if len > 0 => list_of_one(start, len),
            _ => Default::default(),
        };
        // INVARIANT: Just checked. The vector is not changed any more, so the bytes stay in place.
        Ok(Self { bytes, list })
    }

    /// `len` bytes, all zero.
    ///
    /// May sleep if `flags` allow it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are more than `u32::MAX`, `ENOMEM`.
    pub fn zeroed(len: usize, flags: Flags) -> Result<Self> {
        Self::new(KVec::from_elem(0, len, flags)?)
    }

    /// Copies a slice, which can be anywhere: on the stack, in a `static`, in a module.
    ///
    /// May sleep if `flags` allow it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is too long, `ENOMEM`.
    pub fn copy_from(bytes: &[u8], flags: Flags) -> Result<Self> {
        let mut copy = KVec::with_capacity(bytes.len(), flags)?;
        copy.extend_from_slice(bytes, flags)?;
        Self::new(copy)
    }

    /// The scatterlist, and how many entries it has.
    #[inline(always)]
    pub(super) fn list(&mut self) -> (NonNull<bindings::scatterlist>, u32) {
        ((&mut self.list).into(), u32::from(!self.bytes.is_empty()))
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to be changed before the next post.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

// SAFETY: The memory is the content of a vector, a `kmalloc()` allocation, which is not moved while
// this object exists. References to it need one to this object.
unsafe impl Memory for DriverBuffer {
    #[inline(always)]
    fn lend(&mut self, chain: &mut Chain<'_>) {
        let (list, count) = self.list();
        chain.readable(list, count);
    }

    #[inline]
    fn writable_len(&self) -> u32 {
        0
    }

    #[inline]
    fn returned(&mut self, _written: u32) {}
}
