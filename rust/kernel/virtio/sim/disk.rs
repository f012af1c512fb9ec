// SPDX-License-Identifier: GPL-2.0

//! Simulated disks, and what is asked of the disk that a driver makes of one.

use super::{
    Params,
    Sim, //
};
use crate::{
    bindings,
    block::{
        Geometry,
        Sectors, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};
use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ops::Deref,
    ptr::NonNull, //
};

/// Names all commands, where a method says so.
pub const ALL_COMMANDS: u32 = u32::MAX;

type RawConfig = bindings::virtio_blk_config;

/// What disk to simulate.
#[derive(Clone)]
pub struct DiskParams {
    /// The feature bits that the device offers, bit 0 first.
    pub features: u128,
    /// How many virtqueues it has.
    pub queues: u32,
    /// Descriptors per queue.
    pub queue_size: u32,
    /// How large it really is.
    pub size: Sectors,
    config: [u8; size_of::<RawConfig>()],
}

macro_rules! fields {
    ($($name:ident $(in $outer:ident)?: $ty:ty,)+) => {
        $(
            #[doc = concat!(
                "Sets the field `", stringify!($name), "` of the configuration space, whatever ",
                "the device offers."
            )]
            pub fn $name(mut self, value: $ty) -> Self {
                let at = offset_of!(RawConfig, $($outer.)? $name);
                self.config[at..at + size_of::<$ty>()].copy_from_slice(&value.to_le_bytes());
                self
            }
        )+
    };
}

impl DiskParams {
    /// A disk of Virtio 1.0 or later which says how large it is, with one queue of 16 descriptors
    /// and no other features.
    pub fn new(size: Sectors) -> Self {
        Self {
            features: 1 << bindings::VIRTIO_F_VERSION_1,
            queues: 1,
            queue_size: 16,
            size,
            config: [0; size_of::<RawConfig>()],
        }
        .capacity(size.0)
    }

    /// Offers these feature bits as well.
    pub fn offer(mut self, bits: &[u32]) -> Self {
        for bit in bits {
            self.features |= 1 << bit;
        }
        self
    }

    /// Has as many queues of as many descriptors.
    pub fn rings(mut self, queues: u32, size: u32) -> Self {
        (self.queues, self.queue_size) = (queues, size);
        self
    }

    fields! {
        capacity: u64,
        size_max: u32,
        seg_max: u32,
        cylinders in geometry: u16,
        heads in geometry: u8,
        sectors in geometry: u8,
        blk_size: u32,
        physical_block_exp: u8,
        alignment_offset: u8,
        min_io_size: u16,
        opt_io_size: u32,
        wce: u8,
        num_queues: u16,
        max_discard_sectors: u32,
        max_discard_seg: u32,
        discard_sector_alignment: u32,
        max_write_zeroes_sectors: u32,
        max_write_zeroes_seg: u32,
        max_secure_erase_sectors: u32,
        max_secure_erase_seg: u32,
        secure_erase_sector_alignment: u32,
        zone_sectors in zoned: u32,
        max_open_zones in zoned: u32,
        max_active_zones in zoned: u32,
        max_append_sectors in zoned: u32,
        write_granularity in zoned: u32,
        model in zoned: u8,
    }
}

/// What can be wrong with the answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskLie {
    /// Nothing.
    Honest,
    /// This is the status.
    Status(u8),
    /// The full length is claimed, and the status is not written.
    NoStatus,
    /// No more bytes of the data than that are written and claimed.
    Short(u32),
    /// The full length is claimed, no more bytes of the data than that are written.
    Unwritten(u32),
    /// A byte of the data is wrong.
    Byte {
        /// Where it is.
        at: u16,
        /// What it is.
        is: u8,
    },
    /// There is no answer.
    Never,
}

impl DiskLie {
    fn into_c(self) -> (bindings::virtio_sim_disk_lie, u32) {
        match self {
            Self::Honest => (bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_HONEST, 0),
            Self::Status(status) => (
                bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_LIE_STATUS,
                status.into(),
            ),
            Self::NoStatus => (
                bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_LIE_NO_STATUS,
                0,
            ),
            Self::Short(len) => (bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_LIE_SHORT, len),
            Self::Unwritten(len) => (
                bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_LIE_UNWRITTEN,
                len,
            ),
            Self::Byte { at, is } => (
                bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_LIE_BYTE,
                u32::from(is) << 16 | u32::from(at),
            ),
            Self::Never => (bindings::virtio_sim_disk_lie_VIRTIO_SIM_DISK_LIE_NEVER, 0),
        }
    }
}

