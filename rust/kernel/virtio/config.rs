// SPDX-License-Identifier: GPL-2.0

//! The device configuration space, Virtio 1.3, section 2.5.

use super::{
    device::Device,
    features::{
        has_bit,
        FeatureSet,
        Negotiated, //
    },
    untrusted::Untrusted, //
};
use crate::{
    bindings,
    device,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::size_of, //
};

/// How often fields are read again because the device says that they changed meanwhile.
const GENERATION_RETRIES: usize = 8;

/// The most that a device type defines, in bytes.
const CONFIG_SIZE: usize = 256;

mod private {
    pub trait Sealed {}
}

/// What a field can be: `u8`, `u16`, `u32`, `u64` or an array of bytes.
pub trait ConfigValue: Copy + private::Sealed {
    #[doc(hidden)]
    const ZERO: Self;
    /// How many bytes are accessed at once.
    #[doc(hidden)]
    const UNIT: usize;
}

macro_rules! impl_config_value {
    ($($int:ty),+) => {
        $(
            impl private::Sealed for $int {}

            impl ConfigValue for $int {
                const ZERO: Self = 0;
                const UNIT: usize = size_of::<Self>();
            }
        )+
    };
}

impl_config_value!(u8, u16, u32, u64);

impl<const N: usize> private::Sealed for [u8; N] {}

impl<const N: usize> ConfigValue for [u8; N] {
    const ZERO: Self = [0; N];
    const UNIT: usize = 1;
}

/// Where a field is.
///
/// # Invariants
///
/// It is inside of what device types define; `unit` is a divisor of `len`.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Place {
    offset: u16,
    len: u16,
    /// How many bytes are accessed at once.
    unit: u8,
    /// The feature that the field comes with.
    feature: Option<u8>,
}

impl Place {
    /// Whether the field is there with the features in `words`.
    #[inline(always)]
    fn is_there(&self, words: &[u64; 2]) -> bool {
        self.feature.is_none_or(|bit| has_bit(words, bit.into()))
    }

    /// Where its units start, in bytes from its own start.
    fn units(&self) -> impl Iterator<Item = u16> {
        (0..self.len).step_by(self.unit.into())
    }
}

/// A transport's function to read from the configuration space.
type Get = unsafe extern "C" fn(*mut bindings::virtio_device, c_uint, *mut c_void, c_uint);

/// A field of the configuration space `C`, declared by [`virtio_config!`](crate::virtio_config).
///
/// `P` is `()` if the field is always there, else the feature set that has the feature which the
/// field comes with. Drivers write only to fields that are `WRITABLE`.
///
/// # Invariants
///
/// `place` has the length of a `T`.
pub struct Field<C, T: ConfigValue, P = (), const WRITABLE: bool = false> {
    place: Place,
    _types: PhantomData<(C, T, P)>,
}

impl<C, T: ConfigValue, P, const WRITABLE: bool> Clone for Field<C, T, P, WRITABLE> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, T: ConfigValue, P, const WRITABLE: bool> Copy for Field<C, T, P, WRITABLE> {}

impl<C, T: ConfigValue, P, const WRITABLE: bool> Field<C, T, P, WRITABLE> {
    #[doc(hidden)]
    pub const fn new(offset: usize, feature: Option<u32>) -> Self {
        // Transports split what is longer than this.
        let align = if T::UNIT < 4 { T::UNIT } else { 4 };
        assert!(offset % align == 0, "unaligned configuration field");
        assert!(
            size_of::<T>() <= CONFIG_SIZE && offset <= CONFIG_SIZE - size_of::<T>(),
            "not in the configuration space"
        );
        let feature = match feature {
            Some(bit) => {
                assert!(bit < 128, "no feature bit");
                Some(bit as u8)
            }
            None => None,
        };
        Self {
            // INVARIANT: Just checked.
            // CAST: All of these are small numbers.
            place: Place {
                offset: offset as u16,
                len: size_of::<T>() as u16,
                unit: T::UNIT as u8,
                feature,
            },
            _types: PhantomData,
        }
    }

    #[doc(hidden)]
    pub const fn place(&self) -> Place {
        self.place
    }
}

