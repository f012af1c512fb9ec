// SPDX-License-Identifier: GPL-2.0

//! A value from the device cannot be used in a comparison before it was validated.

// error: E0369

use kernel::{
    prelude::*,
    virtio::Untrusted, //
};

fn block_size(size: Untrusted<u32>) -> Result<bool> {
    #[cfg(fixed)]
    let size = size.validate(|size| (size >= 512).then_some(size).ok_or(EINVAL))?;
    Ok(size > 4096)
}
