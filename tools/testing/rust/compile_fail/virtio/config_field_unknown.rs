// SPDX-License-Identifier: GPL-2.0

//! A field is one of the uapi header.

// error: E0609

use kernel::virtio::NoFeatures;

#[cfg(not(fixed))]
kernel::virtio_config! {
    struct Config(virtio_blk_config) for NoFeatures {
        sectors: u64,
    }
}

#[cfg(fixed)]
kernel::virtio_config! {
    struct Config(virtio_blk_config) for NoFeatures {
        capacity: u64,
    }
}
