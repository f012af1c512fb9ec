// SPDX-License-Identifier: GPL-2.0

//! The device configuration space, Virtio 1.3, section 2.5.

use super::{
    device::Device,
    features::{
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
    /// Swaps the bytes if the CPU is big-endian.
    #[doc(hidden)]
    fn little_endian(self) -> Self;
}

macro_rules! impl_config_value {
    ($($int:ty),+) => {
        $(
            impl private::Sealed for $int {}

            impl ConfigValue for $int {
                const ZERO: Self = 0;
                const UNIT: usize = size_of::<Self>();

                #[inline]
                fn little_endian(self) -> Self {
                    self.to_le()
                }
            }
        )+
    };
}

impl_config_value!(u8, u16, u32, u64);

impl<const N: usize> private::Sealed for [u8; N] {}

impl<const N: usize> ConfigValue for [u8; N] {
    const ZERO: Self = [0; N];
    const UNIT: usize = 1;

    #[inline]
    fn little_endian(self) -> Self {
        self
    }
}

/// A field of a device's configuration space, declared by
/// [`virtio_config!`](crate::virtio_config).
///
/// `P` is `()` if the field is always there, else the feature set that has the feature which the
/// field comes with. Drivers write only to fields that are `WRITABLE`.
#[derive(Clone, Copy)]
pub struct Field<T: ConfigValue, P = (), const WRITABLE: bool = false> {
    offset: u32,
    presence: P,
    _value: PhantomData<T>,
}

impl<T: ConfigValue, P, const WRITABLE: bool> Field<T, P, WRITABLE> {
    #[doc(hidden)]
    pub const fn new(offset: usize, presence: P) -> Self {
        // Transports split what is longer than this.
        let align = if T::UNIT < 4 { T::UNIT } else { 4 };
        assert!(offset % align == 0, "unaligned configuration field");
        assert!(
            size_of::<T>() <= CONFIG_SIZE && offset <= CONFIG_SIZE - size_of::<T>(),
            "not in the configuration space"
        );
        Self {
            offset: offset as u32,
            presence,
            _value: PhantomData,
        }
    }
}

/// Declares fields of a configuration space, with the names, the places and the types that they
/// have in a `struct` of a uapi header.
///
/// Each becomes a constant with a name in capitals. `in field` says that it is part of that field,
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

        $crate::virtio_config!(@fields $vis $name $uapi [$features] $($fields)+);
    };
    (@fields $vis:vis $name:ident $uapi:ident $features:tt) => {};
    (
        @fields $vis:vis $name:ident $uapi:ident $features:tt
        $(#[$attr:meta])*
        $field:ident: $value:tt $(in $outer:ident)? if $feature:ident writable, $($rest:tt)*
    ) => {
        $crate::virtio_config!(
            @field $vis $name $uapi $features [$(#[$attr])*] [$($outer.)? $field]
            $field $value, $feature, true
        );
        $crate::virtio_config!(@fields $vis $name $uapi $features $($rest)*);
    };
    (
        @fields $vis:vis $name:ident $uapi:ident $features:tt
        $(#[$attr:meta])*
        $field:ident: $value:tt $(in $outer:ident)? if $feature:ident, $($rest:tt)*
    ) => {
        $crate::virtio_config!(
            @field $vis $name $uapi $features [$(#[$attr])*] [$($outer.)? $field]
            $field $value, $feature, false
        );
        $crate::virtio_config!(@fields $vis $name $uapi $features $($rest)*);
    };
    (
        @fields $vis:vis $name:ident $uapi:ident $features:tt
        $(#[$attr:meta])* $field:ident: $value:tt $(in $outer:ident)?, $($rest:tt)*
    ) => {
        $crate::virtio_config!(
            @field $vis $name $uapi [()] [$(#[$attr])*] [$($outer.)? $field]
            $field $value, , false
        );
        $crate::virtio_config!(@fields $vis $name $uapi $features $($rest)*);
    };
    (
        @field $vis:vis $name:ident $uapi:ident [$presence:ty] [$(#[$attr:meta])*] [$($path:tt)+]
        $field:ident $value:tt, $($feature:ident)?, $writable:literal
    ) => {
        $crate::macros::paste! {
            impl $name {
                $(#[$attr])*
                $vis const [<$field:upper>]: $crate::virtio::Field<$value, $presence, $writable> = {
                    // The type must be that of the uapi header.
                    const _: fn($crate::bindings::$uapi) -> $value = |config| config.$($path)+;
                    let offset = ::core::mem::offset_of!($crate::bindings::$uapi, $($path)+);
                    $crate::virtio::Field::new(offset, ($(<$presence>::$feature)?))
                };
            }
        }
    };
}

/// One look at the configuration space: all that is read from it belongs together.
///
/// See [`Device::config_snapshot`].
pub struct Snapshot<'a> {
    vdev: &'a Device<device::Bound>,
    /// Whether values are little-endian, not in the byte order of the CPU.
    little_endian: bool,
}

impl Snapshot<'_> {
    /// Reads `len` bytes at `offset`, `unit` at a time.
    ///
    /// # Safety
    ///
    /// `dst` is valid for writes of `len` bytes, of which `unit` is a divisor. What is read is
    /// inside of what device types define.
    #[inline(never)]
    unsafe fn copy(&self, dst: *mut u8, offset: u32, len: usize, unit: usize) {
        let Some(get) = self.vdev.config_ops().get else {
            return;
        };
        for at in (0..len).step_by(unit) {
            // SAFETY: The device is valid. The rest is by the requirements of this function.
            unsafe {
                get(
                    self.vdev.as_raw(),
                    offset + at as u32,
                    dst.add(at).cast(),
                    unit as u32,
                );
            }
        }
    }

    /// Reads a field.
    pub fn read<T: ConfigValue, const W: bool>(&self, field: Field<T, (), W>) -> Untrusted<T> {
        self.get(field.offset)
    }

    /// Reads a field that comes with a feature, if that was negotiated.
    pub fn read_if<T: ConfigValue, F: FeatureSet, const W: bool>(
        &self,
        features: &Negotiated<F>,
        field: Field<T, F, W>,
    ) -> Option<Untrusted<T>> {
        features.has(field.presence).then(|| self.get(field.offset))
    }

    fn get<T: ConfigValue>(&self, offset: u32) -> Untrusted<T> {
        let mut value = T::ZERO;
        // SAFETY: `value` has that many bytes, and any bytes are a `T`. What is there is inside of
        // what device types define, and aligned.
        unsafe { self.copy((&raw mut value).cast(), offset, size_of::<T>(), T::UNIT) };
        Untrusted::new(if self.little_endian {
            value.little_endian()
        } else {
            value
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

    /// Reads several fields that belong together.
    ///
    /// If the device changes its configuration meanwhile, `look` is called again, a few times at
    /// most: C tries for ever.
    ///
    /// Values are converted from little-endian, or taken as they are from a legacy device, which
    /// has the byte order of the guest.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `EIO` if the configuration does not hold still, `ENODEV` if there is none, or what `look`
    /// returns.
    ///
    /// Virtio 1.3, section 2.5.1.
    pub fn config_snapshot<R>(
        &self,
        mut look: impl FnMut(&Snapshot<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut result = Err(EIO);
        self.look(&mut |snapshot| result = look(snapshot))?;
        result
    }

    /// Calls `look` until the configuration holds still.
    #[inline(never)]
    fn look(&self, look: &mut dyn FnMut(&Snapshot<'_>)) -> Result {
        if self.config_ops().get.is_none() {
            return Err(ENODEV);
        }
        let snapshot = Snapshot {
            vdev: self,
            little_endian: self.is_version_1(),
        };
        let mut before = self.config_generation();
        for _ in 0..GENERATION_RETRIES {
            look(&snapshot);
            let after = self.config_generation();
            if before == after {
                return Ok(());
            }
            before = after;
        }
        Err(EIO)
    }

    /// Reads one field, as [`config_snapshot`](Self::config_snapshot) does.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn config_read<T: ConfigValue, const W: bool>(
        &self,
        field: Field<T, (), W>,
    ) -> Result<Untrusted<T>> {
        self.config_snapshot(|config| Ok(config.read(field)))
    }

    /// Reads one field that comes with a feature, if that was negotiated.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn config_read_if<T: ConfigValue, F: FeatureSet, const W: bool>(
        &self,
        features: &Negotiated<F>,
        field: Field<T, F, W>,
    ) -> Result<Option<Untrusted<T>>> {
        self.config_snapshot(|config| Ok(config.read_if(features, field)))
    }

    /// Writes a field that is always there.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the transport cannot write to the configuration space.
    pub fn config_write<T: ConfigValue>(&self, field: Field<T, (), true>, value: T) -> Result {
        self.config_set(field.offset, value)
    }

    /// Writes a field that comes with a feature.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the feature was not negotiated, or as for [`config_write`](Self::config_write).
    pub fn config_write_if<T: ConfigValue, F: FeatureSet>(
        &self,
        features: &Negotiated<F>,
        field: Field<T, F, true>,
        value: T,
    ) -> Result {
        if !features.has(field.presence) {
            return Err(ENOENT);
        }
        self.config_set(field.offset, value)
    }

    fn config_set<T: ConfigValue>(&self, offset: u32, value: T) -> Result {
        let set = self.config_ops().set.ok_or(ENODEV)?;
        let mut value = if self.is_version_1() {
            value.little_endian()
        } else {
            value
        };
        for at in (0..size_of::<T>()).step_by(T::UNIT) {
            // SAFETY: As in `Snapshot::get`; this only reads `value`.
            unsafe {
                let place = (&raw mut value).cast::<u8>().add(at);
                set(
                    self.as_raw(),
                    offset + at as u32,
                    place.cast(),
                    T::UNIT as u32,
                );
            }
        }
        Ok(())
    }
}
