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

/// The hardware queues of a tag set.
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

/// The requests and the hardware queues of a disk.
///
/// C: `struct blk_mq_tag_set`.
///
/// # Invariants
///
/// `inner` was initialised by `blk_mq_alloc_tag_set()`, with the [`Operations`] of `T`; its
/// `driver_data` points to `queues`.
#[pin_data(PinnedDrop)]
pub struct TagSet<T: Operations> {
    queues: KBox<Queues<T>>,
    #[pin]
    inner: Opaque<bindings::blk_mq_tag_set>,
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
        let count = u32::try_from(params.queues.len())?;
        if params.polled >= count || params.depth == 0 || (params.polled > 0 && !T::HAS_POLL) {
            return Err(EINVAL);
        }
        let cmd_size = u32::try_from(Request::<T>::PRIVATE_SIZE)?;
        let timeout = u32::try_from(params.timeout)?;
        let queues = KBox::new(
            Queues {
                queues: params.queues,
                polled: params.polled,
            },
            GFP_KERNEL,
        )?;
        let driver_data = (&raw const *queues).cast_mut().cast();
        let init = try_pin_init!(Self {
            queues,
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                // SAFETY: `slot` is valid for writes, and stays in place. What `driver_data`
                // points to exists as long as the tag set.
                unsafe {
                    slot.write_bytes(0, 1);
                    (*slot).ops = &Vtable::<T>::TABLE;
                    (*slot).nr_hw_queues = count;
                    (*slot).nr_maps = if params.polled > 0 { 3 } else { 1 };
                    (*slot).queue_depth = params.depth;
                    (*slot).numa_node = bindings::NUMA_NO_NODE;
                    (*slot).cmd_size = cmd_size;
                    (*slot).timeout = timeout;
                    (*slot).driver_data = driver_data;
                    // INVARIANT: This is how it is to be.
                    to_result(bindings::blk_mq_alloc_tag_set(slot))
                }
            }),
        }? Error);
        Arc::pin_init(init, GFP_KERNEL)
    }

    pub(super) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.get()
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; disks hold a reference to the tag set, so there are none.
        unsafe { bindings::blk_mq_free_tag_set(self.inner.get()) };
    }
}
