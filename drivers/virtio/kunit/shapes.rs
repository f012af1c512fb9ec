// SPDX-License-Identifier: GPL-2.0

//! The shapes of buffers that the suites test with.

use crate::rig::{
    shape,
    Shape, //
};
use kernel::{
    prelude::*,
    virtio::{
        DeviceBuffer,
        Direction,
        DriverBuffer,
        Pages,
        Replies,
        Request, //
    }, //
};

pub(crate) type Bytes = KBox<DeviceBuffer>;
pub(crate) type Block = KBox<Request<[u8; 16], DeviceBuffer, u8>>;
pub(crate) type Paged = KBox<Request<[u8; 8], Pages, u8>>;
pub(crate) type Command = KBox<Request<[u8; 4], (), [u8; 4]>>;

shape!(
    /// The device writes.
    In, 0xff01, IN_TABLE, Bytes
);
shape!(
    /// The device reads.
    Out, 0xff02, OUT_TABLE, KBox<DriverBuffer>
);
shape!(
    /// A header, data from the device, a status byte.
    Blk, 0xff03, BLK_TABLE, Block
);
shape!(
    /// A header, data in pages of either direction, a status byte.
    InPages, 0xff04, PAGES_TABLE, Paged
);

kernel::virtio_device_table!(CONTROL_TABLE, [kernel::virtio::DeviceId::new(0xff05)]);

/// Requests that are waited for.
pub(crate) struct Control;

impl Shape for Control {
    type Handler = Replies<Command>;

    const DEVICE: u32 = 0xff05;
    const TABLE: kernel::virtio::IdTable = &CONTROL_TABLE;

    fn handler() -> Result<Self::Handler> {
        Replies::new(4)
    }
}

pub(crate) fn bytes(len: u32) -> Result<Bytes> {
    Ok(KBox::new(DeviceBuffer::new(len, GFP_KERNEL)?, GFP_KERNEL)?)
}

pub(crate) fn block(len: u32) -> Result<Block> {
    let data = DeviceBuffer::new(len, GFP_KERNEL)?;
    Ok(KBox::new(Request::new([7; 16], data, 0xff), GFP_KERNEL)?)
}

pub(crate) fn paged(pages: usize, direction: Direction) -> Result<Paged> {
    let data = Pages::new(pages, direction, GFP_KERNEL)?;
    Ok(KBox::new(Request::new([9; 8], data, 0xff), GFP_KERNEL)?)
}

pub(crate) fn command(bytes: [u8; 4]) -> Result<Command> {
    Ok(KBox::new(Request::new(bytes, (), [0xff; 4]), GFP_KERNEL)?)
}
