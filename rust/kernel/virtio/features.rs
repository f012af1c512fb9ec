// SPDX-License-Identifier: GPL-2.0

//! Feature bits, Virtio 1.3, section 2.2.

use crate::bindings;
use core::marker::PhantomData;

/// The device-specific feature bits that a driver implements.
///
/// Implement it with [`virtio_features!`](crate::virtio_features), which makes an `enum` with one
/// variant per feature. A driver that asks for a feature that it did not declare names a variant
/// that does not exist, and does not compile; in C the same mistake is a `BUG()` at run time
/// (`virtio_check_driver_offered_feature()`).
pub trait FeatureSet: Copy + 'static {
    /// The bit numbers, 0 to 23 and 50 to 127. Transport features are not listed: the core
    /// negotiates them.
    const TABLE: &'static [u32];

    /// The bit number of one feature.
    fn bit(self) -> u32;
}

/// Ends the compilation if a bit of `table` is not for device types to define.
pub(super) const fn assert_valid(table: &[u32]) {
    let mut i = 0;
    while i < table.len() {
        assert!(
            matches!(table[i], 0..=23 | 50..=127),
            "not a device-specific feature bit"
        );
        i += 1;
    }
}

/// For a driver without device-specific features.
#[derive(Clone, Copy)]
pub enum NoFeatures {}

impl FeatureSet for NoFeatures {
    const TABLE: &'static [u32] = &[];

    fn bit(self) -> u32 {
        match self {}
    }
}

/// The features that driver and device agreed on.
///
/// A plain value, taken once in probe. The device cannot change it afterwards.
pub struct Negotiated<F: FeatureSet> {
    bits: u128,
    _set: PhantomData<F>,
}

impl<F: FeatureSet> Clone for Negotiated<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: FeatureSet> Copy for Negotiated<F> {}

impl<F: FeatureSet> Negotiated<F> {
    pub(super) fn new(bits: u128) -> Self {
        Self {
            bits,
            _set: PhantomData,
        }
    }

    /// Whether `feature` was negotiated.
    #[inline]
    pub fn has(&self, feature: F) -> bool {
        self.has_bit(feature.bit())
    }

    /// Whether the device follows Virtio 1.0 or later; if not, it is a legacy device.
    #[inline]
    pub fn version_1(&self) -> bool {
        self.has_bit(bindings::VIRTIO_F_VERSION_1)
    }

    /// Whether the device reaches memory through the platform's DMA API only.
    #[inline]
    pub fn access_platform(&self) -> bool {
        self.has_bit(bindings::VIRTIO_F_ACCESS_PLATFORM)
    }

    #[inline]
    fn has_bit(&self, bit: u32) -> bool {
        self.bits.checked_shr(bit).is_some_and(|bits| bits & 1 != 0)
    }
}

/// Declares the features of a driver as an `enum` that implements
/// [`FeatureSet`](crate::virtio::FeatureSet).
///
/// # Examples
///
/// ```
/// kernel::virtio_features! {
///     /// What the example driver can do.
///     enum Feature {
///         /// The device reports a maximum segment size.
///         SizeMax = 1,
///         /// The device is read-only.
///         ReadOnly = 5,
///     }
/// }
///
/// # use kernel::virtio::FeatureSet;
/// assert_eq!(Feature::TABLE, &[1, 5]);
/// assert_eq!(Feature::ReadOnly.bit(), 5);
/// # let _ = Feature::SizeMax;
/// ```
#[macro_export]
macro_rules! virtio_features {
    (
        $(#[$attr:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$feature_attr:meta])* $feature:ident = $bit:expr ),+ $(,)?
        }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy)]
        #[repr(u32)]
        $vis enum $name {
            $( $(#[$feature_attr])* $feature = $bit ),+
        }

        impl $crate::virtio::FeatureSet for $name {
            const TABLE: &'static [u32] = &[$( Self::$feature as u32 ),+];

            fn bit(self) -> u32 {
                self as u32
            }
        }
    };
}
