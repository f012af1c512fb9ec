// SPDX-License-Identifier: GPL-2.0

//! A field that comes with a feature cannot be read without asking for the feature.

// error: E0308

use kernel::{
    device::Bound,
    prelude::*,
    virtio::{
        Device,
        Negotiated,
        Untrusted, //
    }, //
};

kernel::virtio_features! {
    enum Feature {
        BlkSize = 6,
    }
}

kernel::virtio_config! {
    struct Config(virtio_blk_config) for Feature {
        blk_size: u32 if BlkSize,
    }
}

fn block_size(
    vdev: &Device<Bound>,
    features: &Negotiated<Feature>,
) -> Result<Option<Untrusted<u32>>> {
    #[cfg(not(fixed))]
    let size = Some(vdev.config_read(Config::BLK_SIZE)?);
    #[cfg(fixed)]
    let size = vdev.config_read_if(features, Config::BLK_SIZE)?;
    Ok(size)
}
