// SPDX-License-Identifier: GPL-2.0

//! The class device, the queues and the bus use the driver's state at once: it must be `Sync`.

// error: E0277

use core::cell::Cell;
use kernel::{
    device::Core,
    prelude::*,
    sync::atomic::Atomic,
    virtio::{
        self,
        Negotiated,
        NoFeatures, //
    }, //
};

#[cfg(not(fixed))]
type Counter = Cell<u32>;
#[cfg(fixed)]
type Counter = Atomic<u32>;

struct Driver;

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for Driver {
    type Features = NoFeatures;
    type Data<'bound> = Counter;
    type ClassDevice<'bound> = ();

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<Counter, Error> + 'bound {
        Ok(Counter::new(0))
    }

    fn register<'bound>(_vdev: &'bound virtio::Device<Core<'_>>, _data: Pin<&Counter>) -> Result {
        Ok(())
    }
}
