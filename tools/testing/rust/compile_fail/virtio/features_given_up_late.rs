// SPDX-License-Identifier: GPL-2.0

//! After features were negotiated, none can be given up: the device relies on them.

// error: E0599

use kernel::virtio::{
    Negotiated,
    Offered, //
};

kernel::virtio_features! {
    enum Feature {
        Flush = 9,
    }
}

#[cfg(not(fixed))]
type Features<'a> = Negotiated<Feature>;
#[cfg(fixed)]
type Features<'a> = Offered<'a, Feature>;

fn without_flush(features: &mut Features<'_>) {
    features.clear(Feature::Flush);
}
