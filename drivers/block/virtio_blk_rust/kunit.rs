// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the driver, on simulated disks. What is checked is what a submitter of I/O sees.
//!
//! `config` has what the device says of itself, `honest` what has to work, `lies` what a device can
//! answer, `teardown` the end of devices in every state, `zones` disks that consist of zones.

use kernel::{
    bindings,
    block::Sectors,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
    virtio::sim::{
        Bio,
        Disk,
        DiskParams,
        Io,
        Mode,
        Op,
        ALL_QUEUES, //
    }, //
};

/// Ends a test with an error, so that what it holds is dropped.
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            kernel::pr_err!(
                "{}:{}: not so: {}\n",
                file!(),
                line!(),
                stringify!($condition)
            );
            return Err(EUCLEAN);
        }
    };
}

macro_rules! check_eq {
    ($left:expr, $right:expr) => {{
        let (left, right) = ($left, $right);
        if left != right {
            kernel::pr_err!(
                "{}:{}: {} is {:?}, not {:?}\n",
                file!(),
                line!(),
                stringify!($left),
                left,
                right
            );
            return Err(EUCLEAN);
        }
    }};
}

mod config;
mod honest;
mod lies;
mod teardown;
#[cfg(CONFIG_BLK_DEV_ZONED)]
mod zones;

/// What the parameter `scrub` is to be: as it is if this is no value that it can have.
static SCRUB: Atomic<u32> = Atomic::new(NO_SCRUB);

const NO_SCRUB: u32 = u32::MAX;

/// The parameter `scrub`, if a test sets it.
pub(super) fn scrub() -> Option<u8> {
    SCRUB.load(Relaxed).try_into().ok()
}

/// Sets the parameter `scrub` for the devices that are bound while this exists.
struct Scrub;

impl Scrub {
    fn set(value: u8) -> Self {
        SCRUB.store(value.into(), Relaxed);
        Self
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        SCRUB.store(NO_SCRUB, Relaxed);
    }
}

/// Feature bits.
mod bit {
    use kernel::bindings;

    pub(super) const SIZE_MAX: u32 = bindings::VIRTIO_BLK_F_SIZE_MAX;
    pub(super) const SEG_MAX: u32 = bindings::VIRTIO_BLK_F_SEG_MAX;
    pub(super) const RO: u32 = bindings::VIRTIO_BLK_F_RO;
    pub(super) const BLK_SIZE: u32 = bindings::VIRTIO_BLK_F_BLK_SIZE;
    pub(super) const FLUSH: u32 = bindings::VIRTIO_BLK_F_FLUSH;
    pub(super) const TOPOLOGY: u32 = bindings::VIRTIO_BLK_F_TOPOLOGY;
    pub(super) const CONFIG_WCE: u32 = bindings::VIRTIO_BLK_F_CONFIG_WCE;
    pub(super) const MQ: u32 = bindings::VIRTIO_BLK_F_MQ;
    pub(super) const DISCARD: u32 = bindings::VIRTIO_BLK_F_DISCARD;
    pub(super) const WRITE_ZEROES: u32 = bindings::VIRTIO_BLK_F_WRITE_ZEROES;
    pub(super) const SECURE_ERASE: u32 = bindings::VIRTIO_BLK_F_SECURE_ERASE;
    pub(super) const GEOMETRY: u32 = bindings::VIRTIO_BLK_F_GEOMETRY;
    #[cfg(CONFIG_BLK_DEV_ZONED)]
    pub(super) const ZONED: u32 = bindings::VIRTIO_BLK_F_ZONED;
    pub(super) const INDIRECT_DESC: u32 = 28;
    pub(super) const EVENT_IDX: u32 = 29;
    pub(super) const ACCESS_PLATFORM: u32 = 33;
    pub(super) const RING_PACKED: u32 = 34;
}

/// Each kind of ring, and with mapped memory.
const RINGS: [&[u32]; 9] = [
    &[],
    &[bit::INDIRECT_DESC],
    &[bit::EVENT_IDX],
    &[bit::INDIRECT_DESC, bit::EVENT_IDX],
    &[bit::RING_PACKED],
    &[bit::RING_PACKED, bit::INDIRECT_DESC],
    &[bit::RING_PACKED, bit::EVENT_IDX],
    &[bit::RING_PACKED, bit::INDIRECT_DESC, bit::EVENT_IDX],
    &[bit::ACCESS_PLATFORM, bit::INDIRECT_DESC],
];

const IN: u32 = bindings::VIRTIO_BLK_T_IN;
const OUT: u32 = bindings::VIRTIO_BLK_T_OUT;

/// The size of the disks, in sectors.
const SECTORS: u64 = 4096;

/// How long anything may take that does not hang, in milliseconds.
const LONG: u32 = 10_000;

/// What a device that holds something back is given, with all that a slow machine adds; a request
/// alone is late after three times as long.
const LIMIT: Delta = Delta::from_millis(10_000);

const PAGE: usize = 4096;

/// What a read must not leave behind.
const MARKER: u8 = 0xa5;

