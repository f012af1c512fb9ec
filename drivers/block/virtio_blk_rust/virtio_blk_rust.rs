// SPDX-License-Identifier: GPL-2.0

//! Virtio block device.
//!
//! Requests of the block layer are posted as they are: header and status are part of the request,
//! its pages are listed in a table that the queue has for that. Nothing is allocated on the way,
//! but for the ranges of a discard.
//!
//! What the device answers is an error unless it says otherwise: a status that does not exist or
//! was not written, a read that returned fewer bytes than were asked for. A device that breaks the
//! rules of its rings is given up: all requests fail. So is one that answers nothing on a queue for
//! as long as a request may take (`io_timeout` in sysfs) after one was late. One that answers
//! slowly is waited for, until it is unbound or suspended.
//!
//! A device that claims to have read everything, and wrote nothing, cannot be found out. Who reads
//! gets what the memory held before, and where DMA is bounced, the device side sees that, too. The
//! parameter `scrub` has the memory zeroed before each read.
//!
//! Devices before Virtio 1.0 are known to report lengths that are wrong without any harm meant, so
//! theirs are not looked at. For these, memory is zeroed unless `scrub` says not to.
//!
//! Specification: Virtio 1.3, section 5.2.

mod command;
mod config;
#[cfg(all(CONFIG_KUNIT = "y", CONFIG_VIRTIO_SIM_DISK))]
mod kunit;
mod zones;

use command::{
    Command,
    Zoning, //
};
use config::{
    Config,
    Feature,
    Shape, //
};
use kernel::{
    block::{
        self,
        Attribute,
        Batch,
        Disk,
        DiskParams,
        Geometry,
        Limits,
        LiveDisk,
        Operation,
        Operations,
        Page,
        Registration,
        RequestList,
        Sectors,
        Status,
        TagSet,
        TagSetParams,
        ZoneReport, //
    },
    cc_platform,
    cpumask::Cpumask,
    device::{
        Bound,
        Core,
        Device, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic,
        Msecs, //
    },
    virtio::{
        self,
        BlockData,
        Negotiated,
        Offered,
        Patience,
        PostError,
        QueueError,
        QueueSet,
        Ring,
        Segments,
        VirtQueue, //
    }, //
};

/// How long a device that is unbound may answer nothing of what it has. All of it may take 20 times
/// as long.
const SILENCE: Delta = Delta::from_millis(1500);

/// How long requests may take that are made when the disk is deleted, in milliseconds: flushes, for
/// example.
const LAST_TIMEOUT: Msecs = 5000;

type Request = block::Request<VirtioBlk>;

/// What the lock of a queue protects.
#[derive(Default)]
struct Requests {
    segments: Segments,
    late: Option<Late>,
}

/// That a request was late.
struct Late {
    /// How many had been answered by then.
    answered: u32,
    since: Instant<Monotonic>,
}

impl virtio::Handler for Requests {
    type Buffer = Request;

    fn used(&mut self, rq: Request, _ring: &mut Ring<'_, Request>) {
        rq.complete();
    }

    fn unused(&mut self, mut rq: Request) {
        self.late = None;
        command::reset(&mut rq);
        rq.end(Status::IO_ERROR);
    }

    #[inline(always)]
    fn interrupt(queue: &VirtQueue<Self>) {
        Batch::with(|batch| Self::answer(queue, batch));
    }
}

impl Requests {
    /// Moves what the device is done with to `batch`.
    #[inline(never)]
    fn answer(queue: &VirtQueue<Self>, batch: &mut Batch<'_, VirtioBlk>) -> u32 {
        let mut count = 0_u32;
        queue.service(|_requests, rq, _ring| {
            count = count.wrapping_add(1);
            batch.push(rq);
        });
        count
    }
}

/// A queue, and what is needed to use it.
struct Queue {
    queue: Arc<VirtQueue<Requests>>,
    dev: ARef<Device>,
    /// Whether the device follows Virtio 1.0 or later. If so, its fields are little-endian, not in
    /// the byte order of the CPU, and the lengths that it reports are right.
    modern: bool,
    /// Whether memory is zeroed before the device writes to it.
    scrub: bool,
    zoning: Zoning,
}

