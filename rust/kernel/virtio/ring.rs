// SPDX-License-Identifier: GPL-2.0

//! Posting buffers to a virtqueue and popping used ones.

use super::buffer::Buffer;
use crate::{
    bindings,
    error::{
        code,
        to_result, //
    },
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};

/// Why a buffer could not be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The ring is full. Pop used buffers first.
    NoSpace,
    /// The buffer could not be mapped for DMA, or there was no memory for its descriptors.
    NoMemory,
    /// The device broke the rules of the ring (or was unplugged), and the core stopped using it.
    Broken,
    /// The queue is not live: before DRIVER_OK, while frozen, or after removal.
    Dead,
}

impl From<QueueError> for Error {
    fn from(e: QueueError) -> Self {
        match e {
            QueueError::NoSpace => code::ENOSPC,
            QueueError::NoMemory => code::ENOMEM,
            QueueError::Broken => code::EIO,
            QueueError::Dead => code::ENODEV,
        }
    }
}

/// A buffer that was not posted, and why.
pub struct PostError<B> {
    /// The reason.
    pub reason: QueueError,
    /// The buffer, unchanged but for its content, which may have been wiped.
    pub buffer: B,
}

/// A live `struct virtqueue`.
///
/// # Invariants
///
/// The pointer is valid until the adapter deletes the virtqueues, which it does only after every
/// queue is marked dead under its lock and an RCU grace period passed.
#[derive(Clone, Copy)]
pub(super) struct RawQueue(NonNull<bindings::virtqueue>);

// SAFETY: The functions of a virtqueue may be called from any thread, as long as they are
// serialised.
unsafe impl Send for RawQueue {}

impl RawQueue {
    /// # Safety
    ///
    /// The caller guarantees the invariants of the type.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self(vq)
    }

    #[inline]
    pub(super) fn as_ptr(self) -> *mut bindings::virtqueue {
        self.0.as_ptr()
    }
}

/// Access to the ring of a locked queue.
///
/// Exists only inside a [`QueueGuard`](super::QueueGuard) or a [`Handler`](super::Handler)
/// callback, that is, under the queue's lock with interrupts off: nothing here sleeps.
pub struct Ring<'a, B: Buffer> {
    /// `None` if the queue is dead.
    vq: Option<RawQueue>,
    /// Set when a buffer was posted, so that the device is notified once the lock is dropped.
    posted: &'a mut bool,
    /// Also keeps the ring on the thread that holds the lock.
    _buffers: PhantomData<*mut B>,
}

impl<'a, B: Buffer> Ring<'a, B> {
    /// # Safety
    ///
    /// For as long as the result exists, the caller holds the lock of the queue that `vq` belongs
    /// to and the queue stays live; all buffers that were posted to `vq` are of type `B`.
    #[inline]
    pub(super) unsafe fn new(vq: Option<RawQueue>, posted: &'a mut bool) -> Self {
        Self {
            vq,
            posted,
            _buffers: PhantomData,
        }
    }

    /// Posts `buffer` for the device to write to.
    ///
    /// The device is notified when the queue's lock is dropped, once for all buffers posted until
    /// then.
    ///
    /// # Errors
    ///
    /// [`PostError`] holds the buffer and the [`QueueError`].
    ///
    /// C: `virtqueue_add_inbuf()`. Virtio 1.3, section 2.7.13.
    #[inline]
    pub fn post(&mut self, mut buffer: B) -> Result<(), PostError<B>> {
        let Some(vq) = self.vq else {
            return Err(PostError {
                reason: QueueError::Dead,
                buffer,
            });
        };

        let (memory, len) = buffer.device_writable();
        let token = buffer.into_token();
        let mut sg = MaybeUninit::<bindings::scatterlist>::uninit();

        // SAFETY: `sg` is valid for writes and becomes a list of one entry. By the requirements of
        // `Buffer`, the memory is in the linear mapping and `len` bytes long.
        unsafe { bindings::sg_init_one(sg.as_mut_ptr(), memory.as_ptr().cast(), len) };

        // SAFETY: The queue is live and locked by the requirements of `Ring::new`; `sg` was
        // initialised above; `token` is not null. The core copies the entry, and gives the token
        // back once: from `virtqueue_get_buf()` or from `virtqueue_detach_unused_buf()`. Until
        // then nothing touches the memory, since its owner is the token.
        let ret = unsafe {
            bindings::virtqueue_add_inbuf(
                vq.as_ptr(),
                sg.as_mut_ptr(),
                1,
                token.as_ptr(),
                bindings::GFP_ATOMIC,
            )
        };
        if let Err(e) = to_result(ret) {
            return Err(PostError {
                reason: match e {
                    code::ENOSPC => QueueError::NoSpace,
                    // SAFETY: The queue is live.
                    code::EIO if unsafe { bindings::virtqueue_is_broken(vq.as_ptr()) } => {
                        QueueError::Broken
                    }
                    // A packed ring answers `EIO` if it could not map the buffer.
                    _ => QueueError::NoMemory,
                },
                // SAFETY: The core did not take the token.
                buffer: unsafe { B::from_token(token) },
            });
        }
        *self.posted = true;
        Ok(())
    }

    /// Takes the next used buffer, if there is one.
    ///
    /// The length that the device reported is clamped to what was posted. `None` means that there
    /// is none at the moment, or that the ring is dead or broken, see [`Ring::error`].
    ///
    /// C: `virtqueue_get_buf()`. Virtio 1.3, section 2.7.14.
    #[inline]
    pub fn pop(&mut self) -> Option<B> {
        let vq = self.vq?;
        let mut len = 0;

        // SAFETY: The queue is live and locked by the requirements of `Ring::new`.
        let token = unsafe { bindings::virtqueue_get_buf(vq.as_ptr(), &mut len) };
        let token = NonNull::new(token)?;

        // SAFETY: The core returns only tokens that were posted to this queue and did not come
        // back yet: an id from the device that does not stand for one breaks the ring instead. All
        // of them were made from `B` by the requirements of `Ring::new`.
        let mut buffer = unsafe { B::from_token(token) };
        buffer.set_written(len.min(buffer.posted()));
        Some(buffer)
    }

    /// Why the ring does not work, if it does not.
    #[inline]
    pub fn error(&self) -> Option<QueueError> {
        match self.vq {
            None => Some(QueueError::Dead),
            // SAFETY: The queue is live by the requirements of `Ring::new`.
            Some(vq) if unsafe { bindings::virtqueue_is_broken(vq.as_ptr()) } => {
                Some(QueueError::Broken)
            }
            Some(_) => None,
        }
    }
}
