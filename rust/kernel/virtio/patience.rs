// SPDX-License-Identifier: GPL-2.0

//! How long devices are waited for.

use crate::time::{
    msecs_to_jiffies,
    Delta,
    Instant,
    Jiffies,
    Monotonic,
    Msecs, //
};

/// How long a device is waited for that is to be taken away.
///
/// One is for all queues of the device, and for all that is done to take it away.
pub struct Patience {
    silence: Delta,
    total: Delta,
    start: Instant<Monotonic>,
}

impl Patience {
    /// Ends when nothing came back for as long as `silence`, and `times` that from now in any case.
    pub fn new(silence: Delta, times: u32) -> Self {
        let total = silence.as_nanos().saturating_mul(times.into());
        Self {
            silence,
            total: Delta::from_nanos(total),
            start: Instant::now(),
        }
    }

    /// How long it lasts if nothing comes back: zero when it is at its end.
    pub(super) fn left(&self) -> Jiffies {
        let left = self.silence.min(self.total - self.start.elapsed());
        msecs_to_jiffies(left.as_millis().max(0).try_into().unwrap_or(Msecs::MAX))
    }
}