impl Queue {
    /// Makes room for the segments of a request.
    fn set_max_segments(&self, max: u16) -> Result {
        let segments = Segments::new(max)?;
        let old = self
            .queue
            .with(|requests, _| core::mem::replace(&mut requests.segments, segments));
        drop(old);
        Ok(())
    }

    /// Posts a request, or ends it if that cannot be. If it is not the `last`, others will follow,
    /// so the device need not be notified yet.
    ///
    /// # Errors
    ///
    /// It is given back if it can be tried again.
    #[inline(never)]
    fn submit(
        &self,
        requests: &mut Requests,
        ring: &mut Ring<'_, Request>,
        mut rq: Request,
        last: bool,
    ) -> Result<(), Request> {
        let kept = match self.prepare(&mut rq) {
            Ok(true) => requests.segments.post(rq, ring).or_else(Self::refused),
            Ok(false) => Err(rq),
            Err(status) => {
                rq.end(status);
                Ok(())
            }
        };
        // If none follows after all, since it is full, nobody would notify the device later.
        if last || kept.is_err() {
            ring.notify();
        } else {
            ring.put_off();
        }
        kept
    }

    /// Prepares what does not need the ring. `false` if there is no memory.
    #[inline(always)]
    fn prepare(&self, rq: &mut Request) -> Result<bool, Status> {
        match rq.operation() {
            Operation::Read => self.set_header(rq, Command::In, rq.sector()),
            Operation::Write => self.set_header(rq, Command::Out, rq.sector()),
            operation => return self.prepare_rare(rq, operation),
        }
        Ok(true)
    }

    #[inline(never)]
    fn prepare_rare(&self, rq: &mut Request, operation: Operation) -> Result<bool, Status> {
        if operation == Operation::DriverIn {
            // Who made the request prepared it.
            return Ok(true);
        }
        let command = Command::of(operation).ok_or(Status::NOT_SUPPORTED)?;
        let sector = if command.has_sector() {
            rq.sector()
        } else {
            Sectors(0)
        };
        self.set_header(rq, command, sector);
        if command.has_ranges() {
            let ranges = match command.ranges(rq) {
                Ok(ranges) => ranges,
                Err(e) if e == ENOMEM => return Ok(false),
                Err(_) => return Err(Status::IO_ERROR),
            };
            rq.data_mut().data_mut().set_own(Some(ranges));
        } else if command == Command::ZoneAppend {
            rq.data_mut().set_trailer_len(command::NO_ANSWER.len());
        }
        Ok(true)
    }

    #[inline(always)]
    fn set_header(&self, rq: &mut Request, command: Command, sector: Sectors) {
        let header = command.header(rq.io_priority().into(), sector, self.modern);
        *rq.data_mut().header_mut() = header;
    }

    /// Whether the device is to be given up, which had a request for longer than `timeout`: if it
    /// answered nothing on this queue for as long as that since a request was late before.
    fn is_lost(&self, timeout: Delta) -> bool {
        let now = Instant::now();
        // An interrupt can have been lost, and who polls may have stopped to do so. This looks for
        // what is used, and does not wait.
        let lost = self.queue.wait_until(0, |requests, ring| {
            let answered = ring.used();
            if ring.free() == ring.size() {
                requests.late = None;
                return None;
            }
            match &requests.late {
                Some(late) if late.answered == answered => {
                    // The timer counts ticks, and may be a little early.
                    let silent = (now - late.since).as_millis();
                    (silent * 8 >= timeout.as_millis() * 7).then_some(())
                }
                _ => {
                    requests.late = Some(Late {
                        answered,
                        since: now,
                    });
                    None
                }
            }
        });
        lost == Ok(Some(()))
    }

    /// Gives back what can be tried again, and ends what cannot.
    #[cold]
    fn refused(mut e: PostError<Request>) -> Result<(), Request> {
        command::reset(&mut e.buffer);
        match e.reason {
            // The device has others, which come back under the lock that is held here.
            QueueError::NoSpace => e.buffer.stop_queue(),
            QueueError::NoMemory => (),
            _ => {
                e.buffer.end(Status::IO_ERROR);
                return Ok(());
            }
        }
        Err(e.buffer)
    }
}

