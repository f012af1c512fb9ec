// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the device is, as opposed to what it is reached through. A new kind of
//! device is a file here, and a line in [`Device`].

mod blk;
mod rng;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::lie::{Amount, Kind, Status};
use crate::memory::Memory;
use crate::ring::Buffer;

/// The kinds of device.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    Rng,
    Blk,
}

impl Device {
    pub const ALL: [Self; 2] = [Self::Rng, Self::Blk];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rng => "rng",
            Self::Blk => "blk",
        }
    }

    /// The number that the Virtio specification gives it.
    pub fn virtio_id(self) -> u32 {
        match self {
            Self::Rng => 4,
            Self::Blk => 2,
        }
    }

    /// A device of this kind: a disk with its image, entropy that is random or not.
    pub fn make(self, image: Option<&Path>, random: bool) -> Result<Box<dyn Model>> {
        Ok(match self {
            Self::Rng => Box::new(rng::Rng::new(random)),
            Self::Blk => Box::new(blk::Disk::open(image.context("a disk needs an image")?)?),
        })
    }
}

/// What is to go wrong while a request is served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrong {
    pub write: Option<Amount>,
    pub status: Option<Status>,
}

/// A device.
pub trait Model: Send {
    /// The feature bits that are its own.
    fn features(&self) -> u64;

    fn queues(&self) -> u16;

    /// The configuration space.
    fn config(&self) -> Vec<u8>;

    /// The driver wrote to the configuration space.
    fn set_config(&mut self, _offset: usize, _bytes: &[u8]) {}

    /// What the driver asks for.
    fn kind(&self, memory: &Memory, buffer: &Buffer) -> Kind;

    /// Does it; returns how many bytes were written to the buffer.
    fn serve(&mut self, memory: &Memory, buffer: &Buffer, wrong: Wrong) -> Result<u64>;
}
