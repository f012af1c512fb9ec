// SPDX-License-Identifier: GPL-2.0

//! Posting buffers to a virtqueue and popping used ones.

use super::{
    buffer::{
        Buffer,
        Memory, //
    },
    chain::{
        Chain,
        ChainMemory, //
    }, //
};
use crate::{
    bindings,
    error::{
        code,
        to_result, //
    },
    prelude::*,
    types::NotThreadSafe, //
};
use core::{
    cell::Cell,
    marker::PhantomData,
    ptr::NonNull, //
};

/// What can go wrong with a queue or with a buffer in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The ring has too few free descriptors. Pop used buffers first.
    NoSpace,
    /// The buffer could not be mapped for DMA, or there was no memory for its descriptors.
    NoMemory,
    /// The buffer is empty, or needs more descriptors than the ring has in all.
    Shape,
    /// The device broke the rules of the ring, or was given up, and is not used any more.
    Broken,
    /// The queue is not live: before DRIVER_OK, while it is reset or frozen, or after removal.
    Dead,
    /// The device wrote less than it must.
    Malformed,
}

impl From<QueueError> for Error {
    fn from(e: QueueError) -> Self {
        match e {
            QueueError::NoSpace => code::ENOSPC,
            QueueError::NoMemory => code::ENOMEM,
            QueueError::Shape => code::EINVAL,
            QueueError::Broken => code::EIO,
            QueueError::Dead => code::ENODEV,
            QueueError::Malformed => code::EPROTO,
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

impl<B> From<PostError<B>> for Error {
    fn from(e: PostError<B>) -> Self {
        e.reason.into()
    }
}

/// A live `struct virtqueue`.
///
/// # Invariants
///
/// The pointer is valid until the adapter deletes the virtqueues, which it does only after every
/// queue is marked dead under its lock and an RCU grace period passed.
#[derive(Clone, Copy, PartialEq, Eq)]
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

    /// How many descriptors there are.
    pub(super) fn size(self) -> u32 {
        // SAFETY: The virtqueue exists by the type invariant; this does not change, but by a reset
        // of the queue, and any value is fine.
        unsafe { bindings::virtqueue_get_vring_size(self.as_ptr()) }
    }

    /// How many descriptors are free. Means something only while the queue is locked.
    #[inline(always)]
    pub(super) fn num_free(self) -> u32 {
        // SAFETY: The virtqueue exists by the type invariant; any value is fine.
        unsafe { (*self.as_ptr()).num_free }
    }

    /// Nobody may have been told that a queue is broken: there are no interrupts then.
    #[cold]
    #[inline(never)]
    fn why_refused(self, reason: QueueError) -> QueueError {
        if self.is_broken() {
            QueueError::Broken
        } else {
            reason
        }
    }

    #[cold]
    #[inline(never)]
    fn why_not_added(self, ret: c_int) -> QueueError {
        match to_result(ret) {
            Err(code::ENOSPC) => QueueError::NoSpace,
            // A packed ring answers `EIO` if it could not map the buffer.
            Err(code::EIO) if self.is_broken() => QueueError::Broken,
            _ => QueueError::NoMemory,
        }
    }

    #[inline]
    pub(super) fn is_broken(self) -> bool {
        // SAFETY: The virtqueue exists by the type invariant; the flag can be read at any time.
        unsafe { bindings::virtqueue_is_broken(self.as_ptr()) }
    }
}

/// What posting and popping need to know of a queue.
///
/// # Invariants
///
/// If `live` is `Some`, `size` and `indirect` are those of its ring.
pub(super) struct State {
    live: Option<RawQueue>,
    /// Why it is not live.
    why: QueueError,
    /// How many descriptors the ring has.
    size: u32,
    /// Whether a chain of any length takes one descriptor of the ring.
    indirect: bool,
    /// How many buffers came back used, modulo 2^32.
    used: Cell<u32>,
}

impl State {
    pub(super) fn dead() -> Self {
        // INVARIANT: It is not live.
        Self {
            live: None,
            why: QueueError::Dead,
            size: 0,
            indirect: false,
            used: Cell::new(0),
        }
    }

    /// Makes the queue live.
    pub(super) fn begin(&mut self, vq: RawQueue) {
        // SAFETY: The virtqueue exists by the invariant of its type, and so does its device, whose
        // features do not change any more.
        let features = unsafe { (*(*vq.as_ptr()).vdev).__bindgen_anon_1.features_array[0] };
        // INVARIANT: Just read.
        self.size = vq.size();
        self.indirect = features & (1 << bindings::VIRTIO_RING_F_INDIRECT_DESC) != 0;
        self.live = Some(vq);
    }

    /// The queue is not live any more.
    pub(super) fn end(&mut self, why: QueueError) {
        self.live = None;
        self.why = why;
    }

    #[inline(always)]
    pub(super) fn live(&self) -> Option<RawQueue> {
        self.live
    }

    /// Why it is not live; meaningless if it is.
    pub(super) fn why(&self) -> QueueError {
        self.why
    }

    #[inline(always)]
    pub(super) fn size(&self) -> u32 {
        self.size
    }
}

/// What has to be done when a queue is unlocked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// Notify the device: buffers were posted. The queue is live.
    Kick(RawQueue),
    /// Tell that the queue is broken.
    Broken,
}

/// Access to the ring of a locked queue, whatever its buffers are.
pub struct RawRing<'a> {
    state: &'a State,
    /// What is to be done once the lock is dropped.
    after: &'a mut After,
    /// Keeps the ring on the thread that holds the lock.
    _not_send: NotThreadSafe,
}

