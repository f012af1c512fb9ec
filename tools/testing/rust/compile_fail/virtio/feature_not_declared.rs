// SPDX-License-Identifier: GPL-2.0

//! A driver cannot ask for a feature that it did not declare, and so never negotiates.

// error: E0599

use kernel::virtio::Negotiated;

kernel::virtio_features! {
    enum Feature {
        Flush = 9,
    }
}

fn cached(features: Negotiated<Feature>) -> bool {
    #[cfg(not(fixed))]
    let feature = Feature::ConfigWce;
    #[cfg(fixed)]
    let feature = Feature::Flush;
    features.has(feature)
}
