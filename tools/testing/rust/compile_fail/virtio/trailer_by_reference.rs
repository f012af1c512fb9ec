// SPDX-License-Identifier: GPL-2.0

//! Nothing points into the trailer: the device could still write to it.

// error: E0616

use kernel::{
    prelude::*,
    virtio::{
        DeviceBuffer,
        Request, //
    }, //
};

fn is_answered(request: &Request<u64, DeviceBuffer, u8>) -> bool {
    #[cfg(not(fixed))]
    let trailer = Ok::<_, Error>(&request.trailer);
    #[cfg(fixed)]
    let trailer = request.trailer();
    trailer.is_ok()
}
