// SPDX-License-Identifier: GPL-2.0

//! Memory is listed for the device only while a buffer is posted: a driver has no list of its own.

// error: E0624

use kernel::virtio::{
    Chain,
    DriverBuffer,
    Memory, //
};

fn list(buffer: &mut DriverBuffer) -> u32 {
    #[cfg(not(fixed))]
    buffer.lend(&mut Chain::new());
    buffer.writable_len()
}
