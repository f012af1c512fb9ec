// SPDX-License-Identifier: GPL-2.0

//! The device side, for tests: virtio devices that live in the same kernel as their driver.
//!
//! A [`Sim`] is a device on the virtio bus, and any virtio driver binds to it, in C or in Rust. The
//! test decides when the device uses a buffer, when it interrupts, and what it lies about.
//!
//! A device writes to the memory of the driver, and no type system of the driver's language knows.
//! This is so here, too. An honest device writes only to buffers that it has, which a [`Chain`]
//! checks. What a [`Lie`] does to the kernel is up to the driver side: this is what is tested.
//!
//! A queue that the device does not have is ignored. Unless said otherwise, the methods may be
//! called in any context, but not from a callback of the driver under test.
//!
//! C header: [`include/linux/virtio_sim.h`](srctree/include/linux/virtio_sim.h).
//!
//! # Examples
//!
//! ```
//! use kernel::virtio::sim::{
//!     Params,
//!     Sim, //
//! };
//!
//! // No driver is made for this type of device.
//! let sim = Sim::new(Params {
//!     config: &[1, 2, 3, 4],
//!     ..Params::new(0xfff0)
//! })?;
//!
//! assert!(!sim.is_bound());
//! assert_eq!(sim.bind(), Err(ENODEV));
//!
//! sim.set_config(2, &[7])?;
//! let mut config = [0; 4];
//! sim.config(0, &mut config)?;
//! assert_eq!(config, [1, 2, 7, 4]);
//! # Ok::<(), Error>(())
//! ```

#[cfg(CONFIG_VIRTIO_SIM_DISK)]
mod disk;
mod task;

#[cfg(CONFIG_VIRTIO_SIM_DISK)]
pub use self::disk::{
    Bio,
    Disk,
    DiskLie,
    DiskParams,
    Info,
    Io,
    Op,
    ZoneInfo,
    ALL_COMMANDS, //
};
pub use self::task::Task;

use super::device::Device;
use crate::{
    bindings,
    cpu::CpuId,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Full, //
    },
    types::NotThreadSafe, //
};
use core::{
    any::Any,
    ptr::NonNull, //
};

/// Names all queues, where a method says so.
pub const ALL_QUEUES: u32 = u32::MAX;

/// For [`Sim::lie`]: the lie does not end.
pub const FOREVER: u32 = u32::MAX;

/// Makes an allocation of the current task fail, the `n`-th from now on; 0 is none.
///
/// Only what failslab may fail counts. It leaves out what may sleep, unless `ignore-gfp-wait` in
/// its debugfs directory is off. Process context.
///
/// # Errors
///
/// `EOPNOTSUPP` if the kernel was built without `CONFIG_FAILSLAB`.
pub fn fail_nth(n: u32) -> Result {
    // SAFETY: This concerns the current task only, and may be done at any time.
    if unsafe { bindings::virtio_sim_fail_nth(n) } {
        Ok(())
    } else {
        Err(EOPNOTSUPP)
    }
}

/// What is left of the count that [`fail_nth`] began: 0 if the allocation failed.
pub fn fail_nth_left() -> u32 {
    // SAFETY: As above.
    unsafe { bindings::virtio_sim_fail_nth_left() }
}

/// As long as this exists, the task that made it is one that was killed, whatever it is.
pub struct Killed(NotThreadSafe);

impl Killed {
    /// Kills the current task, which cannot end by that. Process context.
    #[expect(clippy::new_without_default)]
    pub fn new() -> Self {
        // SAFETY: This concerns the current task only, and may be done at any time.
        unsafe { bindings::virtio_sim_set_killed(true) };
        Self(NotThreadSafe)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // SAFETY: As above.
        unsafe { bindings::virtio_sim_set_killed(false) };
    }
}

