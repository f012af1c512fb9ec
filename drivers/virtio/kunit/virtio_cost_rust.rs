// SPDX-License-Identifier: GPL-2.0

//! What posting and popping one buffer costs a Rust driver, to be compared with `virtio_cost_c.c`,
//! which does the same in C.

use core::marker::PhantomData;
use kernel::{
    device::Core,
    driver,
    module::this_module,
    prelude::*,
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    },
    virtio::{
        self,
        sim::{
            self,
            Params,
            Sim, //
        },
        Buffer,
        Direction,
        DriverBuffer,
        Handler,
        Negotiated,
        NoFeatures,
        Pages,
        Request,
        Ring,
        VirtQueue, //
    }, //
};

const ROUNDS: usize = 10000;

/// A type of buffer to measure.
trait Shape: 'static {
    type Buffer: Buffer + Unpin;

    const NAME: &'static str;
    const DEVICE: u32;
    const TABLE: virtio::IdTable;

    fn buffer() -> Result<Self::Buffer>;
}

struct Bytes;

kernel::virtio_device_table!(BYTES, [virtio::DeviceId::new(0xff41)]);

impl Shape for Bytes {
    type Buffer = KBox<DriverBuffer>;

    const NAME: &'static str = "bytes";
    const DEVICE: u32 = 0xff41;
    const TABLE: virtio::IdTable = &BYTES;

    fn buffer() -> Result<Self::Buffer> {
        let bytes = DriverBuffer::copy_from(&[0; 64], GFP_KERNEL)?;
        Ok(KBox::new(bytes, GFP_KERNEL)?)
    }
}

struct BlockRequest;

kernel::virtio_device_table!(REQUEST, [virtio::DeviceId::new(0xff42)]);

type RequestBuffer = KBox<Request<[u8; 16], Pages, u8>>;

impl Shape for BlockRequest {
    type Buffer = RequestBuffer;

    const NAME: &'static str = "request";
    const DEVICE: u32 = 0xff42;
    const TABLE: virtio::IdTable = &REQUEST;

    fn buffer() -> Result<Self::Buffer> {
        let page = Pages::new(1, Direction::FromDevice, GFP_KERNEL)?;
        Ok(KBox::new(Request::new([0; 16], page, 0xff), GFP_KERNEL)?)
    }
}

/// The one buffer, while it is not in flight.
struct Spare<B>(Option<B>);

impl<B: Buffer + Unpin> Handler for Spare<B> {
    type Buffer = B;

    fn used(&mut self, buffer: B, _ring: &mut Ring<'_, B>) {
        self.0 = Some(buffer);
    }

    fn unused(&mut self, buffer: B) {
        self.0 = Some(buffer);
    }
}

struct CostDriver<S>(PhantomData<S>);

impl<S: Shape> virtio::Driver for CostDriver<S> {
    type Features = NoFeatures;
    type Data<'bound> = ();
    type ClassDevice<'bound> = ();

    const ID_TABLE: virtio::IdTable = S::TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<(), Error> + 'bound {
        let queue = vdev.find_vqs(|set| set.add(fmt!("cost"), Spare(Some(S::buffer()?))))?;
        sim::hand_over(this_module::<VirtioCost>(), queue)
    }

    fn register<'bound>(_vdev: &'bound virtio::Device<Core<'_>>, _data: Pin<&()>) -> Result {
        Ok(())
    }
}

#[inline(never)]
fn post<B: Buffer + Unpin>(queue: &VirtQueue<Spare<B>>) -> Result {
    queue.with(|spare, ring| {
        let buffer = spare.0.take().ok_or(EBUSY)?;
        ring.post(buffer)?;
        Ok(())
    })
}

#[inline(never)]
fn pop<B: Buffer + Unpin>(queue: &VirtQueue<Spare<B>>) {
    queue.poll();
}

fn measure<S: Shape>() -> Result {
    let _driver = KBox::pin_init(
        driver::Registration::<virtio::Adapter<CostDriver<S>>>::new(
            c"virtio_cost_rust",
            this_module::<VirtioCost>(),
        ),
        GFP_KERNEL,
    )?;
    let sim = Sim::new(Params {
        device_id: S::DEVICE,
        features: 1 << 32,
        queues: 1,
        queue_size: 256,
        config: &[],
    })?;
    if !sim.is_bound() {
        // The bus may have been told not to probe by itself.
        sim.bind()?;
    }
    let queue = sim::take_over::<Arc<VirtQueue<Spare<S::Buffer>>>>().ok_or(ENODEV)?;
    let (mut posting, mut popping, mut timing) = (i64::MAX, i64::MAX, i64::MAX);
    for _ in 0..ROUNDS {
        let start = Instant::<Monotonic>::now();
        timing = timing.min(start.elapsed().as_nanos());

        let start = Instant::<Monotonic>::now();
        let posted = post(&queue);
        posting = posting.min(start.elapsed().as_nanos());
        posted?;

        // The device is done, but does not interrupt.
        let chain = sim.take(0)?.ok_or(EIO)?;
        let len = chain.writable_len();
        chain.complete(len);

        let start = Instant::<Monotonic>::now();
        pop(&queue);
        popping = popping.min(start.elapsed().as_nanos());
    }
    pr_info!(
        "rust {} post {} pop {}\n",
        S::NAME,
        posting - timing,
        popping - timing
    );
    Ok(())
}

struct VirtioCost;

impl kernel::Module for VirtioCost {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        measure::<Bytes>()?;
        measure::<BlockRequest>()?;
        Ok(Self)
    }
}

module! {
    type: VirtioCost,
    name: "virtio_cost_rust",
    authors: ["Rust virtio contributors"],
    description: "Cost of posting and popping one virtio buffer in Rust",
    license: "GPL",
}
