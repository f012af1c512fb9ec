// SPDX-License-Identifier: GPL-2.0

//! The requests and the hardware queues of a disk.

use super::{
    operations::{
        Operations,
        Vtable, //
    },
    request::Request, //
};
use crate::{
    bindings,
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    cpumask::Cpumask,
    error::to_result,
    prelude::*,
    sync::Arc,
    time::Jiffies,
    types::Opaque, //
};

/// How many hardware queues a disk can use, if its device has `available`: no more than there are
/// CPUs.
///
/// C: `blk_mq_num_possible_queues()`.
pub fn usable_queues(available: u32) -> u32 {
    // SAFETY: This may be called at any time.
    unsafe { bindings::blk_mq_num_possible_queues(available) }
}

/// What a [`TagSet`] is to be.
pub struct TagSetParams<T: Operations> {
    /// The hardware queues: those that interrupt, then those that are polled.
    pub queues: KVec<T::HwQueue>,
    /// How many of them are polled, fewer than there are.
    pub polled: u32,
    /// How many requests each queue can have at a time, at least 1. More than 10240 are not made.
    pub depth: u32,
    /// After how long [`Operations::timed_out`] is called, in jiffies; 0 is the default of the
    /// block layer, 30 seconds.
    pub timeout: Jiffies,
}

/// The hardware queues of a tag set, which its functions get as `driver_data`.
pub(super) struct Queues<T: Operations> {
    queues: KVec<T::HwQueue>,
    polled: u32,
}

impl<T: Operations> Queues<T> {
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T::HwQueue> {
        self.queues.get(index as usize)
    }

    #[inline]
    pub(super) fn map(&self, set: &mut bindings::blk_mq_tag_set) {
        map(set, self.polled, &|index| self.get(index).and_then(T::cpus));
    }
}

/// Says which CPU uses which queue. `cpus` are those that a queue asks for.
fn map<'a>(
    set: &mut bindings::blk_mq_tag_set,
    polled: u32,
    cpus: &dyn Fn(u32) -> Option<&'a Cpumask>,
) {
    let interrupting = set.nr_hw_queues.saturating_sub(polled);
    let mut offset = 0;
    for (kind, map) in (0..set.nr_maps).zip(&mut set.map) {
        map.nr_queues = match kind {
            bindings::hctx_type_HCTX_TYPE_DEFAULT => interrupting,
            bindings::hctx_type_HCTX_TYPE_POLL => polled,
            _ => 0,
        };
        map.queue_offset = offset;
        offset += map.nr_queues;
        if map.nr_queues > 0 {
            // SAFETY: The map is being set up, and there are queues.
            unsafe { bindings::blk_mq_map_queues(map) };
        }
    }
    if (0..interrupting).any(|queue| cpus(queue).is_none()) {
        return;
    }
    let map = set.map[bindings::hctx_type_HCTX_TYPE_DEFAULT as usize].mq_map;
    for cpu in (0..nr_cpu_ids()).filter_map(CpuId::from_u32) {
        let asks = |queue: &u32| cpus(*queue).is_some_and(|cpus| cpus.test(cpu));
        if let Some(queue) = (0..interrupting).find(asks) {
            // SAFETY: The map has an entry for each CPU.
            unsafe { *map.add(cpu.as_u32() as usize) = queue };
        }
    }
}

/// A tag set, whatever the queues are. It stays where it is.
///
/// # Invariants
///
/// It was initialised by `blk_mq_alloc_tag_set()`.
#[repr(transparent)]
struct RawTagSet(Opaque<bindings::blk_mq_tag_set>);

/// What a tag set is to be.
struct Shape {
    ops: &'static bindings::blk_mq_ops,
    request_data: usize,
    queues: usize,
    polled: u32,
    depth: u32,
    timeout: Jiffies,
}

impl RawTagSet {
    /// # Safety
    ///
    /// `slot` is valid for writes, and stays in place. As long as that, `driver_data` is what the
    /// functions in `shape.ops` take it for.
    #[inline(never)]
    unsafe fn init(slot: *mut Self, shape: &Shape, driver_data: *mut c_void) -> Result {
        let queues = u32::try_from(shape.queues)?;
        let can_poll = shape.ops.poll.is_some();
        if shape.polled >= queues || shape.depth == 0 || (shape.polled > 0 && !can_poll) {
            return Err(EINVAL);
        }
        let cmd_size = u32::try_from(shape.request_data)?;
        let timeout = u32::try_from(shape.timeout)?;
        let set = slot.cast::<bindings::blk_mq_tag_set>();
        // SAFETY: By the requirements of this function.
        unsafe {
            set.write_bytes(0, 1);
            (*set).ops = shape.ops;
            (*set).nr_hw_queues = queues;
            (*set).nr_maps = if shape.polled > 0 { 3 } else { 1 };
            (*set).queue_depth = shape.depth;
            (*set).numa_node = bindings::NUMA_NO_NODE;
            (*set).cmd_size = cmd_size;
            (*set).timeout = timeout;
            (*set).driver_data = driver_data;
            // INVARIANT: If this succeeds.
            to_result(bindings::blk_mq_alloc_tag_set(set))
        }
    }
}

impl Drop for RawTagSet {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: By the type invariant; disks hold a reference to the tag set, so there are none.
        unsafe { bindings::blk_mq_free_tag_set(self.0.get()) };
    }
}

/// The requests and the hardware queues of a disk.
///
/// C: `struct blk_mq_tag_set`.
///
/// # Invariants
///
/// `inner` has the [`Operations`] of `T`; its `driver_data` points to `queues`.
#[pin_data]
pub struct TagSet<T: Operations> {
    /// Dropped first.
    #[pin]
    inner: RawTagSet,
    queues: Queues<T>,
}

// SAFETY: A tag set belongs to no thread, and the queues are `Send`.
unsafe impl<T: Operations> Send for TagSet<T> {}

// SAFETY: All that can be done with a reference is to read what is constant; the queues are `Sync`.
unsafe impl<T: Operations> Sync for TagSet<T> {}

impl<T: Operations> TagSet<T> {
    /// Makes the requests. Process context; may sleep.
    ///
    /// C: `blk_mq_alloc_tag_set()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are no queues, or only polled ones, or if the depth is 0; `ENOMEM`.
    pub fn new(params: TagSetParams<T>) -> Result<Arc<Self>> {
        let shape = Shape {
            ops: &Vtable::<T>::TABLE,
            request_data: Request::<T>::PRIVATE_SIZE,
            queues: params.queues.len(),
            polled: params.polled,
            depth: params.depth,
            timeout: params.timeout,
        };
        let init = try_pin_init!(&this in Self {
            queues: Queues {
                queues: params.queues,
                polled: params.polled,
            },
            // SAFETY: The slot is valid for writes, and pinned; `init` leaves nothing behind if it
            // fails. The queues are there, of the type that the functions in `TABLE` take them for,
            // and exist as long as the tag set.
            // INVARIANT: This is where they are.
            inner <- unsafe {
                pin_init::pin_init_from_closure(move |slot| {
                    RawTagSet::init(slot, &shape, (&raw mut (*this.as_ptr()).queues).cast())
                })
            },
        }? Error);
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// The hardware queues.
    pub fn queues(&self) -> &[T::HwQueue] {
        &self.queues.queues
    }

    pub(super) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.0.get()
    }
}
