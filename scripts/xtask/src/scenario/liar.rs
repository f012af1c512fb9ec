// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices of ours that are honest, or lie as they are told.

use std::path::PathBuf;

use hostile::model::Device;

/// What a device lies about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lies {
    None,
    /// What a case says, of those that are known or of a file.
    Case {
        name: String,
        file: Option<PathBuf>,
    },
    /// What chance says.
    Chance {
        seed: u64,
    },
}

/// A device that another process plays, which may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liar {
    pub device: Device,
    pub lies: Lies,
    /// The layout of the ring.
    pub packed: bool,
    /// Whether it reaches memory through bounce buffers only.
    pub bounced: bool,
}
