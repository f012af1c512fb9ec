// SPDX-License-Identifier: GPL-2.0

//! Requests: a header for the device, data, and a trailer from the device.

use super::{
    buffer::Memory,
    chain::{
        list_of_one,
        Chain, //
    },
    ring::QueueError,
    untrusted::Untrusted, //
};
use crate::{
    bindings,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    types::Opaque, //
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};

/// Keeps what the device writes on cache lines of its own, where DMA is not coherent with caches.
#[cfg_attr(
    not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "s390x")),
    repr(align(128))
)]
struct DeviceWritten<T>(Opaque<T>);

/// A request as most device types know it: a `header` that the device reads, `data` that it reads
/// or writes, and a `trailer` (a status, an answer, a response) that it writes.
///
/// With `VARIES`, it is said for each request how much of the trailer the device can write.
///
/// Any of the three can be `()`. The driver keeps it in a [`KBox`], so that it is memory fit for
/// DMA: `KBox<Request<..>>` is a [`Buffer`](super::Buffer).
///
/// Before each post, the trailer is set to `preset`. A device that says that it is done and wrote
/// nothing leaves the preset there, never what an earlier request got: choose one that is no
/// success.
///
/// # Examples
///
/// ```
/// use kernel::virtio::{
///     DeviceBuffer,
///     Request, //
/// };
///
/// // Eight bytes of command, 512 bytes of answer, a status byte.
/// let command = [1_u8, 0, 0, 0, 0, 0, 0, 0];
/// let request = KBox::new(
///     Request::new(command, DeviceBuffer::new(512, GFP_KERNEL)?, 0xff_u8),
///     GFP_KERNEL,
/// )?;
/// // No device wrote to it yet.
/// assert!(request.trailer().is_err());
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// `trailer_len` is at most the size of the trailer, and just that unless `VARIES`, where it is not
/// 0 if there is a trailer. If `listed_at`
/// is the address of the request, `header_list` and `trailer_list` have one entry each: the header,
/// and the last `trailer_len` bytes of the trailer.
pub struct Request<H, D, T, const VARIES: bool = false> {
    header: H,
    data: D,
    preset: T,
    header_list: bindings::scatterlist,
    trailer_list: bindings::scatterlist,
    listed_at: usize,
    trailer_len: u32,
    /// How many bytes the device says it wrote to data and trailer.
    written: u32,
    /// Whether that is all of both.
    complete: bool,
    trailer: DeviceWritten<T>,
}

// SAFETY: The request owns its parts, which can be sent.
unsafe impl<H: Send, D: Send, T: Send, const V: bool> Send for Request<H, D, T, V> {}

impl<H, D, T> Request<H, D, T>
where
    H: AsBytes + Send + 'static,
    D: Memory,
    T: AsBytes + FromBytes + Copy + Send + 'static,
{
    /// Puts a request together.
    pub fn new(header: H, data: D, preset: T) -> Self {
        Self::with(header, data, preset)
    }
}

impl<H, D, T> Request<H, D, T, true>
where
    H: AsBytes + Send + 'static,
    D: Memory,
    T: AsBytes + FromBytes + Copy + Send + 'static,
{
    /// Puts a request together of which the device can write only the last `len` bytes of the
    /// trailer, see [`set_trailer_len`](Self::set_trailer_len).
    pub fn with_trailer_len(header: H, data: D, preset: T, len: usize) -> Self {
        let mut request = Self::with(header, data, preset);
        request.set_trailer_len(len);
        request
    }

    /// From the next post on, lets the device write only the last `len` bytes of the trailer, at
    /// least one, or all of it if it is shorter: for device types whose answers end alike and start
    /// differently.
    ///
    /// The bytes before that keep what was preset.
    pub fn set_trailer_len(&mut self, len: usize) {
        // CAST: It is at most the size of the trailer, which fits.
        let len = len.max(1).min(size_of::<T>()) as u32;
        if len != self.trailer_len {
            // INVARIANT: It is listed anew.
            (self.trailer_len, self.listed_at) = (len, 0);
        }
    }
}

