// SPDX-License-Identifier: GPL-2.0

//! The virtqueues of one device, and their life.

use super::{
    device::Device,
    queue::{
        AnyQueue,
        Handler,
        VirtQueue, //
    }, //
};
use crate::{
    bindings,
    device,
    error::to_result,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    }, //
};
use core::ptr::{
    null_mut,
    NonNull, //
};

/// The virtqueues that a driver wants, in the order of their index.
///
/// # Invariants
///
/// `entries[i].queue` and `entries[i].any` are the same object, a [`VirtQueue<H>`], and
/// `entries[i].callback` is its `used_callback`.
#[derive(Default)]
pub struct QueueSet {
    entries: KVec<Entry>,
}

struct Entry {
    name: &'static CStr,
    callback: unsafe extern "C" fn(*mut bindings::virtqueue),
    queue: *const c_void,
    any: Arc<dyn AnyQueue>,
}

impl QueueSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next virtqueue. `name` shows up in `/proc/interrupts` and in messages.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn add<H: Handler>(
        &mut self,
        name: &'static CStr,
        handler: H,
    ) -> Result<Arc<VirtQueue<H>>> {
        let queue = Arc::pin_init(VirtQueue::new(handler), GFP_KERNEL)?;
        // INVARIANT: All three are of the same `H`.
        self.entries.push(
            Entry {
                name,
                callback: VirtQueue::<H>::used_callback,
                queue: Arc::as_ptr(&queue).cast(),
                any: queue.clone(),
            },
            GFP_KERNEL,
        )?;
        Ok(queue)
    }

    fn queues(&self) -> impl Iterator<Item = &dyn AnyQueue> {
        self.entries.iter().map(|entry| &*entry.any)
    }

    /// Asks the transport for the virtqueues. They are not live yet.
    ///
    /// # Safety
    ///
    /// `vdev` is a valid device that has no virtqueues, and its `priv` points to `self`.
    unsafe fn find(&self, vdev: *mut bindings::virtio_device) -> Result {
        let count = self.entries.len();
        let mut infos = KVec::with_capacity(count, GFP_KERNEL)?;
        for entry in self.entries.iter() {
            infos.push(
                bindings::virtqueue_info {
                    name: entry.name.as_char_ptr(),
                    callback: Some(entry.callback),
                    ctx: false,
                },
                GFP_KERNEL,
            )?;
        }
        let mut vqs = KVec::from_elem(null_mut::<bindings::virtqueue>(), count, GFP_KERNEL)?;

        // SAFETY: `vdev` is valid and has no virtqueues. Both arrays have `count` entries. The
        // names are static. A callback can come at once: it finds this set through `priv`, and its
        // queue not live.
        to_result(unsafe {
            bindings::virtio_find_vqs(
                vdev,
                count.try_into()?,
                vqs.as_mut_ptr(),
                infos.as_mut_ptr(),
                null_mut(),
            )
        })?;

        for (queue, &vq) in self.queues().zip(vqs.iter()) {
            let vq = NonNull::new(vq).ok_or(ENODEV)?;
            // SAFETY: The transport just made `vq`. Only `delete` deletes it, after `stop` and
            // a grace period.
            unsafe { queue.attach(vq)? };
        }
        Ok(())
    }

    /// Resets the device, gives all buffers back to their handlers, and deletes the virtqueues.
    ///
    /// # Safety
    ///
    /// `vdev` is a valid device, bound to a driver of this module, its `priv` points to `self`, and
    /// no other function of this module works on the set at the same time.
    unsafe fn delete(&self, vdev: *mut bindings::virtio_device) {
        for queue in self.queues() {
            queue.stop();
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
/// As for [`VirtQueue::used_callback`]; the result must not be used after the callback returned.
pub(super) unsafe fn of_callback<'a, H: Handler>(
    vq: *mut bindings::virtqueue,
) -> Option<&'a VirtQueue<H>> {
    // SAFETY: `vq` is valid for the duration of the callback, and so is its device. `index` is
    // constant, and `priv` is changed only while the device has no virtqueues.
    let (set, index) = unsafe { ((*(*vq).vdev).priv_.cast::<QueueSet>(), (*vq).index) };
    // SAFETY: `priv` was set before the virtqueues were made, and stays until `del_vqs` returned,
    // which frees the interrupts and so waits for callbacks to end. The set is not changed in
    // between.
    let set = unsafe { set.as_ref() }?;
    let entry = set.entries.get(index as usize)?;
    // SAFETY: The set keeps a reference to the queue. By the requirements of this function and the
    // invariants of `QueueSet`, its type is right: `used_callback` of `H` is called only for the
    // entry that has it as `callback`, and the index of a virtqueue is its place in the set.
    Some(unsafe { &*entry.queue.cast() })
}