/// A simulated device that is a disk.
///
/// An honest one does what the commands ask for. What is discarded or erased becomes zero.
///
/// # Invariants
///
/// `virtio_sim_disk_create()` made the device.
pub struct Disk(Sim);

impl Deref for Disk {
    type Target = Sim;

    fn deref(&self) -> &Sim {
        &self.0
    }
}

impl Disk {
    /// Makes a disk, as [`Sim::new`], but all queues start in [`Mode::InKick`]: the block layer
    /// reads from a disk while its driver is being bound.
    ///
    /// [`Mode::InKick`]: super::Mode::InKick
    ///
    /// # Errors
    ///
    /// As [`Sim::new`].
    pub fn new(params: &DiskParams) -> Result<Self> {
        let size = usize::try_from(params.size.0)?
            .checked_mul(Sectors::SIZE as usize)
            .ok_or(EINVAL)?;
        let c_params = Params {
            features: params.features,
            queues: params.queues,
            queue_size: params.queue_size,
            config: &params.config,
            // Not looked at.
            ..Params::new(0)
        };
        let c_params = c_params.as_c()?;
        // SAFETY: The parameters, and the bytes that they point to, live until it returns.
        let sim = from_err_ptr(unsafe { bindings::virtio_sim_disk_create(&c_params, size) })?;
        // INVARIANT: It was just created, for `Sim`, too.
        NonNull::new(sim).map(Sim).map(Self).ok_or(ENODEV)
    }

    fn as_raw(&self) -> *mut bindings::virtio_sim {
        self.0 .0.as_ptr()
    }

    /// Makes the answers to the next `times` commands of a kind, or to [`ALL_COMMANDS`], wrong. It
    /// takes the place of the lie before, and is besides what [`Sim::lie`] does.
    pub fn lie_about(&self, command: u32, lie: DiskLie, times: u32) {
        let (lie, value) = lie.into_c();
        // SAFETY: The device is valid, and a disk.
        unsafe { bindings::virtio_sim_disk_lie(self.as_raw(), command, lie, value, times) }
    }

    /// How many commands of a kind were answered.
    pub fn commands(&self, command: u32) -> u64 {
        // SAFETY: The device is valid, and a disk.
        unsafe { bindings::virtio_sim_disk_commands(self.as_raw(), command) }
    }

    /// How many ranges were discarded, zeroed or erased.
    pub fn ranges(&self) -> u64 {
        // SAFETY: The device is valid, and a disk.
        unsafe { bindings::virtio_sim_disk_ranges(self.as_raw()) }
    }

