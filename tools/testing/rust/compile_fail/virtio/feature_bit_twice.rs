// SPDX-License-Identifier: GPL-2.0

//! Two features cannot have the same bit.

// error: E0081

#[cfg(not(fixed))]
kernel::virtio_features! {
    enum Feature {
        ReadOnly = 5,
        Flush = 5,
    }
}

#[cfg(fixed)]
kernel::virtio_features! {
    enum Feature {
        ReadOnly = 5,
        Flush = 9,
    }
}
