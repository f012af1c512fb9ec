// SPDX-License-Identifier: GPL-2.0

//! Any bytes that the device writes must be a value of the trailer's type; 2 is no `bool`.

// error: E0277

use kernel::virtio::{
    DeviceBuffer,
    Request, //
};

#[cfg(not(fixed))]
type Status = bool;
#[cfg(fixed)]
type Status = u8;

fn request(data: DeviceBuffer, preset: Status) -> Request<u64, DeviceBuffer, Status> {
    Request::new(0, data, preset)
}
