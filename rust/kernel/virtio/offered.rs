// SPDX-License-Identifier: GPL-2.0

//! What can be said of features before they are negotiated.

use super::{
    device::Device,
    features::FeatureSet, //
};
use crate::device;
use core::marker::PhantomData;

/// Virtio 1.3, section 2.2: the other bits are the transport's.
const fn is_device_specific(bit: u32) -> bool {
    matches!(bit, 0..=23 | 50..=127)
}

/// Ends the compilation if a bit of `table` is not for device types to define, or if a feature
/// needs itself.
pub(super) const fn assert_valid(table: &[u32], needs: &[(u32, u32)]) {
    let mut i = 0;
    while i < needs.len() {
        assert!(needs[i].0 != needs[i].1, "a feature cannot need itself");
        i += 1;
    }
    let mut i = 0;
    while i < table.len() {
        assert!(
            is_device_specific(table[i]),
            "not a device-specific feature bit"
        );
        i += 1;
    }
}

/// The features that the device offers and the driver declared, before they are negotiated.
pub struct Offered<'a, F: FeatureSet> {
    bits: Bits<'a>,
    _set: PhantomData<F>,
}

/// The same, whatever the driver declared.
///
/// # Invariants
///
/// The features are not negotiated yet, and nobody else accesses the feature words of `vdev`.
struct Bits<'a> {
    vdev: &'a Device<device::Bound>,
}

impl<'a, F: FeatureSet> Offered<'a, F> {
    /// # Safety
    ///
    /// While the result exists, the features are not negotiated yet, and nobody else accesses the
    /// feature words of `vdev`.
    pub(super) unsafe fn new(vdev: &'a Device<device::Bound>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            bits: Bits { vdev },
            _set: PhantomData,
        }
    }

    /// Whether `feature` is offered, and was not given up.
    pub fn has(&self, feature: F) -> bool {
        self.bits.has(feature.bit())
    }

    /// Whether the device follows Virtio 1.0 or later.
    pub fn version_1(&self) -> bool {
        self.bits.vdev.is_version_1()
    }

    /// Gives `feature` up: it will not be negotiated.
    pub fn clear(&mut self, feature: F) {
        self.bits.clear(feature.bit());
    }

    /// Gives up features whose needs are not met, and those that need them.
    pub(super) fn clear_unmet(&mut self) {
        self.bits.clear_unmet(F::NEEDS);
    }
}

impl Bits<'_> {
    fn clear_unmet(&mut self, needs: &[(u32, u32)]) {
        // Each round clears at least one.
        while let Some(&(feature, _)) = needs
            .iter()
            .find(|&&(feature, needed)| self.has(feature) && !self.has(needed))
        {
            self.clear(feature);
        }
    }

    /// Where a device-specific feature bit is, in which word and as which mask.
    fn word(&self, bit: u32) -> Option<(*mut u64, u64)> {
        // A set that was not made by the macro could say anything.
        if !is_device_specific(bit) {
            return None;
        }
        // SAFETY: The device is valid, and all members of the union are plain integers.
        let words = unsafe { &raw mut (*self.vdev.as_raw()).__bindgen_anon_1.features_array };
        // The bit is below 128, and there are as many words.
        let word = words.cast::<u64>().wrapping_add((bit / 64) as usize);
        Some((word, 1 << (bit % 64)))
    }

    fn has(&self, bit: u32) -> bool {
        self.word(bit).is_some_and(|(word, mask)| {
            // SAFETY: By the type invariant, and `word` is inside of the array.
            unsafe { *word & mask != 0 }
        })
    }

    fn clear(&mut self, bit: u32) {
        if let Some((word, mask)) = self.word(bit) {
            // SAFETY: As in `has`.
            unsafe { *word &= !mask };
        }
    }
}
