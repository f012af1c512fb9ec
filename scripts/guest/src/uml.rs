// SPDX-License-Identifier: MIT OR Apache-2.0

//! User-mode Linux: its virtio devices are vhost-user connections.
//!
//! `virtio_uml` does not tell the back end that a queue is gone (it would have
//! to send `VHOST_USER_GET_VRING_BASE`), and back ends built on the crate
//! `vhost-user-backend` listen to the first doorbell of a queue only: a driver
//! that is bound for the second time on one connection, whichever it is, never
//! gets an answer. So each bind here has a new connection.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bounded::{until, within};

const DRIVER: &str = "/sys/bus/platform/drivers/virtio-uml";
const LIMIT: Duration = Duration::from_secs(60);

/// Whether this is user-mode Linux.
pub fn is_here() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo");
    info.is_ok_and(|text| text.contains("User Mode Linux"))
}

/// Whether a device in this slot is such a connection.
pub fn is_slot(slot: &str) -> bool {
    slot.starts_with("virtio-uml.")
}

/// Gives the device a new connection to its back end.
pub fn replug(slot: &str) -> Result<()> {
    let name = slot.to_owned();
    within(LIMIT, &format!("unplugging {slot}"), move || {
        fs::write(format!("{DRIVER}/unbind"), &name).context("unplug")
    })?;
    // The back end needs a moment until it listens again.
    let mut last = None;
    let plugged = until(LIMIT, &format!("plugging {slot}"), || {
        last = fs::write(format!("{DRIVER}/bind"), slot).err();
        Ok(last.is_none().then_some(()))
    });
    plugged.with_context(|| format!("{last:?}"))
}