/// What device to simulate.
#[derive(Clone, Copy)]
pub struct Params<'a> {
    /// The device type.
    pub device_id: u32,
    /// The feature bits that the device offers, bit 0 first.
    pub features: u128,
    /// How many virtqueues it has.
    pub queues: u32,
    /// Descriptors per queue, at most 32768; a power of two unless the rings are packed.
    pub queue_size: u32,
    /// The content of the configuration space, at most 256 bytes.
    pub config: &'a [u8],
}

impl Params<'_> {
    /// A device of Virtio 1.0 or later, with one queue of 16 descriptors, no other features and no
    /// configuration space.
    pub const fn new(device_id: u32) -> Self {
        Self {
            device_id,
            features: 1 << bindings::VIRTIO_F_VERSION_1,
            queues: 1,
            queue_size: 16,
            config: &[],
        }
    }

    /// Points to the configuration space of `self`.
    fn as_c(&self) -> Result<bindings::virtio_sim_params> {
        Ok(bindings::virtio_sim_params {
            // CAST: The low word, and then the high word.
            features: [self.features as u64, (self.features >> 64) as u64],
            config: self.config.as_ptr().cast(),
            device_id: self.device_id,
            nr_queues: self.queues,
            queue_size: self.queue_size,
            config_len: self.config.len().try_into()?,
        })
    }
}

/// What the device does when a queue is kicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It counts the kick. All else is up to the test.
    Manual,
    /// It serves all that is available and interrupts, before the kick returns. A driver whose
    /// callback posts without end keeps it from returning.
    InKick,
    /// It does the same a little later, in hard-interrupt context.
    Deferred,
    /// It serves what is available one by one, each after 200 milliseconds.
    Slow,
}

impl Mode {
    fn into_c(self) -> bindings::virtio_sim_mode {
        match self {
            Self::Manual => bindings::virtio_sim_mode_VIRTIO_SIM_MANUAL,
            Self::InKick => bindings::virtio_sim_mode_VIRTIO_SIM_IN_KICK,
            Self::Deferred => bindings::virtio_sim_mode_VIRTIO_SIM_DEFERRED,
            Self::Slow => bindings::virtio_sim_mode_VIRTIO_SIM_SLOW,
        }
    }
}

/// What can be wrong with the service of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The used entry has this id.
    Id(u32),
    /// The chain is used twice.
    Duplicate,
    /// This is the used length.
    Len(u32),
    /// The full length is claimed and nothing is written.
    Unwritten,
    /// No more bytes than that are written and claimed. This is not a lie, just unusual.
    Short(u32),
    /// The used index then goes on by that. In a packed ring as many descriptors are marked used.
    IdxJump(u32),
    /// The used index goes back by that, and the chain is not returned.
    IdxBack(u32),
    /// Every descriptor of a split ring continues in another one, but for those that the device has
    /// yet to read. The driver must not post meanwhile, or the device is fooled itself.
    NextFlagAll,
    /// The first descriptor of the chain continues in another one. For a split ring.
    NextFlagOne,
    /// The chain's descriptors in the ring become rubbish.
    DescRewrite,
    /// The chain is not returned.
    Never,
    /// Up to 16 chains are used in reverse order. Counts once for all of them, and it is a lie only
    /// if the device has to use buffers in order.
    NewestFirst,
}

impl Lie {
    fn into_c(self) -> (bindings::virtio_sim_lie, u32) {
        match self {
            Self::Id(id) => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_ID, id),
            Self::Duplicate => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_DUPLICATE, 0),
            Self::Len(len) => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_LEN, len),
            Self::Unwritten => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_UNWRITTEN, 0),
            Self::Short(len) => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_SHORT, len),
            Self::IdxJump(by) => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_IDX_JUMP, by),
            Self::IdxBack(by) => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_IDX_BACK, by),
            Self::NextFlagAll => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_NEXT_FLAG_ALL, 0),
            Self::NextFlagOne => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_NEXT_FLAG_ONE, 0),
            Self::DescRewrite => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_DESC_REWRITE, 0),
            Self::Never => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_NEVER, 0),
            Self::NewestFirst => (bindings::virtio_sim_lie_VIRTIO_SIM_LIE_NEWEST_FIRST, 0),
        }
    }
}

