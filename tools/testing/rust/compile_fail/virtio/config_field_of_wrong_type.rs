// SPDX-License-Identifier: GPL-2.0

//! A field has the type that the uapi header gives it, else too much or too little would be read.

// error: E0308

use kernel::virtio::NoFeatures;

#[cfg(not(fixed))]
kernel::virtio_config! {
    struct Config(virtio_blk_config) for NoFeatures {
        capacity: u32,
    }
}

#[cfg(fixed)]
kernel::virtio_config! {
    struct Config(virtio_blk_config) for NoFeatures {
        capacity: u64,
    }
}