impl<'a> RawRing<'a> {
    /// # Safety
    ///
    /// For as long as the result exists, the caller holds the lock of the queue that `state`
    /// belongs to; `after` is what it does when it releases the lock.
    #[inline(always)]
    pub(super) unsafe fn new(state: &'a State, after: &'a mut After) -> Self {
        Self {
            state,
            after,
            _not_send: NotThreadSafe,
        }
    }

    #[inline(always)]
    pub(super) fn live(&self) -> Option<RawQueue> {
        self.state.live
    }

    /// How many descriptors the ring has; 0 if the queue is not live.
    #[inline(always)]
    pub(super) fn size(&self) -> u32 {
        self.state.live.map_or(0, |_| self.state.size)
    }

    /// See [`Ring::used`].
    #[inline(always)]
    pub(super) fn used(&self) -> u32 {
        self.state.used.get()
    }

    /// How many descriptors are not free; 0 if the queue is not live.
    pub(super) fn in_flight(&self) -> u32 {
        let in_flight = |vq: RawQueue| self.state.size.saturating_sub(vq.num_free());
        self.state.live.map_or(0, in_flight)
    }

    /// Takes the next used buffer: its token, and the length that the device reports, which is not
    /// checked.
    ///
    /// # Safety
    ///
    /// `vq` is what [`live`](Self::live) returned.
    #[inline(always)]
    pub(super) unsafe fn pop(&mut self, vq: RawQueue) -> Option<(NonNull<c_void>, u32)> {
        let mut len = 0;
        // SAFETY: The queue is live by the requirements of this function, and locked by those of
        // `new`.
        let token = unsafe {
            bindings::virtqueue_get_buf_ctx(vq.as_ptr(), &mut len, core::ptr::null_mut())
        };
        let token = NonNull::new(token)?;
        self.state.used.set(self.used().wrapping_add(1));
        Some((token, len))
    }
}

/// Access to the ring of a locked queue.
///
/// Exists only inside [`VirtQueue::with`](super::VirtQueue::with) and the callbacks of a
/// [`Handler`](super::Handler), that is, under the queue's lock with interrupts off: nothing here
/// sleeps.
#[repr(transparent)]
pub struct Ring<'a, B: Buffer> {
    raw: RawRing<'a>,
    _buffers: PhantomData<B>,
}

impl<'a, B: Buffer> Ring<'a, B> {
    /// A ring whose type is known.
    ///
    /// # Safety
    ///
    /// All buffers that were posted to the queue are of type `B`.
    #[inline(always)]
    pub(super) unsafe fn of<'r>(raw: &'r mut RawRing<'a>) -> &'r mut Self {
        // SAFETY: It is `repr(transparent)`.
        unsafe { &mut *core::ptr::from_mut(raw).cast() }
    }

    /// The buffer that a device is done with, which says that it wrote `len` bytes.
    ///
    /// # Safety
    ///
    /// `token` was made from a `B`, and its ring gave it back once.
    #[inline(always)]
    pub(super) unsafe fn returned(token: NonNull<c_void>, len: u32) -> B {
        // SAFETY: By the requirements of this function.
        let mut buffer = unsafe { B::from_token(token) };
        buffer.memory().returned(len);
        buffer
    }

    /// Posts `buffer`: the device may read and write its memory until it comes back.
    ///
    /// The device is notified when the queue's lock is dropped, once for all buffers posted until
    /// then.
    ///
    /// # Errors
    ///
    /// [`PostError`] holds the buffer and the [`QueueError`].
    ///
    /// C: `virtqueue_add_sgs()`. Virtio 1.3, sections 2.7.13 and 2.8.21.
    #[inline(always)]
    pub fn post(&mut self, buffer: B) -> Result<(), PostError<B>> {
        // SAFETY: What `lend` lists is what `Memory` promises.
        unsafe { self.post_with(buffer, |memory, chain| memory.lend(chain)) }
    }

