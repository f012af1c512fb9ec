// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a guest can be asked to do: `guest.scenario=NAME`.

mod backend_dies;
mod blk;
mod cost;
mod cost_blk;
mod cost_of_driver;
mod cost_rng;
mod hostile;
mod kunit;
mod leaks;
mod profile;
mod rng;
mod rng_lifecycle;
mod sample;
mod shell;
mod slow;
mod suspend;
mod throughput;

use anyhow::{bail, Result};

use crate::kmsg;
use crate::params::Params;
use crate::report::Report;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let name = params.scenario();
    match name {
        "smoke" => return Ok(()),
        "kunit" => kunit::run(report)?,
        "cost" => cost::run(params, report)?,
        "cost-blk" => cost_blk::run(params, report)?,
        "cost-rng" => cost_rng::run(params, report)?,
        "profile" => profile::run(params)?,
        "shell" => return shell::run(params),
        // The host is the one to judge, of the log as well.
        "hostile" => return hostile::run(params),
        "throughput" => throughput::run(params, report)?,
        "rng" => rng::run(params, report)?,
        "slow" => slow::run(params, report)?,
        "suspend" => suspend::run(params, report)?,
        "backend-dies" => backend_dies::run(params, report)?,
        "blk" => blk::run(params, report)?,
        "blk-speed" => blk::speed::run(params, report)?,
        "blk-bounce" => blk::bounce::run(report)?,
        "blk-backend-dies" => blk::backend_dies::run(params, report)?,
        "blk-backend-returns" => blk::backend_returns::run(params, report)?,
        "blk-power-cut" => blk::synced_files::until_power_is_cut(params, report)?,
        "blk-backend-restarts" => blk::synced_files::until_backend_dies(params, report)?,
        "blk-what-is-left" => blk::synced_files::what_is_left(params, report)?,
        _ => bail!("there is no scenario {name}"),
    }
    // The checks of these scenarios bear no prefix.
    let last = match name {
        "rng" | "blk" | "kunit" | "cost" => "kernel-log".to_owned(),
        "cost-blk" => "blk-kernel-log".to_owned(),
        "cost-rng" => "rng-kernel-log".to_owned(),
        _ => format!("{}.kernel-log", name.trim_start_matches("blk-")),
    };
    report.check(&last, || kmsg::is_clean(name));
    Ok(())
}
