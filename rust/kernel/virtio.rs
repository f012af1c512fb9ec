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
//! * [`Driver::probe`] builds the driver's state. It collects the virtqueues that it needs in a
//!   [`QueueSet`] and hands that to [`Device::find_vqs`]; what it keeps is an [`Arc`] to each
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
//! A buffer is *moved* into the ring by [`Ring::post`] and moved out by [`Ring::pop`]. In between
//! it belongs to the device, and no safe code has a name for its memory. When posting fails, the
//! buffer comes back in the error. The length that the device reports is clamped to what was
//! posted before the driver sees it.
//!
//! # What the types do not do
//!
//! A device can always refuse to work, and it can send any bytes as payload: denial of service and
//! wrong data are the device side's to decide. Waiting is bounded and killable, see
//! [`VirtQueue::wait_until`].
//! Neither can this module mend what the C core or a transport does with a lie.
//!
//! # Examples
//!
//! The smallest whole driver is `samples/rust/rust_driver_virtio.rs`; one with a class device is
//! `drivers/char/hw_random/virtio_rng_rust.rs`.
//!
//! C headers: [`include/linux/virtio.h`](srctree/include/linux/virtio.h),
//! [`include/linux/virtio_config.h`](srctree/include/linux/virtio_config.h).
//!
//! Specification: [Virtio 1.3](https://docs.oasis-open.org/virtio/virtio/v1.3/virtio-v1.3.html).
//!
//! [`Arc`]: crate::sync::Arc

mod adapter;
mod buffer;
mod config;
mod device;
mod driver;
mod features;
mod id;
mod queue;
mod queue_set;
mod ring;
mod untrusted;

pub use self::{
    adapter::Adapter,
    buffer::{
        Buffer,
        DeviceBuffer, //
    },
    config::{
        ConfigInt,
        CONFIG_SIZE, //
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
    queue::{
        Handler,
        QueueGuard,
        VirtQueue, //
    },
    queue_set::QueueSet,
    ring::{
        PostError,
        QueueError,
        Ring, //
    },
    untrusted::Untrusted, //
};
