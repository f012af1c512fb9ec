// SPDX-License-Identifier: GPL-2.0

//! A handler cannot keep the ring to post to it later, without the lock.

// error: E0277

use kernel::{
    prelude::*,
    virtio::{
        self,
        DeviceBuffer,
        Ring, //
    }, //
};

type Buffer = KBox<DeviceBuffer>;

struct Hoarder {
    #[cfg(not(fixed))]
    ring: Ring<'static, Buffer>,
    #[cfg(fixed)]
    buffer: Option<Buffer>,
}

impl virtio::Handler for Hoarder {
    type Buffer = Buffer;

    fn used(&mut self, _buffer: Buffer, _ring: &mut Ring<'_, Buffer>) {}

    fn unused(&mut self, _buffer: Buffer) {}
}
