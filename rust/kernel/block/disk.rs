// SPDX-License-Identifier: GPL-2.0

//! Disks.

use super::{
    calls::Calls,
    driver_request,
    limits::Limits,
    operation::Sectors,
    operations::{
        duration,
        Operations, //
    },
    request::Request, //
};
use crate::{
    bindings,
    device::{
        self,
        AsBusDevice, //
    },
    error::to_result,
    prelude::*,
    sync::{
        aref::AlwaysRefCounted,
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        barrier::smp_mb,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Jiffies,
        Msecs, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

/// How long to wait at a time for requests to end, in milliseconds.
const PAUSE: Msecs = 20;

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
        self.remains().live.load(Relaxed)
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

    /// After how long [`Operations::timed_out`] is called for a request: what `io_timeout` in sysfs
    /// says, or what [`set_timeout`](Self::set_timeout) set.
    pub fn timeout(&self) -> Delta {
        // SAFETY: By the type invariant; any value is fine.
        duration(unsafe { (&raw const (*self.queue()).rq_timeout).read_volatile() })
    }

    fn features(&self) -> u32 {
        // SAFETY: By the type invariant; any value is fine.
        unsafe { (&raw const (*self.queue()).limits.features).read_volatile() }
    }

    /// Whether it consists of zones.
    pub fn has_zones(&self) -> bool {
        // This does not change.
        self.features() & bindings::BLK_FEAT_ZONED != 0
    }

    /// Whether the device is known to have a cache that must be flushed.
    ///
    /// What the caller did before is done before this, and so is a change of the limits before what
    /// who made it does then: of two that each change one thing and look at the other, one sees it.
    pub fn has_write_cache(&self) -> bool {
        smp_mb(Full);
        self.features() & bindings::BLK_FEAT_WRITE_CACHE != 0
    }

    /// Changes the size, and tells user space if it is another one. Does nothing for a disk that is
    /// gone, and no more than a message for one that has zones, which were counted.
    ///
    /// Process context; may sleep.
    ///
    /// C: `set_capacity_and_notify()`.
    pub fn set_capacity(&self, capacity: Sectors) {
        let _resizing = self.remains().resizing.lock();
        if !self.is_live() || capacity == self.capacity() {
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

    /// Ends what [`pause`](Self::pause) began, if it did.
    ///
    /// Takes no lock: whoever holds one may allocate, and so wait for requests, which wait for
    /// this.
    pub(super) fn resume(&self) {
        if self.remains().paused.xchg(false, Full) {
            // SAFETY: The queue exists, and was made to wait once.
            unsafe { bindings::blk_mq_unquiesce_queue(self.queue()) };
        }
    }

    /// See [`Registration::pause`](super::Registration::pause).
    ///
    /// # Safety
    ///
    /// The tag set exists.
    pub(super) unsafe fn pause(&self, settle: &mut dyn FnMut()) {
        if self.remains().paused.load(Relaxed) {
            // What is kept from being queued would be waited for in vain.
            settle();
            return;
        }
        let queue = self.queue();
        // SAFETY: The queue exists, and its tag set by the requirements of this function. As long
        // as requests wait, nobody here must wait for one by an allocation.
        unsafe {
            let flags = bindings::memalloc_noio_save();
            bindings::blk_freeze_queue_start(queue);
            loop {
                settle();
                let slice = msecs_to_jiffies(PAUSE);
                if bindings::blk_mq_freeze_queue_wait_timeout(queue, slice) != 0 {
                    break;
                }
            }
            bindings::blk_mq_quiesce_queue_nowait(queue);
            bindings::blk_mq_unfreeze_queue_nomemrestore(queue);
            bindings::memalloc_noio_restore(flags);
        }
        if self.remains().paused.xchg(true, Full) {
            // SAFETY: The queue exists, and was made to wait once more.
            unsafe { bindings::blk_mq_unquiesce_queue(queue) };
        }
        // Who deletes the disk says so before ending this, or finds that there is nothing to end,
        // and has said so.
        if !self.is_live() {
            self.resume();
        }
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
        // See `has_write_cache`.
        smp_mb(Full);
        if refused {
            return Err(EINVAL);
        }
        Ok(())
    }

    pub(super) fn remains(&self) -> &Remains {
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
    /// The disk was made by a [`Registration`](super::Registration) of this `T`.
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

/// What a disk needs until nobody has it open any more, which can be long after the driver is gone:
/// nothing in here is the driver's.
#[pin_data]
pub(super) struct Remains {
    pub(super) operations: bindings::block_device_operations,
    /// The driver's data of a disk that is live.
    pub(super) data: *const c_void,
    /// The device that it is a disk of.
    pub(super) parent: *mut bindings::device,
    /// From when it was added until it is about to be deleted.
    pub(super) live: Atomic<bool>,
    /// Whether requests are kept from being queued.
    pub(super) paused: Atomic<bool>,
    /// Held by who changes the size, for who deletes the disk to wait for.
    #[pin]
    pub(super) resizing: Mutex<()>,
    #[pin]
    pub(super) calls: Calls,
}

/// A disk while it is registered, or about to be: it cannot be kept, since a disk that could not be
/// added has no tag set any more.
pub struct LiveDisk<'a, T: Operations> {
    disk: &'a Disk,
    parent: &'a T::Parent,
    data: &'a T::DiskData,
}

impl<'a, T: Operations> LiveDisk<'a, T> {
    /// # Safety
    ///
    /// `dev` is the device of a disk that a [`Registration`](super::Registration) of this type
    /// added, which is not dropped as long as the result exists.
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
    /// A [`Registration`](super::Registration) of this type made the disk, or is about to; until it
    /// is dropped, or gives up, the result does not exist any more.
    pub(super) unsafe fn new(disk: &'a Disk) -> Self {
        let remains = disk.remains();
        // SAFETY: By the requirements of this function: the data exists, and the parent is bound,
        // as long as that.
        let (parent, data) = unsafe {
            (
                T::Parent::from_device(device::Device::from_raw(remains.parent)),
                &*remains.data.cast(),
            )
        };
        Self { disk, parent, data }
    }

    /// The size of the disk.
    pub fn capacity(&self) -> Sectors {
        self.disk.capacity()
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
