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

    /// Pairs of bit numbers: the first feature makes sense only together with the second.
    const NEEDS: &'static [(u32, u32)];

    /// The bit number of one feature.
    fn bit(self) -> u32;
}

const _: () = assert!(bindings::VIRTIO_FEATURES_U64S == 2);

/// For a driver without device-specific features.
#[derive(Clone, Copy)]
pub enum NoFeatures {}

impl FeatureSet for NoFeatures {
    const TABLE: &'static [u32] = &[];
    const NEEDS: &'static [(u32, u32)] = &[];

    fn bit(self) -> u32 {
        match self {}
    }
}

/// The features that driver and device agreed on.
///
/// A plain value, taken once in probe. The device cannot change it afterwards.
pub struct Negotiated<F: FeatureSet> {
    words: [u64; 2],
    _set: PhantomData<F>,
}

impl<F: FeatureSet> Clone for Negotiated<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: FeatureSet> Copy for Negotiated<F> {}

impl<F: FeatureSet> Negotiated<F> {
    pub(super) fn new(words: [u64; 2]) -> Self {
        Self {
            words,
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

    /// Whether the ring is packed, not split.
    #[inline]
    pub fn ring_packed(&self) -> bool {
        self.has_bit(bindings::VIRTIO_F_RING_PACKED)
    }

    /// Whether a chain can take a single descriptor of the ring.
    #[inline]
    pub fn indirect_desc(&self) -> bool {
        self.has_bit(bindings::VIRTIO_RING_F_INDIRECT_DESC)
    }

    /// Whether both sides say at which index they want to be notified.
    #[inline]
    pub fn event_idx(&self) -> bool {
        self.has_bit(bindings::VIRTIO_RING_F_EVENT_IDX)
    }

    /// Whether the device uses buffers in the order in which they were posted.
    #[inline]
    pub fn in_order(&self) -> bool {
        self.has_bit(bindings::VIRTIO_F_IN_ORDER)
    }

    /// Whether one queue can be reset, see `VirtQueue::reset`.
    #[inline]
    pub fn ring_reset(&self) -> bool {
        self.has_bit(bindings::VIRTIO_F_RING_RESET)
    }

    #[inline]
    fn has_bit(&self, bit: u32) -> bool {
        has_bit(&self.words, bit)
    }

    #[inline]
    pub(super) fn words(&self) -> &[u64; 2] {
        &self.words
    }
}

/// Whether a bit of `words` is set; no others are.
#[inline(always)]
pub(super) fn has_bit(words: &[u64; 2], bit: u32) -> bool {
    let word = words.get((bit / 64) as usize);
    word.is_some_and(|word| word >> (bit % 64) & 1 != 0)
}

/// Declares the features of a driver as an `enum` that implements
/// [`FeatureSet`](crate::virtio::FeatureSet).
///
/// `A = 1 needs B` says that `A` makes sense only together with `B`, which must be declared, too.
/// If a device offers `A` alone, `A` is not negotiated.
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
///         /// The cache mode can be chosen, which makes sense only with a flush command.
///         ConfigWce = 11 needs Flush,
///         /// The device has a flush command.
///         Flush = 9,
///     }
/// }
///
/// # use kernel::virtio::FeatureSet;
/// assert_eq!(Feature::TABLE, &[1, 5, 11, 9]);
/// assert_eq!(Feature::NEEDS, &[(11, 9)]);
/// assert_eq!(Feature::ReadOnly.bit(), 5);
/// # let _ = (Feature::SizeMax, Feature::Flush, Feature::ConfigWce);
/// ```
#[macro_export]
macro_rules! virtio_features {
    (
        $(#[$attr:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[$feature_attr:meta])*
                $feature:ident = $bit:literal $( needs $needed:ident )*
            ),+ $(,)?
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
            const NEEDS: &'static [(u32, u32)] =
                &[$( $( (Self::$feature as u32, Self::$needed as u32), )* )+];

            fn bit(self) -> u32 {
                self as u32
            }
        }
    };
}
