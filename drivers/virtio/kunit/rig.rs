// SPDX-License-Identifier: GPL-2.0

//! A simulated device with a driver bound to it, whose queues the test holds.

use core::marker::PhantomData;
use kernel::{
    device::{
        self,
        Core, //
    },
    driver,
    module::this_module,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    virtio::{
        self,
        sim::{
            self,
            Params,
            Sim, //
        },
        Adapter,
        Buffer,
        Handler,
        Negotiated,
        Offered,
        QueueError,
        Ring,
        VirtQueue, //
    }, //
};

kernel::virtio_features! {
    /// The device-specific features of the driver under test.
    pub(crate) enum Feature {
        /// The field `size_max` is there.
        SizeMax = 1,
        /// Needs another one.
        ConfigWce = 11 needs Flush,
        /// Is needed.
        Flush = 9,
        /// Given up by the driver if the plan says so.
        Unwanted = 5,
    }
}

kernel::virtio_config! {
    /// The configuration space that the driver under test reads: some of a block device's.
    pub(crate) struct Config(virtio_blk_config) for Feature {
        /// Always there.
        capacity: u64,
        /// There with a feature.
        size_max: u32 if SizeMax,
        /// Can be written.
        wce: u8 if ConfigWce writable,
    }
}

/// Where the driver under test is told to fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailAt {
    Nowhere = 0,
    Validate,
    BeforeQueues,
    /// While it adds queues, and not when it tries again.
    Queues,
    AfterQueues,
    Register,
    Freeze,
}

/// What the driver under test is to do, and what it did.
pub(crate) struct Plan {
    pub(crate) fail_at: Atomic<u32>,
    pub(crate) queues: Atomic<u32>,
    pub(crate) polled: Atomic<u32>,
    pub(crate) refuse_unwanted: Atomic<u32>,
    pub(crate) config_changes: Atomic<u32>,
    pub(crate) freezes: Atomic<u32>,
    pub(crate) restores: Atomic<u32>,
    /// How many class devices there are.
    pub(crate) class_devices: Atomic<u32>,
    /// What the driver read from the configuration space in probe.
    capacity: Atomic<u64>,
    size_max: Atomic<u64>,
    config_error: Atomic<i32>,
}

/// Stands for a field that is not there.
const ABSENT: u64 = u64::MAX;

/// What the driver read from the configuration space in probe.
pub(crate) fn read_config() -> Result<(u64, Option<u64>)> {
    let error = PLAN.config_error.load(Relaxed);
    if error != 0 {
        return Err(Error::from_errno(error));
    }
    let size_max = PLAN.size_max.load(Relaxed);
    Ok((
        PLAN.capacity.load(Relaxed),
        (size_max != ABSENT).then_some(size_max),
    ))
}

pub(crate) static PLAN: Plan = Plan {
    fail_at: Atomic::new(0),
    queues: Atomic::new(1),
    polled: Atomic::new(0),
    refuse_unwanted: Atomic::new(0),
    config_changes: Atomic::new(0),
    freezes: Atomic::new(0),
    restores: Atomic::new(0),
    class_devices: Atomic::new(0),
    capacity: Atomic::new(0),
    size_max: Atomic::new(0),
    config_error: Atomic::new(0),
};

impl Plan {
    fn reset(&self, setup: &Setup<'_>) {
        self.fail_at.store(setup.fail_at as u32, Relaxed);
        self.queues.store(setup.queues, Relaxed);
        self.polled.store(setup.polled.into(), Relaxed);
        self.refuse_unwanted
            .store(setup.refuse_unwanted.into(), Relaxed);
        self.config_changes.store(0, Relaxed);
        self.freezes.store(0, Relaxed);
        self.restores.store(0, Relaxed);
    }

    fn check(&self, stage: FailAt) -> Result {
        if self.fail_at.load(Relaxed) == stage as u32 {
            Err(EUCLEAN)
        } else {
            Ok(())
        }
    }
}

/// Ends a test with an error unless the condition holds. Unlike KUnit's own assertion, this drops
/// what the test holds, so that a failure does not spill over to the next test.
macro_rules! check {
    ($condition:expr $(,)?) => {
        if !$condition {
            kernel::pr_err!(
                "{}:{}: not so: {}\n",
                core::file!(),
                core::line!(),
                core::stringify!($condition)
            );
            return Err(kernel::error::code::EUCLEAN);
        }
    };
}
pub(crate) use check;

/// As [`check!`], for two values that are to be equal.
macro_rules! check_eq {
    ($left:expr, $right:expr $(,)?) => {{
        let (left, right) = ($left, $right);
        if left != right {
            kernel::pr_err!(
                "{}:{}: {} is {:?}, not {:?}\n",
                core::file!(),
                core::line!(),
                core::stringify!($left),
                left,
                right
            );
            return Err(kernel::error::code::EUCLEAN);
        }
    }};
}
pub(crate) use check_eq;

