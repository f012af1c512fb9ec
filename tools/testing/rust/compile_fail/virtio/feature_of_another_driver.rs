// SPDX-License-Identifier: GPL-2.0

//! A feature of another device type, whose bit means something else here, cannot be given up.

// error: E0308

use kernel::virtio::Offered;

kernel::virtio_features! {
    enum Block {
        Flush = 9,
    }
}

kernel::virtio_features! {
    enum Net {
        GuestEcn = 9,
    }
}

fn validate(offered: &mut Offered<'_, Block>) {
    #[cfg(not(fixed))]
    offered.clear(Net::GuestEcn);
    #[cfg(fixed)]
    offered.clear(Block::Flush);
}
