// SPDX-License-Identifier: GPL-2.0

//! A field that the driver may only read cannot be written.

// error: E0308

use kernel::{
    device::Bound,
    prelude::*,
    virtio::{
        Device,
        Negotiated, //
    }, //
};

kernel::virtio_features! {
    enum Feature {
        BlkSize = 6,
        ConfigWce = 11,
    }
}

kernel::virtio_config! {
    struct Config(virtio_blk_config) for Feature {
        alignment_offset: u8 if BlkSize,
        wce: u8 if ConfigWce writable,
    }
}

fn write_through(vdev: &Device<Bound>, features: &Negotiated<Feature>) -> Result {
    #[cfg(not(fixed))]
    vdev.config_write_if(features, Config::ALIGNMENT_OFFSET, 0)?;
    #[cfg(fixed)]
    vdev.config_write_if(features, Config::WCE, 0)?;
    Ok(())
}