/// What can be wrong with the device as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLie {
    /// FEATURES_OK does not stay set.
    RefuseFeaturesOk,
    /// As many of the next reads of the configuration generation return different values;
    /// [`u32::MAX`] is all of them. C drivers read on until it holds still.
    GenerationUnstable(u32),
    /// Every second read of a configuration byte has its lowest bit inverted.
    ConfigFlip,
    /// All queues are interrupted before `find_vqs` returns, with a used entry for id 0 if `used`.
    IrqInFindVqs {
        /// Whether there is a used entry, without which most interrupts end in the core.
        used: bool,
    },
    /// All queues get a used entry and an interrupt at the end of a reset, and again when they are
    /// deleted.
    IrqAfterReset,
    /// This feature bit is negotiated without being asked for. Only a transport can do that.
    ExtraFeature(u32),
    /// There is no memory for the queue with this index.
    FindVqsFails(u32),
    /// All queues are marked broken, at once. Process context.
    Break,
}

impl DeviceLie {
    fn into_c(self) -> (bindings::virtio_sim_device_lie, u32) {
        match self {
            Self::RefuseFeaturesOk => (
                bindings::virtio_sim_device_lie_VIRTIO_SIM_REFUSE_FEATURES_OK,
                0,
            ),
            Self::GenerationUnstable(reads) => (
                bindings::virtio_sim_device_lie_VIRTIO_SIM_GENERATION_UNSTABLE,
                reads,
            ),
            Self::ConfigFlip => (bindings::virtio_sim_device_lie_VIRTIO_SIM_CONFIG_FLIP, 0),
            Self::IrqInFindVqs { used } => (
                bindings::virtio_sim_device_lie_VIRTIO_SIM_IRQ_IN_FIND_VQS,
                used.into(),
            ),
            Self::IrqAfterReset => (
                bindings::virtio_sim_device_lie_VIRTIO_SIM_IRQ_AFTER_RESET,
                0,
            ),
            Self::ExtraFeature(bit) => (
                bindings::virtio_sim_device_lie_VIRTIO_SIM_EXTRA_FEATURE,
                bit,
            ),
            Self::FindVqsFails(queue) => (
                bindings::virtio_sim_device_lie_VIRTIO_SIM_FIND_VQS_FAILS,
                queue,
            ),
            Self::Break => (bindings::virtio_sim_device_lie_VIRTIO_SIM_BREAK, 0),
        }
    }
}

/// A simulated device on the virtio bus.
///
/// It is unregistered, and so its driver unbound, when this is dropped, in process context.
///
/// # Invariants
///
/// The pointer is one that `virtio_sim_create()` returned and `virtio_sim_destroy()` has not seen.
pub struct Sim(NonNull<bindings::virtio_sim>);

// SAFETY: The C side locks what it shares, and destroying the device is not bound to a task.
unsafe impl Send for Sim {}

// SAFETY: As above; all methods may be called at the same time.
unsafe impl Sync for Sim {}

impl Sim {
    /// Makes a device and registers it on the virtio bus.
    ///
    /// A driver that matches was probed when this returns, whether it liked the device or not, see
    /// [`is_bound`](Self::is_bound). All queues start in [`Mode::Manual`]. Process context.
    ///
    /// # Errors
    ///
    /// `EINVAL` for parameters that are out of range, `ENOMEM`, or why it cannot be registered.
    pub fn new(params: Params<'_>) -> Result<Self> {
        let params = params.as_c()?;
        // SAFETY: The parameters, and the bytes that they point to, live until it returns.
        let sim = from_err_ptr(unsafe { bindings::virtio_sim_create(&params) })?;
        // INVARIANT: It was just created.
        NonNull::new(sim).map(Self).ok_or(ENODEV)
    }