impl Device<device::Core<'_>> {
    /// Makes the virtqueues of `set`. Called once, from [`Driver::probe`](super::Driver::probe).
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
    /// `EBUSY` if it was called before for this device, `EINVAL` if the set is empty, `ENOMEM`,
    /// or what the transport says, as a rule `ENOENT` if the device has fewer queues.
    pub fn find_vqs(&self, set: QueueSet) -> Result {
        let vdev = self.as_raw();
        if set.entries.is_empty() {
            return Err(EINVAL);
        }
        // SAFETY: `vdev` is valid. Only this function and `release` access `priv`, both under the
        // device lock, which the `Core` context stands for.
        if unsafe { !(*vdev).priv_.is_null() } {
            return Err(EBUSY);
        }
        let set = KBox::into_raw(KBox::new(set, GFP_KERNEL)?);
        // SAFETY: As above. The adapter calls `release` in the end.
        unsafe { (*vdev).priv_ = set.cast() };
        // SAFETY: A device whose `priv` was null has no virtqueues, and now `priv` points to the
        // set. If an error is returned, `release` cleans up.
        unsafe { (*set).find(vdev) }
    }
}

impl Device<device::CoreInternal<'_>> {
    fn queue_set(&self) -> Option<&QueueSet> {
        // SAFETY: While a driver of this module is bound, `priv` is null or the set of
        // `find_vqs`, which is freed only by `release`.
        unsafe { (*self.as_raw()).priv_.cast::<QueueSet>().as_ref() }
    }

    /// Prepares a device that may come from a C driver, which leaves its own pointer behind.
    pub(super) fn claim(&self) {
        // SAFETY: The device is about to be probed: the former driver is gone, and its virtqueues
        // with it.
        unsafe { (*self.as_raw()).priv_ = null_mut() };
    }

    /// Makes the virtqueues again, after a freeze.
    pub(super) fn find_vqs_again(&self) -> Result {
        match self.queue_set() {
            // SAFETY: `end_queues` deleted the virtqueues, and `priv` points to the set.
            Some(set) => unsafe { set.find(self.as_raw()) },
            None => Ok(()),
        }
    }

    /// Sets DRIVER_OK, and makes the queues live after that.
    pub(super) fn start_queues(&self) {
        // SAFETY: The device is valid and is being probed or restored.
        unsafe { bindings::virtio_device_ready(self.as_raw()) };
        if let Some(set) = self.queue_set() {
            for queue in set.queues() {
                queue.start();
            }
        }
    }

    /// Resets the device, returns all buffers and deletes the virtqueues. The set stays.
    pub(super) fn end_queues(&self) {
        match self.queue_set() {
            // SAFETY: The device is valid, `priv` points to the set, and the callbacks of the bus
            // are serialised.
            Some(set) => unsafe { set.delete(self.as_raw()) },
            // SAFETY: The device is valid, and has no queues.
            None => unsafe { bindings::virtio_reset_device(self.as_raw()) },
        }
    }

    /// Frees the set, after [`end_queues`](Self::end_queues).
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
