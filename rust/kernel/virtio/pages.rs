// SPDX-License-Identifier: GPL-2.0

//! Data in pages.

use super::{
    buffer::Memory,
    chain::Chain, //
};
use crate::{
    alloc::{
        flags::__GFP_ZERO,
        Flags, //
    },
    bindings,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*, //
};
use core::ptr::NonNull;

/// Who writes to memory that is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The driver writes, the device reads.
    ToDevice,
    /// The device writes, the driver reads.
    FromDevice,
}

/// Whole pages for data of either direction, one descriptor for each.
///
/// # Invariants
///
/// * `table` is a scatterlist with an end mark that lists `pages`, one entry for each, in full.
/// * `len` is the size of all pages, and `written <= len`.
pub struct Pages {
    pages: KVec<Page>,
    table: KVec<bindings::scatterlist>,
    /// The size of all pages in bytes.
    len: u32,
    /// How much of it the device writes: all or nothing.
    writable: u32,
    direction: Direction,
    scrub: bool,
    written: u32,
}

// SAFETY: The scatterlist points to the pages, which this object owns; both can be used from any
// thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Allocates `count` zeroed pages.
    ///
    /// May sleep if `flags` allow it. `flags` must not ask for highmem.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `count` is 0 or there were 4 GiB or more, `ENOMEM`.
    pub fn new(count: usize, direction: Direction, flags: Flags) -> Result<Self> {
        let len = count.checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
        let len = u32::try_from(len).map_err(|_| EINVAL)?;
        if len == 0 {
            return Err(EINVAL);
        }
        let mut pages = KVec::with_capacity(count, flags)?;
        let mut table = KVec::from_elem(bindings::scatterlist::default(), count, flags)?;

        // SAFETY: `table` has `count` entries, which fit into the type.
        unsafe { bindings::sg_init_table(table.as_mut_ptr(), count as c_uint) };
        for entry in table.iter_mut() {
            let page = Page::alloc_page(flags | __GFP_ZERO)?;
            // SAFETY: `entry` is part of an initialised table, and the page exists for as long.
            unsafe { bindings::sg_set_page(entry, page.as_ptr(), PAGE_SIZE as c_uint, 0) };
            pages.push(page, flags)?;
        }
        // INVARIANT: There is one entry for each page. The vector is not changed, so its content
        // stays where it is.
        Ok(Self {
            pages,
            table,
            len,
            writable: match direction {
                Direction::ToDevice => 0,
                Direction::FromDevice => len,
            },
            direction,
            scrub: false,
            written: 0,
        })
    }

    /// Zeroes pages for data from the device each time before they are posted.
    ///
    /// A device that claims to have written what it did not gives away zeros then, and one behind
    /// bounce buffers sees zeros instead of what was there. It costs the time to write that memory;
    /// without it, a driver reads what the pages held before in the first case.
    pub fn set_scrub(&mut self, scrub: bool) {
        self.scrub = scrub;
    }

    #[cold]
    fn wipe(&mut self) {
        for page in &self.pages {
            // SAFETY: The pages belong to this object, and no device has them.
            let _ = unsafe { page.fill_zero_raw(0, PAGE_SIZE) };
        }
    }

    /// The size in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// How many bytes the device said it wrote, at most all.
    #[inline]
    pub fn written(&self) -> usize {
        self.written as usize
    }

    /// Copies what the device wrote, from `offset` on; returns how many bytes there were.
    pub fn read(&self, offset: usize, dst: &mut [u8]) -> usize {
        let count = self.written().saturating_sub(offset).min(dst.len());
        self.for_each_part(offset, count, |page, from, done, len| {
            let dst = dst[done..done + len].as_mut_ptr();
            // SAFETY: `dst` is valid for writes of `len` bytes. The device may still write to the
            // page: then this is some mixture of bytes, which for payload is as good as any other.
            let _ = unsafe { page.read_raw(dst, from, len) };
        });
        count
    }

    /// Copies `src` to `offset`; returns how many bytes there was room for.
    pub fn write(&mut self, offset: usize, src: &[u8]) -> usize {
        let count = self.len().saturating_sub(offset).min(src.len());
        self.for_each_part(offset, count, |page, from, done, len| {
            let src = src[done..done + len].as_ptr();
            // SAFETY: `src` is valid for reads of `len` bytes. `self` is borrowed exclusively, so
            // nobody else in the kernel accesses the page.
            let _ = unsafe { page.write_raw(src, from, len) };
        });
        count
    }

    /// Calls `f` with a page, the offset in there, how many bytes came before, and a length.
    fn for_each_part(
        &self,
        offset: usize,
        count: usize,
        mut f: impl FnMut(&Page, usize, usize, usize),
    ) {
        let mut done = 0;
        while done < count {
            let at = offset + done;
            let from = at % PAGE_SIZE;
            let len = (PAGE_SIZE - from).min(count - done);
            f(&self.pages[at / PAGE_SIZE], from, done, len);
            done += len;
        }
    }
}

// SAFETY: The pages can be mapped, belong to this object, were zeroed at first, and are accessed by
// copying only. The scatterlist is on the heap, and has an entry for each page.
unsafe impl Memory for Pages {
    #[inline(always)]
    fn lend(&mut self, chain: &mut Chain<'_>) {
        let Some(list) = NonNull::new(self.table.as_mut_ptr()) else {
            return;
        };
        // CAST: There are fewer pages than bytes, which fit.
        let segments = self.table.len() as u32;
        match self.direction {
            Direction::ToDevice => chain.readable(list, segments),
            Direction::FromDevice => {
                if self.scrub {
                    self.wipe();
                }
                chain.writable(list, segments);
            }
        }
        // INVARIANT: 0 is not too much.
        self.written = 0;
    }

    #[inline]
    fn writable_len(&self) -> u32 {
        self.writable
    }

    #[inline]
    fn returned(&mut self, written: u32) {
        // INVARIANT: Limited here, too.
        self.written = written.min(self.writable);
    }
}
