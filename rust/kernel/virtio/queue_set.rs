// SPDX-License-Identifier: GPL-2.0

//! The virtqueues of one device, and their life.

use super::{
    any_queue::AnyQueue,
    device::Device,
    events::Events,
    queue::{
        Handler,
        VirtQueue, //
    },
    ring::QueueError, //
};
use crate::{
    bindings,
    cpumask::Cpumask,
    device,
    error::to_result,
    fmt,
    prelude::*,
    str::CString,
    sync::{
        rcu,
        Arc, //
    }, //
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// The virtqueues that a driver wants, in the order of their index.
///
/// # Invariants
///
/// `entries[i].callback` is the `used_callback` of `entries[i].any`, by its type, or `None`;
/// `entries[i].thin` points to the same queue.
pub struct QueueSet {
    entries: KVec<Entry>,
    affinity: Option<Affinity>,
}

/// How many interrupt vectors are not spread, at the start and at the end.
struct Affinity {
    before: u32,
    after: u32,
}

pub(super) struct Entry {
    name: CString,
    /// `None` for a queue without interrupts.
    callback: Option<unsafe extern "C" fn(*mut bindings::virtqueue)>,
    pub(super) any: Arc<AnyQueue>,
    /// To find the queue by a callback that knows its type.
    pub(super) thin: *const c_void,
}

impl QueueSet {
    /// Adds the next virtqueue. `name` shows up in `/proc/interrupts` and in messages.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or `EINVAL` if there is a NUL in the name.
    pub fn add<H: Handler>(
        &mut self,
        name: fmt::Arguments<'_>,
        handler: H,
    ) -> Result<Arc<VirtQueue<H>>> {
        self.push(name, handler, Some(VirtQueue::<H>::used_callback))
    }

    /// As [`add`](Self::add), but for a queue that never interrupts: used buffers are found by
    /// [`VirtQueue::poll`] and [`VirtQueue::wait_until`].
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn add_polled<H: Handler>(
        &mut self,
        name: fmt::Arguments<'_>,
        handler: H,
    ) -> Result<Arc<VirtQueue<H>>> {
        self.push(name, handler, None)
    }

    /// Asks for one interrupt vector per queue, spread over the CPUs, but for those of the first
    /// `before` queues and the last `after` ones, together no more than there are. A transport that
    /// cannot do it shares vectors.
    ///
    /// C: `struct irq_affinity`.
    pub fn spread_interrupts(&mut self, before: u32, after: u32) {
        self.affinity = Some(Affinity { before, after });
    }

    fn push<H: Handler>(
        &mut self,
        name: fmt::Arguments<'_>,
        handler: H,
        callback: Option<unsafe extern "C" fn(*mut bindings::virtqueue)>,
    ) -> Result<Arc<VirtQueue<H>>> {
        let queue = VirtQueue::new(handler, callback.is_none())?;
        // INVARIANT: They are of the same `H`.
        self.push_any(name, callback, queue.clone())?;
        Ok(queue)
    }

    #[inline(never)]
    fn push_any(
        &mut self,
        name: fmt::Arguments<'_>,
        callback: Option<unsafe extern "C" fn(*mut bindings::virtqueue)>,
        any: Arc<AnyQueue>,
    ) -> Result {
        let entry = Entry {
            name: CString::try_from_fmt(name)?,
            callback,
            thin: Arc::as_ptr(&any).cast(),
            any,
        };
        Ok(self.entries.push(entry, GFP_KERNEL)?)
    }

    fn queues(&self) -> impl Iterator<Item = &AnyQueue> {
        self.entries.iter().map(|entry| &*entry.any)
    }

    /// Asks the transport for the virtqueues. They are not live yet.
    ///
    /// # Safety
    ///
    /// `vdev` is a valid device that has no virtqueues, and its `priv` points to `self`.
    unsafe fn find(&self, vdev: *mut bindings::virtio_device) -> Result {
        let count = self.entries.len();
        if let Some(affinity) = &self.affinity {
            // The core takes the sum to be right.
            let fixed = affinity.before.checked_add(affinity.after);
            if fixed.is_none_or(|fixed| fixed as usize > count) {
                return Err(EINVAL);
            }
        }
        let mut infos = KVec::with_capacity(count, GFP_KERNEL)?;
        for entry in self.entries.iter() {
            infos.push(
                bindings::virtqueue_info {
                    name: entry.name.as_char_ptr(),
                    callback: entry.callback,
                    ctx: false,
                },
                GFP_KERNEL,
            )?;
        }
        let mut vqs = KVec::from_elem(null_mut::<bindings::virtqueue>(), count, GFP_KERNEL)?;

        let mut affinity = self
            .affinity
            .as_ref()
            .map(|affinity| bindings::irq_affinity {
                pre_vectors: affinity.before,
                post_vectors: affinity.after,
                ..Default::default()
            });

        // SAFETY: `vdev` is valid and has no virtqueues. Both arrays have `count` entries. The set
        // owns the names as long as there are virtqueues. A callback can come at once: it finds
        // this set through `priv`, and its queue not live.
        to_result(unsafe {
            bindings::virtio_find_vqs(
                vdev,
                count.try_into()?,
                vqs.as_mut_ptr(),
                infos.as_mut_ptr(),
                affinity.as_mut().map_or(null_mut(), core::ptr::from_mut),
            )
        })?;

        for (queue, &vq) in self.queues().zip(vqs.iter()) {
            let vq = NonNull::new(vq).ok_or(ENODEV)?;
            // SAFETY: The transport just made `vq`. Only `delete` deletes it, after `stop` and
            // a grace period.
            unsafe { queue.attach(vq)? };
        }
        if self.affinity.is_some() {
            // SAFETY: `vdev` is valid, and its virtqueues were just made.
            unsafe { self.ask_affinity(vdev)? };
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `vdev` is a valid device with the virtqueues of this set, which nobody deletes meanwhile.
    unsafe fn ask_affinity(&self, vdev: *mut bindings::virtio_device) -> Result {
        // SAFETY: `vdev` is valid; the transport's table of operations is constant.
        let Some(get) = (unsafe { (*(*vdev).config).get_vq_affinity }) else {
            return Ok(());
        };
        for (index, queue) in (0..).zip(self.queues()) {
            // SAFETY: By the requirements of this function. What is returned is valid as long as
            // the virtqueues, or null.
            let cpus = unsafe {
                let cpus = get(vdev, index);
                (!cpus.is_null()).then(|| Cpumask::from_raw(cpus))
            };
            if let Some(cpus) = cpus {
                queue.set_affinity(cpus)?;
            }
        }
        Ok(())
    }

    /// Resets the device, gives all buffers back to their handlers, and deletes the virtqueues.
    ///
    /// # Safety
    ///
    /// `vdev` is a valid device, bound to a driver of this module, its `priv` points to `self`, and
    /// no other function of this module works on the set at the same time.
    unsafe fn delete(&self, vdev: *mut bindings::virtio_device, why: QueueError) {
        for queue in self.queues() {
            queue.stop(why);
        }
        // Whoever saw a live queue and is about to notify the device has finished after this.
        rcu::synchronize_rcu();

        // SAFETY: `vdev` is valid, and no notification is in progress.
        unsafe { bindings::virtio_reset_device(vdev) };

        for queue in self.queues() {
            // SAFETY: All of this was just done.
            unsafe { queue.drain() };
        }

        // SAFETY: `vdev` is valid; the transport's table of operations is complete and constant.
        // A set whose virtqueues were not found, or are deleted already, has none in the list, and
        // some transports do not bear to be asked twice.
        unsafe {
            let head = &raw mut (*vdev).vqs;
            if (*head).next != head {
                if let Some(del_vqs) = (*(*vdev).config).del_vqs {
                    del_vqs(vdev);
                }
            }
        }

        // Only now is it sure that the device does not write to the buffers any more: the reset of
        // virtio_uml is local, its back end learns of the end in `del_vqs`.
        for queue in self.queues() {
            // SAFETY: The virtqueues were just deleted.
            unsafe { queue.detach() };
        }
    }
}

/// Looks up the queue of a callback.
///
/// # Safety
///
/// `vq` is one of the virtqueues of a [`QueueSet`] that the adapter owns; the result must not be
/// used after the callback returned.
#[inline(always)]
pub(super) unsafe fn of_callback<'a>(vq: *mut bindings::virtqueue) -> Option<&'a Entry> {
    // SAFETY: `vq` is valid for the duration of the callback, and so is its device. `index` is
    // constant, and `priv` is changed only while the device has no virtqueues.
    let (set, index) = unsafe { ((*(*vq).vdev).priv_.cast::<QueueSet>(), (*vq).index) };
    // SAFETY: `priv` was set before the virtqueues were made, and stays until `del_vqs` returned,
    // which frees the interrupts and so waits for callbacks to end. The set is not changed in
    // between, and keeps a reference to the queue.
    let set = unsafe { set.as_ref() }?;
    // The index of a virtqueue is its place in the set.
    set.entries.get(index as usize)
}

impl Device<device::Core<'_>> {
    /// Makes the virtqueues that `add` adds to an empty set, and returns what it returned. Called
    /// once, from [`Driver::probe`](super::Driver::probe).
    ///
    /// The queues are dead until probe returned and DRIVER_OK is set. The adapter ends them,
    /// whether or not probe succeeds.
    ///
    /// Process context; may sleep.
    ///
    /// C: `virtio_find_vqs()`. Virtio 1.3, section 3.1.1, step 7.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the set is empty or interrupts are to be spread over more queues than there are,
    /// what `add` returns, `EBUSY` if it was called before for this device without one of these
    /// errors, `ENOMEM`, or what the transport says, as a rule `ENOENT` if the device has fewer
    /// queues.
    pub fn find_vqs<R>(&self, add: impl FnOnce(&mut QueueSet) -> Result<R>) -> Result<R> {
        let mut set = NewSet::new()?;
        let result = add(&mut set.0)?;
        self.find_vqs_of(set)?;
        Ok(result)
    }

    #[inline(never)]
    fn find_vqs_of(&self, set: NewSet) -> Result {
        if set.0.entries.is_empty() {
            return Err(EINVAL);
        }
        let vdev = self.as_raw();
        // SAFETY: `vdev` is valid. All that changes `priv` holds the device lock, which the `Core`
        // context stands for; without virtqueues nothing else reads it.
        if unsafe { !(*vdev).priv_.is_null() } {
            return Err(EBUSY);
        }
        let set = set.into_raw();
        // SAFETY: As above. The adapter calls `release` in the end.
        unsafe { (*vdev).priv_ = set.cast() };
        // SAFETY: A device whose `priv` was null has no virtqueues, and now `priv` points to the
        // set, of which there are shared references only. If an error is returned, the adapter ends
        // what there is.
        unsafe { (*set).find(vdev) }
    }
}

/// A set that is being filled. The code that drops it is in the kernel, once.
struct NewSet(ManuallyDrop<KBox<QueueSet>>);

impl NewSet {
    #[inline(never)]
    fn new() -> Result<Self> {
        let set = QueueSet {
            entries: KVec::new(),
            affinity: None,
        };
        Ok(Self(ManuallyDrop::new(KBox::new(set, GFP_KERNEL)?)))
    }

    fn into_raw(self) -> *mut QueueSet {
        let mut set = ManuallyDrop::new(self);
        // SAFETY: It is taken once, since `set` is not dropped.
        KBox::into_raw(unsafe { ManuallyDrop::take(&mut set.0) })
    }
}

impl Drop for NewSet {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: It is dropped once, since `into_raw` does not drop `self`.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

/// What the adapter and its work item do.
impl Device<device::Bound> {
    /// # Safety
    ///
    /// The device is bound to a driver of this module, and [`release`](Self::release) is not called
    /// while the result is used.
    unsafe fn queue_set(&self) -> Option<&QueueSet> {
        // SAFETY: By the requirements of this function, `priv` is null or the set of `find_vqs`.
        unsafe { (*self.as_raw()).priv_.cast::<QueueSet>().as_ref() }
    }

    /// Hands used buffers of all queues to their handlers, if the queues are live.
    ///
    /// # Safety
    ///
    /// As for [`queue_set`](Self::queue_set).
    pub(super) unsafe fn poll_queues(&self) {
        // SAFETY: By the requirements of this function.
        for queue in unsafe { self.queue_set() }
            .into_iter()
            .flat_map(QueueSet::queues)
        {
            queue.poll_any();
        }
    }

    /// Resets the device, returns all buffers and deletes the virtqueues. The set stays. `why` is
    /// what users of the queues are told from now on.
    ///
    /// # Safety
    ///
    /// The device is bound to a driver of this module; no other function of this module that makes
    /// or deletes virtqueues runs, and [`release`](Self::release) is not called meanwhile.
    pub(super) unsafe fn end_queues(&self, why: QueueError) {
        // SAFETY: By the requirements of this function.
        match unsafe { self.queue_set() } {
            // SAFETY: The device is valid, and `priv` points to the set.
            Some(set) => unsafe { set.delete(self.as_raw(), why) },
            // SAFETY: The device is valid, and has no queues.
            None => unsafe { bindings::virtio_reset_device(self.as_raw()) },
        }
    }
}

impl Device<device::CoreInternal<'_>> {
    fn queues(&self) -> impl Iterator<Item = &AnyQueue> {
        // SAFETY: This is for callbacks of the bus, which are serialised.
        unsafe { self.queue_set() }
            .into_iter()
            .flat_map(QueueSet::queues)
    }

    /// Prepares a device that may come from a C driver, which leaves its own pointer behind.
    pub(super) fn claim(&self) {
        // SAFETY: The device is about to be probed: the former driver is gone, and its virtqueues
        // with it.
        unsafe { (*self.as_raw()).priv_ = null_mut() };
    }

    /// Makes the virtqueues again, after a freeze, and starts them.
    ///
    /// # Safety
    ///
    /// As for [`start_queues`](Self::start_queues).
    pub(super) unsafe fn restart_queues(&self, events: &Events) -> Result {
        // SAFETY: This is a callback of the bus.
        if let Some(set) = unsafe { self.queue_set() } {
            // SAFETY: `end_queues` deleted the virtqueues, and `priv` points to the set.
            unsafe { set.find(self.as_raw()) }.inspect_err(|_| {
                // SAFETY: The queues are not live.
                unsafe { self.end_queues(QueueError::Dead) }
            })?;
        }
        // SAFETY: By the requirements of this function.
        unsafe { self.start_queues(events) };
        Ok(())
    }

    /// Sets DRIVER_OK, and makes the queues live after that.
    ///
    /// # Safety
    ///
    /// `events` is valid until [`stop_queues`](Self::stop_queues) was called.
    pub(super) unsafe fn start_queues(&self, events: &Events) {
        // SAFETY: The device is valid and is being probed or restored.
        unsafe { bindings::virtio_device_ready(self.as_raw()) };
        for queue in self.queues() {
            // SAFETY: By the requirements of this function.
            unsafe { queue.start(events) };
        }
    }

    /// Ends all use of the queues by drivers and callbacks.
    pub(super) fn stop_queues(&self) {
        for queue in self.queues() {
            queue.stop(QueueError::Dead);
        }
    }

    /// Frees the set, after the queues ended.
    pub(super) fn release(&self) {
        let vdev = self.as_raw();
        // SAFETY: As in `queue_set`. There are no virtqueues, hence no callbacks that use `priv`.
        unsafe {
            let set = (*vdev).priv_.cast::<QueueSet>();
            (*vdev).priv_ = null_mut();
            if !set.is_null() {
                drop(KBox::from_raw(set));
            }
        }
    }
}
