// SPDX-License-Identifier: GPL-2.0

//! A queue takes one type of buffer: one of another type would come back as what it is not.

// error: E0308

use kernel::{
    prelude::*,
    virtio::{
        DeviceBuffer,
        DriverBuffer,
        Ring, //
    }, //
};

#[cfg(not(fixed))]
type Posted = DriverBuffer;
#[cfg(fixed)]
type Posted = DeviceBuffer;

fn send(ring: &mut Ring<'_, KBox<DeviceBuffer>>, buffer: KBox<Posted>) -> Result {
    ring.post(buffer)?;
    Ok(())
}