    /// The device as the driver sees it.
    pub fn device(&self) -> &Device {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        let vdev = unsafe { bindings::virtio_sim_vdev(self.0.as_ptr()) };
        // SAFETY: It is initialised, and as `self` it lives for as long as the borrow. `Device` is
        // a transparent wrapper of it.
        unsafe { &*vdev.cast::<Device>() }
    }

    /// Whether a driver is bound, set DRIVER_OK, and did not set FAILED.
    pub fn is_bound(&self) -> bool {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_is_bound(self.0.as_ptr()) }
    }

    /// Probes a driver that matches, after a reset if the last one left the device as FAILED.
    ///
    /// Process context.
    ///
    /// # Errors
    ///
    /// `ENODEV` if no driver is bound then, `EBUSY` if the device is frozen, or another error of
    /// the driver core.
    pub fn bind(&self) -> Result {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        to_result(unsafe { bindings::virtio_sim_bind(self.0.as_ptr()) })
    }

    /// Removes the driver, if there is one. Process context.
    pub fn unbind(&self) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_unbind(self.0.as_ptr()) }
    }

    /// Freezes the device, as before the system is suspended. Process context.
    ///
    /// # Errors
    ///
    /// That of the driver, `EBUSY` if it is frozen or prepared, `EOPNOTSUPP` without power
    /// management.
    pub fn freeze(&self) -> Result {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        to_result(unsafe { bindings::virtio_sim_freeze(self.0.as_ptr()) })
    }

    /// Restores the device after [`freeze`](Self::freeze). Process context.
    ///
    /// # Errors
    ///
    /// That of the driver or the core, `EINVAL` if the device is not frozen.
    pub fn restore(&self) -> Result {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        to_result(unsafe { bindings::virtio_sim_restore(self.0.as_ptr()) })
    }

    /// Prepares the driver for a reset by the transport. Process context.
    ///
    /// Nobody is bound or unbound until [`reset_done`](Self::reset_done), which the same task has
    /// to call.
    ///
    /// # Errors
    ///
    /// That of the driver, `EBUSY` if it is frozen or prepared, `EOPNOTSUPP` if the driver cannot
    /// do this.
    pub fn reset_prepare(&self) -> Result {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        to_result(unsafe { bindings::virtio_sim_reset_prepare(self.0.as_ptr()) })
    }

    /// Goes on after [`reset_prepare`](Self::reset_prepare). Process context.
    ///
    /// # Errors
    ///
    /// That of the driver or the core, `EINVAL` if the device is not prepared.
    pub fn reset_done(&self) -> Result {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        to_result(unsafe { bindings::virtio_sim_reset_done(self.0.as_ptr()) })
    }

    /// The status byte, bits `VIRTIO_CONFIG_S_*`.
    pub fn status(&self) -> u8 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_status(self.0.as_ptr()) }
    }

    /// The feature bits that the driver accepted, bit 0 first.
    pub fn features(&self) -> u128 {
        let mut words = [0u64; bindings::VIRTIO_FEATURES_U64S as usize];
        // SAFETY: The device is valid, by the invariants of `Sim`, and there is room for as many
        // words as it writes.
        unsafe { bindings::virtio_sim_features(self.0.as_ptr(), words.as_mut_ptr()) };
        words
            .iter()
            .rev()
            .fold(0, |bits: u128, &word| bits << 64 | u128::from(word))
    }

    /// How often the driver side broke the rules: chains that make no sense, which the device left
    /// out, and unmaps that do not match.
    pub fn driver_errors(&self) -> u32 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_driver_errors(self.0.as_ptr()) }
    }

    /// How many buffers and indirect tables are mapped. Zero unless `VIRTIO_F_ACCESS_PLATFORM` was
    /// negotiated.
    pub fn mapped(&self) -> u32 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_mapped(self.0.as_ptr()) }
    }

    /// Lets `after` more mappings work, and none after that; [`u32::MAX`] if all are to work.
    pub fn fail_maps(&self, after: u32) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_fail_maps(self.0.as_ptr(), after) }
    }

    /// How often the driver notified the queue, since the device was made.
    pub fn kicks(&self, queue: u32) -> u64 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_kicks(self.0.as_ptr(), queue) }
    }

    /// How often the device interrupted for the queue, for a reason or not, since it was made.
    pub fn interrupts(&self, queue: u32) -> u64 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_interrupts(self.0.as_ptr(), queue) }
    }

    /// How often the device used buffers, and did not interrupt because the driver did not want it.
    pub fn interrupts_suppressed(&self, queue: u32) -> u64 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_interrupts_suppressed(self.0.as_ptr(), queue) }
    }

    /// Whether the CPU is in the mask that the driver set last for the queue's interrupt.
    pub fn has_affinity(&self, queue: u32, cpu: CpuId) -> bool {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_has_affinity(self.0.as_ptr(), queue, cpu.as_u32()) }
    }

    /// Chooses what a kick does from now on, for one queue or [`ALL_QUEUES`], whether they exist
    /// already or not.
    pub fn set_mode(&self, queue: u32, mode: Mode) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_set_mode(self.0.as_ptr(), queue, mode.into_c()) }
    }

    /// Serves up to `max` chains, and does not interrupt, see [`notify`](Self::notify).
    ///
    /// Returns how many chains it took.
    pub fn answer(&self, queue: u32, max: u32) -> u32 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_answer(self.0.as_ptr(), queue, max) }
    }

    /// Serves up to `max` chains, and interrupts if the driver asked for it.
    ///
    /// Returns how many chains it took.
    ///
    /// An honest device copies the readable bytes to the writable ones, and fills the rest of these
    /// with a counter that starts at 1.
    pub fn serve(&self, queue: u32, max: u32) -> u32 {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_serve(self.0.as_ptr(), queue, max) }
    }

    /// Takes the next chain that the driver made available, if there is one. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the chain is not taken then.
    pub fn take(&self, queue: u32) -> Result<Option<Chain<'_>>> {
        let mut raw = KBox::<bindings::virtio_sim_chain>::zeroed(GFP_KERNEL)?;
        // SAFETY: The device is valid, by the invariants of `Sim`, and `raw` is exclusive.
        let taken = unsafe { bindings::virtio_sim_take(self.0.as_ptr(), queue, &mut *raw) };
        // INVARIANT: The device filled it in.
        Ok(taken.then(|| Chain { sim: self, raw }))
    }

    /// Writes a used entry, and does not interrupt.
    ///
    /// No number is checked, and it works after a reset, too, for as long as the ring exists. See
    /// [`Chain::complete`] for the honest way.
    pub fn used(&self, queue: u32, id: u32, len: u32) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_used(self.0.as_ptr(), queue, id, len) }
    }

    /// Interrupts for what was used, if the driver asked for it. Returns whether it did.
    pub fn notify(&self, queue: u32) -> bool {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_notify(self.0.as_ptr(), queue) }
    }

    /// Interrupts, whether the driver asked for it or not, for as long as the ring exists. Returns
    /// whether the core found something used, or the queue broken.
    pub fn interrupt(&self, queue: u32) -> bool {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_interrupt(self.0.as_ptr(), queue) }
    }

    /// Interrupts `count` times, with nothing used for it.
    pub fn storm(&self, queue: u32, count: u32) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_storm(self.0.as_ptr(), queue, count) }
    }

    /// Reads the configuration space at byte `offset`, as the driver may have changed it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is not in the configuration space.
    pub fn config(&self, offset: u32, buffer: &mut [u8]) -> Result {
        let len = buffer.len().try_into()?;
        let to = buffer.as_mut_ptr().cast();
        // SAFETY: The device is valid, by the invariants of `Sim`, and there is room for `len`
        // bytes.
        to_result(unsafe { bindings::virtio_sim_get_config(self.0.as_ptr(), offset, to, len) })
    }

    /// Changes the configuration space at byte `offset`, and its generation.
    ///
    /// The driver is not told, see [`config_interrupt`](Self::config_interrupt).
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is not in the configuration space.
    pub fn set_config(&self, offset: u32, bytes: &[u8]) -> Result {
        let len = bytes.len().try_into()?;
        let from = bytes.as_ptr().cast();
        // SAFETY: The device is valid, by the invariants of `Sim`, and there are `len` bytes.
        to_result(unsafe { bindings::virtio_sim_set_config(self.0.as_ptr(), offset, from, len) })
    }

    /// Tells the driver that the configuration changed.
    pub fn config_interrupt(&self) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_config_interrupt(self.0.as_ptr()) }
    }

    /// Tells the driver `count` times that the configuration changed.
    pub fn config_storm(&self, count: u32) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_config_storm(self.0.as_ptr(), count) }
    }

    /// Makes the service of the next `times` chains wrong, for one queue or [`ALL_QUEUES`].
    ///
    /// It takes the place of the lie before. [`used`](Self::used) and [`Chain::complete`] are not
    /// concerned.
    pub fn lie(&self, queue: u32, lie: Lie, times: u32) {
        let (lie, value) = lie.into_c();
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_lie(self.0.as_ptr(), queue, lie, value, times) }
    }

    /// Makes the device as a whole wrong, besides what is wrong already.
    pub fn device_lie(&self, lie: DeviceLie) {
        let (lie, value) = lie.into_c();
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_device_lie(self.0.as_ptr(), lie, value) }
    }

    /// Ends all lies, of the queues and of the device. What they did is not undone.
    pub fn be_honest(&self) {
        // SAFETY: The device is valid, by the invariants of `Sim`.
        unsafe { bindings::virtio_sim_be_honest(self.0.as_ptr()) }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // SAFETY: The device is valid, by the invariants of `Sim`, and not used any more.
        unsafe { bindings::virtio_sim_destroy(self.0.as_ptr()) }
    }
}

