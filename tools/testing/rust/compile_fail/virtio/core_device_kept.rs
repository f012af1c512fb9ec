// SPDX-License-Identifier: GPL-2.0

//! What only callbacks of the bus may do is not kept in the driver's state, for any thread to do.

// error: E0277

use kernel::{
    device::{
        Bound,
        Core, //
    },
    prelude::*,
    virtio::{
        self,
        Negotiated,
        NoFeatures, //
    }, //
};

struct Driver;

#[cfg(not(fixed))]
type Kept<'bound> = &'bound virtio::Device<Core<'bound>>;
#[cfg(fixed)]
type Kept<'bound> = &'bound virtio::Device<Bound>;

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for Driver {
    type Features = NoFeatures;
    type Data<'bound> = Kept<'bound>;
    type ClassDevice<'bound> = ();

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<Kept<'bound>, Error> + 'bound {
        Err(ENODEV)
    }

    fn register<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _data: Pin<&Kept<'bound>>,
    ) -> Result {
        Ok(())
    }
}
