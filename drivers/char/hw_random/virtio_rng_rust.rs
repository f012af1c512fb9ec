// SPDX-License-Identifier: GPL-2.0

//! Virtio entropy device.
//!
//! Reads ahead: while someone reads, requests of up to a page are kept in flight, so that a reader
//! of 64 bytes does not wait for one round trip to the device each time.
//!
//! What the device sends is used as it is, and credited in full, as in virtio-rng.c: where the host
//! is not trusted, it must not be the only source of entropy (see `rng_quality` in sysfs). A device
//! that lies about the length of a reply makes the reader see zeros, never other memory.
//!
//! Specification: Virtio 1.3, section 5.4.

#[cfg(all(CONFIG_KUNIT, CONFIG_VIRTIO_SIM))]
mod virtio_rng_rust_kunit;

mod pace {
    //! How much to ask of the device ahead of the readers.

    use kernel::{
        prelude::*,
        time::{
            Delta,
            Instant,
            Monotonic, //
        }, //
    };

    /// The largest request, in bytes.
    pub(super) const MAX_REQUEST: u32 = 4096;

    /// The smallest request, in bytes: what the hwrng core reads at once.
    const MIN_REQUEST: u32 = 64;

    /// A pause of this length ends a series of reads.
    const PAUSE: Delta = Delta::from_millis(1000);

    /// The account of one series of reads.
    ///
    /// Never more than twice of what was read, or is wanted now, has been asked for. Since requests
    /// grow with what was read already, a single read costs the host little, and a long series
    /// runs at full size after a few reads.
    pub(super) struct Pace {
        /// Bytes asked of the device and not given back by it as unwritten.
        asked: u64,
        /// Bytes handed to readers.
        consumed: u64,
        last_read: Instant<Monotonic>,
    }

    impl Pace {
        pub(super) fn new() -> Self {
            Self {
                asked: 0,
                consumed: 0,
                last_read: Instant::now(),
            }
        }

        /// A reader comes, at time `now`.
        pub(super) fn begin(&mut self, now: Instant<Monotonic>) {
            if now - self.last_read > PAUSE {
                // What is in store counts against the new series.
                self.asked -= self.consumed;
                self.consumed = 0;
            }
            self.last_read = now;
        }

        /// The size of the next request for a reader that wants `wanted` more bytes, or `None` if
        /// enough was asked for.
        pub(super) fn next_request(&self, wanted: usize) -> Option<u32> {
            let wanted = (wanted as u64).max(u64::from(MIN_REQUEST));
            let allowed = 2 * (self.consumed + wanted);
            let size = self
                .consumed
                .clamp(u64::from(MIN_REQUEST), u64::from(MAX_REQUEST));
            // The value is at most `MAX_REQUEST`.
            (self.asked + size <= allowed).then_some(size as u32)
        }

        /// A request for `bytes` was posted.
        pub(super) fn requested(&mut self, bytes: u32) {
            self.asked += u64::from(bytes);
        }

        /// The device did not write `bytes` of a request.
        pub(super) fn unwritten(&mut self, bytes: u32) {
            self.asked -= u64::from(bytes);
        }

        /// A reader got `bytes`.
        pub(super) fn consumed(&mut self, bytes: usize) {
            self.consumed += bytes as u64;
        }
    }

    #[kunit_tests(virtio_rng_rust_pace)]
    mod tests {
        use super::*;

        /// Lets a device answer all that is asked of it, and reads `size` bytes; returns what was
        /// asked.
        fn read(pace: &mut Pace, store: &mut usize, size: usize) -> u32 {
            let mut asked = 0;
            while let Some(request) = pace.next_request(size) {
                pace.requested(request);
                asked += request;
            }
            *store += asked as usize;
            let got = size.min(*store);
            *store -= got;
            pace.consumed(got);
            asked
        }

        #[test]
        fn starts_small() {
            let mut pace = Pace::new();
            assert_eq!(pace.next_request(64), Some(64));
            assert_eq!(read(&mut pace, &mut 0, 64), 128);
        }

