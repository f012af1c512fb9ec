// SPDX-License-Identifier: GPL-2.0

//! Connects [`Driver`] with the callbacks of `struct virtio_driver`, and owns what a driver must
//! not get wrong: the order of everything.

use super::{
    device::Device,
    driver::Driver,
    features::{
        assert_valid,
        FeatureSet, //
    }, //
};
use crate::{
    bindings,
    device::CoreInternal,
    driver,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};
use core::cell::UnsafeCell;

/// Registers a [`Driver`] with the virtio bus, see
/// [`module_virtio_driver!`](crate::module_virtio_driver).
pub struct Adapter<T: Driver>(T);

/// The private data of a bound device.
#[doc(hidden)]
#[pin_data]
pub struct Bound<'bound, T: Driver> {
    #[pin]
    data: T::Data<'bound>,
    /// `None` until [`Driver::register`] succeeded. Only the callbacks of the bus access it, and
    /// these are serialised.
    class_device: UnsafeCell<Option<T::ClassDevice<'bound>>>,
}

// SAFETY:
// - `bindings::virtio_driver` is a C type declared as `repr(C)`.
// - `Bound<'bound, T>` is the type of the driver's device private data.
// - `struct virtio_driver` embeds a `struct device_driver`.
// - `DEVICE_DRIVER_OFFSET` is the correct byte offset to the embedded `struct device_driver`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::virtio_driver;
    type DriverData<'bound> = Bound<'bound, T>;
    const DEVICE_DRIVER_OFFSET: usize = core::mem::offset_of!(Self::DriverType, driver);
}

// SAFETY: A call to `unregister` for a given instance of `DriverType` is guaranteed to be valid if
// a preceding call to `register` has been successful.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        vdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        const { assert_valid(T::Features::TABLE) };
        let features = T::Features::TABLE;
        let features_len = features.len().try_into()?;

        // SAFETY: The structure is not registered yet, so it may be written to.
        unsafe {
            let vdrv = vdrv.get();
            (*vdrv).driver.name = name.as_char_ptr();
            (*vdrv).id_table = T::ID_TABLE.as_ptr();
            (*vdrv).feature_table = features.as_ptr();
            (*vdrv).feature_table_size = features_len;
            (*vdrv).probe = Some(Self::probe_callback);
            (*vdrv).remove = Some(Self::remove_callback);
            (*vdrv).freeze = Some(Self::freeze_callback);
            (*vdrv).restore = Some(Self::restore_callback);
        }

        // SAFETY: `vdrv` is a valid `DriverType` that stays in place until `unregister`.
        to_result(unsafe { bindings::__register_virtio_driver(vdrv.get(), module.as_ptr()) })
    }

    unsafe fn unregister(vdrv: &Opaque<Self::DriverType>) {
        // SAFETY: `vdrv` is guaranteed to be a valid `DriverType`.
        unsafe { bindings::unregister_virtio_driver(vdrv.get()) };
    }
}

impl<T: Driver> Adapter<T> {
    /// # Safety
    ///
    /// `vdev` is what the bus passes to a callback of `struct virtio_driver`, and the result is
    /// used only during this callback.
    unsafe fn device<'a>(vdev: *mut bindings::virtio_device) -> &'a Device<CoreInternal<'a>> {
        // SAFETY: By the requirements of this function, `vdev` is valid.
        unsafe { &*vdev.cast() }
    }

    /// # Safety
    ///
    /// [`probe_callback`](Self::probe_callback) stored the private data of `vdev`, and it is still
    /// there.
    unsafe fn bound<'a>(vdev: &'a Device<CoreInternal<'a>>) -> Pin<&'a Bound<'a, T>> {
        // SAFETY: By the requirements of this function; the type is the one of `probe_callback`.
        unsafe { vdev.as_ref().drvdata_borrow::<Bound<'a, T>>() }
    }

    extern "C" fn probe_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };

        from_result(|| {
            vdev.claim();
            Self::probe(vdev).inspect_err(|_| Self::teardown(vdev))?;
            Ok(0)
        })
    }

    fn probe<'a>(vdev: &'a Device<CoreInternal<'a>>) -> Result {
        let data = T::probe(vdev, vdev.negotiated());
        vdev.as_ref().set_drvdata(try_pin_init!(Bound::<'_, T> {
            data <- data,
            class_device: UnsafeCell::new(None),
        }))?;
        // SAFETY: The private data was just stored.
        let bound = unsafe { Self::bound(vdev) };

        vdev.start_queues();

        let class_device = T::register(vdev, Self::data(bound))?;
        // SAFETY: Only callbacks of the bus access this, and they are serialised.
        unsafe { *bound.class_device.get() = Some(class_device) };
        Ok(())
    }

    extern "C" fn remove_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: The device was probed.
        let bound = unsafe { Self::bound(vdev) };

        T::unbind(vdev, Self::data(bound));
        Self::teardown(vdev);
    }

    /// Undoes `probe`, as far as it came. The order is what this module is about.
    fn teardown<'a>(vdev: &'a Device<CoreInternal<'a>>) {
        // SAFETY: If there is private data, it is of this type. It is taken before the driver core
        // could: the hook of the driver core finds none.
        let mut bound = unsafe { vdev.as_ref().drvdata_obtain::<Bound<'a, T>>() };

        if let Some(bound) = bound.as_mut() {
            *bound.as_mut().project().class_device.get_mut() = None;
        }
        vdev.end_queues();
        drop(bound);
        vdev.release();
    }

    extern "C" fn freeze_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: The device was probed: while the system goes to sleep and wakes up, the driver
        // core neither probes nor unbinds.
        let bound = unsafe { Self::bound(vdev) };

        from_result(|| {
            T::freeze(vdev, Self::data(bound))?;
            vdev.end_queues();
            Ok(0)
        })
    }

    extern "C" fn restore_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: As in `freeze_callback`.
        let bound = unsafe { Self::bound(vdev) };

        from_result(|| {
            vdev.find_vqs_again().inspect_err(|_| vdev.end_queues())?;
            vdev.start_queues();
            T::restore(vdev, Self::data(bound));
            Ok(0)
        })
    }

    fn data<'p, 'a>(bound: Pin<&'p Bound<'a, T>>) -> Pin<&'p T::Data<'a>> {
        // SAFETY: `data` is structurally pinned.
        unsafe { bound.map_unchecked(|bound| &bound.data) }
    }
}

/// Declares a kernel module that exposes a single virtio driver.
///
/// # Examples
///
/// ```ignore
/// kernel::module_virtio_driver! {
///     type: MyDriver,
///     name: "my_driver",
///     authors: ["Author name"],
///     description: "Description",
///     license: "GPL",
/// }
/// ```
#[macro_export]
macro_rules! module_virtio_driver {
    ($($f:tt)*) => {
        $crate::module_driver!(<T>, $crate::virtio::Adapter<T>, { $($f)* });
    };
}
