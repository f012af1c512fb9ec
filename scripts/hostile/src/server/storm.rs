// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many signals at an even pace.

use std::time::{Duration, Instant};

use crate::lie::Storm;

/// How many signals are made up for at once, where this process was not running.
const MOST: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Queue(usize),
    Config,
}

pub struct Running {
    pub signal: Signal,
    pub until: Instant,
    pub next: Instant,
    pace: Duration,
}

impl Running {
    pub fn new(storm: Storm, signal: Signal) -> Self {
        let now = Instant::now();
        Self {
            signal,
            until: now + Duration::from_millis(storm.millis),
            next: now,
            pace: Duration::from_nanos(1_000_000_000 / storm.hz.max(1)),
        }
    }

    /// How many signals are due.
    pub fn due(&mut self, now: Instant) -> u32 {
        let mut count = 0;
        while self.next <= now && count < MOST {
            self.next += self.pace;
            count += 1;
        }
        if count == MOST {
            self.next = now;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept() {
        let storm = Storm {
            hz: 1000,
            millis: 50,
        };
        let mut running = Running::new(storm, Signal::Config);
        let start = running.next;
        assert_eq!(running.due(start), 1);
        assert_eq!(running.due(start), 0);
        assert_eq!(running.due(start + Duration::from_millis(5)), 5);
        assert_eq!(running.due(start + Duration::from_secs(1)), MOST);
    }
}
