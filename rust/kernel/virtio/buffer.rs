// SPDX-License-Identifier: GPL-2.0

//! What can be posted to a virtqueue.

use super::chain::Chain;
use crate::prelude::*;
use core::ptr::NonNull;

/// An owner of memory that a device may access while it is in flight.
///
/// Implemented in the kernel crate only, so that drivers need no `unsafe`: [`DeviceBuffer`] for
/// bytes that the device writes, [`DriverBuffer`] for bytes that it reads, [`Pages`] for either,
/// [`Request`] for a header, data and a trailer, `()` for nothing.
///
/// # Safety
///
/// * The memory that [`lend`](Memory::lend) lists can be mapped for DMA, is initialised, and stays
///   valid and where it is until the owner is dropped or lends again, as long as the owner is not
///   moved itself. A list has exactly as many entries as it is said to have.
/// * Between `lend` and [`returned`](Memory::returned), or the owner being dropped, no reference to
///   the memory exists, apart from those that a user of the owner makes by its safe functions.
/// * [`writable_len`](Memory::writable_len) is the number of device-writable bytes that the last
///   `lend` listed.
///
/// [`DeviceBuffer`]: super::DeviceBuffer
/// [`DriverBuffer`]: super::DriverBuffer
/// [`Pages`]: super::Pages
/// [`Request`]: super::Request
pub unsafe trait Memory: Send + 'static {
    /// Prepares the memory for the device, and lists it.
    fn lend(&mut self, chain: &mut Chain<'_>);

    /// How many bytes the device may write.
    fn writable_len(&self) -> u32;

    /// The device is done, and says that it wrote `written` bytes, which can be any number: from
    /// here on, it is at most [`writable_len`](Memory::writable_len).
    fn returned(&mut self, written: u32);
}

// SAFETY: Nothing is lent.
unsafe impl Memory for () {
    #[inline]
    fn lend(&mut self, _chain: &mut Chain<'_>) {}

    #[inline]
    fn writable_len(&self) -> u32 {
        0
    }

    #[inline]
    fn returned(&mut self, _written: u32) {}
}

/// Something that can be moved into a virtqueue and out of it again: a box of [`Memory`].
///
/// # Safety
///
/// [`into_token`](Buffer::into_token) gives up ownership, does not move the [`Memory`], and returns
/// a pointer that [`from_token`](Buffer::from_token) turns back into the same owner.
pub unsafe trait Buffer: Send + 'static {
    /// What the buffer owns.
    type Memory: Memory;

    /// Gives up ownership. The token stands for the buffer while it is in flight.
    fn into_token(self) -> NonNull<c_void>;

    /// Takes ownership back.
    ///
    /// # Safety
    ///
    /// `token` comes from [`into_token`](Buffer::into_token) of the same type, and is used once.
    unsafe fn from_token(token: NonNull<c_void>) -> Self;

    /// The memory.
    fn memory(&mut self) -> &mut Self::Memory;

    /// A number that no other buffer has that exists at the same time.
    fn id(&self) -> usize;
}

// SAFETY: `KBox::into_raw` and `KBox::from_raw` are inverse, and leave what is in the box in its
// place.
unsafe impl<M: Memory> Buffer for KBox<M> {
    type Memory = M;

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
    fn memory(&mut self) -> &mut M {
        self
    }

    #[inline]
    fn id(&self) -> usize {
        core::ptr::from_ref::<M>(self).addr()
    }
}
