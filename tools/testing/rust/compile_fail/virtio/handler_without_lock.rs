// SPDX-License-Identifier: GPL-2.0

//! There is no way to the handler of a queue but through its lock: interrupts use it, too.

// error: E0616

use kernel::virtio::{
    Handler,
    VirtQueue, //
};

fn look(queue: &VirtQueue<impl Handler>) {
    #[cfg(not(fixed))]
    let _handler = &queue.inner;
    #[cfg(fixed)]
    queue.with(|_handler, _ring| ());
}