/// The driver, and the operations of its disks.
struct VirtioBlk;

#[vtable]
impl Operations for VirtioBlk {
    type Parent = virtio::Device<Bound>;
    type DiskData = Negotiated<Feature>;
    type HwQueue = Queue;
    type RequestData = virtio::Request<command::Header, BlockData, command::Answer, true>;

    fn request_data() -> Self::RequestData {
        let (data, preset) = (BlockData::new(), command::NO_ANSWER);
        virtio::Request::with_trailer_len([0; 16], data, preset, command::STATUS_LEN)
    }

    #[inline]
    fn queue_rq(queue: &Queue, mut rq: Request, last: bool) -> Result<(), Request> {
        if queue.scrub {
            rq.scrub();
        }
        queue
            .queue
            .with(|requests, ring| queue.submit(requests, ring, rq, last))
    }

    #[inline]
    fn queue_rqs(list: &mut RequestList<'_, Self>) {
        while let Some(queue) = list.next_queue() {
            if queue.scrub {
                // That takes too long for doing it under the lock: one by one, then.
                return;
            }
            let all = queue.queue.with(|requests, ring| {
                while list
                    .next_queue()
                    .is_some_and(|next| core::ptr::eq(next, queue))
                {
                    let Some(rq) = list.pop() else {
                        break;
                    };
                    if let Err(rq) = queue.submit(requests, ring, rq, true) {
                        rq.requeue();
                        return false;
                    }
                }
                true
            });
            if !all {
                return;
            }
        }
    }

    #[inline(never)]
    fn commit_rqs(queue: &Queue) {
        queue.queue.with(|_requests, ring| ring.notify());
    }

    #[inline(always)]
    fn complete(queue: &Queue, rq: &mut Request) -> Status {
        command::status_of(rq, queue.modern, &queue.zoning)
    }

    fn timed_out(queue: &Queue, operation: Operation, sector: Sectors, timeout: Delta) {
        if queue.is_lost(timeout) && queue.queue.break_device() {
            dev_err!(
                queue.dev,
                "no answer in time: {} at sector {}\n",
                operation.name(),
                sector.0
            );
        }
    }

    fn poll(queue: &Queue, batch: &mut Batch<'_, Self>) -> u32 {
        Requests::answer(&queue.queue, batch)
    }

    fn geometry(disk: &LiveDisk<'_, Self>) -> Result<Geometry> {
        config::geometry(disk.parent(), disk.data(), disk.capacity())
    }

    fn report_zones(disk: &LiveDisk<'_, Self>, report: &mut ZoneReport<'_>) -> Result {
        zones::report(disk, report)
    }

    fn cpus(queue: &Queue) -> Option<&Cpumask> {
        queue.queue.affinity()
    }
}

/// The state of the driver for one device.
struct State {
    features: Negotiated<Feature>,
    capacity: Sectors,
    limits: Limits,
    tag_set: Arc<TagSet<VirtioBlk>>,
    disk: SetOnce<ARef<Disk>>,
}

