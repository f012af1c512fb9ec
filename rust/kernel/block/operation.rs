// SPDX-License-Identifier: GPL-2.0

//! What a request asks for.

use crate::bindings;

/// A position or a length on a disk, in units of 512 bytes whatever the block size is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sectors(pub u64);

impl Sectors {
    /// The size of a sector in bytes.
    pub const SIZE: u32 = super::SECTOR_SIZE;

    /// As many whole sectors as there are in `bytes`.
    #[inline]
    pub const fn in_bytes(bytes: u64) -> Self {
        Self(bytes >> super::SECTOR_SHIFT)
    }
}

/// What a request asks for.
///
/// C: `enum req_op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read sectors.
    Read,
    /// Write sectors.
    Write,
    /// Write the cache of the device back.
    Flush,
    /// The content of ranges is not needed any more.
    Discard,
    /// Erase ranges so that nobody can restore them.
    SecureErase,
    /// Write zeroes.
    WriteZeroes {
        /// Whether the device may deallocate the sectors.
        unmap: bool,
    },
    /// Write where the write pointer of the zone is.
    ZoneAppend,
    /// Open a zone.
    ZoneOpen,
    /// Close a zone.
    ZoneClose,
    /// Make a zone full.
    ZoneFinish,
    /// Make a zone empty.
    ZoneReset,
    /// Make all zones empty.
    ZoneResetAll,
    /// A command of the driver that reads, see [`LiveDisk::read_by_driver`].
    ///
    /// [`LiveDisk::read_by_driver`]: super::LiveDisk::read_by_driver
    DriverIn,
    /// None of these.
    Other,
}

impl Operation {
    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::SecureErase => "secure erase",
            Self::WriteZeroes { .. } => "write zeroes",
            Self::ZoneAppend => "zone append",
            Self::ZoneOpen => "zone open",
            Self::ZoneClose => "zone close",
            Self::ZoneFinish => "zone finish",
            Self::ZoneReset => "zone reset",
            Self::ZoneResetAll => "zone reset all",
            Self::DriverIn => "command",
            Self::Other => "other",
        }
    }

    /// Whether there is memory for data to be read from the device.
    #[inline(always)]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::DriverIn)
    }

    /// Whether there is memory with data, or for it.
    #[inline(always)]
    pub fn has_data(self) -> bool {
        self.is_read() || matches!(self, Self::Write | Self::ZoneAppend)
    }

    #[inline(always)]
    pub(super) fn from_flags(flags: bindings::blk_opf_t) -> Self {
        match flags & REQ_OP_MASK {
            bindings::req_op_REQ_OP_READ => Self::Read,
            bindings::req_op_REQ_OP_WRITE => Self::Write,
            bindings::req_op_REQ_OP_FLUSH => Self::Flush,
            bindings::req_op_REQ_OP_DISCARD => Self::Discard,
            bindings::req_op_REQ_OP_SECURE_ERASE => Self::SecureErase,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Self::WriteZeroes {
                unmap: flags & (1 << bindings::req_flag_bits___REQ_NOUNMAP) == 0,
            },
            bindings::req_op_REQ_OP_ZONE_APPEND => Self::ZoneAppend,
            bindings::req_op_REQ_OP_ZONE_OPEN => Self::ZoneOpen,
            bindings::req_op_REQ_OP_ZONE_CLOSE => Self::ZoneClose,
            bindings::req_op_REQ_OP_ZONE_FINISH => Self::ZoneFinish,
            bindings::req_op_REQ_OP_ZONE_RESET => Self::ZoneReset,
            bindings::req_op_REQ_OP_ZONE_RESET_ALL => Self::ZoneResetAll,
            bindings::req_op_REQ_OP_DRV_IN => Self::DriverIn,
            _ => Self::Other,
        }
    }
}

/// C: `REQ_OP_MASK`.
const REQ_OP_MASK: bindings::blk_opf_t = (1 << bindings::REQ_OP_BITS) - 1;
