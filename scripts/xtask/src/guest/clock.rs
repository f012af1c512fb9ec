// SPDX-License-Identifier: MIT OR Apache-2.0

//! The clock of an emulated x86-64. It has no timer that Linux could compare the
//! counter of its CPUs with, and without the counter time comes in ticks of
//! milliseconds. But that counter is the one of the host.

use std::time::Duration;
#[cfg(target_arch = "x86_64")]
use std::time::Instant;

const WATCHED: Duration = Duration::from_millis(20);

/// How fast the host's counter is, in kHz, if it is of the kind that the guest has.
#[cfg(target_arch = "x86_64")]
pub fn khz() -> Option<u64> {
    // A thread may have to wait between two readings.
    let mut rates: Vec<_> = (0..3).filter_map(|_| once()).collect();
    rates.sort_unstable();
    rates.get(rates.len() / 2).copied()
}

#[cfg(target_arch = "x86_64")]
fn once() -> Option<u64> {
    // SAFETY: Each x86-64 has this counter, and reading it changes nothing.
    let counter = || unsafe { core::arch::x86_64::_rdtsc() };
    let (started, first) = (Instant::now(), counter());
    std::thread::sleep(WATCHED);
    let (took, last) = (started.elapsed(), counter());
    rate(last.wrapping_sub(first), took)
}

#[cfg(not(target_arch = "x86_64"))]
pub fn khz() -> Option<u64> {
    None
}

/// In kHz.
fn rate(counted: u64, took: Duration) -> Option<u64> {
    let khz = u128::from(counted) * 1_000_000 / took.as_nanos().max(1);
    u64::try_from(khz).ok().filter(|khz| *khz > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gigahertz() {
        assert_eq!(rate(40_000_000, WATCHED), Some(2_000_000));
        assert_eq!(rate(0, WATCHED), None);
    }
}
