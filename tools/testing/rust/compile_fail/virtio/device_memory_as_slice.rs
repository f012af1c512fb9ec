// SPDX-License-Identifier: GPL-2.0

//! What the device writes is copied out: behind a slice it could change after it was checked.

// error: E0599

use kernel::virtio::DeviceBuffer;

fn first(buffer: &mut DeviceBuffer) -> u8 {
    #[cfg(not(fixed))]
    let reply = buffer.bytes();
    #[cfg(fixed)]
    let reply = {
        let mut reply = [0];
        buffer.take(&mut reply);
        reply
    };
    reply[0]
}