/// A configuration space, declared by [`virtio_config!`](crate::virtio_config).
pub trait ConfigSpace {
    /// The features that fields come with.
    type Features: FeatureSet;

    #[doc(hidden)]
    const PLACES: &'static [Place];
}

/// Declares fields of a configuration space, with the names, the places and the types that they
/// have in a `struct` of a uapi header.
///
/// The features are those of [`virtio_features!`](crate::virtio_features), or of another `enum` of
/// which each value is the number of a feature bit. Each field becomes a constant with a name in
/// capitals. `in field` says that it is part of that field,
/// `if Feature` that it is there only when that feature was negotiated, `writable` that the driver
/// may write to it.
///
/// # Examples
///
/// ```
/// kernel::virtio_features! {
///     /// Features of the example.
///     enum Feature {
///         /// The device reports a maximum segment size.
///         SizeMax = 1,
///         /// There is a geometry.
///         Geometry = 4,
///         /// The cache mode can be chosen.
///         ConfigWce = 11,
///     }
/// }
///
/// kernel::virtio_config! {
///     /// Some of the configuration space of a block device.
///     struct BlkConfig(virtio_blk_config) for Feature {
///         /// In units of 512 bytes.
///         capacity: u64,
///         /// In bytes.
///         size_max: u32 if SizeMax,
///         /// Heads of the disk.
///         heads: u8 in geometry if Geometry,
///         /// 1 for write-back, 0 for write-through.
///         wce: u8 if ConfigWce writable,
///     }
/// }
/// # let _ = (BlkConfig::CAPACITY, BlkConfig::SIZE_MAX, BlkConfig::HEADS, BlkConfig::WCE);
/// # let _ = (Feature::SizeMax, Feature::Geometry, Feature::ConfigWce);
/// ```
#[macro_export]
macro_rules! virtio_config {
    (
        $(#[$attr:meta])*
        $vis:vis struct $name:ident($uapi:ident) for $features:ty { $($fields:tt)+ }
    ) => {
        $(#[$attr])*
        $vis struct $name;

        $crate::virtio_config!(@fields $vis $name $uapi [$features] [] $($fields)+);
    };
    (@fields $vis:vis $name:ident $uapi:ident [$features:ty] [$($field:ident)+]) => {
        $crate::macros::paste! {
            impl $crate::virtio::ConfigSpace for $name {
                type Features = $features;

                const PLACES: &'static [$crate::virtio::Place] =
                    &[$(Self::[<$field:upper>].place()),+];
            }
        }
    };
    (
        @fields $vis:vis $name:ident $uapi:ident $features:tt [$($known:ident)*]
        $(#[$attr:meta])*
        $field:ident: $value:tt $(in $outer:ident)? if $feature:ident writable, $($rest:tt)*
    ) => {
        $crate::virtio_config!(
            @field $vis $name $uapi $features [$(#[$attr])*] [$($outer.)? $field]
            $field $value, $feature, true
        );
        $crate::virtio_config!(
            @fields $vis $name $uapi $features [$($known)* $field] $($rest)*
        );
    };
    (
        @fields $vis:vis $name:ident $uapi:ident $features:tt [$($known:ident)*]
        $(#[$attr:meta])*
        $field:ident: $value:tt $(in $outer:ident)? if $feature:ident, $($rest:tt)*
    ) => {
        $crate::virtio_config!(
            @field $vis $name $uapi $features [$(#[$attr])*] [$($outer.)? $field]
            $field $value, $feature, false
        );
        $crate::virtio_config!(
            @fields $vis $name $uapi $features [$($known)* $field] $($rest)*
        );
    };
    (
        @fields $vis:vis $name:ident $uapi:ident $features:tt [$($known:ident)*]
        $(#[$attr:meta])* $field:ident: $value:tt $(in $outer:ident)?, $($rest:tt)*
    ) => {
        $crate::virtio_config!(
            @field $vis $name $uapi [()] [$(#[$attr])*] [$($outer.)? $field]
            $field $value, , false
        );
        $crate::virtio_config!(
            @fields $vis $name $uapi $features [$($known)* $field] $($rest)*
        );
    };
    (
        @field $vis:vis $name:ident $uapi:ident [$presence:ty] [$(#[$attr:meta])*] [$($path:tt)+]
        $field:ident $value:tt, $($feature:ident)?, $writable:literal
    ) => {
        $crate::macros::paste! {
            impl $name {
                $(#[$attr])*
                $vis const [<$field:upper>]:
                    $crate::virtio::Field<Self, $value, $presence, $writable> = {
                    // The type must be that of the uapi header.
                    const _: fn($crate::bindings::$uapi) -> $value = |config| config.$($path)+;
                    let offset = ::core::mem::offset_of!($crate::bindings::$uapi, $($path)+);
                    let feature = [$(<$presence>::$feature as u32)?];
                    $crate::virtio::Field::new(offset, feature.first().copied())
                };
            }
        }
    };
}

/// One look at the configuration space `C`: all of it belongs together.
///
/// See [`Device::config_snapshot`].
#[repr(transparent)]
pub struct Snapshot<C: ConfigSpace> {
    raw: RawSnapshot,
    _space: PhantomData<C>,
}

struct RawSnapshot {
    bytes: [u8; CONFIG_SIZE],
    /// The features that were negotiated.
    words: [u64; 2],
}

impl<C: ConfigSpace> Snapshot<C> {
    /// A field.
    #[inline]
    pub fn read<T: ConfigValue, const W: bool>(&self, field: Field<C, T, (), W>) -> Untrusted<T> {
        self.get(field)
    }

    /// A field that comes with a feature, if that was negotiated.
    #[inline]
    pub fn read_if<T: ConfigValue, const W: bool>(
        &self,
        field: Field<C, T, C::Features, W>,
    ) -> Option<Untrusted<T>> {
        let there = field.place.is_there(&self.raw.words);
        there.then(|| self.get(field))
    }

    #[inline(always)]
    fn get<T: ConfigValue, P, const W: bool>(&self, field: Field<C, T, P, W>) -> Untrusted<T> {
        // SAFETY: By the invariants of `Place` and `Field` all of it is inside, and any bytes are a
        // `T`.
        Untrusted::new(unsafe {
            let start = self.raw.bytes.as_ptr().add(field.place.offset.into());
            start.cast::<T>().read_unaligned()
        })
    }
}

impl Device<device::Bound> {
    fn config_ops(&self) -> &bindings::virtio_config_ops {
        // SAFETY: The device is valid; the transport's table of operations is constant.
        unsafe { &*(*self.as_raw()).config }
    }

    fn config_generation(&self) -> u32 {
        match self.config_ops().generation {
            // SAFETY: The device is valid, and this is process context.
            Some(generation) => unsafe { generation(self.as_raw()) },
            None => 0,
        }
    }

    /// Reads all fields that `C` declares, and that are there: they belong together.
    ///
    /// If the device changes its configuration meanwhile, they are read again, a few times at most:
    /// C tries for ever.
    ///
    /// Values are converted from little-endian, or taken as they are from a legacy device, which
    /// has the byte order of the guest.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `EIO` if the configuration does not hold still, `ENODEV` if there is none.
    ///
    /// Virtio 1.3, section 2.5.1.
    pub fn config_snapshot<C: ConfigSpace>(
        &self,
        features: &Negotiated<C::Features>,
    ) -> Result<Snapshot<C>> {
        let raw = self.read_places(C::PLACES, features.words())?;
        Ok(Snapshot {
            raw,
            _space: PhantomData,
        })
    }

    /// Reads the fields at `places` that are there with the features in `words`.
    #[inline(never)]
    fn read_places(&self, places: &[Place], words: &[u64; 2]) -> Result<RawSnapshot> {
        let mut raw = RawSnapshot {
            bytes: [0; CONFIG_SIZE],
            words: *words,
        };
        let start = raw.bytes.as_mut_ptr();
        self.look(&mut |get| {
            for place in places.iter().filter(|place| place.is_there(words)) {
                // SAFETY: There are that many bytes, by the invariants of `Place`.
                unsafe { self.copy(get, *place, start.add(place.offset.into())) };
            }
        })?;
        Ok(raw)
    }

    /// Reads the field at `place`.
    ///
    /// # Safety
    ///
    /// `dst` is valid for writes of the length of the field.
    unsafe fn read_place(&self, place: Place, dst: *mut u8) -> Result {
        // SAFETY: By the requirements of this function.
        self.look(&mut |get| unsafe { self.copy(get, place, dst) })
    }

    /// Calls `look` until the configuration holds still.
    fn look(&self, look: &mut dyn FnMut(Get)) -> Result {
        let get = self.config_ops().get.ok_or(ENODEV)?;
        let mut before = self.config_generation();
        for _ in 0..GENERATION_RETRIES {
            look(get);
            let after = self.config_generation();
            if before == after {
                return Ok(());
            }
            before = after;
        }
        Err(EIO)
    }

    /// # Safety
    ///
    /// `get` is the transport's function; `dst` is valid for writes of the length of the field.
    unsafe fn copy(&self, get: Get, place: Place, dst: *mut u8) {
        for at in place.units() {
            // SAFETY: By the requirements of this function, and the invariants of `Place`. The
            // device is valid.
            unsafe {
                let unit = dst.add(at.into());
                let (offset, len) = (place.offset + at, place.unit);
                get(self.as_raw(), offset.into(), unit.cast(), len.into());
                self.swap(unit, len);
            }
        }
    }

    /// Swaps the bytes of a number, if the CPU has another order than the device.
    ///
    /// # Safety
    ///
    /// `number` is valid for reads and writes of `len` bytes.
    unsafe fn swap(&self, number: *mut u8, len: u8) {
        if cfg!(target_endian = "big") && self.is_version_1() {
            // SAFETY: By the requirements of this function.
            unsafe { core::slice::from_raw_parts_mut(number, len.into()) }.reverse();
        }
    }

    /// Reads one field, as [`config_snapshot`](Self::config_snapshot) does.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn config_read<C, T: ConfigValue, const W: bool>(
        &self,
        field: Field<C, T, (), W>,
    ) -> Result<Untrusted<T>> {
        let mut value = T::ZERO;
        // SAFETY: `value` has the length of the field, and any bytes are a `T`.
        unsafe { self.read_place(field.place, (&raw mut value).cast())? };
        Ok(Untrusted::new(value))
    }

    /// Reads one field that comes with a feature, if that was negotiated.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn config_read_if<C: ConfigSpace, T: ConfigValue, const W: bool>(
        &self,
        features: &Negotiated<C::Features>,
        field: Field<C, T, C::Features, W>,
    ) -> Result<Option<Untrusted<T>>> {
        if !field.place.is_there(features.words()) {
            return Ok(None);
        }
        let mut value = T::ZERO;
        // SAFETY: As in `config_read`.
        unsafe { self.read_place(field.place, (&raw mut value).cast())? };
        Ok(Some(Untrusted::new(value)))
    }

    /// Writes a field that is always there.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the transport cannot write to the configuration space.
    pub fn config_write<C, T: ConfigValue>(
        &self,
        field: Field<C, T, (), true>,
        mut value: T,
    ) -> Result {
        // SAFETY: `value` has the length of the field.
        unsafe { self.write_place(field.place, (&raw mut value).cast()) }
    }

    /// Writes a field that comes with a feature.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the feature was not negotiated, or as for [`config_write`](Self::config_write).
    pub fn config_write_if<C: ConfigSpace, T: ConfigValue>(
        &self,
        features: &Negotiated<C::Features>,
        field: Field<C, T, C::Features, true>,
        mut value: T,
    ) -> Result {
        if !field.place.is_there(features.words()) {
            return Err(ENOENT);
        }
        // SAFETY: `value` has the length of the field.
        unsafe { self.write_place(field.place, (&raw mut value).cast()) }
    }

    /// Writes `src`, of which the bytes may be swapped on the way.
    ///
    /// # Safety
    ///
    /// `src` is valid for reads and writes of the length of the field.
    unsafe fn write_place(&self, place: Place, src: *mut u8) -> Result {
        let set = self.config_ops().set.ok_or(ENODEV)?;
        for at in place.units() {
            // SAFETY: As in `copy`.
            unsafe {
                let unit = src.add(at.into());
                let (offset, len) = (place.offset + at, place.unit);
                self.swap(unit, len);
                set(self.as_raw(), offset.into(), unit.cast(), len.into());
            }
        }
        Ok(())
    }
}
