// SPDX-License-Identifier: GPL-2.0

//! The ring stays on the thread that holds the lock of the queue.

// error: E0277

use kernel::{
    prelude::*,
    virtio::{
        DeviceBuffer,
        Ring, //
    }, //
};

/// Stands for whatever runs `work` on another thread.
fn elsewhere(_work: impl FnOnce() + Send) {}

fn post(ring: &mut Ring<'_, KBox<DeviceBuffer>>, buffer: KBox<DeviceBuffer>) {
    #[cfg(not(fixed))]
    elsewhere(move || {
        let _ = ring.post(buffer);
    });
    #[cfg(fixed)]
    {
        let _ = ring.post(buffer);
        elsewhere(|| ());
    }
}