    /// Looks at what is on the disk, from byte `offset` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is not on the disk.
    pub fn peek(&self, offset: u64, buffer: &mut [u8]) -> Result {
        let (to, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: The device is valid, and a disk; there is room for `len` bytes.
        to_result(unsafe { bindings::virtio_sim_disk_read(self.as_raw(), offset, to, len) })
    }

    /// Changes what is on the disk, from byte `offset` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is not on the disk.
    pub fn poke(&self, offset: u64, bytes: &[u8]) -> Result {
        let (from, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: The device is valid, and a disk; there are `len` bytes.
        to_result(unsafe { bindings::virtio_sim_disk_write(self.as_raw(), offset, from, len) })
    }

    /// Changes the capacity in the configuration space. The driver is not told.
    ///
    /// # Errors
    ///
    /// None.
    pub fn set_capacity(&self, capacity: u64) -> Result {
        // CAST: It is the first field.
        self.set_config(
            offset_of!(RawConfig, capacity) as u32,
            &capacity.to_le_bytes(),
        )
    }

    /// The field `wce` of the configuration space, which the driver can write.
    ///
    /// # Errors
    ///
    /// None.
    pub fn wce(&self) -> Result<u8> {
        let mut wce = [0];
        // CAST: It is a small struct.
        self.config(offset_of!(RawConfig, wce) as u32, &mut wce)?;
        Ok(wce[0])
    }

    /// Opens the disk that the driver registered, which stays open when the driver is unbound.
    /// Process context, as for all of [`Io`].
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is none, or what the block layer says.
    pub fn open(&self) -> Result<Io> {
        // SAFETY: The device is valid.
        let io = from_err_ptr(unsafe { bindings::virtio_sim_io_open(self.as_raw()) })?;
        // INVARIANT: Just opened.
        NonNull::new(io).map(Io).ok_or(ENODEV)
    }
}

/// What the block layer knows of a zone; in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneInfo {
    /// Where it starts.
    pub start: u64,
    /// How long it is.
    pub len: u64,
    /// How much of that can be used.
    pub capacity: u64,
    /// Where it is to be written next.
    pub write_pointer: u64,
    /// C: `enum blk_zone_type`.
    pub kind: u8,
    /// C: `enum blk_zone_cond`.
    pub condition: u8,
}

/// What the block layer knows of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its size.
    pub sectors: u64,
    /// In bytes.
    pub logical_block_size: u32,
    /// In bytes.
    pub physical_block_size: u32,
    /// Segments in a request, at most.
    pub max_segments: u32,
    /// Bytes in a segment, at most.
    pub max_segment_size: u32,
    /// Ranges in a discard, at most.
    pub max_discard_segments: u32,
    /// Bytes from the start of a physical block to that of the disk.
    pub alignment_offset: u32,
    /// Bytes that are written without reading before.
    pub io_min: u32,
    /// Bytes that are best in a request.
    pub io_opt: u32,
    /// Hardware queues.
    pub queues: u32,
    /// Requests per queue.
    pub depth: u32,
    /// Hardware queues that the driver stopped.
    pub stopped: u32,
    /// Whether there is a cache that needs to be flushed.
    pub write_cache: bool,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// The disk of a driver, open.
///
/// # Invariants
///
/// The pointer is one that `virtio_sim_io_open()` returned and `virtio_sim_io_close()` has not
/// seen.
pub struct Io(NonNull<bindings::virtio_sim_io>);

// SAFETY: A block device can be used and closed by any task.
unsafe impl Send for Io {}

// SAFETY: As above; by several at once.
unsafe impl Sync for Io {}

impl Io {
    /// What the block layer knows of it.
    pub fn info(&self) -> Info {
        let mut info = bindings::virtio_sim_io_info::default();
        // SAFETY: It is open, by the type invariant.
        unsafe { bindings::virtio_sim_io_info(self.0.as_ptr(), &mut info) };
        Info {
            sectors: info.sectors,
            logical_block_size: info.logical_block_size,
            physical_block_size: info.physical_block_size,
            max_segments: info.max_segments,
            max_segment_size: info.max_segment_size,
            max_discard_segments: info.max_discard_segments,
            alignment_offset: info.alignment_offset,
            io_min: info.io_min,
            io_opt: info.io_opt,
            queues: info.queues,
            depth: info.depth,
            stopped: info.stopped,
            write_cache: info.write_cache,
            read_only: info.read_only,
        }
    }

    /// Sets how many milliseconds a request may take.
    pub fn set_timeout(&self, ms: u32) {
        // SAFETY: It is open, by the type invariant.
        unsafe { bindings::virtio_sim_io_set_timeout(self.0.as_ptr(), ms) }
    }

    /// What programs are told that want a geometry.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if there is none, or what the driver says.
    pub fn geometry(&self) -> Result<Geometry> {
        let mut raw = bindings::hd_geometry::default();
        // SAFETY: It is open, by the type invariant.
        to_result(unsafe { bindings::virtio_sim_io_geometry(self.0.as_ptr(), &mut raw) })?;
        Ok(Geometry {
            cylinders: raw.cylinders,
            heads: raw.heads,
            sectors: raw.sectors,
        })
    }

