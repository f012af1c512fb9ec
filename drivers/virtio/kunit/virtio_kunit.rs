// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the virtio abstraction, on simulated devices.
//!
//! `rig` has the driver under test and what it takes to make a device for it, `shapes` the buffers;
//! the suites are in the other files: `honest` for what has to work, `lies` for what a device can
//! lie about, `teardown` for the end of queues in every state.

mod rig;

#[cfg(CONFIG_KUNIT = "y")]
mod honest;
#[cfg(CONFIG_KUNIT = "y")]
mod lies;
#[cfg(CONFIG_KUNIT = "y")]
mod shapes;
#[cfg(CONFIG_KUNIT = "y")]
mod teardown;

use kernel::prelude::*;

struct VirtioKunit;

impl kernel::Module for VirtioKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

module! {
    type: VirtioKunit,
    name: "virtio_kunit",
    authors: ["Rust virtio contributors"],
    description: "KUnit tests of the Rust virtio abstraction",
    license: "GPL",
}