impl State {
    fn new(vdev: &virtio::Device<Core<'_>>, features: Negotiated<Feature>) -> Result<Self> {
        let wanted = module_parameters::num_request_queues.value();
        let count = block::usable_queues(config::num_queues(vdev, &features, wanted)?);
        let polled = module_parameters::poll_queues.value().min(count - 1);
        let interrupting = count - polled;
        dev_info!(
            vdev.as_ref(),
            "{}/0/{} default/read/poll queues\n",
            interrupting,
            polled
        );

        let encrypted = cc_platform::guest_memory_is_encrypted();
        let scrub = config::scrub(scrub_parameter(), features.version_1(), encrypted);
        let mut queues = vdev.find_vqs(|set| {
            let mut queues = KVec::with_capacity(count as usize, GFP_KERNEL)?;
            for index in 0..count {
                let add = if index < interrupting {
                    QueueSet::add
                } else {
                    QueueSet::add_polled
                };
                let queue = Queue {
                    queue: add(set, fmt!("req.{index}"), Requests::default())?,
                    dev: vdev.as_ref().into(),
                    modern: features.version_1(),
                    scrub,
                    zoning: Zoning::NONE,
                };
                queues.push_within_capacity(queue)?;
            }
            set.spread_interrupts(0, 0);
            Ok(queues)
        })?;

        let ring_size = queues
            .iter()
            .fold(u32::MAX, |least, queue| least.min(queue.queue.ring_size()));
        let config = vdev.config_snapshot(&features)?;
        let shape = Shape::new(&config, &features, ring_size, vdev.max_segment_size());
        shape.limits.accept(vdev.as_ref())?;
        for queue in &mut queues {
            queue.zoning = shape.zoning;
            queue.set_max_segments(shape.max_segments)?;
        }
        // A request takes one descriptor where it can have a table of its own, or at least two.
        let depth = match module_parameters::queue_depth.value() {
            0 if features.indirect_desc() => ring_size,
            0 => ring_size / 2,
            depth => depth,
        };
        let tag_set = TagSet::new(TagSetParams {
            queues,
            polled,
            depth,
            timeout: 0,
        })?;
        Ok(Self {
            features,
            capacity: shape.capacity,
            limits: shape.limits,
            tag_set,
            disk: SetOnce::new(),
        })
    }

    /// Pauses the disk when the device is done with the requests that it has. If it keeps them, it
    /// is given up.
    fn pause(&self, disk: &Registration<VirtioBlk>, patience: Patience) -> Result {
        disk.pause(&mut || self.settle(&patience))
    }

    #[inline(never)]
    fn settle(&self, patience: &Patience) {
        for queue in self.tag_set.queues() {
            if queue.queue.wait_idle(patience) {
                dev_err!(queue.dev, "no answer to what it has\n");
            }
        }
    }
}

fn scrub_parameter() -> u8 {
    #[cfg(all(CONFIG_KUNIT = "y", CONFIG_VIRTIO_SIM_DISK))]
    if let Some(scrub) = kunit::scrub() {
        return scrub;
    }
    module_parameters::scrub.value()
}

fn show_serial(disk: &LiveDisk<'_, VirtioBlk>, page: &mut Page<'_>) -> Result {
    let modern = disk.data().version_1();
    let read = disk.read_by_driver(command::SERIAL_LEN, |data| {
        *data.header_mut() = Command::GetId.header(0, Sectors(0), modern);
    });
    match read {
        Ok(serial) => {
            let len = serial.iter().position(|byte| *byte == 0);
            page.push(&serial[..len.unwrap_or(serial.len())])
        }
        // It need not have one.
        Err(e) if e == EIO || e == EOPNOTSUPP => Ok(()),
        Err(e) => Err(e),
    }
}

fn show_cache_type(disk: &LiveDisk<'_, VirtioBlk>, page: &mut Page<'_>) -> Result {
    page.push(match config::write_back(disk.parent(), disk.data())? {
        true => b"write back\n",
        false => b"write through\n",
    })
}

fn store_cache_type(disk: &LiveDisk<'_, VirtioBlk>, kind: &[u8]) -> Result {
    let write_back = match kind {
        b"write back" => true,
        b"write through" => false,
        _ => return Err(EINVAL),
    };
    let (vdev, features) = (disk.parent(), disk.data());
    for _ in 0..10 {
        vdev.config_write_if(features, Config::WCE, write_back.into())?;
        // The device may not have listened.
        let now = config::write_back(vdev, features)?;
        disk.update_limits(|limits| limits.set_write_cache(now))?;
        // It may have been reset meanwhile.
        if config::write_back(vdev, features)? == now {
            return Ok(());
        }
    }
    // To flush once too often does no harm.
    disk.update_limits(|limits| limits.set_write_cache(true))
}

/// What is in sysfs if the cache cannot be turned off.
static ATTRIBUTES: [Attribute<VirtioBlk>; 2] = [
    Attribute::new(c"serial", show_serial),
    Attribute::new(c"cache_type", show_cache_type),
];

/// What is in sysfs if it can.
static ATTRIBUTES_WITH_CACHE: [Attribute<VirtioBlk>; 2] = [
    Attribute::new(c"serial", show_serial),
    Attribute::writable(c"cache_type", show_cache_type, store_cache_type),
];

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::BLOCK]);

