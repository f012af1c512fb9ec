// SPDX-License-Identifier: GPL-2.0

//! A header has no padding: the device would see what was in that memory before.

// error: E0277

use kernel::virtio::{
    DeviceBuffer,
    Request, //
};

/// Four bytes behind `kind` are not initialised.
#[repr(C)]
struct Padded {
    kind: u32,
    sector: u64,
}

#[cfg(not(fixed))]
type Header = Padded;
#[cfg(fixed)]
type Header = [u64; 2];

fn request(header: Header, data: DeviceBuffer) -> Request<Header, DeviceBuffer, u8> {
    Request::new(header, data, 0xff)
}
