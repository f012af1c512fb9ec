// SPDX-License-Identifier: GPL-2.0

//! Rust virtio driver sample.
//!
//! Binds to an entropy device and asks it once for some bytes. A driver that does this for a
//! living is `drivers/char/hw_random/virtio_rng_rust.rs`.

use kernel::{
    device::Core,
    prelude::*,
    sync::Arc,
    time::msecs_to_jiffies,
    virtio::{
        self,
        DeviceBuffer,
        Negotiated,
        NoFeatures,
        Ring,
        VirtQueue, //
    }, //
};

const BYTES: u32 = 32;

/// What the device sent back, and what the lock of the queue protects.
#[derive(Default)]
struct Reply(Option<KBox<DeviceBuffer>>);

impl virtio::Handler for Reply {
    type Buffer = KBox<DeviceBuffer>;

    fn used(&mut self, buffer: Self::Buffer, _ring: &mut Ring<'_, Self::Buffer>) {
        self.0 = Some(buffer);
    }

    fn unused(&mut self, _buffer: Self::Buffer) {}
}

struct SampleDriver {
    queue: Arc<VirtQueue<Reply>>,
}

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for SampleDriver {
    type Features = NoFeatures;
    type Data<'bound> = Self;
    type ClassDevice<'bound> = ();

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<Self, Error> + 'bound {
        let queue = vdev.find_vqs(|set| set.add(fmt!("requests"), Reply::default()))?;
        Ok(Self { queue })
    }

    fn register<'bound>(vdev: &'bound virtio::Device<Core<'_>>, data: Pin<&Self>) -> Result {
        let buffer = KBox::new(DeviceBuffer::new(BYTES, GFP_KERNEL)?, GFP_KERNEL)?;
        data.queue.with(|_reply, ring| ring.post(buffer))?;

        // The buffer is the device's now. It comes back through `Reply::used`.
        let reply = data
            .queue
            .wait_until(msecs_to_jiffies(1000), |reply, _ring| reply.0.take())?
            .ok_or(ETIMEDOUT)?;

        dev_info!(
            vdev.as_ref(),
            "asked for {} bytes, got {} bytes\n",
            reply.asked(),
            reply.written()
        );
        Ok(())
    }
}

kernel::module_virtio_driver! {
    type: SampleDriver,
    name: "rust_driver_virtio",
    authors: ["Rust virtio contributors"],
    description: "Rust virtio driver sample",
    license: "GPL",
}
