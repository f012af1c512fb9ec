// SPDX-License-Identifier: GPL-2.0

//! A field lies at a multiple of its size, as transports need it.

// error: E0080

use kernel::virtio::Field;

#[cfg(not(fixed))]
const OFFSET: usize = 6;
#[cfg(fixed)]
const OFFSET: usize = 8;

const FIELD: Field<(), u32> = Field::new(OFFSET, None);
