// SPDX-License-Identifier: GPL-2.0

//! Hardware random number generators.
//!
//! A driver implements [`Rng`] and hands an instance to [`Registration::new`]. From then on the
//! core reads from it, for `/dev/hwrng` and to feed the kernel's entropy pool.
//!
//! C header: [`include/linux/hw_random.h`](srctree/include/linux/hw_random.h)
//!
//! Reference: <https://docs.kernel.org/admin-guide/hw_random.html>

use crate::{
    bindings,
    container_of,
    device::{
        Bound,
        Device, //
    },
    devres::Devres,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    str::CString,
    types::Opaque, //
};

/// A source of random bytes.
pub trait Rng: Send + Sync + 'static {
    /// Writes random bytes to the start of `dst` and returns how many.
    ///
    /// `dst` has at least 32 bytes, all of them zero. With `wait`, block until there is at least
    /// one byte. `Ok(0)` means that there is still none: a reader of `/dev/hwrng` calls again,
    /// after it checked for signals and let other readers go first; the task that feeds the entropy
    /// pool sleeps for ten seconds first. Without `wait`, return `Ok(0)` if there is none.
    ///
    /// Process context; may sleep if `wait` is set. The core calls it from one task at a time.
    ///
    /// # Errors
    ///
    /// Passed to the reader of `/dev/hwrng`.
    fn read(&self, dst: &mut [u8], wait: bool) -> Result<usize>;

    /// The generator is about to go: a [`read`](Self::read) that sleeps, and every later one, must
    /// return without waiting.
    ///
    /// The unregistration waits for reads to end. Process context; may sleep.
    fn cancel(&self);
}

/// How much entropy a generator claims per byte, in 1/1024 of a bit per bit.
#[derive(Clone, Copy)]
pub struct Quality(u16);

impl Quality {
    /// Every bit is random: what a generator gets that does not know better.
    pub const FULL: Self = Self(1024);

    /// From `per_1024` bits of entropy in 1024 bits of input, 1 to 1024.
    pub const fn new(per_1024: u16) -> Option<Self> {
        match per_1024 {
            1..=1024 => Some(Self(per_1024)),
            _ => None,
        }
    }
}

/// A generator that is registered with the hwrng core until this is dropped.
///
/// If it is leaked, the generator is unregistered when the device is unbound: the driver core owns
/// the registration, not the driver.
///
/// Dropping it may sleep.
pub struct Registration<T: Rng> {
    _inner: Devres<Inner<T>>,
}

/// # Invariants
///
/// `hwrng` is registered; its `name` is `name`.
#[pin_data(PinnedDrop)]
struct Inner<T: Rng> {
    rng: T,
    name: CString,
    #[pin]
    hwrng: Opaque<bindings::hwrng>,
}

// SAFETY: The hwrng core can be called from any thread, and `T` can be sent.
unsafe impl<T: Rng> Send for Inner<T> {}

impl<T: Rng> Registration<T> {
    /// Registers `rng` as `name`, which must be unique in the system.
    ///
    /// Process context; may sleep. `rng` can be read from before this returns.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the name is taken, `ENOMEM`.
    ///
    /// C: `hwrng_register()`.
    pub fn new(dev: &Device<Bound>, name: CString, quality: Quality, rng: T) -> Result<Self> {
        let inner = try_pin_init!(&this in Inner {
            rng,
            name,
            hwrng <- Opaque::try_ffi_init(|slot: *mut bindings::hwrng| {
                // SAFETY: `slot` is valid for writes. `name` was initialised above, and lives as
                // long as the registration. The object is pinned from here on. If the registration
                // fails, the core keeps no pointer.
                unsafe {
                    slot.write(bindings::hwrng {
                        name: (*this.as_ptr()).name.as_char_ptr(),
                        read: Some(Self::read_callback),
                        quality: quality.0,
                        ..Default::default()
                    });
                    to_result(bindings::hwrng_register(slot))
                }
            }),
        });
        Ok(Self {
            _inner: Devres::new(dev, inner)?,
        })
    }

    /// # Safety
    ///
    /// `hwrng` is the one of an [`Inner<T>`], and registered; `dst` is valid for writes of `max`
    /// bytes, and nobody else accesses it meanwhile.
    unsafe extern "C" fn read_callback(
        hwrng: *mut bindings::hwrng,
        dst: *mut c_void,
        max: usize,
        wait: bool,
    ) -> c_int {
        // The result is an `int`.
        let max = max.min(c_int::MAX as usize);
        // SAFETY: By the requirements of this function. The core waits in `hwrng_unregister()` for
        // reads to end, so the object is alive. `rng` and `name` were initialised before the
        // registration, and only shared references to `rng` are made.
        let rng = unsafe { &(*container_of!(Opaque::cast_from(hwrng), Inner<T>, hwrng)).rng };
        // SAFETY: By the requirements of this function. What the core lends is memory from
        // `kmalloc()`, in which any byte is a valid `u8`.
        let dst: &mut [u8] = unsafe { core::slice::from_raw_parts_mut(dst.cast(), max) };
        // It holds what an earlier reader got. A driver that claims more than it wrote must not
        // give that away.
        dst.fill(0);
        // A driver that claims to have written more than it could is not believed.
        from_result(|| Ok(rng.read(dst, wait)?.min(max) as c_int))
    }
}

#[pinned_drop]
impl<T: Rng> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        self.rng.cancel();
        // SAFETY: By the type invariant, it is registered. Waits for readers to end.
        unsafe { bindings::hwrng_unregister(self.hwrng.get()) };
    }
}
