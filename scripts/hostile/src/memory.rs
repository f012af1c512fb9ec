// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's memory, as the front end hands it over.

use std::fs::File;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result};
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{
    AtomicAccess, Bytes, FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap,
    GuestRegionMmap, MmapRegion, VolatileMemory as _,
};

pub struct Memory {
    map: GuestMemoryMmap,
    /// Where the front end has it: start there, length, start in the guest.
    windows: Vec<(u64, u64, u64)>,
}

impl Memory {
    pub fn new(regions: &[VhostUserMemoryRegion], files: Vec<File>) -> Result<Self> {
        let mut maps = Vec::new();
        let mut windows = Vec::new();
        for (region, file) in regions.iter().zip(files) {
            let (start, len) = (region.guest_phys_addr, region.memory_size);
            let file = FileOffset::new(file, region.mmap_offset);
            let map = MmapRegion::from_file(file, usize::try_from(len)?)?;
            let map = GuestRegionMmap::new(map, GuestAddress(start));
            maps.push(map.context("a region beyond the end of memory")?);
            windows.push((region.user_addr, len, start));
        }
        maps.sort_by_key(|map| vm_memory::GuestMemoryRegion::start_addr(map).0);
        Ok(Self {
            map: GuestMemoryMmap::from_regions(maps)?,
            windows,
        })
    }

    /// The guest's address of an address of the front end.
    pub fn translate(&self, user: u64) -> Option<u64> {
        self.windows
            .iter()
            .find(|(start, len, _)| (*start..start + len).contains(&user))
            .map(|(start, _, guest)| user - start + guest)
    }

    pub fn load<T: AtomicAccess>(&self, at: u64) -> Result<T> {
        let value = self.map.load(GuestAddress(at), Ordering::Acquire);
        value.with_context(|| format!("reading {at:#x}"))
    }

    pub fn store<T: AtomicAccess>(&self, value: T, at: u64) -> Result<()> {
        let stored = self.map.store(value, GuestAddress(at), Ordering::Release);
        stored.with_context(|| format!("writing {at:#x}"))
    }

    /// Sets bits of a number that the driver may write at the same time.
    pub fn set_bits(&self, bits: u16, at: u64) -> Result<()> {
        let name = || format!("writing {at:#x}");
        let slice = self.map.get_slice(GuestAddress(at), 2).with_context(name)?;
        let number = slice.get_atomic_ref::<AtomicU16>(0).with_context(name)?;
        number.fetch_or(bits, Ordering::AcqRel);
        Ok(())
    }

    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let read = self.map.read_slice(bytes, GuestAddress(at));
        read.with_context(|| format!("reading {} bytes at {at:#x}", bytes.len()))
    }

    pub fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        let written = self.map.write_slice(bytes, GuestAddress(at));
        written.with_context(|| format!("writing {} bytes at {at:#x}", bytes.len()))
    }
}
