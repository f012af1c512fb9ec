// SPDX-License-Identifier: GPL-2.0

//! A reference count keeps the memory of a device, not its binding: what is counted is not bound.

// error: E0277

use kernel::{
    device::{
        Bound,
        Normal, //
    },
    sync::aref::ARef,
    virtio::Device, //
};

#[cfg(not(fixed))]
type Context = Bound;
#[cfg(fixed)]
type Context = Normal;

struct Keeper {
    vdev: ARef<Device<Context>>,
}
