// SPDX-License-Identifier: GPL-2.0

//! Requests that a driver makes itself.

use super::disk::Disk;
use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};
use core::ptr::NonNull;

/// See [`LiveDisk::read_by_driver`](super::LiveDisk::read_by_driver); `setup` gets the request.
pub(super) fn read(
    disk: &Disk,
    len: u32,
    setup: &dyn Fn(NonNull<bindings::request>),
) -> Result<KVec<u8>> {
    // Who has a request must not wait for memory: that may wait for the disk, and that for the
    // request.
    let mut memory = DriverMemory::new(len)?;
    let rq = DriverRequest::new(disk)?;
    setup(rq.0);
    rq.read(&mut memory)?;
    memory.into_copy()
}

/// A request of a driver, which the block layer does not know yet, or not any more.
///
/// # Invariants
///
/// The pointer is one that `blk_mq_alloc_request()` returned.
struct DriverRequest(NonNull<bindings::request>);

impl DriverRequest {
    fn new(disk: &Disk) -> Result<Self> {
        // SAFETY: The queue exists.
        let rq = from_err_ptr(unsafe {
            bindings::blk_mq_alloc_request(disk.queue(), bindings::req_op_REQ_OP_DRV_IN, 0)
        })?;
        // INVARIANT: Just allocated.
        NonNull::new(rq).map(Self).ok_or(ENOMEM)
    }

    /// Has it queued, and waits for its end.
    fn read(self, memory: &mut DriverMemory) -> Result {
        let (start, len) = (memory.lent.as_mut_ptr().cast(), memory.lent.len());
        // SAFETY: By the type invariant, and nobody else has the request. It is mapped to `lent`,
        // or to a copy, and has ended when this returns. Any status is fine.
        unsafe {
            let rq = self.0.as_ptr();
            // CAST: It was made of a `u32`.
            let mapped = bindings::blk_rq_map_kern(rq, start, len as u32, bindings::GFP_NOIO);
            to_result(mapped)?;
            let status = bindings::blk_execute_rq(rq, false);
            to_result(bindings::blk_status_to_errno(status))
        }
    }
}

impl Drop for DriverRequest {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. It has ended, or was not queued.
        unsafe { bindings::blk_mq_free_request(self.0.as_ptr()) };
    }
}

/// What a driver reads into itself.
struct DriverMemory {
    lent: KVec<u8>,
    copy: KVec<u8>,
}

impl DriverMemory {
    fn new(len: u32) -> Result<Self> {
        Ok(Self {
            lent: KVec::from_elem(0, len as usize, GFP_KERNEL)?,
            copy: KVec::with_capacity(len as usize, GFP_KERNEL)?,
        })
    }

    /// What is there now. The device may still write to what it was lent, whatever it says.
    fn into_copy(mut self) -> Result<KVec<u8>> {
        let start = self.lent.as_ptr();
        for at in 0..self.lent.len() {
            // SAFETY: That is inside of `lent`. The read is volatile, and each byte is read once.
            let byte = unsafe { start.add(at).read_volatile() };
            self.copy.push(byte, GFP_KERNEL)?;
        }
        Ok(self.copy)
    }
}
