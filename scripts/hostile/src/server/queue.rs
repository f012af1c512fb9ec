// SPDX-License-Identifier: MIT OR Apache-2.0

//! A queue as the front end has set it up.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

use nix::fcntl::{fcntl, FcntlArg, OFlag};

use crate::lie::{Kind, Now};
use crate::memory::Memory;
use crate::ring::{Areas, Buffer, Packed, Ring, Split, RING_PACKED};

/// A buffer that is not returned yet, and the length that it is to have then.
pub struct Kept {
    pub buffer: Buffer,
    pub len: u32,
}

#[derive(Default)]
pub struct Queue {
    pub size: u16,
    pub base: u16,
    /// In the front end's addresses: descriptors, driver's part, device's part.
    pub addresses: Option<(u64, u64, u64)>,
    pub kick: Option<Arc<File>>,
    pub call: Option<File>,
    pub enabled: bool,
    /// Whether it says that a buffer is returned, and none was posted.
    pub early: bool,
    pub ring: Option<Ring>,
    /// Not served yet.
    pub taken: VecDeque<Buffer>,
    /// Never returned, unless they are released.
    pub held: Vec<Kept>,
    /// Returned in time.
    pub late: Vec<(Instant, Kept)>,
    /// Returned once there are so many, or at that time.
    pub reversed: Vec<(Now, Kept)>,
    pub reverse: Option<(usize, Instant)>,
    pub of_all: u64,
    pub of_kind: HashMap<Kind, u64>,
}

impl Queue {
    /// Makes the ring, once all that it needs is known.
    pub fn start(&mut self, memory: &Memory, features: u64) {
        let Some((descriptors, driver, device)) = self.addresses else {
            return;
        };
        if self.ring.is_some() || !self.enabled || self.kick.is_none() {
            return;
        }
        let places = (
            memory.translate(descriptors),
            memory.translate(driver),
            memory.translate(device),
        );
        let (Some(descriptors), Some(driver), Some(device)) = places else {
            eprintln!("a ring lies outside of the guest's memory");
            return;
        };
        let areas = Areas {
            size: self.size,
            descriptors,
            driver,
            device,
        };
        self.ring = Some(match features & RING_PACKED {
            0 => Ring::Split(Split::new(areas, self.base, features)),
            _ => Ring::Packed(Packed::new(areas)),
        });
    }

    /// Forgets what belongs to the driver that is gone, but keeps its interrupt open:
    /// it may still look at it.
    pub fn stop(&mut self) {
        *self = Self {
            call: self.call.take(),
            ..Self::default()
        };
    }

    pub fn in_flight(&self) -> Vec<Buffer> {
        let late = self.late.iter().map(|(_, kept)| kept);
        let reversed = self.reversed.iter().map(|(_, kept)| kept);
        let kept = self.held.iter().chain(late).chain(reversed);
        let kept = kept.map(|kept| &kept.buffer);
        kept.chain(&self.taken).cloned().collect()
    }

    /// Empties the doorbell.
    pub fn heard(&self) {
        if let Some(kick) = &self.kick {
            let _ = (&**kick).read(&mut [0; 8]);
        }
    }

    pub fn set_call(&mut self, file: Option<File>) {
        if let Some(file) = &file {
            // A guest that does not listen must not stop us.
            let _ = fcntl(file.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        }
        self.call = file;
    }

    /// Raises the interrupt; says whether it got through.
    pub fn interrupt(&mut self) -> bool {
        let Some(call) = &mut self.call else {
            return false;
        };
        call.write(&1_u64.to_ne_bytes()).is_ok()
    }
}
