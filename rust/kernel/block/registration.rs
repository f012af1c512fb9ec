// SPDX-License-Identifier: GPL-2.0

//! Disks of devices: made, added to the system, and deleted.

use super::{
    attribute::{
        Attribute,
        Attributes, //
    },
    calls::Calls,
    disk::{
        Disk,
        Remains, //
    },
    limits::Limits,
    name::ChosenName,
    operation::Sectors,
    operations::{
        Operations,
        Vtable, //
    },
    tag_set::TagSet,
    zone, //
};
use crate::{
    bindings,
    device,
    devres::Devres,
    error::{
        from_err_ptr,
        to_result, //
    },
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu,
        Arc, //
    },
    time::Delta, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// What a disk is to be.
pub struct DiskParams {
    /// How its name begins; letters make it one that no other disk has: `vd` gives `vda`.
    pub prefix: &'static CStr,
    /// What it can do.
    pub limits: Limits,
    /// Its size.
    pub capacity: Sectors,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What a disk needs as long as it is live, and only its driver knows.
trait Kept: Send + Sync {}

impl<T: Send + Sync> Kept for T {}

/// A disk that exists: as long as this does, the disk can be opened and used.
///
/// When this is dropped, and before the parent device is unbound in any case, the disk is deleted:
/// nobody can open it from then on, who has it open gets errors, and what is in flight is waited
/// for. That has to come back by itself, or because the driver gives its device up.
///
/// # Invariants
///
/// The disk has the operations `T`, and its `data` is a `T::DiskData`.
pub struct Registration<T: Operations> {
    added: KBox<dyn Added>,
    _operations: PhantomData<fn() -> T>,
}

/// A disk that was added, whatever its operations are.
trait Added: Send + Sync {
    fn disk(&self) -> Result<ARef<Disk>>;
}

impl Added for Devres<Inner> {
    fn disk(&self) -> Result<ARef<Disk>> {
        self.try_access_with(|inner| inner.disk.clone())
            .ok_or(ENODEV)
    }
}

/// # Invariants
///
/// The disk was added. It uses the tag set in `_kept`, and points to the data in `_kept` and to
/// `_attributes`.
struct Inner {
    disk: ARef<Disk>,
    _attributes: KBox<Attributes>,
    _kept: (KBox<dyn Kept>, Arc<dyn Kept>),
}

/// A disk that was allocated and not added.
struct Unborn {
    disk: NonNull<bindings::gendisk>,
    remains: Pin<KBox<Remains>>,
}

impl Drop for Unborn {
    fn drop(&mut self) {
        self.remains.calls.end();
        // SAFETY: The disk was made with one reference, which is this: the driver only had it as a
        // `LiveDisk`. Nobody can open a disk that could not be added, and `remains` is dropped
        // after this.
        unsafe { bindings::put_disk(self.disk.as_ptr()) };
    }
}

impl<T: Operations> Registration<T> {
    /// Makes a disk, and adds it to the system, which reads its partition table. `attributes` are
    /// those in sysfs besides the ones that every disk has.
    ///
    /// Process context; may sleep.
    ///
    /// C: `blk_mq_alloc_disk()`, `device_add_disk()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`, with a message, if the limits cannot be, or if the driver of `parent` is of
    /// another module than `T`; `ENOMEM`, or what the block layer says.
    pub fn new(
        parent: &T::Parent,
        tag_set: Arc<TagSet<T>>,
        params: DiskParams,
        attributes: &'static [Attribute<T>],
        data: T::DiskData,
    ) -> Result<Self> {
        let attributes = Attributes::new(attributes.len(), &|number| {
            attributes.get(number).map_or(null_mut(), Attribute::as_raw)
        })?;
        let data = KBox::new(data, GFP_KERNEL)?;
        let shape = Shape {
            tag_set: tag_set.as_raw(),
            operations: &Vtable::<T>::DISK_TABLE,
            data: (&raw const *data).cast(),
        };
        // INVARIANT: This is what it is made of.
        Ok(Self {
            // SAFETY: The last argument has what `shape` points to. Operations and attributes are
            // those of `T`, and so is the data.
            added: unsafe {
                register(parent.as_ref(), shape, params, attributes, (data, tag_set))?
            },
            _operations: PhantomData,
        })
    }

