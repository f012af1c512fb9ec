// SPDX-License-Identifier: MIT OR Apache-2.0

//! Figures of a benchmark, gathered in turns and sent to the host at the end.

use std::collections::BTreeMap;

use anyhow::Result;
use protocol::bench::{Sample, Shape, Side};
use protocol::Event;

use crate::say;

type Key = (String, &'static str, Shape, Side);

#[derive(Debug, Default)]
pub struct Figures(BTreeMap<Key, Vec<f64>>);

impl Figures {
    /// Adds what was measured in one turn of `side`.
    pub fn add(&mut self, of: &str, unit: &'static str, side: Side, shape: Shape, value: f64) {
        let key = (of.to_owned(), unit, shape, side);
        self.0.entry(key).or_default().push(value);
    }

    pub fn of(&self, of: &str, unit: &'static str, shape: Shape, side: Side) -> &[f64] {
        let found = self.0.get(&(of.to_owned(), unit, shape, side));
        found.map_or(&[], Vec::as_slice)
    }

    pub fn send(self) -> usize {
        let count = self.0.len();
        for ((of, unit, shape, side), values) in self.0 {
            say::event(&Event::Sample(Sample {
                of,
                unit: unit.into(),
                side,
                shape,
                values,
            }));
        }
        count
    }
}

/// Lets all sides measure, one after the other, so many times. The order is
/// another one each time, so that nobody always has the machine in the state in
/// which the same other one left it.
pub fn by_turns<S: Copy>(
    sides: &[S],
    turns: u64,
    mut measure: impl FnMut(S) -> Result<()>,
) -> Result<()> {
    for turn in 0..turns as usize {
        for place in 0..sides.len() {
            let place = match turn % 2 {
                0 => place,
                _ => sides.len() - 1 - place,
            };
            measure(sides[place])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_the_first_changes() {
        let mut order = Vec::new();
        let measure = |side| {
            order.push(side);
            Ok(())
        };
        by_turns(&['a', 'b', 'c'], 2, measure).unwrap();
        assert_eq!(order, ['a', 'b', 'c', 'c', 'b', 'a']);
    }

    #[test]
    fn figures_stay_in_the_order_of_the_turns() {
        let mut figures = Figures::default();
        let shape = Shape::single(4096);
        for value in [3.0, 1.0, 2.0] {
            figures.add("blk.read", "instructions", Side::C, shape, value);
        }
        let of = |side| figures.of("blk.read", "instructions", shape, side);
        assert_eq!(of(Side::C), [3.0, 1.0, 2.0]);
        assert!(of(Side::Rust).is_empty());
    }
}
