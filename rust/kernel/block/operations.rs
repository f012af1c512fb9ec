// SPDX-License-Identifier: GPL-2.0

//! What a driver of a disk implements.

use super::{
    batch::Batch,
    disk::{
        Disk,
        LiveDisk, //
    },
    operation::{
        Operation,
        Sectors, //
    },
    request::{
        Request,
        RequestList, //
    },
    status::Status,
    tag_set::Queues,
    zone::{
        self,
        ZoneReport, //
    }, //
};
use crate::{
    bindings,
    cpumask::Cpumask,
    device::{
        self,
        AsBusDevice, //
    },
    error::from_result,
    prelude::*,
    time::Delta, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// Where a sector is on a disk with heads that move over cylinders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// How many cylinders there are.
    pub cylinders: u16,
    /// How many heads there are.
    pub heads: u8,
    /// How many sectors there are on a track.
    pub sectors: u8,
}

/// What a driver does with requests.
///
/// None of these functions may sleep, unless it says that it may. They are called as long as there
/// is a [`Registration`](super::Registration), or one is being made, and until it has been dropped.
///
/// C: `struct blk_mq_ops`, `struct block_device_operations`.
#[vtable]
pub trait Operations: Sized + 'static {
    /// The device that the disk belongs to.
    type Parent: AsBusDevice<device::Bound>;

    /// The driver's data of the disk.
    type DiskData: Send + Sync + 'static;

    /// The driver's data of one hardware queue, as a rule a queue of the device.
    type HwQueue: Send + Sync + 'static;

    /// The driver's data of one request, in memory fit for DMA. It is used again by the requests
    /// that have the same memory later.
    type RequestData: Send + 'static;

    /// The CPUs that requests for a queue which interrupts come from: best those that get its
    /// interrupt. If not all queues have some, the block layer spreads the CPUs.
    fn cpus(queue: &Self::HwQueue) -> Option<&Cpumask> {
        let _ = queue;
        None
    }

    /// Makes the data of a request. Process context; may sleep.
    fn request_data() -> Self::RequestData;

    /// Hands a request to the device. Process or softirq context.
    ///
    /// If `last` is not set, more will follow, and the device need not be notified yet: it will be
    /// in [`commit_rqs`](Self::commit_rqs) at the latest, unless the queue is
    /// [stopped](Request::stop_queue).
    ///
    /// # Errors
    ///
    /// If the driver cannot take the request now it gives it back, and gets it again later: when
    /// there is room, if it [stopped the queue](Request::stop_queue).
    fn queue_rq(queue: &Self::HwQueue, rq: Request<Self>, last: bool) -> Result<(), Request<Self>>;

    /// As [`queue_rq`](Self::queue_rq), for several requests at once, which can be for several
    /// queues of one disk. What is left in the list is queued one by one.
    fn queue_rqs(requests: &mut RequestList<'_, Self>) {
        let _ = requests;
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Notifies the device of what it was not notified of yet.
    fn commit_rqs(queue: &Self::HwQueue);

    /// Finds out how `rq` ended, which the device is done with. It ends after this.
    ///
    /// Called where the block layer wants it, see [`Request::complete`]; any context.
    fn complete(queue: &Self::HwQueue, rq: &mut Request<Self>) -> Status;

    /// The device had a request for longer than `timeout`, which was that of the disk; called again
    /// each time that this has passed. Process context.
    ///
    /// The request is where it was: with the device. The driver can make the device answer, or give
    /// it up and so get the request back.
    fn timed_out(queue: &Self::HwQueue, operation: Operation, sector: Sectors, timeout: Delta) {
        let _ = (queue, operation, sector, timeout);
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Looks whether the device is done with requests, which go to `batch`. For queues that do not
    /// interrupt. Returns how many there were. Any context.
    fn poll(queue: &Self::HwQueue, batch: &mut Batch<'_, Self>) -> u32 {
        let _ = (queue, batch);
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// What to tell programs that think of cylinders. Process context; may sleep.
    fn geometry(disk: &LiveDisk<'_, Self>) -> Result<Geometry> {
        let _ = disk;
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Reports zones from [`report.next()`](ZoneReport::next) on, as many as the device tells of at
    /// once, or until the report [`is_full`](ZoneReport::is_full); called again for more. For disks
    /// with zones. Process context; may sleep.
    fn report_zones(disk: &LiveDisk<'_, Self>, report: &mut ZoneReport<'_>) -> Result {
        let _ = (disk, report);
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }
}

/// In the kernel once, not in each driver.
#[inline(never)]
pub(super) fn duration(jiffies: c_uint) -> Delta {
    // SAFETY: Any number is fine.
    let millis = unsafe { bindings::jiffies64_to_msecs(jiffies.into()) };
    Delta::from_millis(millis.try_into().unwrap_or(i64::MAX))
}

/// The functions of [`Operations`] as C calls them.
///
/// What they need to be sound is the same for all, and is established by [`TagSet`] and
/// [`Registration`]: they are called for tag sets, hardware queues and requests of type `T` only,
/// as long as these exist.
///
/// [`TagSet`]: super::TagSet
/// [`Registration`]: super::Registration
pub(super) struct Vtable<T: Operations>(PhantomData<T>);

impl<T: Operations> Vtable<T> {
    pub(super) const TABLE: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        queue_rqs: if T::HAS_QUEUE_RQS {
            Some(Self::queue_rqs)
        } else {
            None
        },
        commit_rqs: Some(Self::commit_rqs),
        complete: Some(Self::complete),
        timeout: if T::HAS_TIMED_OUT {
            Some(Self::timeout)
        } else {
            None
        },
        poll: if T::HAS_POLL { Some(Self::poll) } else { None },
        init_hctx: Some(Self::init_hctx),
        init_request: Some(Self::init_request),
        exit_request: Some(Self::exit_request),
        map_queues: Some(Self::map_queues),
        ..pin_init::zeroed()
    };

    pub(super) const DISK_TABLE: bindings::block_device_operations = {
        let mut table: bindings::block_device_operations = pin_init::zeroed();
        if T::HAS_GEOMETRY {
            table.getgeo = Some(Self::getgeo);
        }
        if cfg!(CONFIG_BLK_DEV_ZONED) && T::HAS_REPORT_ZONES {
            table.report_zones = Some(Self::report_zones);
        }
        table
    };

    extern "C" fn getgeo(
        disk: *mut bindings::gendisk,
        geometry: *mut bindings::hd_geometry,
    ) -> c_int {
        // SAFETY: The disk is open, or is being added, and one of this type.
        let found = unsafe { (*disk.cast::<Disk>()).call_driver::<T, _>(T::geometry) };
        from_result(|| {
            let found = found?;
            // SAFETY: `geometry` is the caller's.
            unsafe {
                (*geometry).heads = found.heads;
                (*geometry).sectors = found.sectors;
                (*geometry).cylinders = found.cylinders;
            }
            Ok(0)
        })
    }

    extern "C" fn report_zones(
        disk: *mut bindings::gendisk,
        from: bindings::sector_t,
        count: c_uint,
        args: *mut bindings::blk_report_zones_args,
    ) -> c_int {
        // SAFETY: The disk is open, or is being added, and one of this type.
        let disk = unsafe { &*disk.cast::<Disk>() };
        from_result(|| {
            // SAFETY: `args` is what is given to this function; `ask` has the same type.
            let count = unsafe { zone::report(disk, Sectors(from), count, args, Self::ask)? };
            Ok(count.try_into()?)
        })
    }

    /// Has the driver report zones.
    ///
    /// # Safety
    ///
    /// The disk is one of this type.
    unsafe fn ask(disk: &Disk, report: &mut ZoneReport<'_>) -> Result {
        // SAFETY: By the requirements of this function.
        unsafe { disk.call_driver::<T, _>(|disk| T::report_zones(disk, report)) }
    }

    /// # Safety
    ///
    /// As for the type; the result is used during a callback only.
    #[inline(always)]
    unsafe fn queue<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a T::HwQueue {
        // SAFETY: By the requirements of this function, `init_hctx` put it there. It belongs to the
        // tag set. Before that can be freed, a `Registration` is dropped: this waits for whoever
        // queues requests, in an RCU read-side critical section. Who polls, or handles timeouts,
        // holds a reference to the request queue, which is waited for as well; and requests that
        // are to be completed belong to it.
        unsafe { &*(*hctx).driver_data.cast() }
    }

    extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        data: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: `data` is valid during this call, and the request is not null.
        let (rq, last) = unsafe { (NonNull::new_unchecked((*data).rq), (*data).last) };
        // SAFETY: The request is the driver's to start.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        // SAFETY: The driver has it now, and this is the only object for it.
        let ours = unsafe { Request::from_raw(rq) };

        // SAFETY: This is a callback.
        match T::queue_rq(unsafe { Self::queue(hctx) }, ours, last) {
            Err(refused) if refused.as_raw() == rq => {
                // What we return tells that the driver does not have it any more.
                refused.into_raw();
                return bindings::BLK_STS_RESOURCE;
            }
            // The driver kept the one that it was asked to queue, and gives back another one.
            Err(refused) => refused.requeue(),
            Ok(()) => (),
        }
        bindings::BLK_STS_OK as bindings::blk_status_t
    }

    extern "C" fn queue_rqs(list: *mut bindings::rq_list) {
        // SAFETY: The list is valid during this call, and nobody else uses it. It holds requests
        // that are the driver's to start, all of one disk.
        T::queue_rqs(unsafe { &mut RequestList::new(&mut *list) });
    }

    extern "C" fn commit_rqs(hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY: This is a callback.
        T::commit_rqs(unsafe { Self::queue(hctx) });
    }

    extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY: Only requests that `Request::complete_elsewhere` gave away come here, once.
        unsafe { Request::<T>::from_raw(NonNull::new_unchecked(rq)) }.complete_here();
    }

    extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: The block layer holds a reference to the request, whose memory belongs to the tag
        // set in any case. Somebody else may complete it now, and change the sector: reading that
        // is volatile, and any number is as good.
        let (hctx, operation, sector, timeout) = unsafe {
            (
                (*rq).mq_hctx,
                Operation::from_flags((&raw const (*rq).cmd_flags).read_volatile()),
                Sectors((&raw const (*rq).__sector).read_volatile()),
                duration((&raw const (*rq).timeout).read_volatile()),
            )
        };
        // SAFETY: This is a callback.
        T::timed_out(unsafe { Self::queue(hctx) }, operation, sector, timeout);
        bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER
    }

    extern "C" fn poll(
        hctx: *mut bindings::blk_mq_hw_ctx,
        batch: *mut bindings::io_comp_batch,
    ) -> c_int {
        // SAFETY: This is a callback.
        let queue = unsafe { Self::queue(hctx) };
        // SAFETY: The caller has it for this call.
        let found = match unsafe { batch.as_mut() } {
            // SAFETY: As above; the caller ends what is in there.
            Some(batch) => T::poll(queue, unsafe { &mut Batch::new(batch) }),
            None => Batch::with(|batch| T::poll(queue, batch)),
        };
        found.try_into().unwrap_or(c_int::MAX)
    }

    extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        data: *mut c_void,
        index: c_uint,
    ) -> c_int {
        // SAFETY: `data` is the `driver_data` of the tag set, which has this type.
        let queues = unsafe { &*data.cast::<Queues<T>>() };
        from_result(|| {
            let queue = queues.get(index).ok_or(EINVAL)?;
            // SAFETY: The hardware queue is being set up.
            unsafe { (*hctx).driver_data = core::ptr::from_ref(queue).cast_mut().cast() };
            Ok(0)
        })
    }

    extern "C" fn init_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _index: c_uint,
        _node: c_int,
    ) -> c_int {
        // SAFETY: The tag set asked for a private area of this size, and the request is being set
        // up. It is not null.
        unsafe {
            let data = Request::<T>::private(NonNull::new_unchecked(rq));
            data.write(T::request_data());
        }
        0
    }

    extern "C" fn exit_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _index: c_uint,
    ) {
        // SAFETY: `init_request` put it there, and the request is about to be freed.
        unsafe { Request::<T>::private(NonNull::new_unchecked(rq)).drop_in_place() };
    }

    extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: `set` is valid, and its `driver_data` has this type.
        unsafe { (*(*set).driver_data.cast::<Queues<T>>()).map(&mut *set) };
    }
}
