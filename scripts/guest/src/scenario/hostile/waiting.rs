// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is done to a reader that waits for the device.

use std::time::Duration;

use anyhow::{anyhow, Result};
use protocol::hostile::Met;

use super::part::{blame, count};
use super::{Subject, QUICK};
use crate::bounded::Stuck;
use crate::reader::{describe, Reader};
use crate::say;
use crate::scenario::suspend;

/// A reader that does not even die of that is stuck.
pub fn kill(reader: &mut Reader, met: &mut Met) {
    match reader.die(QUICK) {
        Ok(_) => met.good += 1,
        Err(error) => match reader.ended(Duration::ZERO) {
            // It had ended before.
            Ok(_) => blame(met, &error),
            Err(_) => met.stuck = Some(format!("{error:#}")),
        },
    }
}

/// Unbinds, which is to end the reader, if there is one.
pub fn unbind<S: Subject>(subject: S, reader: &mut Option<Reader>, met: &mut Met) -> Result<()> {
    count(met, subject.unbind(QUICK))?;
    let Some(reader) = reader else {
        return Ok(());
    };
    match reader.ended(QUICK) {
        Ok((status, _)) => {
            say::note(format!("the reader {}", describe(status)));
            met.good += 1;
        }
        Err(error) => met.stuck = Some(format!("{error:#}")),
    }
    Ok(())
}

/// Suspends all devices and resumes them.
pub fn suspend(met: &mut Met) -> Result<()> {
    let done = match suspend::impossible() {
        Some(why) => Err(anyhow!(why)),
        None => suspend::devices(),
    };
    count(met, done)?;
    Ok(())
}

/// A reader is of use even if it does not wait: then it goes on, or has ended, and
/// how is told later.
pub fn settle(waits: Result<()>) -> Result<()> {
    match waits {
        Err(error) if error.is::<Stuck>() => Err(error),
        Err(error) => {
            say::note(format!("{error:#}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
