// SPDX-License-Identifier: GPL-2.0

//! A handler gets the type of buffer that was posted, and cannot choose another one.

// error: E0053

use kernel::{
    prelude::*,
    virtio::{
        self,
        DeviceBuffer,
        DriverBuffer,
        Ring, //
    }, //
};

#[cfg(not(fixed))]
type Used = KBox<DriverBuffer>;
#[cfg(fixed)]
type Used = KBox<DeviceBuffer>;

struct Replies;

impl virtio::Handler for Replies {
    type Buffer = KBox<DeviceBuffer>;

    fn used(&mut self, _buffer: Used, _ring: &mut Ring<'_, Self::Buffer>) {}

    fn unused(&mut self, _buffer: Self::Buffer) {}
}