/// What a test driver is made for: one type of buffer.
pub(crate) trait Shape: 'static {
    /// What becomes of the buffers.
    type Handler: Handler;

    /// A device type of its own.
    const DEVICE: u32;

    /// Matches that type.
    const TABLE: virtio::IdTable;

    /// Makes the handler of a queue.
    fn handler() -> Result<Self::Handler>;
}

/// Declares a [`Shape`] whose buffers a [`Collector`] keeps.
macro_rules! shape {
    ($(#[$attr:meta])* $name:ident, $device:literal, $table:ident, $buffer:ty) => {
        kernel::virtio_device_table!($table, [kernel::virtio::DeviceId::new($device)]);

        $(#[$attr])*
        pub(crate) struct $name;

        impl $crate::rig::Shape for $name {
            type Handler = $crate::rig::Collector<$buffer>;

            const DEVICE: u32 = $device;
            const TABLE: kernel::virtio::IdTable = &$table;

            fn handler() -> kernel::error::Result<Self::Handler> {
                $crate::rig::Collector::new()
            }
        }
    };
}
pub(crate) use shape;

/// Keeps all that comes back.
pub(crate) struct Collector<B: Buffer> {
    /// What the device used, oldest first.
    pub(crate) used: KVec<B>,
    /// What was in flight when the queue ended.
    pub(crate) unused: KVec<B>,
    /// How often the queue broke.
    pub(crate) broken: u32,
    /// How many of the next used buffers are posted again at once.
    pub(crate) repost: u32,
}

impl<B: Buffer> Collector<B> {
    const CAPACITY: usize = 64;

    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            used: KVec::with_capacity(Self::CAPACITY, GFP_KERNEL)?,
            unused: KVec::with_capacity(Self::CAPACITY, GFP_KERNEL)?,
            broken: 0,
            repost: 0,
        })
    }
}

impl<B: Buffer + Unpin> Handler for Collector<B> {
    type Buffer = B;

    fn used(&mut self, buffer: B, ring: &mut Ring<'_, B>) {
        let buffer = if self.repost > 0 {
            self.repost -= 1;
            match ring.post(buffer) {
                Ok(()) => return,
                Err(e) => e.buffer,
            }
        } else {
            buffer
        };
        // No test has more in flight.
        let _ = self.used.push_within_capacity(buffer);
    }

    fn unused(&mut self, buffer: B) {
        let _ = self.unused.push_within_capacity(buffer);
    }

    fn broken(&mut self) {
        self.broken += 1;
    }
}

/// A queue of the driver under test.
pub(crate) type Queue<S> = Arc<VirtQueue<<S as Shape>::Handler>>;

/// What the driver hands over.
struct Bound<S: Shape> {
    queues: KVec<Queue<S>>,
    features: Negotiated<Feature>,
}

/// The driver under test.
struct TestDriver<S>(PhantomData<S>);

/// Stands for a disk or a network interface.
struct ClassDevice;

impl Drop for ClassDevice {
    fn drop(&mut self) {
        PLAN.class_devices.fetch_sub(1, Relaxed);
    }
}

impl<S: Shape> TestDriver<S> {
    fn look_at_config(vdev: &virtio::Device<Core<'_>>, features: &Negotiated<Feature>) {
        let fields = vdev.config_snapshot::<Config>(features).and_then(|config| {
            let capacity = config.read(Config::CAPACITY).validate(Ok::<_, Error>)?;
            let size_max = config.read_if(Config::SIZE_MAX);
            let size_max = size_max
                .map(|value| value.validate(Ok::<_, Error>))
                .transpose()?;
            Ok((capacity, size_max.map_or(ABSENT, u64::from)))
        });
        match fields {
            Ok((capacity, size_max)) => {
                PLAN.capacity.store(capacity, Relaxed);
                PLAN.size_max.store(size_max, Relaxed);
                PLAN.config_error.store(0, Relaxed);
            }
            Err(e) => PLAN.config_error.store(e.to_errno(), Relaxed),
        }
    }

    fn find(vdev: &virtio::Device<Core<'_>>) -> Result<KVec<Queue<S>>> {
        vdev.find_vqs(|set| {
            let mut queues = KVec::new();
            for _ in 0..PLAN.queues.load(Relaxed) {
                let handler = S::handler()?;
                let queue = if PLAN.polled.load(Relaxed) != 0 {
                    set.add_polled(fmt!("polled"), handler)?
                } else {
                    set.add(fmt!("test"), handler)?
                };
                queues.push(queue, GFP_KERNEL)?;
            }
            Ok(queues)
        })
    }