    /// As [`post`](Self::post), but `lend` lists the memory.
    ///
    /// # Safety
    ///
    /// What it lists is as [`Memory`] promises of [`Memory::lend`].
    #[inline(always)]
    pub(super) unsafe fn post_with(
        &mut self,
        mut buffer: B,
        lend: impl FnOnce(&mut B::Memory, &mut Chain<'_>),
    ) -> Result<(), PostError<B>> {
        let Some(vq) = self.raw.state.live else {
            return Err(PostError {
                reason: self.raw.state.why,
                buffer,
            });
        };

        let mut memory = ChainMemory::new();
        let mut chain = Chain::new(&mut memory);
        lend(buffer.memory(), &mut chain);
        // Longer chains are not allowed, even where an indirect table could hold them, and
        // the core warns where there is none.
        let reason = match chain.segments() {
            Some(n) if n == 1 || n <= self.raw.state.size.into() => {
                // The core would find this out as well, and as a rule notify the device then: under
                // our lock.
                let free = u64::from(vq.num_free());
                if free >= n || (self.raw.state.indirect && free > 0) {
                    None
                } else {
                    Some(QueueError::NoSpace)
                }
            }
            _ => Some(QueueError::Shape),
        };
        if let Some(reason) = reason {
            return Err(self.refuse(vq.why_refused(reason), buffer));
        }
        let token = buffer.into_token();

        // SAFETY: The queue is live and locked by the requirements of `RawRing::new`. The core
        // copies the lists, which are valid by the invariants of `Chain`: the memory is where it
        // was, since the token is its owner. The core gives the token back once: from
        // `virtqueue_get_buf()`, `virtqueue_detach_unused_buf()` or the reset of the queue. Until
        // then nothing in the kernel touches the memory.
        let ret = unsafe { chain.add(vq, token) };
        if ret != 0 {
            // SAFETY: The core did not take the token.
            let buffer = unsafe { B::from_token(token) };
            return Err(self.refuse(vq.why_not_added(ret), buffer));
        }
        // INVARIANT: It is live, and locked.
        *self.raw.after = After::Kick(vq);
        Ok(())
    }

    #[inline(always)]
    fn refuse(&mut self, reason: QueueError, buffer: B) -> PostError<B> {
        if reason == QueueError::Broken {
            *self.raw.after = After::Broken;
        }
        PostError { reason, buffer }
    }

    /// Puts off to notify the device of what was posted: until the next post, or
    /// [`notify`](Ring::notify).
    ///
    /// For drivers that know that more will follow at once.
    #[inline(always)]
    pub fn put_off(&mut self) {
        if let After::Kick(_) = self.raw.after {
            *self.raw.after = After::Nothing;
        }
    }

    /// The device will be notified of what it was not notified of yet, when the lock is dropped.
    #[inline(always)]
    pub fn notify(&mut self) {
        if let (After::Nothing, Some(vq)) = (&self.raw.after, self.raw.live()) {
            // INVARIANT: It is live, and locked.
            *self.raw.after = After::Kick(vq);
        }
    }

    /// Takes the next used buffer, if there is one.
    ///
    /// The length that the device reported is clamped to what was posted, see
    /// [`Memory::returned`](super::Memory::returned). As a rule drivers need
    /// not pop: [`Handler::used`](super::Handler::used) gets the buffers.
    ///
    /// `None` means that there is none at the moment, or that the queue does not work, see
    /// [`Ring::error`].
    ///
    /// C: `virtqueue_get_buf()`. Virtio 1.3, sections 2.7.14 and 2.8.22.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<B> {
        let vq = self.raw.state.live?;
        // SAFETY: It is the virtqueue of this ring.
        let Some((token, len)) = (unsafe { self.raw.pop(vq) }) else {
            if vq.is_broken() {
                *self.raw.after = After::Broken;
            }
            return None;
        };
        // SAFETY: The core returns only tokens that were posted to this queue and did not come
        // back yet: an id from the device that does not stand for one breaks the ring instead. All
        // of them were made from `B` by the requirements of `of`.
        Some(unsafe { Self::returned(token, len) })
    }

    /// Why the queue does not work, if it does not.
    #[inline]
    pub fn error(&self) -> Option<QueueError> {
        match self.raw.state.live {
            None => Some(self.raw.state.why),
            Some(vq) if vq.is_broken() => Some(QueueError::Broken),
            Some(_) => None,
        }
    }

    /// How many descriptors the ring has; 0 if the queue is not live.
    #[inline]
    pub fn size(&self) -> u32 {
        self.raw.size()
    }

    /// How many descriptors are free; 0 if the queue is not live.
    #[inline(always)]
    pub fn free(&self) -> u32 {
        self.raw.state.live.map_or(0, RawQueue::num_free)
    }

    /// How many buffers came back used so far, modulo 2^32: whether the device does anything.
    #[inline(always)]
    pub fn used(&self) -> u32 {
        self.raw.used()
    }

    /// Whether a buffer of `descriptors` descriptors would fit now.
    ///
    /// With indirect descriptors, which need memory, [`post`](Ring::post) can still fail.
    pub fn fits(&self, descriptors: u32) -> bool {
        let needed = if self.raw.state.indirect {
            1
        } else {
            descriptors
        };
        (1..=self.size()).contains(&descriptors) && needed <= self.free()
    }
}
