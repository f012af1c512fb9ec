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
#[repr(u8)]
pub enum Operation {
    /// Read sectors.
    Read = bindings::req_op_REQ_OP_READ as u8,
    /// Write sectors.
    Write = bindings::req_op_REQ_OP_WRITE as u8,
    /// Write the cache of the device back.
    Flush = bindings::req_op_REQ_OP_FLUSH as u8,
    /// The content of ranges is not needed any more.
    Discard = bindings::req_op_REQ_OP_DISCARD as u8,
    /// Erase ranges so that nobody can restore them.
    SecureErase = bindings::req_op_REQ_OP_SECURE_ERASE as u8,
    /// Write zeroes, see [`Request::may_unmap`](super::Request::may_unmap).
    WriteZeroes = bindings::req_op_REQ_OP_WRITE_ZEROES as u8,
    /// Write where the write pointer of the zone is.
    ZoneAppend = bindings::req_op_REQ_OP_ZONE_APPEND as u8,
    /// Open a zone.
    ZoneOpen = bindings::req_op_REQ_OP_ZONE_OPEN as u8,
    /// Close a zone.
    ZoneClose = bindings::req_op_REQ_OP_ZONE_CLOSE as u8,
    /// Make a zone full.
    ZoneFinish = bindings::req_op_REQ_OP_ZONE_FINISH as u8,
    /// Make a zone empty.
    ZoneReset = bindings::req_op_REQ_OP_ZONE_RESET as u8,
    /// Make all zones empty.
    ZoneResetAll = bindings::req_op_REQ_OP_ZONE_RESET_ALL as u8,
    /// A command of the driver that reads, see [`LiveDisk::read_by_driver`].
    ///
    /// [`LiveDisk::read_by_driver`]: super::LiveDisk::read_by_driver
    DriverIn = bindings::req_op_REQ_OP_DRV_IN as u8,
    /// None of these.
    Other = u8::MAX,
}

impl Operation {
    /// What it is called in messages.
    #[inline(never)]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::SecureErase => "secure erase",
            Self::WriteZeroes => "write zeroes",
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
        // The values are the same, so this is a test whether there is such an operation.
        match flags & REQ_OP_MASK {
            bindings::req_op_REQ_OP_READ => Self::Read,
            bindings::req_op_REQ_OP_WRITE => Self::Write,
            bindings::req_op_REQ_OP_FLUSH => Self::Flush,
            bindings::req_op_REQ_OP_DISCARD => Self::Discard,
            bindings::req_op_REQ_OP_SECURE_ERASE => Self::SecureErase,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Self::WriteZeroes,
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
