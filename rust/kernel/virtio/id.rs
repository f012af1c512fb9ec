// SPDX-License-Identifier: GPL-2.0

//! Device ids and the table that matches drivers with devices.

use crate::{
    bindings,
    device_id::RawDeviceId, //
};

/// The kind of device that a driver binds to.
///
/// Corresponds to `struct virtio_device_id`. Device types are numbered in Virtio 1.3, section 5.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct DeviceId(bindings::virtio_device_id);

impl DeviceId {
    /// The block device, Virtio 1.3, section 5.2.
    pub const BLOCK: Self = Self::new(bindings::VIRTIO_ID_BLOCK);

    /// The entropy device, Virtio 1.3, section 5.4.
    pub const ENTROPY: Self = Self::new(bindings::VIRTIO_ID_RNG);

    /// Matches devices of type `device` (`VIRTIO_ID_*`) from any vendor.
    ///
    /// `device` must not be 0, which the specification reserves and which ends an id table.
    pub const fn new(device: u32) -> Self {
        Self::with_vendor(device, bindings::VIRTIO_DEV_ANY_ID)
    }

    /// Matches devices of type `device` from `vendor` only.
    pub const fn with_vendor(device: u32, vendor: u32) -> Self {
        assert!(device != 0, "virtio device id 0 is reserved");
        Self(bindings::virtio_device_id { device, vendor })
    }
}

// SAFETY: `DeviceId` is a `#[repr(transparent)]` wrapper of `virtio_device_id` and adds no
// invariant, so it can be transmuted to `RawType`.
unsafe impl RawDeviceId for DeviceId {
    type RawType = bindings::virtio_device_id;
}

/// The type of `Driver::ID_TABLE`.
pub type IdTable = &'static dyn crate::device_id::IdTable<DeviceId, ()>;

/// Creates an [`IdTable`](crate::virtio::IdTable) together with its module alias.
///
/// # Examples
///
/// ```
/// use kernel::virtio;
///
/// kernel::virtio_device_table!(TABLE, [virtio::DeviceId::ENTROPY]);
/// # let _: virtio::IdTable = &TABLE;
/// ```
#[macro_export]
macro_rules! virtio_device_table {
    ($name:ident, [$($id:expr),+ $(,)?]) => {
        $crate::module_device_table!(
            "virtio", $crate::virtio::DeviceId, $name, @none, [$($id),+]
        );
    };
}
