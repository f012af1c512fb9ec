// SPDX-License-Identifier: GPL-2.0

//! A driver cannot make up what was negotiated.

// error: E0624

use kernel::virtio::{
    Negotiated,
    NoFeatures, //
};

fn legacy(features: Negotiated<NoFeatures>) -> bool {
    #[cfg(not(fixed))]
    let features = Negotiated::<NoFeatures>::new(features.version_1().into());
    !features.version_1()
}