    /// Asks for `count` zones from that on in which `sector` is.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if there are none, or what the driver says.
    pub fn zones(&self, sector: u64, count: u32) -> Result<KVec<ZoneInfo>> {
        let mut raw = KVVec::from_elem(bindings::blk_zone::default(), count as usize, GFP_KERNEL)?;
        // SAFETY: It is open, by the type invariant, and there is room for `count` zones.
        let found = unsafe {
            bindings::virtio_sim_io_zones(self.0.as_ptr(), sector, raw.as_mut_ptr(), count)
        };
        to_result(found)?;
        let mut zones = KVec::new();
        for zone in raw.iter().take(found as usize) {
            zones.push(
                ZoneInfo {
                    start: zone.start,
                    len: zone.len,
                    capacity: zone.capacity,
                    write_pointer: zone.wp,
                    kind: zone.type_,
                    condition: zone.cond,
                },
                GFP_KERNEL,
            )?;
        }
        Ok(zones)
    }

    /// Reads an attribute that the driver has for the disk.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none of this name, or what the driver says.
    pub fn show(&self, attribute: &CStr) -> Result<KVec<u8>> {
        let mut page = KVec::from_elem(0, crate::page::PAGE_SIZE, GFP_KERNEL)?;
        let (name, to) = (attribute.as_char_ptr(), page.as_mut_ptr().cast());
        // SAFETY: It is open, by the type invariant, the name ends with a NUL, and a page, aligned
        // as any of its size, has room for the text.
        let len = unsafe { bindings::virtio_sim_io_show(self.0.as_ptr(), name, to) };
        page.truncate(usize::try_from(len).map_err(|_| Error::from_errno(len as c_int))?);
        Ok(page)
    }

    /// Writes an attribute that the driver has for the disk.
    ///
    /// # Errors
    ///
    /// As [`show`](Self::show).
    pub fn store(&self, attribute: &CStr, text: &CStr) -> Result {
        let (name, from) = (attribute.as_char_ptr(), text.as_char_ptr().cast());
        let len = text.to_bytes().len();
        // SAFETY: It is open, by the type invariant, and both strings end with a NUL.
        let ret = unsafe { bindings::virtio_sim_io_store(self.0.as_ptr(), name, from, len) };
        // CAST: An error is a small number.
        to_result(if ret < 0 { ret as c_int } else { 0 })
    }

    /// Prepares an operation of `len` bytes. If it has data, each page of its memory is a segment
    /// of its own, and zero.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than 1 MiB of data, `ENOMEM`.
    pub fn prepare(&self, op: Op, sector: u64, len: u32) -> Result<Bio<'_>> {
        // SAFETY: It is open, by the type invariant, and remains so until the operation is
        // submitted, or after that: the result borrows from it.
        let bio = from_err_ptr(unsafe {
            bindings::virtio_sim_bio_create(self.0.as_ptr(), op.into_c(), sector, len)
        })?;
        // INVARIANT: Just created.
        let bio = NonNull::new(bio).ok_or(ENOMEM)?;
        Ok(Bio { bio, _io: self })
    }

    /// Submits operations together.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one was submitted before; then none of them is.
    pub fn submit(&self, bios: &[Bio<'_>]) -> Result {
        let mut pointers = KVec::with_capacity(bios.len(), GFP_KERNEL)?;
        for bio in bios {
            pointers.push(bio.bio.as_ptr(), GFP_KERNEL)?;
        }
        let (first, count) = (pointers.as_ptr(), pointers.len().try_into()?);
        // SAFETY: All operations are valid, and so are their disks. None is submitted by somebody
        // else at this time: it would have to be shared, and `Bio` is not `Sync`.
        to_result(unsafe { bindings::virtio_sim_bio_submit(first, count) })
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // SAFETY: It is open, by the type invariant, and not used any more.
        unsafe { bindings::virtio_sim_io_close(self.0.as_ptr()) }
    }
}

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Write the cache back.
    Flush,
    /// Discard.
    Discard,
    /// Write zeroes.
    WriteZeroes,
    /// Erase.
    SecureErase,
    /// Write where the zone was not written yet.
    ZoneAppend,
    /// Open a zone.
    ZoneOpen,
    /// Close a zone.
    ZoneClose,
    /// Make a zone full.
    ZoneFinish,
    /// Make a zone empty.
    ZoneReset,
    /// Make all zones empty.
    ZoneResetAll,
}

