// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disks of guests.

/// A disk, with a fresh image for each boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub kib: u64,
    /// Whether the host fills it; else the image has no blocks at all.
    pub filled: bool,
    pub queues: u16,
    /// The size of a logical block, in bytes.
    pub block: u32,
    /// The layout of the ring.
    pub packed: bool,
    pub read_only: bool,
    /// Whether it sits in a slot of its own, to be plugged in and pulled out.
    pub pluggable: bool,
    /// Whether all that is written, and when it is flushed, is written down.
    pub logged: bool,
    /// Whether the device reaches memory through bounce buffers only.
    pub bounced: bool,
    /// Whether the lab's own device plays it.
    pub ours: bool,
    /// Whether a process of its own plays it where QEMU could do so itself.
    pub served: bool,
}

impl Disk {
    pub const fn new(kib: u64) -> Self {
        Self {
            kib,
            filled: false,
            queues: 1,
            block: 512,
            packed: false,
            read_only: false,
            pluggable: false,
            logged: false,
            bounced: false,
            ours: false,
            served: false,
        }
    }
}
