// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a value is on an axis.

/// As many ticks fit.
const TICKS: f64 = 8.0;

#[derive(Debug)]
pub struct Scale {
    /// Equal ratios have equal lengths.
    log: bool,
    low: f64,
    high: f64,
    pub ticks: Vec<f64>,
}

impl Scale {
    /// From zero, in equal steps.
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let high = range(values).map_or(1.0, |(_, high)| high);
        let high = if high > 0.0 { high * 1.05 } else { 1.0 };
        Self::linear(0.0, high, step(0.0, high))
    }

    /// In equal ratios, between round numbers.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values.filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
        let (first, mut last) = (round_down(low), round_up(high));
        if first == last {
            last = round_up(high * 1.5);
        }
        Self {
            log: true,
            low: first,
            high: last,
            ticks: round_numbers(first, last),
        }
    }

    /// Of ratios near one: with that on it, in equal steps.
    pub fn around_one(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values.chain([0.99, 1.01])).unwrap_or((0.99, 1.01));
        let step = step(low, high);
        Self::linear(
            (low / step).floor() * step,
            (high / step).ceil() * step,
            step,
        )
    }

    /// In equal ratios, with a tick at each of these.
    pub fn at(values: &[u32]) -> Self {
        let ticks: Vec<_> = values.iter().map(|value| f64::from(*value)).collect();
        let (low, high) = range(ticks.iter().copied()).unwrap_or((1.0, 1.0));
        Self {
            log: true,
            low: low / 1.4,
            high: high * 1.4,
            ticks,
        }
    }

    fn linear(low: f64, high: f64, step: f64) -> Self {
        let (first, last) = (
            (low / step).round() as i64,
            (high / step + 1e-9).floor() as i64,
        );
        Self {
            log: false,
            low,
            high,
            ticks: (first..=last).map(|n| n as f64 * step).collect(),
        }
    }

    /// Where the value is between `start` and `end`.
    pub fn pixel(&self, value: f64, start: i32, end: i32) -> i32 {
        let along = |value: f64| if self.log { value.ln() } else { value };
        let part = (along(value) - along(self.low)) / (along(self.high) - along(self.low));
        start + (part.clamp(0.0, 1.0) * f64::from(end - start)).round() as i32
    }
}

/// Between ticks.
fn step(low: f64, high: f64) -> f64 {
    round_up((high - low) / TICKS)
}

/// The smallest and the largest of the numbers that are numbers.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// The largest of 1, 2, 5, 10, ... that is not above.
fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [10.0, 5.0, 2.0].into_iter().map(|step| step * power);
    let mut below = steps.filter(|step| *step <= value * (1.0 + f64::EPSILON));
    below.next().unwrap_or(power)
}

/// The smallest of 1, 2, 5, 10, ... that is not below.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].into_iter().map(|step| step * power);
    let mut above = steps.filter(|step| *step >= value * (1.0 - f64::EPSILON));
    above.next().unwrap_or(10.0 * power)
}

/// 1, 2, 5, 10, ... or fewer of them if there were too many.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = match high / low {
        small if small < 101.0 => &[1.0, 2.0, 5.0],
        medium if medium < 1001.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let numbers = (first..=last).flat_map(|power| steps.iter().map(move |s| s * 10f64.powi(power)));
    let slack = 1e-9;
    numbers
        .filter(|number| (low * (1.0 - slack)..=high * (1.0 + slack)).contains(number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_from_zero() {
        let scale = Scale::from_zero([930.0, 400.0].into_iter());
        assert_eq!(scale.ticks, [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert_eq!(scale.pixel(0.0, 100, 0), 100);
        assert!(scale.pixel(930.0, 100, 0) < 10);
    }

    #[test]
    fn equal_ratios_have_equal_lengths() {
        let scale = Scale::log([1.0, 100.0].into_iter());
        assert_eq!(scale.ticks, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(scale.pixel(10.0, 0, 100), 50);
        let decades = Scale::log([3.0, 200_000.0].into_iter());
        assert_eq!(decades.ticks.first(), Some(&10.0));
        assert_eq!(decades.ticks.last(), Some(&1e5));
    }

    #[test]
    fn one_is_on_the_scale_of_ratios() {
        let near = Scale::around_one([0.9, 0.97].into_iter());
        assert!((1..100).contains(&near.pixel(1.0, 0, 100)), "{near:?}");
        assert!(near.ticks.contains(&1.0), "{near:?}");
    }

    #[test]
    fn nothing_and_one_value_are_no_trouble() {
        for values in [&[][..], &[0.0], &[7.0], &[f64::NAN], &[f64::INFINITY]] {
            let values = || values.iter().copied();
            for scale in [
                Scale::from_zero(values()),
                Scale::log(values()),
                Scale::around_one(values()),
            ] {
                assert!(scale.low < scale.high, "{scale:?}");
                assert!((2..20).contains(&scale.ticks.len()), "{scale:?}");
            }
        }
        assert_eq!(Scale::at(&[8]).pixel(8.0, 0, 100), 50);
        assert!(Scale::at(&[]).ticks.is_empty());
    }
}
