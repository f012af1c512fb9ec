// SPDX-License-Identifier: GPL-2.0

//! Virtqueues are made in callbacks of the bus only, not by whoever has a bound device.

// error: E0599

use kernel::{
    device::{
        Bound,
        Core, //
    },
    prelude::*,
    virtio::Device, //
};

#[cfg(not(fixed))]
type Vdev<'a> = Device<Bound>;
#[cfg(fixed)]
type Vdev<'a> = Device<Core<'a>>;

fn more_queues(vdev: &Vdev<'_>) -> Result {
    vdev.find_vqs(|_set| Ok(()))
}
