// SPDX-License-Identifier: GPL-2.0

//! Disks.

use super::{
    attribute::{
        Attribute,
        Attributes, //
    },
    calls::Calls,
    driver_request,
    limits::Limits,
    name::ChosenName,
    operation::Sectors,
    operations::{
        Operations,
        Vtable, //
    },
    request::Request,
    tag_set::TagSet,
    zone, //
};
use crate::{
    bindings,
    device::{
        self,
        AsBusDevice, //
    },
    devres::Devres,
    error::{
        from_err_ptr,
        to_result, //
    },
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        rcu,
        Arc,
        Mutex, //
    },
    time::Jiffies,
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// A disk, which may be gone already.
///
/// C: `struct gendisk`.
///
/// # Invariants
///
/// It is a valid `struct gendisk` with a queue.
#[repr(transparent)]
pub struct Disk(Opaque<bindings::gendisk>);

// SAFETY: A disk is reference-counted, and can be released from any thread.
unsafe impl Send for Disk {}

// SAFETY: All methods can be called from several threads at once.
unsafe impl Sync for Disk {}

impl Disk {
    pub(super) fn as_raw(&self) -> *mut bindings::gendisk {
        self.0.get()
    }

    pub(super) fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant; the queue does not change.
        unsafe { (*self.as_raw()).queue }
    }

    fn device(&self) -> *mut bindings::device {
        // SAFETY: By the type invariant; the whole disk is a part that always exists.
        unsafe { &raw mut (*(*self.as_raw()).part0).bd_device }
    }

    /// The name of its device node.
    pub fn name(&self) -> &CStr {
        // SAFETY: The name ends with a NUL and does not change.
        unsafe { CStr::from_char_ptr((&raw const (*self.as_raw()).disk_name).cast()) }
    }

    /// The size of the disk.
    pub fn capacity(&self) -> Sectors {
        // SAFETY: By the type invariant; any value is fine.
        Sectors(unsafe { (&raw const (*(*self.as_raw()).part0).bd_nr_sectors).read_volatile() })
    }

    /// The size of a zone in sectors, and how many can be active; of a disk without zones, any
    /// numbers.
    pub(super) fn zones(&self) -> (u32, u32) {
        // SAFETY: By the type invariant. Of a disk with zones, these do not change.
        let limits = unsafe { &raw const (*self.queue()).limits };
        // SAFETY: As above; any value is fine.
        unsafe {
            let size = (&raw const (*limits).chunk_sectors).read_volatile();
            let most = (&raw const (*limits).max_active_zones).read_volatile();
            (size, Limits::most_active_zones(most))
        }
    }

    /// Whether it was added, and is not about to be deleted.
    pub(super) fn is_live(&self) -> bool {
        self.remains().state.lock().live
    }

    /// Sets after how long [`Operations::timed_out`] is called for requests that are queued from
    /// now on, in jiffies.
    ///
    /// C: `blk_queue_rq_timeout()`.
    pub fn set_timeout(&self, timeout: Jiffies) {
        // CAST: It was just limited.
        let timeout = timeout.min(u32::MAX as Jiffies) as c_uint;
        // SAFETY: By the type invariant.
        unsafe { bindings::blk_queue_rq_timeout(self.queue(), timeout) };
    }

    /// Whether it consists of zones.
    pub fn has_zones(&self) -> bool {
        // SAFETY: By the type invariant; this does not change.
        let features = unsafe { (&raw const (*self.queue()).limits.features).read_volatile() };
        features & bindings::BLK_FEAT_ZONED != 0
    }

    /// Changes the size, and tells user space if it is another one. Does nothing for a disk that is
    /// gone, and no more than a message for one that has zones, which were counted.
    ///
    /// Process context; may sleep.
    ///
    /// C: `set_capacity_and_notify()`.
    pub fn set_capacity(&self, capacity: Sectors) {
        let state = self.remains().state.lock();
        if !state.live || capacity == self.capacity() {
            return;
        }
        if self.has_zones() {
            pr_warn!(
                "{}: its size changed; that of disks with zones is kept\n",
                self.name()
            );
            return;
        }
        // SAFETY: By the type invariant. Who deletes the disk waits for the lock first.
        unsafe { bindings::set_capacity_and_notify(self.as_raw(), capacity.0) };
    }

    fn resume(&self, state: &mut State) {
        if core::mem::take(&mut state.paused) {
            // SAFETY: The queue exists, and was made to wait once.
            unsafe { bindings::blk_mq_unquiesce_queue(self.queue()) };
        }
    }

    /// See [`LiveDisk::pause`].
    fn pause(&self) {
        let queue = self.queue();
        // SAFETY: The queue exists.
        unsafe {
            let flags = bindings::blk_mq_freeze_queue(queue);
            bindings::blk_mq_quiesce_queue_nowait(queue);
            bindings::blk_mq_unfreeze_queue(queue, flags);
        }
        // Who holds the lock may allocate, and so wait for requests: not as long as the queue was
        // frozen.
        let mut state = self.remains().state.lock();
        if state.live && !state.paused {
            state.paused = true;
        } else {
            // SAFETY: The queue exists, and was made to wait once more.
            unsafe { bindings::blk_mq_unquiesce_queue(queue) };
        }
    }

    /// See [`LiveDisk::resume`].
    fn unpause(&self) {
        self.resume(&mut self.remains().state.lock());
    }

    /// See [`LiveDisk::update_limits`].
    fn update_limits(&self, change: &dyn Fn(&mut Limits)) -> Result {
        let queue = self.queue();
        let refused;
        // SAFETY: The queue exists. This locks its limits, and the second one unlocks them.
        to_result(unsafe {
            let before = bindings::queue_limits_start_update(queue);
            let mut limits = Limits::from_raw(before);
            change(&mut limits);
            refused = limits.refused().is_some();
            if refused {
                limits = Limits::from_raw(before);
            }
            limits.keep_zones_of(&before);
            bindings::queue_limits_commit_update_frozen(queue, limits.as_raw())
        })?;
        if refused {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn remains(&self) -> &Remains {
        // SAFETY: `create` put it there before anybody could come by the disk, and `free_disk`
        // frees it when nobody can any more.
        unsafe { &*(*self.as_raw()).private_data.cast() }
    }

    /// Calls a function of the driver, which does not go away meanwhile. Process context; may
    /// sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the driver is gone, or what `f` returns.
    ///
    /// # Safety
    ///
    /// The disk was made by a [`Registration`] of this `T`.
    pub(super) unsafe fn call_driver<T: Operations, R>(
        &self,
        f: impl FnOnce(&LiveDisk<'_, T>) -> Result<R>,
    ) -> Result<R> {
        self.remains().calls.call(|| {
            // SAFETY: By the requirements of this function. Who drops the registration, or gives up
            // making it, waits for such calls first.
            f(&unsafe { LiveDisk::new(self) })
        })
    }
}

// SAFETY: The reference count is the one of the device that stands for the whole disk.
unsafe impl AlwaysRefCounted for Disk {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::get_device(self.device()) };
    }

    unsafe fn dec_ref(disk: NonNull<Self>) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::put_device(disk.as_ref().device()) };
    }
}

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

