// SPDX-License-Identifier: GPL-2.0

//! A feature can need only what the driver declared, else it would never be negotiated.

// error: E0599

#[cfg(not(fixed))]
kernel::virtio_features! {
    enum Feature {
        ConfigWce = 11 needs Flush,
    }
}

#[cfg(fixed)]
kernel::virtio_features! {
    enum Feature {
        ConfigWce = 11 needs Flush,
        Flush = 9,
    }
}
