// SPDX-License-Identifier: GPL-2.0

//! Connects [`Driver`] with the callbacks of `struct virtio_driver`, and owns what a driver must
//! not get wrong: the order of everything.

use super::{
    device::Device,
    driver::Driver,
    events::{
        Event,
        Events, //
    },
    features::{
        FeatureSet,
        Negotiated, //
    },
    offered::{
        assert_valid,
        Offered, //
    },
    ring::QueueError, //
};
use crate::{
    bindings,
    container_of,
    device::{
        self,
        CoreInternal, //
    },
    driver,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};
use core::cell::UnsafeCell;

/// Registers a [`Driver`] with the virtio bus, see
/// [`module_virtio_driver!`](crate::module_virtio_driver).
pub struct Adapter<T: Driver>(T);

/// The private data of a bound device.
#[doc(hidden)]
#[pin_data]
pub struct Bound<'bound, T: Driver> {
    vdev: &'bound Device<device::Bound>,
    #[pin]
    events: Events,
    #[pin]
    data: T::Data<'bound>,
    /// `None` until [`Driver::register`] succeeded. Only the callbacks of the bus access it, and
    /// these are serialised.
    class_device: UnsafeCell<Option<T::ClassDevice<'bound>>>,
    /// Whether it is frozen. Only callbacks of the bus access this.
    frozen: Atomic<bool>,
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
        const { assert_valid(T::Features::TABLE, T::Features::NEEDS) };
        let features = T::Features::TABLE;
        let features_len = features.len().try_into()?;

        // SAFETY: The structure is not registered yet, so it may be written to.
        unsafe {
            let vdrv = vdrv.get();
            (*vdrv).driver.name = name.as_char_ptr();
            (*vdrv).id_table = T::ID_TABLE.as_ptr();
            (*vdrv).feature_table = features.as_ptr();
            (*vdrv).feature_table_size = features_len;
            (*vdrv).validate = Some(Self::validate_callback);
            (*vdrv).probe = Some(Self::probe_callback);
            (*vdrv).remove = Some(Self::remove_callback);
            (*vdrv).config_changed = Some(Self::config_changed_callback);
            (*vdrv).shutdown = Some(Self::shutdown_callback);
            (*vdrv).freeze = Some(Self::freeze_callback);
            (*vdrv).restore = Some(Self::restore_callback);
            (*vdrv).reset_prepare = Some(Self::freeze_callback);
            (*vdrv).reset_done = Some(Self::restore_callback);
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

    /// The feature words do not change after FEATURES_OK.
    fn negotiated(vdev: &Device<CoreInternal<'_>>) -> Negotiated<T::Features> {
        // SAFETY: The device is valid, and all members of the union are plain integers.
        let words = unsafe { (*vdev.as_raw()).__bindgen_anon_1.features_array };
        Negotiated::new(words)
    }

    extern "C" fn validate_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };

        from_result(|| {
            // SAFETY: FEATURES_OK is not set yet, and nobody else looks at the features.
            let mut offered = unsafe { Offered::new(vdev) };
            offered.clear_unmet();
            T::validate(vdev, &mut offered)?;
            offered.clear_unmet();
            Ok(0)
        })
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
        let data = T::probe(vdev, Self::negotiated(vdev));
        vdev.as_ref().set_drvdata(try_pin_init!(Bound::<'_, T> {
            vdev,
            // SAFETY: It is embedded in the right type. Events are raised only while all of it
            // exists: `teardown` stops the sources, cancels the work item and then drops it.
            events <- unsafe { Events::new(Self::events_callback, Self::change_callback) },
            data <- data,
            class_device: UnsafeCell::new(None),
            frozen: Atomic::new(false),
        }))?;
        // SAFETY: The private data was just stored.
        let bound = unsafe { Self::bound(vdev) };

        // SAFETY: `teardown` stops the queues before it drops `bound`.
        unsafe { vdev.start_queues(&bound.events) };

        let class_device = T::register(vdev, Self::data(bound))?;
        // SAFETY: Only callbacks of the bus access this, and they are serialised. What is there is
        // `None`, and need not be dropped.
        unsafe { bound.class_device.get().write(Some(class_device)) };
        Ok(())
    }

    extern "C" fn remove_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: The device was probed.
        let bound = unsafe { Self::bound(vdev) };

        // Until the class device is gone, it may be what memory is freed by.
        let _noio = NoIo::new();

        // The transport may have marked the queues broken without telling anyone, as it does when a
        // device is unplugged. Whoever waits for a buffer would wait for ever.
        //
        // SAFETY: The device is bound, and only this callback releases the set. If the work item
        // ends the queues at the same time, they are dead to this.
        unsafe { vdev.poll_queues() };
        if let Ok(class_device) = Self::class_device(bound) {
            T::unbind(vdev, Self::data(bound), class_device);
        }
        Self::teardown(vdev);
    }

    /// Undoes `probe`, as far as it came. The order is what this module is about.
    fn teardown<'a>(vdev: &'a Device<CoreInternal<'a>>) {
        // SAFETY: If there is private data, it is of this type. It is taken before the driver core
        // could: the hook of the driver core finds none.
        let bound = unsafe { vdev.as_ref().drvdata_obtain::<Bound<'a, T>>() };

        if let Some(bound) = &bound {
            // If a queue breaks now, its buffers still come back, so nobody waits for them in vain.
            //
            // SAFETY: Only callbacks of the bus access this, and they are serialised. The work item
            // may still use the rest of `bound`.
            drop(unsafe { (*bound.class_device.get()).take() });
        }
        quiesce(vdev, bound.as_ref().map(|bound| &bound.events));
        // SAFETY: `quiesce` stopped everything else.
        unsafe { vdev.end_queues(QueueError::Dead) };
        drop(bound);
        vdev.release();
    }

    /// # Safety
    ///
    /// `work` belongs to the events of a [`Bound`] of this type, which exists until this returned.
    unsafe extern "C" fn events_callback(work: *mut bindings::work_struct) {
        // SAFETY: This is what `probe` made the events with, inside of a `Bound`, which is not
        // dropped while the work item runs.
        let bound = unsafe {
            let events = Events::from_work(work);
            Pin::new_unchecked(&*container_of!(events, Bound<'_, T>, events))
        };
        // SAFETY: This is the work item. Who else makes or deletes virtqueues, after one of them
        // was live, waits for it first. A queue that is not live yet stays dead.
        unsafe { handle_events(bound.vdev, &bound.events) };
    }

    /// # Safety
    ///
    /// As for [`events_callback`](Self::events_callback).
    unsafe extern "C" fn change_callback(work: *mut bindings::work_struct) {
        // SAFETY: As in `events_callback`.
        let bound = unsafe {
            let events = Events::from_change_work(work);
            Pin::new_unchecked(&*container_of!(events, Bound<'_, T>, events))
        };
        // Who freezes a device waits for this, and another one may be frozen by then.
        let _noio = NoIo::new();
        if bound.events.take_change() {
            T::config_changed(bound.vdev, Self::data(bound));
        }
    }

    extern "C" fn config_changed_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: The core calls this only between the end of probe and the start of remove, and
        // not while the device is frozen.
        unsafe { Self::bound(vdev) }.events.change();
    }

    extern "C" fn shutdown_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: The device was probed, and the driver core holds its lock.
        let bound = unsafe { Self::bound(vdev) };

        // SAFETY: The device is valid. The core does not do this by itself here.
        unsafe { bindings::virtio_config_driver_disable(vdev.as_raw()) };
        // As in `freeze_callback`.
        bound.events.cancel_change();
        quiesce(vdev, Some(&bound.events));
        // SAFETY: The device is valid. Buffers stay where they are: the system is going down.
        unsafe { bindings::virtio_device_shutdown(vdev.as_raw()) };
    }

    extern "C" fn freeze_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: The device was probed: while the system goes to sleep and wakes up, the driver
        // core neither probes nor unbinds, and for a reset the lock of the device is held.
        let bound = unsafe { Self::bound(vdev) };

        freeze(vdev, &bound.events, &bound.frozen, &mut || {
            T::freeze(vdev, Self::data(bound), Self::class_device(bound)?)
        })
    }

    extern "C" fn restore_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: This is a callback of the bus.
        let vdev = unsafe { Self::device(vdev) };
        // SAFETY: As in `freeze_callback`.
        let bound = unsafe { Self::bound(vdev) };

        // SAFETY: `teardown` stops the queues before it drops `bound`.
        unsafe {
            restore(vdev, &bound.events, &bound.frozen, &mut || {
                if let Ok(class_device) = Self::class_device(bound) {
                    T::restore(vdev, Self::data(bound), class_device);
                }
            })
        }
    }

    /// For callbacks of the bus, of which there is one at a time.
    fn class_device<'p, 'a>(bound: Pin<&'p Bound<'a, T>>) -> Result<&'p T::ClassDevice<'a>> {
        // SAFETY: Only callbacks of the bus access this, and they are serialised. `teardown`, which
        // takes it, is the last one.
        unsafe { (*bound.get_ref().class_device.get()).as_ref() }.ok_or(ENODEV)
    }

    fn data<'p, 'a>(bound: Pin<&'p Bound<'a, T>>) -> Pin<&'p T::Data<'a>> {
        // SAFETY: `data` is structurally pinned.
        unsafe { bound.map_unchecked(|bound| &bound.data) }
    }
}

