// SPDX-License-Identifier: GPL-2.0

//! A class device needs the driver's state, of which there is only an initialiser in probe.

// error: E0308

use kernel::{
    device::Core,
    prelude::*,
    virtio::{
        self,
        Negotiated,
        NoFeatures, //
    }, //
};

#[pin_data]
struct Driver {
    users: u32,
}

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for Driver {
    type Features = NoFeatures;
    type Data<'bound> = Self;
    type ClassDevice<'bound> = ();

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<Self, Error> + 'bound {
        let state = try_pin_init!(Self { users: 0 });
        #[cfg(not(fixed))]
        let _ = Self::register(vdev, Pin::new(&state));
        #[cfg(fixed)]
        let _ = vdev;
        state
    }

    fn register<'bound>(_vdev: &'bound virtio::Device<Core<'_>>, _data: Pin<&Self>) -> Result {
        Ok(())
    }
}
