// SPDX-License-Identifier: MIT OR Apache-2.0

//! Figures of benchmarks, as a guest takes them.

use serde::{Deserialize, Serialize};

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The driver in C.
    C,
    /// The driver in Rust.
    Rust,
    /// The driver in Rust, which clears the memory of reads.
    Scrub,
    /// A driver in C that does nothing but what the virtqueue asks for: the
    /// physical limit.
    Empty,
}

/// How a device is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// Requests in flight.
    pub depth: u32,
    /// Bytes of a request.
    pub size: u32,
    pub queues: u32,
    pub devices: u32,
}

impl Shape {
    /// One request at a time, of `size` bytes, on one queue of one device.
    pub const fn single(size: u32) -> Self {
        Self {
            depth: 1,
            size,
            queues: 1,
            devices: 1,
        }
    }
}

/// One figure of one side, as often as it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The subject, and what was done: `blk.read`.
    pub of: String,
    /// What one value counts: `instructions`, `requests/s`, `us p99`.
    pub unit: String,
    pub side: Side,
    pub shape: Shape,
    /// One of each repeat, in their order: the first ones of two sides were
    /// taken one after the other.
    pub values: Vec<f64>,
}