/// Memory is allocated without waiting for I/O as long as this exists, by the task that made it.
struct NoIo(c_uint, NotThreadSafe);

impl NoIo {
    fn new() -> Self {
        // SAFETY: This may be called at any time in process context.
        Self(unsafe { bindings::memalloc_noio_save() }, NotThreadSafe)
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: This is what `memalloc_noio_save()` returned to this task. Those that came in
        // between are gone: nobody but functions that end keep one.
        unsafe { bindings::memalloc_noio_restore(self.0) };
    }
}

/// What there is to do for all drivers when something happened to a queue.
///
/// # Safety
///
/// The device is bound, and nobody else makes or deletes its virtqueues meanwhile.
#[inline(never)]
unsafe fn handle_events(vdev: &Device<device::Bound>, events: &Events) {
    let pending = events.take();
    // Memory may be freed by what this brings back.
    let _noio = NoIo::new();

    if pending.has(Event::Broken) {
        dev_err!(vdev.as_ref(), "virtqueues broken, device reset\n");
        // SAFETY: By the requirements of this function.
        unsafe { vdev.end_queues(QueueError::Broken) };
    }
    if pending.has(Event::MoreUsed) {
        // SAFETY: As above.
        unsafe { vdev.poll_queues() };
    }
}

/// What there is to do for all drivers when a device is frozen; `driver` does the rest.
#[inline(never)]
fn freeze(
    vdev: &Device<CoreInternal<'_>>,
    events: &Events,
    frozen: &Atomic<bool>,
    driver: &mut dyn FnMut() -> Result,
) -> c_int {
    // It is, if it could not be restored: the core gives up before it comes to that if the device
    // refuses its features. The next time it may not.
    if frozen.load(Relaxed) {
        return 0;
    }
    // What is frozen here may be what memory is freed by.
    let _noio = NoIo::new();
    // The core has stopped changes of the configuration. If the driver is being told of one, it may
    // wait for what it is to stop next.
    events.cancel_change();
    if let Err(e) = driver() {
        // SAFETY: The device is valid. The transport has the lock of its own device, whether it
        // resets it or the system goes to sleep, so nobody else writes this.
        if !unsafe { (*vdev.as_raw()).resetting } {
            events.resume();
            return e.to_errno();
        }
        // The transport will reset it nevertheless.
    }
    quiesce(vdev, Some(events));
    // SAFETY: `quiesce` stopped everything else.
    unsafe { vdev.end_queues(QueueError::Dead) };
    frozen.store(true, Relaxed);
    0
}

/// What there is to do for all drivers when a device is restored; `driver` does the rest.
///
/// # Safety
///
/// `events` is valid until the queues were stopped.
#[inline(never)]
unsafe fn restore(
    vdev: &Device<CoreInternal<'_>>,
    events: &Events,
    frozen: &Atomic<bool>,
    driver: &mut dyn FnMut(),
) -> c_int {
    // The core restores whom it froze: it binds nobody in between.
    if !frozen.xchg(false, Relaxed) {
        return EINVAL.to_errno();
    }
    // As when it was frozen.
    let _noio = NoIo::new();
    // SAFETY: By the requirements of this function.
    let found = unsafe { vdev.restart_queues(events) };
    driver();
    match found {
        Ok(()) => {
            // The device may have changed its configuration, and could not say so.
            events.change();
            0
        }
        Err(e) => e.to_errno(),
    }
}

/// Stops the queues and the work items. The core has stopped changes of the configuration.
fn quiesce(vdev: &Device<CoreInternal<'_>>, events: Option<&Events>) {
    vdev.stop_queues();
    if let Some(events) = events {
        events.cancel();
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
