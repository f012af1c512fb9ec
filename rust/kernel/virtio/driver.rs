// SPDX-License-Identifier: GPL-2.0

//! What a virtio driver implements.

use super::{
    device::Device,
    features::{
        FeatureSet,
        Negotiated, //
    },
    id::IdTable,
    offered::Offered, //
};
use crate::{
    device,
    prelude::*, //
};

/// A virtio driver.
///
/// All callbacks run in process context and may sleep. They are serialised by the driver core, but
/// for [`config_changed`](Driver::config_changed), which may run beside the others.
///
/// # Examples
///
/// ```
/// use kernel::{
///     device::Core,
///     prelude::*,
///     virtio, //
/// };
///
/// struct Entropy;
///
/// kernel::virtio_device_table!(TABLE, [virtio::DeviceId::ENTROPY]);
///
/// impl virtio::Driver for Entropy {
///     type Features = virtio::NoFeatures;
///     type Data<'bound> = Self;
///     type ClassDevice<'bound> = ();
///
///     const ID_TABLE: virtio::IdTable = &TABLE;
///
///     fn probe<'bound>(
///         vdev: &'bound virtio::Device<Core<'_>>,
///         features: virtio::Negotiated<Self::Features>,
///     ) -> impl PinInit<Self, Error> + 'bound {
///         dev_info!(vdev.as_ref(), "legacy device: {}\n", !features.version_1());
///         Ok(Self)
///     }
///
///     fn register<'bound>(
///         _vdev: &'bound virtio::Device<Core<'_>>,
///         _data: Pin<&Self>,
///     ) -> Result {
///         Ok(())
///     }
/// }
/// ```
pub trait Driver: 'static {
    /// The device-specific features that the driver implements, see
    /// [`virtio_features!`](crate::virtio_features), or [`NoFeatures`](super::NoFeatures).
    type Features: FeatureSet;

    /// The driver's state for one device.
    type Data<'bound>: Send + Sync + 'bound;

    /// The class devices: what the rest of the kernel reaches the device by.
    ///
    /// It exists while the device works, and is dropped before the device is reset. Use `()` if
    /// there is none.
    type ClassDevice<'bound>: Send + 'bound;

    /// The devices that the driver binds to.
    const ID_TABLE: IdTable;

    /// Looks at what the device offers, before features are negotiated, and may give up some of it.
    ///
    /// The configuration space can be read. A feature that needs another one that is not offered
    /// was given up before this is called, and will be after it.
    ///
    /// # Errors
    ///
    /// An error keeps the driver from being bound to the device.
    fn validate(vdev: &Device<device::Bound>, offered: &mut Offered<'_, Self::Features>) -> Result {
        let _ = (vdev, offered);
        Ok(())
    }

    /// Builds the state of the driver, after features were negotiated.
    ///
    /// Virtqueues are made by [`Device::find_vqs`]. They are dead in here.
    fn probe<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        features: Negotiated<Self::Features>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound;

    /// Registers the class devices, after DRIVER_OK was set and the queues are live.
    ///
    /// If it fails, probing fails.
    fn register<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        data: Pin<&Self::Data<'bound>>,
    ) -> Result<Self::ClassDevice<'bound>>;

    /// Called first when the driver is unbound: all of the device still works, unless it is frozen.
    fn unbind<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        data: Pin<&Self::Data<'bound>>,
        class_device: &Self::ClassDevice<'bound>,
    ) {
        let _ = (vdev, data, class_device);
    }

    /// The device says that its configuration space changed.
    ///
    /// Called after [`register`](Self::register) and until the device is unbound or frozen, at most
    /// once at a time; changes that come meanwhile become one more call. May come without a change.
    ///
    /// The device may be frozen or unbound only after it returned: whatever it waits for has to
    /// come, or fail.
    fn config_changed<'bound>(vdev: &Device<device::Bound>, data: Pin<&Self::Data<'bound>>) {
        let _ = (vdev, data);
    }

    /// Called before the system sleeps, or the transport resets the device.
    ///
    /// Nobody is told of changes of the configuration any more. What is allocated from here until
    /// [`restore`](Self::restore) returned, in these two, does not wait for I/O.
    ///
    /// The class devices stay registered. After this returned, the queues end as in a removal, and
    /// the buffers in flight go back to their handlers.
    ///
    /// # Errors
    ///
    /// An error keeps the system from going to sleep, and the device working. It does not keep the
    /// transport from a reset: that goes on as if there had been none.
    fn freeze<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        data: Pin<&Self::Data<'bound>>,
        class_device: &Self::ClassDevice<'bound>,
    ) -> Result {
        let _ = (vdev, data, class_device);
        Ok(())
    }

    /// Called when the system wakes up, or the device was reset, after DRIVER_OK, with new live and
    /// empty queues; with dead ones if they cannot be made again.
    fn restore<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        data: Pin<&Self::Data<'bound>>,
        class_device: &Self::ClassDevice<'bound>,
    ) {
        let _ = (vdev, data, class_device);
    }
}