/// A buffer that the device took.
///
/// When the device used the buffer, or the queue was reset, the memory is no longer the device's,
/// and reading or writing it is `ESTALE`. Dropping a chain does not return it.
///
/// # Invariants
///
/// `raw` was filled in by `virtio_sim_take()`, and is unchanged since.
pub struct Chain<'a> {
    sim: &'a Sim,
    raw: KBox<bindings::virtio_sim_chain>,
}

// SAFETY: Only the C side follows the pointers in it, under its lock, and only while the chain is
// in flight.
unsafe impl Send for Chain<'_> {}

// SAFETY: As above.
unsafe impl Sync for Chain<'_> {}

impl Chain<'_> {
    /// What the used entry has to name.
    pub fn id(&self) -> u32 {
        self.raw.id
    }

    /// How many bytes the device may read.
    pub fn readable_len(&self) -> u32 {
        self.raw.readable
    }

    /// How many bytes the device may write.
    pub fn writable_len(&self) -> u32 {
        self.raw.writable
    }

    /// How many pieces of memory these are.
    pub fn segments(&self) -> u32 {
        self.raw.nr_segments
    }

    /// How many descriptors in the ring these are: one if they are listed in an indirect table.
    pub fn descriptors(&self) -> u16 {
        self.raw.descs
    }

    /// Copies the bytes that the driver sent. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or `ESTALE` if the device does not have the buffer any more.
    pub fn readable(&self) -> Result<KVec<u8>> {
        let mut bytes = KVec::from_elem(0, self.raw.readable as usize, GFP_KERNEL)?;
        let to = bytes.as_mut_ptr().cast();
        let (sim, raw) = (self.sim.0.as_ptr(), &*self.raw);
        // SAFETY: The device is valid, by the invariants of `Sim`, there is room for as many bytes,
        // and it reads the driver's memory only if that is still in flight.
        to_len(unsafe { bindings::virtio_sim_copy_out(sim, raw, 0, to, raw.readable) })?;
        Ok(bytes)
    }

    /// Writes to the buffer, `offset` bytes behind the first writable one. Returns how many bytes
    /// there was room for.
    ///
    /// # Errors
    ///
    /// `ESTALE` if the device does not have the buffer any more.
    pub fn write(&self, offset: u32, bytes: &[u8]) -> Result<usize> {
        let len = bytes.len().try_into()?;
        let from = bytes.as_ptr().cast();
        let (sim, raw) = (self.sim.0.as_ptr(), &*self.raw);
        // SAFETY: The device is valid, by the invariants of `Sim`, there are as many bytes, and it
        // writes to the driver's memory only if that is still in flight.
        to_len(unsafe { bindings::virtio_sim_write_in(sim, raw, offset, from, len) })
    }

    /// Returns the buffer with the used length `len`, which is not checked. Does not interrupt, see
    /// [`Sim::notify`].
    pub fn complete(self, len: u32) {
        self.sim.used(self.raw.queue, self.raw.id, len);
    }
}