    /// Attempts that come to nothing do not keep the driver from its queues.
    fn find_at_last(vdev: &virtio::Device<Core<'_>>) -> Result<KVec<Queue<S>>> {
        check_eq!(vdev.find_vqs(|_| Ok(())), Err(EINVAL));

        let mut given_up = None;
        let result = vdev.find_vqs(|set| {
            given_up = Some(set.add(fmt!("given up"), S::handler()?)?);
            Err::<(), _>(EUCLEAN)
        });
        check_eq!(result, Err(EUCLEAN));
        let given_up = given_up.ok_or(EINVAL)?;
        check_eq!(given_up.ring_size(), 0);
        check_eq!(
            given_up.with(|_, ring| ring.error()),
            Some(QueueError::Dead)
        );

        let mut queues = None;
        let result = vdev.find_vqs(|set| {
            queues = Some(Self::find(vdev)?);
            set.add(fmt!("too late"), S::handler()?)?;
            Ok(())
        });
        check_eq!(result, Err(EBUSY));
        queues.ok_or(EINVAL)
    }

    fn make(vdev: &virtio::Device<Core<'_>>, features: Negotiated<Feature>) -> Result {
        PLAN.check(FailAt::BeforeQueues)?;
        Self::look_at_config(vdev, &features);
        let queues = match PLAN.check(FailAt::Queues) {
            Ok(()) => Self::find(vdev)?,
            Err(_) => Self::find_at_last(vdev)?,
        };
        PLAN.check(FailAt::AfterQueues)?;
        let module = this_module::<crate::VirtioKunit>();
        sim::hand_over(module, Bound::<S> { queues, features })
    }
}

impl<S: Shape> virtio::Driver for TestDriver<S> {
    type Features = Feature;
    type Data<'bound> = ();
    type ClassDevice<'bound> = ClassDevice;

    const ID_TABLE: virtio::IdTable = S::TABLE;

    fn validate(
        _vdev: &virtio::Device<device::Bound>,
        offered: &mut Offered<'_, Feature>,
    ) -> Result {
        if PLAN.refuse_unwanted.load(Relaxed) != 0 {
            offered.clear(Feature::Unwanted);
        }
        PLAN.check(FailAt::Validate)
    }

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        features: Negotiated<Feature>,
    ) -> impl PinInit<(), Error> + 'bound {
        Self::make(vdev, features)?;
        Ok(())
    }

    fn register<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _data: Pin<&()>,
    ) -> Result<ClassDevice> {
        PLAN.check(FailAt::Register)?;
        PLAN.class_devices.fetch_add(1, Relaxed);
        Ok(ClassDevice)
    }

    fn config_changed<'bound>(_vdev: &virtio::Device<device::Bound>, _data: Pin<&()>) {
        PLAN.config_changes.fetch_add(1, Relaxed);
    }

    fn freeze<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _data: Pin<&()>,
        _class_device: &Self::ClassDevice<'bound>,
    ) -> Result {
        PLAN.freezes.fetch_add(1, Relaxed);
        PLAN.check(FailAt::Freeze)
    }

    fn restore<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        _data: Pin<&()>,
        _class_device: &Self::ClassDevice<'bound>,
    ) {
        PLAN.restores.fetch_add(1, Relaxed);
    }
}

/// What device and driver are to be like.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// All feature bits that the device offers.
    pub(crate) features: u64,
    pub(crate) queues: u32,
    /// Descriptors per queue.
    pub(crate) size: u32,
    pub(crate) config: &'a [u8],
    pub(crate) fail_at: FailAt,
    pub(crate) polled: bool,
    pub(crate) refuse_unwanted: bool,
}

/// Feature bits by name, as numbers: the device can offer what no driver declares.
pub(crate) mod bit {
    pub(crate) const INDIRECT_DESC: u64 = 1 << 28;
    pub(crate) const EVENT_IDX: u64 = 1 << 29;
    pub(crate) const VERSION_1: u64 = 1 << 32;
    pub(crate) const ACCESS_PLATFORM: u64 = 1 << 33;
    pub(crate) const RING_PACKED: u64 = 1 << 34;
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) const IN_ORDER: u64 = 1 << 35;
    pub(crate) const RING_RESET: u64 = 1 << 40;
}

