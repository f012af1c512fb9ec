// SPDX-License-Identifier: GPL-2.0

//! Requests, while a driver has them.

use super::{
    operation::{
        Operation,
        Sectors, //
    },
    operations::Operations,
    status::Status, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of,
        ManuallyDrop, //
    },
    ptr::NonNull, //
};

/// A request that the driver has: from [`Operations::queue_rq`] on until it is ended.
///
/// There is one of these for a request at a time, and it is moved: to a queue of the device and
/// back. So nobody else in the kernel uses the data of the request meanwhile, and a request ends
/// once. That needs no reference count. What would need one, looking a request up by its tag, does
/// not exist: a device that names a request does so by what the transport of the driver makes of
/// it, and that has to check it.
///
/// A request that is dropped ends with [`Status::IO_ERROR`]. One that is forgotten never ends; who
/// waits for it waits until the disk is gone, which waits for it, too. Nothing worse comes of that.
///
/// C: `struct request`.
///
/// # Invariants
///
/// * The pointer is one to a started request of a disk that was built with [`Operations`] `T`, and
///   its private area holds a `T::RequestData`.
/// * The driver has the request, and this object stands for it.
#[repr(transparent)]
pub struct Request<T: Operations> {
    rq: NonNull<bindings::request>,
    _operations: PhantomData<T>,
}

// SAFETY: A request can be ended anywhere, and its data is `Send`.
unsafe impl<T: Operations> Send for Request<T> {}

impl<T: Operations> Request<T> {
    /// How much room a request needs for the driver's data.
    pub(super) const PRIVATE_SIZE: usize = {
        let size = size_of::<T::RequestData>() + Self::SLACK;
        // Requests are allocated by no more than 16 pages.
        assert!(size <= 32768, "too much data for a request");
        size
    };

    /// The private area is where `struct request` ends.
    const SLACK: usize =
        align_of::<T::RequestData>().saturating_sub(align_of::<bindings::request>());

    /// Where the driver's data is.
    ///
    /// # Safety
    ///
    /// `rq` is a request with a private area of [`PRIVATE_SIZE`](Self::PRIVATE_SIZE) bytes.
    #[inline(always)]
    pub(super) unsafe fn private(rq: NonNull<bindings::request>) -> NonNull<T::RequestData> {
        // SAFETY: By the requirements of this function, that is where it starts.
        let area = unsafe { rq.add(1) };
        if Self::SLACK == 0 {
            return area.cast();
        }
        let up = area
            .addr()
            .get()
            .next_multiple_of(align_of::<T::RequestData>())
            - area.addr().get();
        // SAFETY: `up` is at most `SLACK`.
        unsafe { area.cast::<u8>().add(up) }.cast()
    }

    /// # Safety
    ///
    /// The caller guarantees the invariants of the type.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            rq,
            _operations: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn as_raw(&self) -> NonNull<bindings::request> {
        self.rq
    }

