// SPDX-License-Identifier: GPL-2.0

//! What the device left in the trailer is not believed before it was validated.

// error: E0308

use kernel::{
    prelude::*,
    virtio::{
        DeviceBuffer,
        Request, //
    }, //
};

fn status(request: &Request<u64, DeviceBuffer, u8>) -> Result<u8> {
    let status = request.trailer()?;
    #[cfg(fixed)]
    let status = status.validate(|status| (status == 0).then_some(status).ok_or(EIO))?;
    Ok(status)
}
