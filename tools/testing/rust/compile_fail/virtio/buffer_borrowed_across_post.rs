// SPDX-License-Identifier: GPL-2.0

//! No reference into a buffer outlives its post: what it points to could be freed meanwhile.

// error: E0505

use kernel::{
    prelude::*,
    virtio::{
        DriverBuffer,
        Ring, //
    }, //
};

fn send(ring: &mut Ring<'_, KBox<DriverBuffer>>, buffer: KBox<DriverBuffer>) -> Result<usize> {
    #[cfg(not(fixed))]
    let sent = buffer.bytes();
    #[cfg(fixed)]
    let sent = [0; 8];
    ring.post(buffer)?;
    Ok(sent.len())
}
