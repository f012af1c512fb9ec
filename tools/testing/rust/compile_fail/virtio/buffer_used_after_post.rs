// SPDX-License-Identifier: GPL-2.0

//! A buffer that was posted is the device's: the driver cannot touch it any more.

// error: E0382

use kernel::{
    prelude::*,
    virtio::{
        DriverBuffer,
        Ring, //
    }, //
};

fn send(ring: &mut Ring<'_, KBox<DriverBuffer>>, mut buffer: KBox<DriverBuffer>) -> Result {
    #[cfg(fixed)]
    buffer.bytes_mut().fill(0);
    ring.post(buffer)?;
    #[cfg(not(fixed))]
    buffer.bytes_mut().fill(0);
    Ok(())
}
