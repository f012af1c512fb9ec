// SPDX-License-Identifier: GPL-2.0

//! Memory that is lent to a device.

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

/// An owner of memory that can be moved into a virtqueue and out of it again.
///
/// Today a buffer is one device-writable descriptor. Implementations live in this module, so that
/// drivers need no `unsafe`.
///
/// # Safety
///
/// * [`into_token`](Buffer::into_token) gives up ownership and returns a pointer that
///   [`from_token`](Buffer::from_token) turns back into the same owner.
/// * The memory described by [`device_writable`](Buffer::device_writable) is physically contiguous,
///   can be mapped for DMA, stays valid until the owner is dropped, and is neither moved nor
///   referenced by Rust references while the owner is a token. All of it is initialised.
/// * [`posted`](Buffer::posted) is the length that the last call to `device_writable` returned.
pub unsafe trait Buffer: Send + 'static {
    /// Gives up ownership. The token stands for the buffer while it is in flight.
    fn into_token(self) -> NonNull<c_void>;

    /// Takes ownership back.
    ///
    /// # Safety
    ///
    /// `token` comes from [`into_token`](Buffer::into_token) of the same type, and is used once.
    unsafe fn from_token(token: NonNull<c_void>) -> Self;

    /// Prepares the memory for the device; returns its address and its length in bytes (not 0).
    fn device_writable(&mut self) -> (NonNull<u8>, u32);

    /// The number of bytes that the device was allowed to write.
    fn posted(&self) -> u32;

    /// Tells the buffer how many bytes the device says it wrote, at most
    /// [`posted`](Buffer::posted).
    fn set_written(&mut self, written: u32);
}

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
    pub fn new(capacity: u32, flags: Flags) -> Result<KBox<Self>, AllocError> {
        let capacity = capacity.max(1);
        let mut memory = ManuallyDrop::new(KVec::<u8>::zeroed(capacity as usize, flags)?);
        let boxed = KBox::new_uninit(flags);
        let boxed = match boxed {
            Ok(boxed) => boxed,
            Err(e) => {
                ManuallyDrop::into_inner(memory);
                return Err(e);
            }
        };

        // SAFETY: A vector that holds at least one byte has a non-null pointer.
        let mem = unsafe { NonNull::new_unchecked(memory.as_mut_ptr()) };

        // INVARIANT: `mem` and `capacity` describe the vector, which nobody else owns any more;
        // `zeroed()` initialised it, and the counters are in order.
        Ok(KBox::write(
            boxed,
            Self {
                mem,
                capacity,
                asked: capacity,
                written: 0,
                taken: 0,
                dirty: 0,
            },
        ))
    }

    /// Sets how many bytes the next post offers to the device, limited to 1..=capacity.
    ///
    /// Bytes that were not taken yet are given up.
    pub fn set_asked(&mut self, bytes: u32) {
        self.wipe();
        // INVARIANT: `wipe` set `taken` and `written` to 0.
        self.asked = bytes.clamp(1, self.capacity);
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

// SAFETY: `KBox::into_raw` and `KBox::from_raw` are inverse. The memory is a `kmalloc()` allocation
// of at least `asked` initialised bytes, hence contiguous and mappable; it moves with the pointer,
// not with the box, and `DeviceBuffer` makes no reference to it.
unsafe impl Buffer for KBox<DeviceBuffer> {
    #[inline]
    fn into_token(self) -> NonNull<c_void> {
        // SAFETY: The pointer of a box is not null.
        unsafe { NonNull::new_unchecked(KBox::into_raw(self).cast()) }
    }

    #[inline]
    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the requirements of this function, `token` comes from `KBox::into_raw` of
        // this type, and nobody else uses it.
        unsafe { KBox::from_raw(token.as_ptr().cast()) }
    }

    #[inline]
    fn device_writable(&mut self) -> (NonNull<u8>, u32) {
        self.wipe();
        // INVARIANT: `asked` is at most `capacity`.
        self.dirty = self.asked;
        (self.mem, self.asked)
    }

    #[inline]
    fn posted(&self) -> u32 {
        self.asked
    }

    #[inline]
    fn set_written(&mut self, written: u32) {
        // INVARIANT: Nothing was taken since `device_writable`, and `written` is limited here too.
        self.taken = 0;
        self.written = written.min(self.dirty);
    }
}
