// SPDX-License-Identifier: GPL-2.0

//! A handler runs in interrupts, on any CPU: it cannot hold what is bound to one thread.

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

#[cfg(not(fixed))]
type Place = *mut usize;
#[cfg(fixed)]
type Place = usize;

struct Counter(Place);

impl virtio::Handler for Counter {
    type Buffer = Buffer;

    fn used(&mut self, _buffer: Buffer, _ring: &mut Ring<'_, Buffer>) {}

    fn unused(&mut self, _buffer: Buffer) {}
}