    /// The driver still has the request, without an object for it.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<bindings::request> {
        ManuallyDrop::new(self).rq
    }

    /// What it asks for.
    #[inline(always)]
    pub fn operation(&self) -> Operation {
        // SAFETY: By the type invariant; this does not change while the driver has the request.
        Operation::from_flags(unsafe { (*self.rq.as_ptr()).cmd_flags })
    }

    /// Where on the disk.
    #[inline(always)]
    pub fn sector(&self) -> Sectors {
        // SAFETY: As above.
        Sectors(unsafe { (*self.rq.as_ptr()).__sector })
    }

    /// Whether the device may deallocate sectors that zeroes are written to.
    ///
    /// C: `REQ_NOUNMAP`.
    pub fn may_unmap(&self) -> bool {
        // SAFETY: As above.
        let flags = unsafe { (*self.rq.as_ptr()).cmd_flags };
        flags & (1 << bindings::req_flag_bits___REQ_NOUNMAP) == 0
    }

    /// Says where on the disk the data of a [`ZoneAppend`](Operation::ZoneAppend) was written; does
    /// nothing for other requests.
    pub fn set_appended(&mut self, at: Sectors) {
        if self.operation() == Operation::ZoneAppend {
            // SAFETY: As above; nobody else uses it, and any number is fine.
            unsafe { (*self.rq.as_ptr()).__sector = at.0 };
        }
    }

    /// How many bytes are to be transferred, or are concerned.
    #[inline(always)]
    pub fn bytes(&self) -> u32 {
        // SAFETY: As above.
        unsafe { (*self.rq.as_ptr()).__data_len }
    }

    /// How many runs of memory hold the data.
    #[inline(always)]
    pub(crate) fn segments(&self) -> u32 {
        // SAFETY: As above.
        unsafe { (*self.rq.as_ptr()).nr_phys_segments }.into()
    }

    /// Lists the data in `table`, and returns how many entries that took: none if it is empty.
    ///
    /// C: `blk_rq_map_sg()`.
    ///
    /// # Safety
    ///
    /// The request is one with data, and counts at least one [segment](Self::segments); `table` has
    /// as many entries. That its memory is somewhere else, as `RQF_SPECIAL_PAYLOAD` says, is not so
    /// for any request with data here.
    #[cfg(CONFIG_VIRTIO = "y")]
    #[inline(always)]
    pub(crate) unsafe fn list_segments(&self, table: NonNull<bindings::scatterlist>) -> u32 {
        // SAFETY: By the type invariant and the requirements of this function.
        unsafe { list_data(self.rq.as_ptr(), table) }
    }

    /// The priority, see `ioprio_set(2)`; 0 is none.
    #[inline(always)]
    pub fn io_priority(&self) -> u16 {
        // SAFETY: As above; the request owns its `bio`.
        unsafe { (*self.rq.as_ptr()).bio.as_ref() }.map_or(0, |bio| bio.bi_ioprio)
    }

    /// How many ranges a discard has.
    pub fn ranges(&self) -> usize {
        self.segments().max(1) as usize
    }

    /// Calls `f` with the start and the length of each range of a discard.
    pub fn for_each_range(&self, mut f: impl FnMut(Sectors, Sectors)) {
        // SAFETY: By the type invariant; the request owns its chain of `bio`.
        let mut next = unsafe { (*self.rq.as_ptr()).bio };
        // SAFETY: As above.
        while let Some(bio) = unsafe { next.as_ref() } {
            let bytes = bio.bi_iter.bi_size;
            f(
                Sectors(bio.bi_iter.bi_sector),
                Sectors::in_bytes(bytes.into()),
            );
            next = bio.bi_next;
        }
    }

    /// The driver's data.
    #[inline(always)]
    pub fn data(&self) -> &T::RequestData {
        // SAFETY: By the type invariant it is there, and the only way to it is this object.
        unsafe { Self::private(self.rq).as_ref() }
    }

    /// The driver's data, to be changed.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut T::RequestData {
        // SAFETY: As above.
        unsafe { Self::private(self.rq).as_mut() }
    }

    /// Overwrites the memory that the data of a read goes to with zeroes; does nothing for other
    /// requests.
    pub fn scrub(&mut self) {
        if !self.operation().is_read() {
            return;
        }
        // SAFETY: By the type invariant. Memory that is to be read into belongs to the request
        // until it ends.
        unsafe { bindings::blk_rq_zero_data(self.rq.as_ptr()) };
    }

    /// Gives the request back to who submitted it. Any context.
    ///
    /// C: `blk_mq_end_request()`.
    #[inline]
    pub fn end(self, status: Status) {
        // SAFETY: By the type invariant, the driver has the request, and gives it up here.
        unsafe { end(self.into_raw(), status) };
    }

    /// Has [`Operations::complete`] called, where the block layer wants it to be: on the CPU that
    /// submitted the request, in a softirq, or here and now. Any context.
    ///
    /// C: `blk_mq_complete_request()`.
    #[inline]
    pub fn complete(self) {
        if let Err(rq) = self.complete_elsewhere() {
            rq.complete_here();
        }
    }

    /// As [`complete`](Self::complete), if that would not be here.
    #[inline(always)]
    pub(super) fn complete_elsewhere(self) -> Result<(), Self> {
        let rq = self.into_raw();
        // SAFETY: By the type invariant.
        if unsafe { bindings::blk_mq_complete_request_remote(rq.as_ptr()) } {
            return Ok(());
        }
        // SAFETY: It was not taken.
        Err(unsafe { Self::from_raw(rq) })
    }

    #[inline(never)]
    pub(super) fn complete_here(mut self) {
        let status = self.finish();
        self.end(status);
    }

    /// Finds out how it ended.
    #[inline(always)]
    pub(super) fn finish(&mut self) -> Status {
        // SAFETY: By the type invariant, and `init_hctx` put the queue there, which exists as long
        // as there are requests.
        let queue = unsafe { &*(*(*self.rq.as_ptr()).mq_hctx).driver_data.cast() };
        T::complete(queue, self)
    }

    /// Lets no more requests of this hardware queue come until another one of it ends: for one that
    /// the driver is about to give back, as the device has no room for it until then.
    ///
    /// If the device has no other request of this disk, or that can end before this returns, maybe
    /// nothing will come for ever. So this belongs under the lock that requests are taken back from
    /// the device with. The device has to be notified of those that it has, since
    /// [`Operations::commit_rqs`] need not be called any more. Any context.
    ///
    /// C: `blk_mq_stop_hw_queue()`, and later `blk_mq_start_stopped_hw_queue()`.
    #[inline]
    pub fn stop_queue(&self) {
        // SAFETY: By the type invariant; the hardware queue exists as long as there are requests.
        unsafe { bindings::blk_mq_stop_hw_queue((*self.rq.as_ptr()).mq_hctx) };
    }

    /// Lets requests of this hardware queue come again, if it was stopped.
    #[inline(always)]
    pub(super) fn start_queue(&self) {
        // SAFETY: By the type invariant.
        unsafe { start_queue(self.rq) };
    }

    /// Gives the request back to the block layer, which will queue it again a little later. This
    /// does not end it.
    ///
    /// C: `blk_mq_requeue_request()`.
    pub fn requeue(self) {
        // SAFETY: As in `end`.
        unsafe { bindings::blk_mq_requeue_request(self.into_raw().as_ptr(), true) };
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        // SAFETY: As in `end`; the object is gone after this.
        unsafe { end(self.rq, Status::IO_ERROR) };
    }
}

