// SPDX-License-Identifier: MIT OR Apache-2.0

//! The FIPS 140-2 tests of `rngtest` over what was read.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context as _, Result};

use crate::bounded::within;

const RNGTEST: &str = "/usr/bin/rngtest";
/// A block has 20000 bits; the first 32 bits of all only prime the test.
const BLOCK: usize = 2500;
const PRIME: usize = 4;
/// The chance that a block of good random bits fails one of the tests. Of a
/// million blocks of `/dev/urandom`, 796 did: 104 monobit, 95 poker, 269 runs,
/// 329 long run; the last should be 20000 * 2^-26 = 298.
const CHANCE: f64 = 0.8e-3;
/// Beyond this many standard deviations it is not chance: one such verdict in
/// hundreds of thousands of runs would be wrong.
const SIGMAS: f64 = 6.0;

#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub blocks: u64,
    pub failures: u64,
}

impl Verdict {
    /// As many failures as chance allows: mean plus six standard deviations of
    /// a binomial distribution.
    pub fn allowed(&self) -> u64 {
        let mean = self.blocks as f64 * CHANCE;
        let sigma = (mean * (1.0 - CHANCE)).sqrt();
        (mean + SIGMAS * sigma).floor() as u64
    }
}

/// Tests all whole blocks of `data`.
pub fn test(data: Vec<u8>) -> Result<Verdict> {
    let blocks = data.len().saturating_sub(PRIME) / BLOCK;
    let said = within(Duration::from_secs(120), "rngtest", move || {
        run(data, blocks)
    })?;
    let verdict = parse(&said).ok_or_else(|| anyhow!("rngtest said: {said}"))?;
    ensure!(
        verdict.blocks == blocks as u64,
        "rngtest tested {} of {blocks} blocks",
        verdict.blocks
    );
    Ok(verdict)
}

fn run(data: Vec<u8>, blocks: usize) -> Result<String> {
    let mut child = Command::new(RNGTEST)
        .args(["-c", &blocks.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(RNGTEST)?;
    let mut input = child
        .stdin
        .take()
        .context("rngtest has no standard input")?;
    // rngtest leaves when it has its blocks, maybe before the last byte.
    let feed = thread::spawn(move || drop(input.write_all(&data)));
    let output = child.wait_with_output().context(RNGTEST)?;
    feed.join()
        .map_err(|_| anyhow!("feeding rngtest panicked"))?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// rngtest exits with 1 as soon as one block fails, so its words are judged.
fn parse(said: &str) -> Option<Verdict> {
    let number = |label: &str| -> Option<u64> {
        let line = said.lines().find(|line| line.contains(label))?;
        line.rsplit(':').next()?.trim().parse().ok()
    };
    let successes = number("FIPS 140-2 successes:")?;
    let failures = number("FIPS 140-2 failures:")?;
    Some(Verdict {
        blocks: successes + failures,
        failures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
rngtest 5
Copyright (c) 2004 by Henrique de Moraes Holschuh

rngtest: starting FIPS tests...
rngtest: bits received from input: 67100032
rngtest: FIPS 140-2 successes: 3352
rngtest: FIPS 140-2 failures: 3
rngtest: FIPS 140-2(2001-10-10) Monobit: 1
rngtest: FIPS 140-2(2001-10-10) Poker: 0
rngtest: input channel speed: (min=1.164; avg=18.626; max=18.626)Gibits/s
";

    #[test]
    fn totals_are_read() {
        let verdict = parse(SAID).unwrap();
        assert_eq!((verdict.blocks, verdict.failures), (3355, 3));
        assert_eq!(parse("rngtest: entropy source drained"), None);
    }

    #[test]
    fn chance_is_allowed_and_no_more() {
        let verdict = |failures| Verdict {
            blocks: 3355,
            failures,
        };
        // Mean 2.7, sigma 1.6.
        assert_eq!(verdict(0).allowed(), 12);
        assert_eq!(
            Verdict {
                blocks: 0,
                failures: 0
            }
            .allowed(),
            0
        );
    }
}
