// SPDX-License-Identifier: GPL-2.0

//! Rings cannot be exchanged: one would be used under the lock of the other.

// error: E0521

use core::mem::swap;
use kernel::virtio::{
    Buffer,
    Handler,
    VirtQueue, //
};

fn exchange<B: Buffer>(
    one: &VirtQueue<impl Handler<Buffer = B>>,
    other: &VirtQueue<impl Handler<Buffer = B>>,
) {
    one.with(|_, ring| {
        other.with(|_, other_ring| {
            #[cfg(not(fixed))]
            swap(ring, other_ring);
            #[cfg(fixed)]
            swap(&mut ring.free(), &mut other_ring.free());
        })
    });
}
