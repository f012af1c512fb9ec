// SPDX-License-Identifier: GPL-2.0

//! A queue can outlive the driver: its handler borrows nothing.

// error: E0478

use kernel::{
    prelude::*,
    virtio::{
        self,
        DeviceBuffer,
        Ring, //
    }, //
};

type Buffer = KBox<DeviceBuffer>;

struct Replies<T>(T);

#[cfg(not(fixed))]
type Borrowing<'a> = Replies<&'a [u8]>;
#[cfg(fixed)]
type Borrowing<'a> = Replies<&'static [u8]>;

impl<'a> virtio::Handler for Borrowing<'a> {
    type Buffer = Buffer;

    fn used(&mut self, _buffer: Buffer, _ring: &mut Ring<'_, Buffer>) {}

    fn unused(&mut self, _buffer: Buffer) {}
}
