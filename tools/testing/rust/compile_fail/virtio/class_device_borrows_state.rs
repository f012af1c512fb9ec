// SPDX-License-Identifier: GPL-2.0

//! The class device cannot hold a borrow of the state, which register gets for its own time only.

// error: "lifetime may not live long enough"

use kernel::{
    device::Core,
    prelude::*,
    virtio::{
        self,
        Negotiated,
        NoFeatures, //
    }, //
};

struct Driver(u32);

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for Driver {
    type Features = NoFeatures;
    type Data<'bound> = Self;
    #[cfg(not(fixed))]
    type ClassDevice<'bound> = &'bound u32;
    #[cfg(fixed)]
    type ClassDevice<'bound> = u32;

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Ok(Self(0))
    }

    fn register<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        data: Pin<&Self>,
    ) -> Result<Self::ClassDevice<'bound>> {
        #[cfg(not(fixed))]
        let class_device = &data.get_ref().0;
        #[cfg(fixed)]
        let class_device = data.0;
        Ok(class_device)
    }
}
