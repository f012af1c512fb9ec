// SPDX-License-Identifier: GPL-2.0

//! How a request ended.

use crate::bindings;

/// What the submitter of a request is told when it ends.
///
/// Being busy is not among them: a request that a driver cannot take now is given back, see
/// [`Operations::queue_rq`](super::Operations::queue_rq).
///
/// C: `blk_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(bindings::blk_status_t);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $c:ident,)+) => {
        impl Status {
            $(
                $(#[$doc])*
                pub const $name: Self = Self(bindings::$c as bindings::blk_status_t);
            )+
        }
    };
}

statuses! {
    /// It was done.
    OK = BLK_STS_OK,
    /// The device cannot do it (`EOPNOTSUPP`).
    NOT_SUPPORTED = BLK_STS_NOTSUPP,
    /// The device took too long (`ETIMEDOUT`).
    TIMEOUT = BLK_STS_TIMEOUT,
    /// There is no room on the device (`ENOSPC`).
    NO_SPACE = BLK_STS_NOSPC,
    /// The path to the device failed (`ENOLINK`).
    TRANSPORT = BLK_STS_TRANSPORT,
    /// The device failed in a way that another path to it does not help against (`EREMOTEIO`).
    TARGET = BLK_STS_TARGET,
    /// Somebody else has reserved the device (`EBADE`).
    RESERVATION_CONFLICT = BLK_STS_RESV_CONFLICT,
    /// The medium is bad there (`ENODATA`).
    MEDIUM = BLK_STS_MEDIUM,
    /// What protects the data does not match it (`EILSEQ`).
    PROTECTION = BLK_STS_PROTECTION,
    /// It would have had to wait, and must not (`EAGAIN`).
    AGAIN = BLK_STS_AGAIN,
    /// The device is offline (`ENODEV`).
    OFFLINE = BLK_STS_OFFLINE,
    /// It took longer than it may (`ETIME`).
    DURATION_LIMIT = BLK_STS_DURATION_LIMIT,
    /// It makes no sense (`EINVAL`).
    INVALID = BLK_STS_INVAL,
    /// Anything else that went wrong (`EIO`).
    IO_ERROR = BLK_STS_IOERR,
    /// Too many zones are open (`ETOOMANYREFS`).
    ZONE_OPEN_RESOURCE = BLK_STS_ZONE_OPEN_RESOURCE,
    /// Too many zones are active (`EOVERFLOW`).
    ZONE_ACTIVE_RESOURCE = BLK_STS_ZONE_ACTIVE_RESOURCE,
}

impl Status {
    #[inline]
    pub(super) fn as_raw(self) -> bindings::blk_status_t {
        self.0
    }
}
