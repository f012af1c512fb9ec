// SPDX-License-Identifier: GPL-2.0

//! Device type 0 is reserved; it would end the table before its end.

// error: E0080

use kernel::virtio::DeviceId;

#[cfg(not(fixed))]
const DEVICE: u32 = 0;
#[cfg(fixed)]
const DEVICE: u32 = 4;

kernel::virtio_device_table!(ID_TABLE, [DeviceId::new(DEVICE)]);