        #[test]
        fn asks_for_no_more_than_twice() {
            let (mut pace, mut store) = (Pace::new(), 0);
            let (mut asked, mut consumed) = (0, 0);
            for i in 0..1000_usize {
                let size = 1 + i * 37 % 200;
                asked += read(&mut pace, &mut store, size) as usize;
                assert!(asked <= 2 * (consumed + size.max(64)));
                consumed += size;
            }
        }

        #[test]
        fn grows_to_two_full_requests() {
            let (mut pace, mut store) = (Pace::new(), 0);
            for _ in 0..256 {
                read(&mut pace, &mut store, 64);
            }
            assert!(store >= 2 * MAX_REQUEST as usize);
        }

        #[test]
        fn a_pause_starts_again() {
            let (mut pace, mut store) = (Pace::new(), 0);
            for _ in 0..256 {
                read(&mut pace, &mut store, 64);
            }
            let later = Instant::now() + PAUSE + PAUSE;
            pace.begin(later);
            // Nothing is asked for before what is in store was used up.
            assert_eq!(pace.next_request(64), None);
        }

        #[test]
        fn unwritten_bytes_can_be_asked_for_again() {
            let mut pace = Pace::new();
            pace.requested(64);
            pace.requested(64);
            assert_eq!(pace.next_request(64), None);
            pace.unwritten(64);
            assert_eq!(pace.next_request(64), Some(64));
        }
    }
}

use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    device::{
        Core,
        Device, //
    },
    hwrng::{
        self,
        Quality, //
    },
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Jiffies, //
    },
    virtio::{
        self,
        DeviceBuffer,
        Negotiated,
        NoFeatures,
        QueueError,
        Ring,
        VirtQueue, //
    }, //
};
use pace::Pace;

/// How many requests there are at most, in flight or waiting to be read.
const MAX_BUFFERS: usize = 8;

/// How long one call of the hwrng core waits, in milliseconds. The core calls again; in between it
/// lets signals, the freezer and other readers have their turn.
const WAIT: u32 = 500;

/// After so many empty replies in a row, reads fail until the device sends something.
const MAX_EMPTY: u32 = 8;

type Buffer = KBox<DeviceBuffer>;

fn new_buffer(flags: Flags) -> Result<Buffer, AllocError> {
    KBox::new(DeviceBuffer::new(pace::MAX_REQUEST, flags)?, flags)
}

/// What the lock of the queue protects.
struct Store {
    /// Replies, oldest first. Has capacity for all buffers.
    ready: KVec<Buffer>,
    /// Buffers without a job. Has capacity for all buffers.
    idle: KVec<Buffer>,
    /// How many buffers were allocated.
    allocated: usize,
    pace: Pace,
    /// Empty replies in a row.
    empty: u32,
    /// Whether it was logged that reads fail.
    warned: bool,
    cancelled: bool,
}

impl Store {
    fn new() -> Result<Self> {
        let mut store = Self {
            ready: KVec::with_capacity(MAX_BUFFERS, GFP_KERNEL)?,
            idle: KVec::with_capacity(MAX_BUFFERS, GFP_KERNEL)?,
            allocated: 1,
            pace: Pace::new(),
            empty: 0,
            warned: false,
            cancelled: false,
        };
        store.idle.push(new_buffer(GFP_KERNEL)?, GFP_KERNEL)?;
        Ok(store)
    }

    /// Moves bytes from the replies to `dst`.
    fn take(&mut self, dst: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(buffer) = self.ready.first_mut() {
            done += buffer.take(&mut dst[done..]);
            if done == dst.len() {
                break;
            }
            if let Ok(buffer) = self.ready.remove(0) {
                self.put_idle(buffer);
            }
        }
        self.pace.consumed(done);
        done
    }

    /// Asks the device for what the pace allows.
    fn refill(&mut self, ring: &mut Ring<'_, Buffer>, wanted: usize) -> Result<(), QueueError> {
        while let Some(size) = self.pace.next_request(wanted) {
            let Some(mut buffer) = self.idle.pop().or_else(|| self.allocate()) else {
                break;
            };
            buffer.set_asked(size);
            if let Err(e) = ring.post(buffer) {
                self.put_idle(e.buffer);
                return match e.reason {
                    // There is something in flight then.
                    QueueError::NoSpace => Ok(()),
                    reason => Err(reason),
                };
            }
            self.pace.requested(size);
        }
        Ok(())
    }

