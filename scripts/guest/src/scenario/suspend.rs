// SPDX-License-Identifier: MIT OR Apache-2.0

//! Suspend of the devices and back, by the kernel's own suspend test.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::rng::read_from;
use crate::bounded::within;
use crate::bus::{self, Device, LIMIT};
use crate::hwrng::Bound;
use crate::params::Params;
use crate::report::{Measured, Report, Skip};
use crate::{module, sanity};

const TEST: &str = "/sys/power/pm_test";
const STATE: &str = "/sys/power/state";
const DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    report.check("suspend", || freeze_and_thaw(params.driver()));
    Ok(())
}

fn freeze_and_thaw(driver: &str) -> Result<Measured> {
    const TIMES: usize = 3;
    if let Some(why) = impossible() {
        return Err(Skip(why).into());
    }
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    let bound = Bound::new(&Device::rng(0)?, driver)?;
    let started = Instant::now();
    for _ in 0..TIMES {
        sanity::check(&read_from(&bound)?).context("before suspend")?;
        devices()?;
        sanity::check(&read_from(&bound)?).context("after resume")?;
    }
    let took = started.elapsed().as_secs_f64();
    bound.unbind(LIMIT)?;
    let detail = format!("devices frozen and restored in {took:.1} s, reads before and after");
    Ok(Measured::new(TIMES as f64, "times", detail))
}

/// Why this kernel cannot suspend its devices, if it cannot.
pub fn impossible() -> Option<String> {
    let files = [TEST, STATE];
    let missing = files.into_iter().find(|file| !Path::new(file).exists())?;
    Some(format!("this kernel has no {missing}"))
}

/// Suspends all devices and resumes them.
pub fn devices() -> Result<()> {
    // The test stays suspended for this many seconds; 5 unless told.
    let _ = fs::write(DELAY, "1");
    fs::write(TEST, "devices").context(TEST)?;
    within(Duration::from_secs(90), "suspend", || {
        fs::write(STATE, "freeze").context("suspend")
    })
}