/// Ends a request. The last one to end may be what its hardware queue is still there for, so that
/// is started before.
///
/// # Safety
///
/// The driver has the request, and does not use it any more.
#[inline(never)]
unsafe fn end(rq: NonNull<bindings::request>, status: Status) {
    // SAFETY: By the requirements of this function.
    unsafe {
        start_queue(rq);
        bindings::blk_mq_end_request(rq.as_ptr(), status.as_raw());
    }
}

/// Starts the hardware queue of a request if it is stopped.
///
/// # Safety
///
/// The driver has the request.
#[inline(always)]
unsafe fn start_queue(rq: NonNull<bindings::request>) {
    // SAFETY: A hardware queue exists as long as it has requests. Others set bits of its state,
    // atomically: reading that is volatile, as `test_bit()` is. An atomic load would call a helper.
    let (hctx, state) = unsafe {
        let hctx = (*rq.as_ptr()).mq_hctx;
        let state = &raw const (*hctx).__bindgen_anon_1.state;
        (hctx, state.read_volatile())
    };
    if state & (1 << bindings::BLK_MQ_S_STOPPED) != 0 {
        // SAFETY: As above. What is there to be queued is queued by a work item.
        unsafe { bindings::blk_mq_start_stopped_hw_queue(hctx, true) };
    }
}

/// Lists the data of a request. Most have one segment, all of it in the first vector of the first
/// `bio`: to see that takes a few loads, but some 170 instructions by `__blk_rq_map_sg()`.
///
/// # Safety
///
/// As for [`Request::list_segments`]; a driver has the request.
#[cfg(CONFIG_VIRTIO = "y")]
#[inline(never)]
unsafe fn list_data(rq: *mut bindings::request, table: NonNull<bindings::scatterlist>) -> u32 {
    // SAFETY: By the requirements of this function. The request has a chain of `bio`, which do not
    // change while the driver has it.
    let (bio, segments, len) = unsafe { ((*rq).bio, (*rq).nr_phys_segments, (*rq).__data_len) };
    // SAFETY: As above.
    let (first, vecs) = unsafe { ((*bio).bi_iter, (*bio).bi_io_vec) };
    let (of_first, done) = (first.bi_size, first.bi_offset);
    // That it counts as one segment says that the limits of the disk allow it to be one.
    if segments == 1 && len > 0 && len == of_first {
        // SAFETY: There is data in this `bio`, so there is a vector that it starts in.
        let vec = unsafe { vecs.add(first.bi_idx as usize).read() };
        if len <= vec.bv_len.wrapping_sub(done) {
            // The page is the first one of the vector, so the offset can be more than a page.
            let only = bindings::scatterlist {
                page_link: vec.bv_page.addr() | bindings::SG_END as usize,
                offset: vec.bv_offset.wrapping_add(done),
                length: len,
                ..Default::default()
            };
            // SAFETY: By the requirements of this function.
            unsafe { table.write(only) };
            return 1;
        }
    }
    let mut last = core::ptr::null_mut();
    // SAFETY: By the requirements of this function.
    let count = unsafe { bindings::__blk_rq_map_sg(rq, table.as_ptr(), &mut last) };
    // CAST: It is at most the number of segments.
    count as u32
}

/// Requests that are to be queued together.
pub struct RequestList<'a, T: Operations> {
    list: &'a mut bindings::rq_list,
    _operations: PhantomData<T>,
}

impl<'a, T: Operations> RequestList<'a, T> {
    /// # Safety
    ///
    /// All requests in the list are ones of a disk with [`Operations`] `T`, for the driver to
    /// start, until `'a` ends. So long, queues of the device exist.
    #[inline(always)]
    pub(super) unsafe fn new(list: &'a mut bindings::rq_list) -> Self {
        Self {
            list,
            _operations: PhantomData,
        }
    }

    /// The queue that the next request is for.
    #[inline(always)]
    pub fn next_queue(&self) -> Option<&'a T::HwQueue> {
        let rq = NonNull::new(self.list.head)?;
        // SAFETY: By the requirements of `new`, there is such a request, which belongs to a queue.
        // `init_hctx` put a queue of that type there, which exists as long as `'a`.
        Some(unsafe { &*(*(*rq.as_ptr()).mq_hctx).driver_data.cast() })
    }

    /// Takes the next request.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Request<T>> {
        let rq = NonNull::new(self.list.head)?;
        // SAFETY: By the requirements of `new`, the list holds valid requests, each linked by this
        // field.
        let next = unsafe { (*rq.as_ptr()).__bindgen_anon_1.rq_next };
        self.list.head = next;
        if next.is_null() {
            self.list.tail = next;
        }
        // SAFETY: The request is the driver's to start.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        // SAFETY: It is not in the list any more, so there is no other object for it.
        Some(unsafe { Request::from_raw(rq) })
    }
}
