// SPDX-License-Identifier: GPL-2.0

//! Requests of the block layer as buffers: posted as they are, without an allocation or a copy.

use super::{
    buffer::{
        Buffer,
        Memory, //
    },
    bytes::DriverBuffer,
    chain::Chain,
    request::Request,
    ring::{
        PostError,
        QueueError,
        Ring, //
    }, //
};
use crate::{
    bindings,
    block::{
        self,
        Operations, //
    },
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};
use core::ptr::NonNull;

// SAFETY: `into_raw` and `from_raw` are inverse. The private area stays where it is, in memory that
// the block layer allocated by pages or by `kmalloc()`.
unsafe impl<T> Buffer for block::Request<T>
where
    T: Operations,
    T::RequestData: Memory,
{
    type Memory = T::RequestData;

    #[inline(always)]
    fn into_token(self) -> NonNull<c_void> {
        self.into_raw().cast()
    }

    #[inline(always)]
    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the requirements of this function, the token stands for a request that the
        // driver has, and nothing else does.
        unsafe { Self::from_raw(token.cast()) }
    }

    #[inline(always)]
    fn memory(&mut self) -> &mut T::RequestData {
        self.data_mut()
    }

    #[inline]
    fn id(&self) -> usize {
        self.as_raw().addr().get()
    }
}

/// The data of a block request, as part of what is posted: where the block layer has it, or bytes
/// of the driver instead.
#[derive(Default)]
pub struct BlockData {
    own: Option<DriverBuffer>,
    /// How many bytes the device can write to the memory of the request.
    writable: u32,
}

impl BlockData {
    /// No data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets bytes for the device to read, if the request has no data itself, or none.
    pub fn set_own(&mut self, own: Option<DriverBuffer>) {
        self.own = own;
    }
}

// SAFETY: `DriverBuffer` is `Memory` itself.
unsafe impl Memory for BlockData {
    #[inline(always)]
    fn lend(&mut self, chain: &mut Chain<'_>) {
        self.writable = 0;
        if let Some(own) = &mut self.own {
            own.lend(chain);
        }
    }

    #[inline(always)]
    fn writable_len(&self) -> u32 {
        self.writable
    }

    #[inline(always)]
    fn returned(&mut self, _written: u32) {}
}

/// Where the memory of block requests is listed while they are posted.
///
/// One of these, in the handler of a queue, serves all requests of the queue: the ring takes a copy
/// of the list. So requests need no lists of their own, and none are allocated.
#[derive(Default)]
pub struct Segments {
    table: KVec<bindings::scatterlist>,
}

// SAFETY: What the entries point to is used only while a request is being posted.
unsafe impl Send for Segments {}

impl Segments {
    /// For requests of at most `max` segments, see
    /// [`Limits::set_max_segments`](block::Limits::set_max_segments).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(max: u16) -> Result<Self> {
        Ok(Self {
            table: KVec::from_elem(
                bindings::scatterlist::default(),
                usize::from(max),
                GFP_KERNEL,
            )?,
        })
    }

    /// Posts a block request with its data.
    ///
    /// # Errors
    ///
    /// As [`Ring::post`]; [`QueueError::Shape`] also if it has too many segments.
    #[inline(always)]
    pub fn post<T, H, S, const VARIES: bool>(
        &mut self,
        rq: block::Request<T>,
        ring: &mut Ring<'_, block::Request<T>>,
    ) -> Result<(), PostError<block::Request<T>>>
    where
        T: Operations<RequestData = Request<H, BlockData, S, VARIES>>,
        H: AsBytes + Send + 'static,
        S: AsBytes + FromBytes + Copy + Send + 'static,
    {
        let (operation, segments) = (rq.operation(), rq.segments());
        if !operation.has_data() || segments == 0 {
            return ring.post(rq);
        }
        if segments as usize > self.table.len() {
            return Err(PostError {
                reason: QueueError::Shape,
                buffer: rq,
            });
        }
        // SAFETY: The request is one with data, and counts at least one segment, and at most as
        // many as the table has entries, so there is a table.
        let (list, count) = unsafe {
            let table = NonNull::new_unchecked(self.table.as_mut_ptr());
            (table, rq.list_segments(table))
        };
        let (writable, bytes) = (operation.is_read(), rq.bytes());
        // SAFETY: The memory of a request belongs to it until it ends, which takes its owner; can
        // be mapped; and no references to it are made. It was just listed.
        unsafe {
            ring.post_with(rq, |request, chain| {
                request.lend_with(chain, |data, chain| {
                    data.writable = if writable { bytes } else { 0 };
                    chain.list(list, count, writable);
                });
            })
        }
    }
}
