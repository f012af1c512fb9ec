// SPDX-License-Identifier: GPL-2.0

//! Ending many requests at once.

use super::{
    operations::Operations,
    request::Request,
    status::Status, //
};
use crate::bindings;
use core::marker::PhantomData;

/// Requests that the device is done with, to be ended together.
///
/// This saves work per request: tags are freed, and the time is taken, once for many of them.
///
/// C: `struct io_comp_batch`.
///
/// # Invariants
///
/// Drivers are done with all requests in the list, and there are no objects for them. Somebody will
/// end them by the function that is set.
pub struct Batch<'a, T: Operations> {
    batch: &'a mut bindings::io_comp_batch,
    _operations: PhantomData<T>,
}

impl<'a, T: Operations> Batch<'a, T> {
    /// # Safety
    ///
    /// What is in `batch`, then and in the end, will be ended by the function that is set.
    #[inline(always)]
    pub(super) unsafe fn new(batch: &'a mut bindings::io_comp_batch) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            batch,
            _operations: PhantomData,
        }
    }

    /// Calls `f` with a batch, and ends it after that: best when `f` dropped all locks.
    ///
    /// Any context.
    #[inline(always)]
    pub fn with<R>(f: impl FnOnce(&mut Batch<'_, T>) -> R) -> R {
        let mut batch = bindings::io_comp_batch {
            req_list: bindings::rq_list {
                head: core::ptr::null_mut(),
                tail: core::ptr::null_mut(),
            },
            need_ts: false,
            complete: None,
            poll_ctx: core::ptr::null_mut(),
        };
        // SAFETY: It is ended below, by the only function that `push` sets.
        let result = f(unsafe { &mut Batch::new(&mut batch) });
        if !batch.req_list.head.is_null() {
            // SAFETY: By the type invariant; they are ended once, since nobody else has the list.
            unsafe { bindings::blk_mq_end_request_batch(&mut batch) };
        }
        result
    }

    /// The device is done with `rq`: as [`Request::complete`], but if it is to be completed here
    /// and there is no error, it ends with the batch.
    #[inline(always)]
    pub fn push(&mut self, rq: Request<T>) {
        let Err(mut rq) = rq.complete_elsewhere() else {
            return;
        };
        let status = rq.finish();
        rq.start_queue();
        // For some requests the function would take one that failed, and forget about it.
        //
        // SAFETY: By the type invariant of `Request`. If it is taken, the list has it now.
        let taken = status == Status::OK
            && unsafe {
                bindings::blk_mq_add_to_batch(
                    rq.as_raw().as_ptr(),
                    self.batch,
                    false,
                    Some(bindings::blk_mq_end_request_batch),
                )
            };
        if taken {
            // INVARIANT: There is no object for it any more.
            rq.into_raw();
        } else {
            rq.end(status);
        }
    }
}