    fn allocate(&mut self) -> Option<Buffer> {
        if self.allocated == MAX_BUFFERS {
            return None;
        }
        let buffer = new_buffer(GFP_NOWAIT).ok()?;
        self.allocated += 1;
        Some(buffer)
    }

    fn put_idle(&mut self, buffer: Buffer) {
        // There is room for all buffers; one too many would just be freed.
        let _ = self.idle.push_within_capacity(buffer);
    }

    fn put_ready(&mut self, buffer: Buffer) {
        self.pace.unwritten(buffer.asked() - buffer.written());
        if buffer.written() == 0 {
            self.empty = self.empty.saturating_add(1);
            self.put_idle(buffer);
        } else {
            self.empty = 0;
            // As in `put_idle`.
            let _ = self.ready.push_within_capacity(buffer);
        }
    }
}

impl virtio::Handler for Store {
    type Buffer = Buffer;

    fn used(&mut self, buffer: Buffer, _ring: &mut Ring<'_, Buffer>) {
        self.put_ready(buffer);
    }

    fn unused(&mut self, buffer: Buffer) {
        self.pace.unwritten(buffer.asked());
        self.put_idle(buffer);
    }
}

struct VirtioRng {
    queue: Arc<VirtQueue<Store>>,
}

/// What the hwrng core reads from.
struct Reader {
    queue: Arc<VirtQueue<Store>>,
    dev: ARef<Device>,
}

impl Reader {
    /// One attempt under the lock. `None` means that there is nothing yet.
    fn attempt(
        store: &mut Store,
        ring: &mut Ring<'_, Buffer>,
        dst: &mut [u8],
    ) -> Option<Result<usize>> {
        if store.cancelled {
            return Some(Err(ENODEV));
        }
        let done = store.take(dst);
        let asked = store.refill(ring, dst.len() - done);
        if done > 0 {
            return Some(Ok(done));
        }
        if let Some(e) = ring.error().or(asked.err()) {
            return Some(Err(e.into()));
        }
        (store.empty >= MAX_EMPTY).then_some(Err(EIO))
    }

    /// Once per device, so that it cannot flood the log.
    fn warn_once(&self) {
        let warned = self
            .queue
            .with(|store, _ring| core::mem::replace(&mut store.warned, true));
        if !warned {
            dev_warn!(self.dev, "broken or only empty replies, reads fail\n");
        }
    }
}

impl hwrng::Rng for Reader {
    fn read(&self, dst: &mut [u8], wait: bool) -> Result<usize> {
        let timeout: Jiffies = if wait { msecs_to_jiffies(WAIT) } else { 0 };
        let now = Instant::now();

        self.queue
            .wait_until(timeout, |store, ring| {
                store.pace.begin(now);
                Self::attempt(store, ring, dst)
            })?
            .unwrap_or(Ok(0))
            .inspect_err(|&e| {
                if e == EIO {
                    self.warn_once();
                }
            })
    }

    fn cancel(&self) {
        self.queue.with(|store, _ring| store.cancelled = true);
        self.queue.wake_all();
    }
}

kernel::virtio_device_table!(ID_TABLE, [virtio::DeviceId::ENTROPY]);

impl virtio::Driver for VirtioRng {
    type Features = NoFeatures;
    type Data<'bound> = Self;
    type ClassDevice<'bound> = hwrng::Registration<Reader>;

    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        _features: Negotiated<NoFeatures>,
    ) -> impl PinInit<Self, Error> + 'bound {
        let queue = vdev.find_vqs(|set| set.add(fmt!("input"), Store::new()?))?;
        Ok(Self { queue })
    }

    fn register<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        data: Pin<&Self>,
    ) -> Result<Self::ClassDevice<'bound>> {
        hwrng::Registration::new(
            vdev.as_ref(),
            CString::try_from_fmt(fmt!("virtio_rng_rust.{}", vdev.index()))?,
            Quality::FULL,
            Reader {
                queue: data.queue.clone(),
                dev: vdev.as_ref().into(),
            },
        )
    }
}

kernel::module_virtio_driver! {
    type: VirtioRng,
    name: "virtio_rng_rust",
    authors: ["Rust virtio contributors"],
    description: "Virtio entropy device, in Rust",
    license: "GPL",
}
