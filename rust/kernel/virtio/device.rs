// SPDX-License-Identifier: GPL-2.0

//! The virtio bus device.

use crate::{
    bindings,
    device,
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull, //
};

/// A device on the virtio bus.
///
/// # Invariants
///
/// A [`Device`] instance represents a valid `struct virtio_device` created by the C portion of the
/// kernel.
#[repr(transparent)]
pub struct Device<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::virtio_device>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> Device<Ctx> {
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::virtio_device {
        self.0.get()
    }

    /// The position on the virtio bus: the N of `virtioN`, unique in the system.
    #[inline]
    pub fn index(&self) -> i32 {
        // SAFETY: The device is valid; the index is set before it is added to the bus.
        unsafe { (*self.as_raw()).index }
    }
}

impl Device<device::Bound> {
    /// Whether the device follows Virtio 1.0 or later; if not, multi-byte fields of its
    /// configuration space have the byte order of the guest.
    pub(super) fn is_version_1(&self) -> bool {
        // SAFETY: The device is valid, and all members of the union are plain integers. This bit is
        // the transport's; it was settled before any driver was called.
        let features = unsafe { (*self.as_raw()).__bindgen_anon_1.features_array[0] };
        features & (1 << bindings::VIRTIO_F_VERSION_1) != 0
    }

    /// The most bytes that one run of memory in a buffer may have; more cannot be mapped.
    ///
    /// C: `virtio_max_dma_size()`.
    pub fn max_segment_size(&self) -> usize {
        // SAFETY: The device is valid, and its features were negotiated.
        unsafe { bindings::virtio_max_dma_size(self.as_raw()) }
    }
}

// SAFETY: `Device` is a transparent wrapper of `struct virtio_device`, whose `dev` is at this
// offset.
unsafe impl<Ctx: device::DeviceContext> device::AsBusDevice<Ctx> for Device<Ctx> {
    const OFFSET: usize = offset_of!(bindings::virtio_device, dev);
}

// SAFETY: `Device` is a transparent wrapper of a type that doesn't depend on `Device`'s generic
// argument.
crate::impl_device_context_deref!(unsafe { Device });
crate::impl_device_context_into_aref!(Device);

// SAFETY: Instances of `Device` are always reference-counted.
unsafe impl crate::sync::aref::AlwaysRefCounted for Device {
    fn inc_ref(&self) {
        self.as_ref().inc_ref();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The safety requirements guarantee that the device is valid and that its
        // reference count is not zero.
        unsafe {
            bindings::put_device(&raw mut (*obj.cast::<bindings::virtio_device>().as_ptr()).dev)
        }
    }
}

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Device<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid `struct virtio_device`.
        let dev = unsafe { &raw mut (*self.as_raw()).dev };

        // SAFETY: `dev` points to a valid `struct device`.
        unsafe { device::Device::from_raw(dev) }
    }
}

// SAFETY: A `Device` is always reference-counted and can be released from any thread.
unsafe impl Send for Device {}

// SAFETY: All methods of `Device<Normal>` can be called from several threads at once.
unsafe impl Sync for Device {}

// SAFETY: Same as `Device<Normal>`: `Bound` adds the configuration space, whose accessors the
// transports serialise as far as they need it.
unsafe impl Sync for Device<device::Bound> {}
