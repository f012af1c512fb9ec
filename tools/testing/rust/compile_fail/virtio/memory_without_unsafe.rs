// SPDX-License-Identifier: GPL-2.0

//! Who says that memory may be lent to a device must say so with `unsafe`.

// error: E0200

use core::ptr::NonNull;
use kernel::virtio::{
    Chain,
    Memory, //
};

struct Raw(NonNull<u8>);

// SAFETY: Only its owner uses the pointer.
unsafe impl Send for Raw {}

macro_rules! impl_memory {
    ($($unsafety:ident)?) => {
        $($unsafety)? impl Memory for Raw {
            fn lend(&mut self, _chain: &mut Chain) {}

            fn writable_len(&self) -> u32 {
                0
            }

            fn returned(&mut self, _written: u32) {}
        }
    };
}

#[cfg(not(fixed))]
impl_memory!();
#[cfg(fixed)]
impl_memory!(unsafe);