impl<H, D, T, const VARIES: bool> Request<H, D, T, VARIES>
where
    H: AsBytes + Send + 'static,
    D: Memory,
    T: AsBytes + FromBytes + Copy + Send + 'static,
{
    const TRAILER_LEN: u32 = {
        assert!(size_of::<H>() <= u32::MAX as usize && size_of::<T>() <= u32::MAX as usize);
        size_of::<T>() as u32
    };

    fn with(header: H, data: D, preset: T) -> Self {
        Self {
            header,
            data,
            preset,
            header_list: Default::default(),
            trailer_list: Default::default(),
            // INVARIANT: Nothing is there.
            listed_at: 0,
            trailer_len: Self::TRAILER_LEN,
            written: 0,
            complete: false,
            trailer: DeviceWritten(Opaque::new(preset)),
        }
    }

    /// Lists header and trailer where they are now: once, as a rule, in the box that the driver put
    /// the request into.
    #[cold]
    #[inline(never)]
    fn list(&mut self) {
        // INVARIANT: This is what the lists are to be.
        self.listed_at = core::ptr::from_ref(self).addr();
        if size_of::<H>() > 0 {
            // CAST: `TRAILER_LEN` checks that both sizes fit.
            self.header_list =
                list_of_one(NonNull::from(&self.header).cast(), size_of::<H>() as u32);
        }
        if self.lent_trailer_len() > 0 {
            let skipped = (Self::TRAILER_LEN - self.lent_trailer_len()) as usize;
            // SAFETY: By the type invariant, that is inside of the trailer, which is not at null.
            let start =
                unsafe { NonNull::new_unchecked(self.trailer.0.get().cast::<u8>().add(skipped)) };
            self.trailer_list = list_of_one(start, self.lent_trailer_len());
        }
    }

    #[inline(always)]
    fn lent_trailer_len(&self) -> u32 {
        if VARIES {
            self.trailer_len
        } else {
            Self::TRAILER_LEN
        }
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &H {
        &self.header
    }

    /// The header, to be changed before the next post.
    #[inline]
    pub fn header_mut(&mut self) -> &mut H {
        &mut self.header
    }

    /// The data.
    #[inline]
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The data, to be read after or changed before a post.
    #[inline]
    pub fn data_mut(&mut self) -> &mut D {
        &mut self.data
    }

    /// How many bytes the device says it wrote to data and trailer, never more than there are.
    #[inline]
    pub fn written(&self) -> u32 {
        self.written
    }

    /// The trailer, if the device says that it wrote all of the data and all of the trailer.
    ///
    /// # Errors
    ///
    /// [`QueueError::Malformed`] if it says that it wrote less.
    #[inline]
    pub fn trailer(&self) -> Result<Untrusted<T>, QueueError> {
        if self.complete {
            Ok(self.trailer_of_any_length())
        } else {
            Err(QueueError::Malformed)
        }
    }

    /// The trailer, whatever length the device reported: where the device wrote nothing, this is
    /// the preset.
    ///
    /// For devices whose lengths are known to be wrong, as those of many legacy devices, and for
    /// device types that allow data to be short while the trailer is complete.
    #[inline]
    pub fn trailer_of_any_length(&self) -> Untrusted<T> {
        // SAFETY: The trailer is always initialised, and any bytes are a `T`. The device may still
        // write to it; the read is volatile, and takes one copy.
        Untrusted::new(unsafe { self.trailer.0.get().read_volatile() })
    }

    /// The last byte of the trailer, whatever length the device reported: where some device types
    /// have a status.
    #[inline]
    pub fn trailer_end(&self) -> Untrusted<u8> {
        const { assert!(size_of::<T>() > 0) };
        // SAFETY: As above; that is inside of the trailer.
        Untrusted::new(unsafe {
            let start = self.trailer.0.get().cast::<u8>();
            start.add(size_of::<T>() - 1).read_volatile()
        })
    }
}

// SAFETY: Header and trailer are part of this object, in memory that can be mapped as long as the
// object is in a `KBox`, which is the only thing that makes a `Buffer` of it. They move only with
// the object. `AsBytes` means that all bytes of both are initialised. No reference to the trailer
// is ever made; one to the header needs one to this object. The data is `Memory` itself.
unsafe impl<H, D, T, const VARIES: bool> Memory for Request<H, D, T, VARIES>
where
    H: AsBytes + Send + 'static,
    D: Memory,
    T: AsBytes + FromBytes + Copy + Send + 'static,
{
    #[inline(always)]
    fn lend(&mut self, chain: &mut Chain<'_>) {
        self.lend_with(chain, D::lend);
    }

    #[inline]
    fn writable_len(&self) -> u32 {
        self.data
            .writable_len()
            .saturating_add(self.lent_trailer_len())
    }

    #[inline]
    fn returned(&mut self, written: u32) {
        let writable = self.writable_len();
        self.complete = written >= writable;
        self.written = written.min(writable);
        self.data.returned(written);
    }
}

impl<H, D, T, const VARIES: bool> Request<H, D, T, VARIES>
where
    H: AsBytes + Send + 'static,
    D: Memory,
    T: AsBytes + FromBytes + Copy + Send + 'static,
{
    /// As [`Memory::lend`], but `data` lists the data.
    #[inline(always)]
    pub(super) fn lend_with(
        &mut self,
        chain: &mut Chain<'_>,
        data: impl FnOnce(&mut D, &mut Chain<'_>),
    ) {
        self.complete = false;
        // SAFETY: The pointer is valid for writes, and the device does not own the request.
        unsafe { self.trailer.0.get().write(self.preset) };

        if self.listed_at != core::ptr::from_ref(self).addr() {
            self.list();
        }
        let has_header = u32::from(size_of::<H>() > 0);
        let has_trailer = u32::from(size_of::<T>() > 0);
        chain.readable((&mut self.header_list).into(), has_header);
        data(&mut self.data, chain);
        chain.writable((&mut self.trailer_list).into(), has_trailer);
    }
}
