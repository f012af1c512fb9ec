// SPDX-License-Identifier: GPL-2.0

//! Virtio devices, drivers and virtqueues.
//!
//! A virtio device is driven through *virtqueues*: the driver posts buffers, the device uses them
//! and hands them back. Whoever implements the device (a hypervisor, another process, a physical
//! card) also writes the ring that says what was used, so nothing that comes from it is trusted
//! here. What the device side can get wrong, on purpose or not, is caught in this module once and
//! never reaches a driver.
//!
//! # The model
//!
//! * [`Driver::probe`] builds the driver's state. It calls [`Device::find_vqs`] with a closure that
//!   adds the virtqueues that it needs to a [`QueueSet`]; what it keeps is an [`Arc`] to each
//!   [`VirtQueue`].
//! * The adapter then sets DRIVER_OK and only then makes the queues live: no buffer can be posted
//!   before, and an interrupt that comes before finds nothing.
//! * [`Driver::register`] registers the class device (hwrng, disk, ...), which from then on may
//!   call into the driver.
//! * On removal the order is reversed: the class device goes while the queues still work, then
//!   the queues end, the device is reset, the virtqueues are deleted, and every buffer that was
//!   in flight returns to its [`Handler`]. The driver's state is dropped last.
//!
//! The adapter, not the driver, owns the virtqueues. A driver that keeps or leaks an
//! [`Arc<VirtQueue>`](VirtQueue) keeps a queue that answers [`QueueError::Dead`].
//!
//! # Buffers
//!
//! A buffer is *moved* into the ring by [`Ring::post`] and comes back by [`Handler::used`]. In
//! between it belongs to the device, and no safe code has a name for its memory. When posting
//! fails, the buffer comes back in the error; when the queue ends first, by [`Handler::unused`].
//! The length that the device reports is clamped to what was posted before the driver sees it.
//!
//! | | |
//! |---|---|
//! | [`DeviceBuffer`] | bytes that the device writes |
//! | [`DriverBuffer`] | bytes that the device reads |
//! | [`Pages`] | whole pages, for bulk data of either direction |
//! | [`Request`] | a header, data of any of these kinds, a trailer |
//!
//! Each is posted in a [`KBox`](crate::alloc::KBox).
//!
//! # Queues
//!
//! [`VirtQueue::with`] gives a closure exclusive access to the ring and to the driver's own state,
//! under the lock of the queue. What it posts is notified to the device after that, once. A task
//! can sleep in [`VirtQueue::wait_until`]; where tasks send requests and wait for answers,
//! [`Replies`] and [`VirtQueue::request`] are all that is needed.
//!
//! A device that breaks the rules of a ring is reset by the adapter, which then gives all buffers
//! back; every wait ends with [`QueueError::Broken`].
//!
//! # What the device says
//!
//! Features are declared with [`virtio_features!`](crate::virtio_features), fields of the
//! configuration space with [`virtio_config!`](crate::virtio_config). What is read from the device
//! is [`Untrusted`] until the driver checked it.
//!
//! ```
//! use kernel::{
//!     prelude::*,
//!     virtio::{
//!         DeviceBuffer,
//!         Request,
//!         Untrusted, //
//!     }, //
//! };
//!
//! // 0 is success; the device can send any number.
//! fn check(status: Untrusted<u8>) -> Result {
//!     status.validate(|status| match status {
//!         0 => Ok(()),
//!         1 => Err(EIO),
//!         _ => Err(EPROTO),
//!     })
//! }
//!
//! // A command of eight bytes, up to 512 bytes of answer, a status.
//! let answer = DeviceBuffer::new(512, GFP_KERNEL)?;
//! let request = KBox::new(Request::new([0_u8; 8], answer, 0xff_u8), GFP_KERNEL)?;
//!
//! // With `queue.request(request, timeout)?` the device would have it, and give it back. As it
//! // is, no device wrote anything.
//! assert!(request.trailer().is_err());
//! assert_eq!(check(request.trailer_of_any_length()), Err(EPROTO));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What the types do not do
//!
//! A device can always refuse to work, and it can send any bytes as payload: denial of service and
//! wrong data are the device side's to decide. Waiting is bounded and killable, see
//! [`VirtQueue::wait_until`]. Neither can this module mend what the C core or a transport does
//! with a lie.
//!
//! # Examples
//!
//! `Documentation/rust/virtio.rst` tells how to write a driver step by step, and
//! `Documentation/rust/virtio-soundness.rst` why this is sound. The smallest whole driver is
//! `samples/rust/rust_driver_virtio.rs`; one with a class device is
//! `drivers/char/hw_random/virtio_rng_rust.rs`.
//!
//! C headers: [`include/linux/virtio.h`](srctree/include/linux/virtio.h),
//! [`include/linux/virtio_config.h`](srctree/include/linux/virtio_config.h).
//!
//! Specification: [Virtio 1.3](https://docs.oasis-open.org/virtio/virtio/v1.3/virtio-v1.3.html).
//!
//! [`Arc`]: crate::sync::Arc

mod adapter;
mod any_queue;
#[cfg(CONFIG_BLOCK)]
mod block;
mod buffer;
mod bytes;
mod chain;
mod config;
mod control;
mod device;
mod driver;
mod events;
mod features;
mod id;
mod lock;
mod offered;
mod pages;
mod patience;
mod queue;
mod queue_set;
mod request;
mod ring;
#[cfg(CONFIG_VIRTIO_SIM)]
pub mod sim;
mod untrusted;

#[cfg(CONFIG_BLOCK)]
pub use self::block::{
    BlockData,
    Segments, //
};
pub use self::{
    adapter::Adapter,
    buffer::{
        Buffer,
        Memory, //
    },
    bytes::{
        DeviceBuffer,
        DriverBuffer, //
    },
    chain::Chain,
    config::{
        ConfigSpace,
        ConfigValue,
        Field,
        Place,
        Snapshot, //
    },
    control::{
        Failure,
        Replies,
        RequestError, //
    },
    device::Device,
    driver::Driver,
    features::{
        FeatureSet,
        Negotiated,
        NoFeatures, //
    },
    id::{
        DeviceId,
        IdTable, //
    },
    offered::Offered,
    pages::{
        Direction,
        Pages, //
    },
    patience::Patience,
    queue::{
        Handler,
        VirtQueue, //
    },
    queue_set::QueueSet,
    request::Request,
    ring::{
        PostError,
        QueueError,
        Ring, //
    },
    untrusted::Untrusted, //
};