impl Op {
    fn into_c(self) -> bindings::virtio_sim_op {
        match self {
            Self::Read => bindings::virtio_sim_op_VIRTIO_SIM_READ,
            Self::Write => bindings::virtio_sim_op_VIRTIO_SIM_WRITE,
            Self::Flush => bindings::virtio_sim_op_VIRTIO_SIM_FLUSH,
            Self::Discard => bindings::virtio_sim_op_VIRTIO_SIM_DISCARD,
            Self::WriteZeroes => bindings::virtio_sim_op_VIRTIO_SIM_WRITE_ZEROES,
            Self::SecureErase => bindings::virtio_sim_op_VIRTIO_SIM_SECURE_ERASE,
            Self::ZoneAppend => bindings::virtio_sim_op_VIRTIO_SIM_ZONE_APPEND,
            Self::ZoneOpen => bindings::virtio_sim_op_VIRTIO_SIM_ZONE_OPEN,
            Self::ZoneClose => bindings::virtio_sim_op_VIRTIO_SIM_ZONE_CLOSE,
            Self::ZoneFinish => bindings::virtio_sim_op_VIRTIO_SIM_ZONE_FINISH,
            Self::ZoneReset => bindings::virtio_sim_op_VIRTIO_SIM_ZONE_RESET,
            Self::ZoneResetAll => bindings::virtio_sim_op_VIRTIO_SIM_ZONE_RESET_ALL,
        }
    }
}

/// An operation. One that was submitted goes on when this is dropped.
///
/// # Invariants
///
/// The pointer is one that `virtio_sim_bio_create()` returned and `virtio_sim_bio_put()` has not
/// seen.
pub struct Bio<'a> {
    bio: NonNull<bindings::virtio_sim_bio>,
    _io: &'a Io,
}

// SAFETY: Any task can use it.
unsafe impl Send for Bio<'_> {}

impl Bio<'_> {
    /// Submits it alone, see [`Io::submit`]. Allocates nothing.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it was submitted before.
    pub fn submit(&self) -> Result {
        let bio = self.bio.as_ptr();
        // SAFETY: As in `Io::submit`.
        to_result(unsafe { bindings::virtio_sim_bio_submit(&bio, 1) })
    }

    /// Sets what is in its memory.
    ///
    /// # Errors
    ///
    /// `EBUSY` while it was submitted and has not ended, `EINVAL` if it has less memory.
    pub fn fill(&self, bytes: &[u8]) -> Result {
        let (from, len) = (bytes.as_ptr().cast(), bytes.len().try_into()?);
        // SAFETY: It is valid, by the type invariant; there are `len` bytes.
        to_result(unsafe { bindings::virtio_sim_bio_fill(self.bio.as_ptr(), from, len) })
    }

    /// What is in the first `len` bytes of its memory.
    ///
    /// # Errors
    ///
    /// As [`fill`](Self::fill), or `ENOMEM`.
    pub fn data(&self, len: usize) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::from_elem(0, len, GFP_KERNEL)?;
        let (to, len) = (bytes.as_mut_ptr().cast(), len.try_into()?);
        // SAFETY: It is valid, by the type invariant; there is room for `len` bytes.
        to_result(unsafe { bindings::virtio_sim_bio_data(self.bio.as_ptr(), to, len) })?;
        Ok(bytes)
    }

    /// Waits for its end, `ms` milliseconds at most: how it ended, or `None` if it did not.
    pub fn wait(&self, ms: u32) -> Option<Result> {
        // SAFETY: It is valid, by the type invariant.
        unsafe { bindings::virtio_sim_bio_wait(self.bio.as_ptr(), ms) }.then(|| {
            // SAFETY: As above, and it ended.
            to_result(unsafe { bindings::virtio_sim_bio_error(self.bio.as_ptr()) })
        })
    }
}

impl Bio<'_> {
    /// Where the data of an append went, once it ended well; before that, nowhere on a disk.
    pub fn sector(&self) -> u64 {
        // SAFETY: It is valid, by the type invariant.
        unsafe { bindings::virtio_sim_bio_sector(self.bio.as_ptr()) }
    }
}

impl Drop for Bio<'_> {
    fn drop(&mut self) {
        // SAFETY: It is valid, by the type invariant, and not used any more.
        unsafe { bindings::virtio_sim_bio_put(self.bio.as_ptr()) }
    }
}
