// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts of a run: done, timed and told.

use std::time::Instant;

use anyhow::{Error, Result};
use protocol::hostile::{Met, Part};
use protocol::Event;

use crate::bounded::Stuck;
use crate::say;

/// Characters of a text: two of these must fit into one record.
const LONGEST_TEXT: usize = 200;

/// Does a part and tells what came of it. Returns whether there is any sense in
/// another one: not after something got stuck, as the kernel may hold any lock.
pub fn part(part: Part, body: impl FnOnce(&mut Met) -> Result<()>) -> bool {
    begin(part);
    tell(part, body)
}

pub fn begin(part: Part) {
    let name = format!("{part:?}").to_lowercase();
    say::event(&Event::Begin { name });
}

/// As [`part`], for a part that is told of in pieces.
pub fn tell(part: Part, body: impl FnOnce(&mut Met) -> Result<()>) -> bool {
    let started = Instant::now();
    let mut met = Met::new(part);
    if let Err(error) = body(&mut met) {
        blame(&mut met, &error);
    }
    met.millis = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    met.error = met.error.map(shorten);
    met.stuck = met.stuck.map(shorten);
    let on = met.stuck.is_none();
    say::event(&Event::Met(met));
    on
}

/// Notes an error as what it is: the end of everything, or of one operation.
pub fn blame(met: &mut Met, error: &Error) {
    let text = format!("{error:#}");
    match error.is::<Stuck>() {
        true => met.stuck = Some(text),
        false => {
            met.count::<()>(Err(text));
        }
    }
}

/// Counts an operation.
///
/// # Errors
/// When it is stuck.
pub fn count<T>(met: &mut Met, result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.is::<Stuck>() => Err(error),
        result => Ok(met.count(result.map_err(|error| format!("{error:#}")))),
    }
}

fn shorten(text: String) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::{anyhow, Context as _};

    use super::*;
    use crate::bounded;

    #[test]
    fn errors_are_counted_and_what_is_stuck_is_not() {
        let mut met = Met::new(Part::Work);
        assert_eq!(count(&mut met, Ok(1)).unwrap(), Some(1));
        assert_eq!(count::<()>(&mut met, Err(anyhow!("no"))).unwrap(), None);
        let stuck = bounded::within(Duration::from_millis(10), "sleep", || {
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        });
        let error = count(&mut met, stuck.context("night")).unwrap_err();
        assert_eq!((met.good, met.failed), (1, 1));
        assert_eq!(met.stuck, None);
        blame(&mut met, &error);
        assert_eq!(met.failed, 1);
        assert!(met.stuck.unwrap().starts_with("night: sleep did not"));
    }

    #[test]
    fn the_longest_texts_fit_into_a_record() {
        let mut met = Met::new(Part::Work);
        met.error = Some(shorten("\"".repeat(300)));
        met.stuck = Some(shorten("x".repeat(300)));
        let numbers = [
            &mut met.good,
            &mut met.good_after_error,
            &mut met.failed,
            &mut met.stale,
            &mut met.blank,
            &mut met.millis,
        ];
        numbers.into_iter().for_each(|number| *number = u64::MAX);
        assert!(protocol::encode(&Event::Met(met)).len() < 1000);
    }
}