/// What a disk needs until nobody has it open any more, which can be long after the driver is gone:
/// nothing in here is the driver's.
#[pin_data]
struct Remains {
    operations: bindings::block_device_operations,
    /// The driver's data of a disk that is live.
    live: *const c_void,
    /// The device that it is a disk of.
    parent: *mut bindings::device,
    #[pin]
    state: Mutex<State>,
    #[pin]
    calls: Calls,
}

/// Whether the disk is there.
struct State {
    /// From when it was added until it is about to be deleted.
    live: bool,
    /// Whether requests are kept from being queued.
    paused: bool,
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
/// The disk has the operations `T`, and its `live` is a `T::DiskData`.
pub struct Registration<T: Operations> {
    added: KBox<dyn Added>,
    _operations: PhantomData<fn() -> T>,
}

/// A disk that was added, whatever its operations are.
trait Added: Send + Sync {
    fn disk<'a>(&'a self, parent: &'a device::Device<device::Bound>) -> Result<&'a Disk>;
}

impl Added for Devres<Inner> {
    fn disk<'a>(&'a self, parent: &'a device::Device<device::Bound>) -> Result<&'a Disk> {
        Ok(&self.access(parent)?.disk)
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
        // SAFETY: The disk was made with one reference, which is this. Nobody can open a disk that
        // could not be added, and `remains` is dropped after this.
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
    /// `EINVAL`, with a message, if the limits cannot be, `ENOMEM`, or what the block layer says.
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
            live: (&raw const *data).cast(),
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

    /// The disk.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `parent` is another device than the one that it was made for.
    pub fn live<'a>(&'a self, parent: &'a T::Parent) -> Result<LiveDisk<'a, T>> {
        let disk = self.added.disk(parent.as_ref())?;
        // SAFETY: By the type invariant; it cannot be dropped meanwhile.
        Ok(unsafe { LiveDisk::new(disk) })
    }
}

/// What [`register`] makes a disk of, besides what is said of it.
struct Shape {
    tag_set: *mut bindings::blk_mq_tag_set,
    operations: &'static bindings::block_device_operations,
    live: *const c_void,
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
        let mut state = self.disk.remains().state.lock();
        state.live = false;
        // What waits to be queued could not end otherwise.
        self.disk.resume(&mut state);
        drop(state);
        // SAFETY: By the type invariant, it was added, and is deleted once.
        unsafe { bindings::del_gendisk(self.disk.as_raw()) };
        // Requests of the driver fail by now, so nobody is kept for long.
        self.disk.remains().calls.end();
        // Who queues requests without a reference to the queue has finished after this.
        rcu::synchronize_rcu();
    }
}

/// In the kernel, not in the module that has the driver: as long as someone has the disk open.
extern "C" fn free_disk(disk: *mut bindings::gendisk) {
    // SAFETY: `create` put it there, and nobody uses the disk any more.
    drop(unsafe { KBox::from_raw((*disk).private_data.cast::<Remains>()) });
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
    operations.free_disk = Some(free_disk);
    let remains = KBox::pin_init(
        pin_init!(Remains {
            operations,
            live: shape.live,
            parent: parent.as_raw(),
            state <- new_mutex!(
                State {
                    live: false,
                    paused: false,
                },
                "block_disk"
            ),
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
    unborn.remains.state.lock().live = true;

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

/// A disk while it is registered.
pub struct LiveDisk<'a, T: Operations> {
    disk: &'a Disk,
    parent: &'a T::Parent,
    data: &'a T::DiskData,
}

impl<'a, T: Operations> LiveDisk<'a, T> {
    /// # Safety
    ///
    /// `dev` is the device of a disk that a [`Registration`] of this type added, which is not
    /// dropped as long as the result exists.
    pub(super) unsafe fn from_device(dev: *mut bindings::device) -> Self {
        // SAFETY: By the requirements of this function: the device is part of the whole disk, which
        // knows its disk.
        unsafe {
            let part = crate::container_of!(dev, bindings::block_device, bd_device);
            Self::new(&*(*part).bd_disk.cast())
        }
    }

    /// # Safety
    ///
    /// A [`Registration`] of this type made the disk, or is about to; until it is dropped, or gives
    /// up, the result does not exist any more.
    unsafe fn new(disk: &'a Disk) -> Self {
        let remains = disk.remains();
        // SAFETY: By the requirements of this function: the data exists, and the parent is bound,
        // as long as that.
        let (parent, data) = unsafe {
            (
                T::Parent::from_device(device::Device::from_raw(remains.parent)),
                &*remains.live.cast(),
            )
        };
        Self { disk, parent, data }
    }

    /// The disk.
    pub fn disk(&self) -> &'a Disk {
        self.disk
    }

    /// The device that it is a disk of.
    pub fn parent(&self) -> &'a T::Parent {
        self.parent
    }

    /// The driver's data.
    pub fn data(&self) -> &'a T::DiskData {
        self.data
    }

    /// Changes what the disk can do, while no request is being processed. What it says about zones
    /// does not change. Process context; may sleep.
    ///
    /// C: `queue_limits_commit_update_frozen()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the limits cannot be, or the block layer does not accept them.
    pub fn update_limits(&self, change: impl Fn(&mut Limits)) -> Result {
        self.disk.update_limits(&change)
    }

    /// Waits until no request is being processed, and keeps others from being queued until
    /// [`resume`](Self::resume). Process context; may sleep.
    ///
    /// C: `blk_mq_freeze_queue()`, `blk_mq_quiesce_queue_nowait()`.
    pub fn pause(&self) {
        self.disk.pause();
    }

    /// Ends what [`pause`](Self::pause) began.
    ///
    /// C: `blk_mq_unquiesce_queue()`.
    pub fn resume(&self) {
        self.disk.unpause();
    }

    /// Has [`Operations::queue_rq`] called with a request of the driver's own, whose data is set up
    /// by `setup`, and which asks for `len` bytes. Returns what was read, or zero where the device
    /// wrote nothing.
    ///
    /// Its operation is [`DriverIn`](super::Operation::DriverIn). Process context; may sleep.
    ///
    /// C: `blk_execute_rq()`.
    ///
    /// # Errors
    ///
    /// What [`Operations::complete`] says, `ENOMEM`, or `ENODEV` if the disk is being deleted.
    pub fn read_by_driver(
        &self,
        len: u32,
        setup: impl Fn(&mut T::RequestData),
    ) -> Result<KVec<u8>> {
        driver_request::read(self.disk, len, &|rq| {
            // SAFETY: Nobody but us has the request; it has a private area, which was initialised.
            setup(unsafe { Request::<T>::private(rq).as_mut() });
        })
    }
}
