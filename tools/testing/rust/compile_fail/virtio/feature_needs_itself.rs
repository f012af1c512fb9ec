// SPDX-License-Identifier: GPL-2.0

//! A feature cannot need itself: that says nothing, so it is a mistake.

// error: E0080

use kernel::{
    device::Core,
    prelude::*,
    virtio::{
        self,
        Negotiated, //
    }, //
};

struct Driver;

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for Driver {
    type Features = Feature;
    type Data<'bound> = Self;
    type ClassDevice<'bound> = ();

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<Feature>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Ok(Self)
    }

    fn register<'bound>(_vdev: &'bound virtio::Device<Core<'_>>, _data: Pin<&Self>) -> Result {
        Ok(())
    }
}

#[cfg(not(fixed))]
kernel::virtio_features! {
    enum Feature {
        ConfigWce = 11 needs ConfigWce,
        Flush = 9,
    }
}

#[cfg(fixed)]
kernel::virtio_features! {
    enum Feature {
        ConfigWce = 11 needs Flush,
        Flush = 9,
    }
}

kernel::module_virtio_driver! {
    type: Driver,
    name: "compile_fail",
    authors: ["Rust virtio contributors"],
    description: "A driver that must not compile",
    license: "GPL",
}