/// Each kind of ring: split and packed, with and without indirect descriptors and event index.
pub(crate) const RINGS: [u64; 8] = [
    bit::VERSION_1,
    bit::VERSION_1 | bit::INDIRECT_DESC,
    bit::VERSION_1 | bit::EVENT_IDX,
    bit::VERSION_1 | bit::INDIRECT_DESC | bit::EVENT_IDX,
    bit::VERSION_1 | bit::RING_PACKED,
    bit::VERSION_1 | bit::RING_PACKED | bit::INDIRECT_DESC,
    bit::VERSION_1 | bit::RING_PACKED | bit::EVENT_IDX,
    bit::VERSION_1 | bit::RING_PACKED | bit::INDIRECT_DESC | bit::EVENT_IDX,
];

/// The two layouts.
pub(crate) const SPLIT: u64 = bit::VERSION_1;
pub(crate) const PACKED: u64 = bit::VERSION_1 | bit::RING_PACKED;

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            features: SPLIT,
            queues: 1,
            size: 16,
            config: &[],
            fail_at: FailAt::Nowhere,
            polled: false,
            refuse_unwanted: false,
        }
    }
}

impl Setup<'_> {
    /// A device with `features` and else the usual.
    pub(crate) fn with(features: u64) -> Self {
        Self {
            features,
            ..Self::default()
        }
    }
}

/// A simulated device and the driver for it.
pub(crate) struct Rig<S: Shape> {
    /// Empty if the driver did not bind.
    pub(crate) queues: KVec<Queue<S>>,
    pub(crate) features: Option<Negotiated<Feature>>,
    pub(crate) sim: Sim,
    /// Dropped after the device.
    _driver: Pin<KBox<driver::Registration<Adapter<TestDriver<S>>>>>,
    _left: Left<S>,
}

/// Takes over what nobody else did.
struct Left<S: Shape>(PhantomData<S>);

impl<S: Shape> Drop for Left<S> {
    fn drop(&mut self) {
        drop(sim::take_over::<Bound<S>>());
    }
}

impl<S: Shape> Rig<S> {
    /// Registers the driver, then the device, which the driver binds to at once.
    pub(crate) fn new(setup: Setup<'_>) -> Result<Self> {
        PLAN.reset(&setup);
        let driver = KBox::pin_init(
            driver::Registration::new(c"virtio_kunit", this_module::<crate::VirtioKunit>()),
            GFP_KERNEL,
        )?;
        let sim = Sim::new(Params {
            device_id: S::DEVICE,
            features: setup.features.into(),
            queues: setup.queues,
            queue_size: setup.size,
            config: setup.config,
        })?;
        if !sim.is_bound() && setup.fail_at == FailAt::Nowhere {
            // The bus may have been told not to probe by itself. What fails is for the test to see.
            let _ = sim.bind();
        }
        let mut rig = Self {
            queues: KVec::new(),
            features: None,
            sim,
            _driver: driver,
            _left: Left(PhantomData),
        };
        rig.take_over()?;
        Ok(rig)
    }

    /// Takes what the driver handed over, after it was bound again.
    pub(crate) fn take_over(&mut self) -> Result {
        if let Some(mut bound) = sim::take_over::<Bound<S>>() {
            self.queues = core::mem::take(&mut bound.queues);
            self.features = Some(bound.features);
        }
        Ok(())
    }

    /// The first queue.
    pub(crate) fn queue(&self) -> &Queue<S> {
        &self.queues[0]
    }

    /// Unregisters the driver while the device is there.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn without_driver(self) -> (KVec<Queue<S>>, Sim) {
        (self.queues, self.sim)
    }
}

/// Posts one buffer.
pub(crate) fn post<H: Handler>(queue: &VirtQueue<H>, buffer: H::Buffer) -> Result {
    queue.with(|_, ring| ring.post(buffer))?;
    Ok(())
}

#[cfg(CONFIG_KUNIT = "y")]
impl<B: Buffer + Unpin, S: Shape<Handler = Collector<B>>> Rig<S> {
    /// Whatever happened before: nothing is left after the driver was unbound, and when it is bound
    /// again to the device, which is honest now, `buffer` is used.
    pub(crate) fn works_again(&mut self, buffer: B) -> Result {
        self.sim.unbind();
        check_eq!(self.sim.mapped(), 0);
        check_eq!(PLAN.class_devices.load(Relaxed), 0);

        self.sim.be_honest();
        self.sim.fail_maps(u32::MAX);
        self.sim
            .set_mode(virtio::sim::ALL_QUEUES, virtio::sim::Mode::Manual);
        // Whoever slept wakes up.
        let _ = self.sim.restore();
        self.sim.bind()?;
        self.take_over()?;
        check!(self.sim.is_bound());

        post(self.queue(), buffer)?;
        check_eq!(self.sim.serve(0, u32::MAX), 1);
        self.queue().poll();
        check_eq!(self.queue().with(|log, _| log.used.len()), 1);
        Ok(())
    }
}
