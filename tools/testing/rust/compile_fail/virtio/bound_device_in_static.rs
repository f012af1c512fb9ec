// SPDX-License-Identifier: GPL-2.0

//! A reference to a bound device ends with the binding: it cannot be kept for ever.

// error: E0521

use kernel::{
    device::Bound,
    sync::{
        aref::ARef,
        SetOnce, //
    },
    virtio::Device, //
};

#[cfg(not(fixed))]
static LAST: SetOnce<&'static Device<Bound>> = SetOnce::new();
#[cfg(fixed)]
static LAST: SetOnce<ARef<Device>> = SetOnce::new();

fn remember(vdev: &Device<Bound>) {
    #[cfg(not(fixed))]
    LAST.populate(vdev);
    #[cfg(fixed)]
    LAST.populate(vdev.into());
}