impl virtio::Driver for VirtioBlk {
    type Features = Feature;
    type Data<'bound> = State;
    type ClassDevice<'bound> = Registration<VirtioBlk>;

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn validate(_vdev: &virtio::Device<Bound>, offered: &mut Offered<'_, Feature>) -> Result {
        // There were no zones before Virtio 1.0.
        if !offered.version_1() {
            offered.clear(Feature::Zoned);
        }
        Ok(())
    }

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        features: Negotiated<Feature>,
    ) -> impl PinInit<State, Error> + 'bound {
        State::new(vdev, features)
    }

    fn register<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        state: Pin<&State>,
    ) -> Result<Registration<VirtioBlk>> {
        let vdev: &virtio::Device<Bound> = vdev;
        let registration = Registration::new(
            vdev,
            state.tag_set.clone(),
            DiskParams {
                prefix: c"vd",
                limits: state.limits,
                capacity: state.capacity,
                read_only: state.features.has(Feature::ReadOnly),
            },
            match state.features.has(Feature::ConfigWce) {
                true => &ATTRIBUTES_WITH_CACHE,
                false => &ATTRIBUTES,
            },
            state.features,
        )?;
        let disk = registration.disk()?;
        let capacity = disk.capacity();
        dev_info!(
            vdev.as_ref(),
            "[{}] {} sectors of 512 bytes\n",
            disk.name(),
            capacity.0
        );
        state.disk.populate(disk);
        // Nobody was told of changes before the device was live.
        Self::config_changed(vdev, state);
        Ok(registration)
    }

    #[inline(never)]
    fn unbind<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        state: Pin<&State>,
        disk: &Registration<VirtioBlk>,
    ) {
        // Who deletes the disk lets requests go on, and waits for all of them.
        if let Some(disk) = state.disk.as_ref() {
            disk.set_timeout(msecs_to_jiffies(LAST_TIMEOUT));
        }
        let _ = state.pause(disk, Patience::new(SILENCE, 20));
    }

    #[inline(never)]
    fn config_changed<'bound>(vdev: &virtio::Device<Bound>, state: Pin<&State>) {
        let Some(disk) = state.disk.as_ref() else {
            return;
        };
        match config::capacity(vdev) {
            Ok(capacity) => disk.set_capacity(capacity),
            Err(_) => dev_err!(vdev.as_ref(), "its configuration does not hold still\n"),
        }
    }

    #[inline(never)]
    fn freeze<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        state: Pin<&State>,
        disk: &Registration<VirtioBlk>,
    ) -> Result {
        // As long as requests may take; some wait for room in the ring.
        state.pause(disk, Patience::new(disk.timeout(), 2))
    }

    #[inline(never)]
    fn restore<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        state: Pin<&State>,
        disk: &Registration<VirtioBlk>,
    ) {
        // A reset takes this back to what it was at first. Who changes it at the same time looks at
        // it once more after that.
        if let Some(disk) = state.disk.as_ref() {
            for _ in 0..10 {
                let write_back = disk.has_write_cache();
                let _ = vdev.config_write_if(&state.features, Config::WCE, write_back.into());
                // It is there when it was read.
                let _ = config::write_back(vdev, &state.features);
                if disk.has_write_cache() == write_back {
                    break;
                }
            }
        }
        disk.resume();
    }
}

kernel::module_virtio_driver! {
    type: VirtioBlk,
    name: "virtio_blk_rust",
    authors: ["Rust virtio contributors"],
    description: "Virtio block device, in Rust",
    license: "GPL",
    params: {
        num_request_queues: u32 {
            default: 0,
            description: "Most queues to use for requests, 0 for as many as there are CPUs",
        },
        poll_queues: u32 {
            default: 0,
            description: "How many of them are polled",
        },
        queue_depth: u32 {
            default: 0,
            description: "Requests per queue, 0 for as many as its ring has room for",
        },
        scrub: u8 {
            default: 2,
            description: "Zero memory before reads: 0 no, 2 where it counts, else yes",
        },
    },
}
