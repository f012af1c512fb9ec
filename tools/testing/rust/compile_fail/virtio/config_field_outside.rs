// SPDX-License-Identifier: GPL-2.0

//! A field lies inside of what device types define: nothing beyond the configuration space is read.

// error: E0080

use kernel::virtio::Field;

#[cfg(not(fixed))]
const OFFSET: usize = 256;
#[cfg(fixed)]
const OFFSET: usize = 252;

const FIELD: Field<(), u32> = Field::new(OFFSET, None);
