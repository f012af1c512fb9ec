// SPDX-License-Identifier: GPL-2.0

//! What the lock of a queue protects cannot be borrowed for longer than the lock is held.

// error: "lifetime may not live long enough"

use kernel::virtio::{
    Handler,
    VirtQueue, //
};

fn exclusive<H: Handler>(queue: &VirtQueue<H>, change: fn(&mut H)) {
    #[cfg(not(fixed))]
    change(queue.with(|handler, _ring| handler));
    #[cfg(fixed)]
    queue.with(|handler, _ring| change(handler));
}