/// A length, or an error if it is negative.
fn to_len(ret: c_int) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret))
}

/// What [`hand_over`] left. As long as it is there, the module that knows how to drop it is.
struct HandedOver {
    value: KBox<dyn Any + Send>,
    module: &'static ThisModule,
}

static HANDED_OVER: Atomic<*mut HandedOver> = Atomic::new(core::ptr::null_mut());

fn swap_handed_over(new: *mut HandedOver) -> Option<HandedOver> {
    let old = HANDED_OVER.xchg(new, Full);
    // SAFETY: What is in there comes from `hand_over`, and was taken out just now.
    (!old.is_null()).then(|| KBox::into_inner(unsafe { KBox::from_raw(old) }))
}

/// Drops the reference to the module of what was handed over.
///
/// # Safety
///
/// `module` comes from a [`HandedOver`] that was taken out, whose value does not need it any more,
/// or is given to code that makes sure of the module itself.
unsafe fn put(module: &'static ThisModule) {
    // SAFETY: `hand_over` got the reference.
    unsafe { bindings::module_put(module.as_ptr()) };
}

/// By this the driver under test gives something, its queues for example, to the test that made the
/// device: the two have nothing else in common. `module` is the one that both are in; it cannot be
/// unloaded before the value was taken over. What was there before is dropped.
///
/// # Errors
///
/// `ENODEV` if the module is being unloaded, `ENOMEM`.
pub fn hand_over<T: Send + 'static>(module: &'static ThisModule, value: T) -> Result {
    let value = KBox::new(value, GFP_KERNEL)?;
    let new = KBox::new(HandedOver { value, module }, GFP_KERNEL)?;
    // SAFETY: `module` is valid.
    if !unsafe { bindings::try_module_get(module.as_ptr()) } {
        return Err(ENODEV);
    }
    if let Some(old) = swap_handed_over(KBox::into_raw(new)) {
        drop(old.value);
        // SAFETY: The value is gone.
        unsafe { put(old.module) };
    }
    Ok(())
}

/// Takes what was handed over, if it is a `T`; drops it if not. Called by code of the same module.
pub fn take_over<T: Send + 'static>() -> Option<KBox<T>> {
    let HandedOver { value, module } = swap_handed_over(core::ptr::null_mut())?;
    let value = if value.is::<T>() {
        // SAFETY: The type was just checked.
        Some(unsafe { KBox::from_raw(KBox::into_raw(value).cast()) })
    } else {
        drop(value);
        None
    };
    // SAFETY: The value is gone, or the caller, which knows its type, has the module.
    unsafe { put(module) };
    value
}
