// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rounds of bind, work that chance chooses, and unbind, until the time is over.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use protocol::disk::Random;
use protocol::hostile::{Met, Part};

use super::part::{begin, tell};
use super::{Subject, QUICK};
use crate::params::Params;
use crate::poison;

/// The operations of a round.
const MOST: u64 = 400;
/// So many rounds without anything done: the device cannot be had back.
const LOST: u32 = 20;
/// A device that is dead stays so until it is bound again.
const MOST_ERRORS: u64 = 8;
/// Once in so many rounds, memory is filled with the marker.
const POISONED: u64 = 50;
/// After a bind that failed. Where all do, the console would be flooded.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
pub struct Fuzz {
    seed: u64,
    end: Instant,
}

impl Fuzz {
    /// The time begins now.
    pub fn of(params: &Params) -> Result<Self> {
        let seconds = Duration::from_secs(params.number("seconds", 10)?);
        Ok(Self {
            seed: params.number("seed", 1)?,
            end: Instant::now() + seconds,
        })
    }

    /// What chance chooses in this round.
    pub fn random(&self, round: u64) -> Random {
        Random::new(self.seed.wrapping_mul(1_000_003).wrapping_add(round))
    }

    /// Whether a round that has had so many operations goes on.
    pub fn goes_on(&self, operations: u64, errors_in_a_row: u64) -> bool {
        operations < MOST && errors_in_a_row < MOST_ERRORS && !self.is_over()
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Tells of each round. The last one leaves the device bound. Returns whether
    /// there is any sense in another part.
    pub fn rounds<S: Subject>(&self, bound: &mut Option<S>, bind: impl Fn() -> Result<S>) -> bool {
        begin(Part::Work);
        let mut in_vain = 0;
        for round in (0..).take_while(|_| !self.is_over()) {
            let mut good = 0;
            let on = tell(Part::Work, |met| {
                let done = self.round(round, bound, &bind, met);
                good = met.good;
                done
            });
            if !on {
                return false;
            }
            in_vain = if good == 0 { in_vain + 1 } else { 0 };
            if in_vain == LOST {
                return tell(Part::Again, |_| {
                    bail!("not one operation in {LOST} rounds, each with another driver")
                });
            }
        }
        true
    }

    /// Counts the operations between bind and unbind, and what fails of these two.
    fn round<S: Subject>(
        &self,
        round: u64,
        bound: &mut Option<S>,
        bind: impl Fn() -> Result<S>,
        met: &mut Met,
    ) -> Result<()> {
        if round % POISONED == 0 {
            poison::free_memory()?;
        }
        // The first round has it bound, if that was possible.
        if let Some(subject) = bound.take_if(|_| round > 0) {
            subject.unbind(QUICK)?;
        }
        let subject = match bound.take() {
            Some(subject) => subject,
            None => bind().inspect_err(|_| sleep(PAUSE))?,
        };
        bound.insert(subject).random_work(self, round, met)
    }
}
