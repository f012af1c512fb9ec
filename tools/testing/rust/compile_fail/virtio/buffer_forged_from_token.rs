// SPDX-License-Identifier: GPL-2.0

//! Only the ring makes a buffer of what the core gives back: a driver would own it twice.

// error: E0133

use kernel::{
    prelude::*,
    virtio::{
        Buffer,
        DeviceBuffer, //
    }, //
};

fn steal(buffer: KBox<DeviceBuffer>) -> KBox<DeviceBuffer> {
    #[cfg(not(fixed))]
    let buffer = KBox::<DeviceBuffer>::from_token(buffer.into_token());
    buffer
}