    /// The disk, which can be kept.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the parent was unbound since.
    pub fn disk(&self) -> Result<ARef<Disk>> {
        self.added.disk()
    }

    /// See [`Disk::timeout`]; nothing if the disk is gone.
    pub fn timeout(&self) -> Delta {
        timeout(&*self.added)
    }

    /// Waits until no request is being processed, and keeps others from being queued until
    /// [`resume`](Self::resume), or until the disk is deleted.
    ///
    /// No request begins meanwhile; those that have begun are queued. `settle` is called again and
    /// again until all have ended: it waits for the device to be done with what it has, or gives it
    /// up. If the disk is paused already, it is called once. One task at a time may do this.
    ///
    /// Process context; may sleep.
    ///
    /// C: `blk_freeze_queue_start()`, `blk_mq_freeze_queue_wait_timeout()`,
    /// `blk_mq_quiesce_queue_nowait()`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the parent was unbound since.
    pub fn pause(&self, settle: &mut dyn FnMut()) -> Result {
        pause(&*self.added, settle)
    }

    /// Ends what [`pause`](Self::pause) began. Process context.
    ///
    /// C: `blk_mq_unquiesce_queue()`.
    pub fn resume(&self) {
        resume(&*self.added);
    }
}

/// See [`Registration::timeout`].
#[inline(never)]
fn timeout(added: &dyn Added) -> Delta {
    added.disk().map_or(Delta::ZERO, |disk| disk.timeout())
}

/// See [`Registration::pause`].
#[inline(never)]
fn pause(added: &dyn Added, settle: &mut dyn FnMut()) -> Result {
    let disk = added.disk()?;
    disk.remains().calls.call(|| {
        // SAFETY: Who deletes the disk waits for such calls before the tag set goes.
        unsafe { disk.pause(settle) };
        Ok(())
    })
}

/// See [`Registration::resume`].
#[inline(never)]
fn resume(added: &dyn Added) {
    // One that is gone is not paused.
    if let Ok(disk) = added.disk() {
        disk.resume();
    }
}

/// What [`register`] makes a disk of, besides what is said of it.
struct Shape {
    tag_set: *mut bindings::blk_mq_tag_set,
    operations: &'static bindings::block_device_operations,
    data: *const c_void,
}

/// See [`Registration::new`].
///
/// # Safety
///
/// `kept` has the tag set and the data that `shape` points to; `attributes` and the operations go
/// with that data.
unsafe fn register(
    parent: &device::Device<device::Bound>,
    shape: Shape,
    mut params: DiskParams,
    attributes: KBox<Attributes>,
    kept: (KBox<dyn Kept>, Arc<dyn Kept>),
) -> Result<KBox<dyn Added>> {
    // SAFETY: By the requirements of this function. The disk is deleted when `inner` is dropped,
    // before what is in there.
    let disk = unsafe { create(parent, shape, &mut params, attributes.groups())? };
    // INVARIANT: Just added.
    let inner = Inner {
        disk,
        _attributes: attributes,
        _kept: kept,
    };
    Ok(KBox::new(Devres::new(parent, inner)?, GFP_KERNEL)?)
}

impl Drop for Inner {
    fn drop(&mut self) {
        let remains = self.disk.remains();
        remains.live.store(false, Relaxed);
        // What waits to be queued could not end otherwise.
        self.disk.resume();
        // Who changes the size has done so after this, or will not.
        drop(remains.resizing.lock());
        // SAFETY: By the type invariant, it was added, and is deleted once.
        unsafe { bindings::del_gendisk(self.disk.as_raw()) };
        // Requests of the driver fail by now, so nobody is kept for long.
        remains.calls.end();
        // Who queues requests without a reference to the queue has finished after this.
        rcu::synchronize_rcu();
    }
}

/// In the kernel, not in the module that has the driver: as long as someone has the disk open.
extern "C" fn free_disk(disk: *mut bindings::gendisk) {
    // SAFETY: `create` put it there, and nobody uses the disk any more.
    drop(unsafe { KBox::from_raw((*disk).private_data.cast::<Remains>()) });
}

/// The module that a table of operations is in, null if that is built in.
fn module_of(operations: &'static bindings::block_device_operations) -> *mut bindings::module {
    #[cfg(CONFIG_MODULES)]
    {
        let _guard = rcu::read_lock();
        // SAFETY: It can be asked for any address, in an RCU read-side critical section.
        unsafe { bindings::__module_address(core::ptr::from_ref(operations).addr()) }
    }
    #[cfg(not(CONFIG_MODULES))]
    {
        let _ = operations;
        null_mut()
    }
}

/// Makes a disk, and adds it to the system.
///
/// # Safety
///
/// What `shape` and `groups` point to exists until the disk was deleted, or this failed; attributes
/// and operations go with the data.
unsafe fn create(
    parent: &device::Device<device::Bound>,
    shape: Shape,
    params: &mut DiskParams,
    groups: &[*const bindings::attribute_group; 2],
) -> Result<ARef<Disk>> {
    params.limits.accept(parent)?;
    let mut operations = *shape.operations;
    // SAFETY: The parent is bound, so it has a driver.
    operations.owner = unsafe { (*(*parent.as_raw()).driver).owner };
    // The disk ends with that driver. So the code for the disk must not go before.
    if operations.owner != module_of(shape.operations) {
        dev_err!(parent, "refused: its driver is of another module\n");
        return Err(EINVAL);
    }
    operations.free_disk = Some(free_disk);
    let remains = KBox::pin_init(
        pin_init!(Remains {
            operations,
            data: shape.data,
            parent: parent.as_raw(),
            live: Atomic::new(false),
            paused: Atomic::new(false),
            resizing <- new_mutex!((), "block_resizing"),
            calls <- Calls::new(),
        }),
        GFP_KERNEL,
    )?;

    // SAFETY: The tag set is valid, and the caller keeps it as long as there is the disk.
    let disk = from_err_ptr(unsafe {
        bindings::__blk_mq_alloc_disk(
            shape.tag_set,
            params.limits.as_raw(),
            null_mut(),
            static_lock_class!().as_ptr(),
        )
    })?;
    let unborn = Unborn {
        // SAFETY: It is not an error, and not null.
        disk: unsafe { NonNull::new_unchecked(disk) },
        remains,
    };
    // SAFETY: Nobody else knows the disk.
    unsafe {
        (*disk).fops = &raw const unborn.remains.operations;
        (*disk).private_data = (&raw const *unborn.remains).cast_mut().cast();
        bindings::set_capacity(disk, params.capacity.0);
        bindings::set_disk_ro(disk, params.read_only);
    }
    add(parent, disk, params, groups)?;
    unborn.remains.live.store(true, Relaxed);

    let unborn = ManuallyDrop::new(unborn);
    // SAFETY: `free_disk` frees it from now on, and `unborn` is not used any more.
    let remains = unsafe { core::ptr::read(&raw const unborn.remains) };
    // SAFETY: It is not moved.
    let _ = KBox::into_raw(unsafe { Pin::into_inner_unchecked(remains) });
    // SAFETY: The disk was made with one reference, which is this.
    Ok(unsafe { ARef::from_raw(unborn.disk.cast()) })
}

/// Adds a disk with the first name that is free.
///
/// Adding reads the disk, which takes as long as its device likes. So no lock is held meanwhile;
/// the name is known to be taken before the system knows it.
fn add(
    parent: &device::Device<device::Bound>,
    disk: *mut bindings::gendisk,
    params: &DiskParams,
    groups: &[*const bindings::attribute_group; 2],
) -> Result {
    let name = ChosenName::new(params.prefix)?;
    // SAFETY: Nobody else knows the disk.
    unsafe { (*disk).disk_name = *name.get() };
    zone::look_at(parent, disk, params)?;
    // SAFETY: The disk is complete, and nobody else knows it. What `groups` points to exists until
    // it was deleted.
    to_result(unsafe {
        bindings::device_add_disk(parent.as_raw(), disk, groups.as_ptr().cast_mut())
    })
}
