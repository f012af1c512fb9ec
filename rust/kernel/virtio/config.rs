// SPDX-License-Identifier: GPL-2.0

//! The device configuration space, Virtio 1.3, section 2.5.

use super::{
    device::Device,
    untrusted::Untrusted, //
};
use crate::{
    bindings,
    device,
    prelude::*, //
};

/// How often a field is read again because the device says that it changed meanwhile.
const GENERATION_RETRIES: usize = 8;

/// The most that a device type defines, in bytes, and the least that a transport can address.
pub const CONFIG_SIZE: usize = 256;

mod private {
    pub trait Sealed {}
}

/// An integer as it lies in the configuration space: `u8`, `u16`, `u32` or `u64`.
pub trait ConfigInt: Copy + Default + private::Sealed {
    #[doc(hidden)]
    fn to_cpu(self, little_endian: bool) -> Self;
}

macro_rules! impl_config_int {
    ($($int:ty),+) => {
        $(
            impl private::Sealed for $int {}

            impl ConfigInt for $int {
                #[inline]
                fn to_cpu(self, little_endian: bool) -> Self {
                    if little_endian {
                        Self::from_le(self)
                    } else {
                        self
                    }
                }
            }
        )+
    };
}

impl_config_int!(u8, u16, u32, u64);

impl Device<device::Bound> {
    /// Reads the field at byte `OFFSET` of the configuration space.
    ///
    /// The offset is a constant, aligned to the size of the field, and the field lies in the first
    /// [`CONFIG_SIZE`] bytes, or it does not compile. A device whose configuration space is smaller
    /// than that of its type is the transport's to handle; some do with a `BUG()`.
    ///
    /// The value is converted from little-endian, or taken as it is from a legacy device, which
    /// has the byte order of the guest. A field that the device keeps changing while it is read is
    /// given up after a few attempts, where C tries for ever.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `EIO` if the configuration does not hold still, `ENODEV` if there is none.
    pub fn read_config<T: ConfigInt, const OFFSET: usize>(&self) -> Result<Untrusted<T>> {
        const {
            let size = core::mem::size_of::<T>();
            assert!(OFFSET % size == 0, "unaligned configuration field");
            assert!(
                OFFSET <= CONFIG_SIZE - size,
                "not in the configuration space"
            );
        }
        let vdev = self.as_raw();
        // SAFETY: The device is valid; the transport's table of operations is constant, and the
        // features do not change after FEATURES_OK.
        let (ops, features) =
            unsafe { (&*(*vdev).config, (*vdev).__bindgen_anon_1.features_array[0]) };
        let get = ops.get.ok_or(ENODEV)?;
        let generation = || match ops.generation {
            // SAFETY: The device is valid, and this is process context.
            Some(generation) => unsafe { generation(vdev) },
            None => 0,
        };

        let mut before = generation();
        for _ in 0..GENERATION_RETRIES {
            let mut value = T::default();
            let size = core::mem::size_of::<T>() as u32;
            // SAFETY: `value` is valid for writes of `size` bytes, and any bytes are an integer.
            // The field is aligned and inside of what every transport maps or allocates.
            unsafe { get(vdev, OFFSET as u32, (&raw mut value).cast(), size) };
            let after = generation();
            if before == after {
                let little_endian = features & (1 << bindings::VIRTIO_F_VERSION_1) != 0;
                return Ok(Untrusted::new(value.to_cpu(little_endian)));
            }
            before = after;
        }
        Err(EIO)
    }
}
