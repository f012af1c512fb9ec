// SPDX-License-Identifier: GPL-2.0

//! Memory that is not fit for DMA, such as a reference to the stack, is no buffer.

// error: E0277

use kernel::{
    prelude::*,
    virtio::{
        Buffer,
        DriverBuffer, //
    }, //
};

fn post(_buffer: impl Buffer) {}

fn send() -> Result {
    let command = [0_u8; 8];
    #[cfg(not(fixed))]
    post(&command);
    #[cfg(fixed)]
    post(KBox::new(
        DriverBuffer::copy_from(&command, GFP_KERNEL)?,
        GFP_KERNEL,
    )?);
    Ok(())
}