/// What is on the disk.
fn pattern(len: usize, seed: usize) -> Result<KVVec<u8>> {
    let mut bytes = KVVec::with_capacity(len, GFP_KERNEL)?;
    for i in 0..len {
        // Never the marker, never zero.
        bytes.push(1 + ((i / 7 + i + seed) % 128) as u8, GFP_KERNEL)?;
    }
    Ok(bytes)
}

/// A disk without features but those.
fn disk(features: &[u32]) -> DiskParams {
    DiskParams::new(Sectors(SECTORS)).offer(features)
}

/// A simulated disk which the driver of this module is bound to.
struct Rig {
    /// Dropped before the device.
    io: Io,
    disk: Disk,
}

impl Rig {
    fn new(params: &DiskParams) -> Result<Self> {
        let disk = device(params)?;
        check!(disk.is_bound());
        Ok(Self {
            io: disk.open()?,
            disk,
        })
    }

    fn with(features: &[u32]) -> Result<Self> {
        Self::new(&disk(features))
    }

    /// Prepares an operation, whose memory is full of markers.
    fn bio(&self, op: Op, sector: u64, len: usize) -> Result<Bio<'_>> {
        let bio = self.io.prepare(op, sector, len.try_into()?)?;
        if matches!(op, Op::Read | Op::Write | Op::ZoneAppend) {
            bio.fill(&KVVec::from_elem(MARKER, len, GFP_KERNEL)?)?;
        }
        Ok(bio)
    }

    /// Submits one.
    fn start(&self, op: Op, sector: u64, len: usize) -> Result<Bio<'_>> {
        let bio = self.bio(op, sector, len)?;
        bio.submit()?;
        Ok(bio)
    }

    /// Submits one, and returns how it ended.
    fn run(&self, op: Op, sector: u64, len: usize) -> Result<Result> {
        ended(&self.start(op, sector, len)?)
    }

    /// How a read of `len` bytes ended, and what is in its memory then.
    fn read(&self, sector: u64, len: usize) -> Result<(Result, KVVec<u8>)> {
        let bio = self.start(Op::Read, sector, len)?;
        let result = ended(&bio)?;
        Ok((result, bio.data(len)?))
    }

    fn write(&self, sector: u64, bytes: &[u8]) -> Result<Result> {
        let bio = self.bio(Op::Write, sector, bytes.len())?;
        bio.fill(bytes)?;
        bio.submit()?;
        ended(&bio)
    }

    /// Writes and reads, with a device that is honest now.
    fn works(&self) -> Result {
        let bytes = pattern(2 * PAGE, 3)?;
        check_eq!(self.write(16, &bytes)?, Ok(()));
        let mut stored = KVVec::from_elem(0, bytes.len(), GFP_KERNEL)?;
        self.disk.peek(16 << 9, &mut stored)?;
        check!(*stored == *bytes);
        let (result, read) = self.read(16, bytes.len())?;
        check_eq!(result, Ok(()));
        check!(*read == *bytes);
        Ok(())
    }

    /// The driver did nothing that it must not do, and is unbound in time. Nothing is left, and
    /// when it is bound again to the device, which is honest now, that works.
    fn works_again(self) -> Result {
        let Self { io, disk } = self;
        unbind_in_time(&disk)?;
        drop(io);
        check_eq!(disk.mapped(), 0);
        bind_honest(&disk)?;
        let rig = Self {
            io: disk.open()?,
            disk,
        };
        rig.works()?;
        check_eq!(rig.disk.driver_errors(), 0);
        Ok(())
    }
}

/// Makes a device, and lets the driver have it.
fn device(params: &DiskParams) -> Result<Disk> {
    let disk = Disk::new(params)?;
    if !disk.is_bound() {
        // The bus may have been told not to probe by itself. What fails is for the test to see.
        let _ = disk.bind();
    }
    Ok(disk)
}

/// The driver refuses the device, leaves nothing behind, and takes the next one.
fn refused(params: &DiskParams) -> Result {
    let disk = device(params)?;
    for _ in 0..3 {
        check!(!disk.is_bound());
        check!(disk.open().is_err());
        check_eq!(disk.mapped(), 0);
        check_eq!(disk.bind(), Err(ENODEV));
    }
    check_eq!(disk.driver_errors(), 0);
    drop(disk);
    Rig::with(&[])?.works()
}

fn bind_honest(disk: &Disk) -> Result {
    disk.be_honest();
    disk.lie_about(0, kernel::virtio::sim::DiskLie::Honest, 0);
    disk.fail_maps(u32::MAX);
    disk.set_mode(ALL_QUEUES, Mode::InKick);
    // Whoever slept wakes up.
    let _ = disk.restore();
    disk.bind()?;
    check!(disk.is_bound());
    Ok(())
}

fn unbind_in_time(disk: &Disk) -> Result {
    let start = Instant::<Monotonic>::now();
    disk.unbind();
    let took = start.elapsed();
    check!(took < LIMIT);
    Ok(())
}

/// How an operation ended. That it did not is a failure of the test.
fn ended(bio: &Bio<'_>) -> Result<Result> {
    bio.wait(LONG).ok_or_else(|| {
        pr_err!("an operation did not end\n");
        ETIMEDOUT
    })
}

/// Tries until it is so.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..1000 {
        if condition() {
            return true;
        }
        kernel::time::delay::fsleep(Delta::from_millis(5));
    }
    condition()
}
