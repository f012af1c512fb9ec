// SPDX-License-Identifier: MIT OR Apache-2.0

//! What must hold of random data whatever the device is: nothing was left
//! unfilled and nothing was handed out twice.

use std::collections::HashSet;

use anyhow::{ensure, Result};

/// As long as what the hwrng core asks a driver for at once.
const BLOCK: usize = 64;

/// Fails if `data` has a repeated block or a byte value that is far too rare.
pub fn check(data: &[u8]) -> Result<()> {
    let mut seen = HashSet::new();
    for (index, block) in data.chunks_exact(BLOCK).enumerate() {
        ensure!(
            seen.insert(block),
            "the {BLOCK} bytes at offset {} came twice: {:02x?}...",
            index * BLOCK,
            &block[..8]
        );
    }
    // Each of the 256 values is expected len/256 times; half of that is out of
    // reach of chance from a few dozen on.
    if data.len() >= 256 * 128 {
        let mut counts = [0_usize; 256];
        data.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let rarest = counts.iter().min().copied().unwrap_or(0);
        ensure!(
            rarest > data.len() / 512,
            "a byte value came only {rarest} times"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marsaglia's xorshift: random enough for this test.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn noise_passes() {
        check(&noise(1 << 16)).unwrap();
    }

    #[test]
    fn constants_and_repetitions_do_not() {
        assert!(check(&[0; 256]).is_err());
        let mut data = noise(1 << 16);
        data.copy_within(0..64, 640);
        assert!(check(&data).is_err());
    }

    #[test]
    fn a_missing_byte_value_is_found() {
        let data: Vec<_> = noise(1 << 16).into_iter().map(|byte| byte | 1).collect();
        assert!(check(&data).is_err());
    }
}
