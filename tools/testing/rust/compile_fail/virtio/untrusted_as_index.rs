// SPDX-License-Identifier: GPL-2.0

//! A value from the device is no index before it was validated.

// error: E0277

use kernel::{
    prelude::*,
    virtio::Untrusted, //
};

fn entry(table: &[u8], index: Untrusted<usize>) -> Result<u8> {
    #[cfg(fixed)]
    let index = index.validate(|index| (index < table.len()).then_some(index).ok_or(EINVAL))?;
    Ok(table[index])
}
