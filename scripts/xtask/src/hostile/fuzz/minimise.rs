// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fewer lies that do the same.

use anyhow::Result;

/// Leaves out what is not needed for `is_bad`: halves, then quarters, and so on, until
/// nothing can go or `tries` are used up.
pub fn minimise<T: Clone>(
    mut all: Vec<T>,
    mut tries: usize,
    mut is_bad: impl FnMut(&[T]) -> Result<bool>,
) -> Result<Vec<T>> {
    let mut parts = 2;
    while all.len() > 1 && tries > 0 {
        let size = all.len().div_ceil(parts);
        let mut shrunk = None;
        for start in (0..all.len()).step_by(size) {
            if tries == 0 {
                break;
            }
            tries -= 1;
            let end = (start + size).min(all.len());
            let rest = [&all[..start], &all[end..]].concat();
            if is_bad(&rest)? {
                shrunk = Some(rest);
                break;
            }
        }
        match shrunk {
            Some(rest) => {
                all = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(all.len()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays() {
        let all: Vec<u32> = (0..100).collect();
        let needed = |rest: &[u32]| Ok(rest.contains(&17) && rest.contains(&60));
        assert_eq!(minimise(all.clone(), 1000, needed).unwrap(), [17, 60]);
        let mut count = 0;
        let counted = |rest: &[u32]| {
            count += 1;
            needed(rest)
        };
        let less = minimise(all, 10, counted).unwrap();
        assert!(less.contains(&17) && less.contains(&60) && less.len() < 100);
        assert_eq!(count, 10);
    }
}
