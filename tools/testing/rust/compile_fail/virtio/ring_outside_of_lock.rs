// SPDX-License-Identifier: GPL-2.0

//! The ring is there only while its queue is locked.

// error: E0521

use kernel::virtio::{
    Handler,
    VirtQueue, //
};

fn free(queue: &VirtQueue<impl Handler>) -> bool {
    let mut escaped = None;
    #[cfg(not(fixed))]
    queue.with(|_handler, ring| escaped = Some(ring));
    #[cfg(fixed)]
    queue.with(|_handler, ring| escaped = Some(ring.free()));
    escaped.is_some()
}
