// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device side vanishes while it is written to. Sooner or later the transport
//! notices and takes the device away; or else the disk is unbound. Either ends
//! writers, with errors.

use std::time::Duration;

use anyhow::{ensure, Result};
use protocol::Ask;

use crate::bounded::{until, Stuck};
use crate::bus;
use crate::disk::Bound;
use crate::module;
use crate::params::Params;
use crate::program::{fio, Program};
use crate::report::{Measured, Report};
use crate::say;

const LOAD: &str = include_str!("../../../jobs/load.fio");
const FLOW: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(60);
const FOREVER: Duration = Duration::from_secs(3600);
const KIB: u64 = 16 << 10;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.disk_driver();
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    let mut left = None;
    report.check("backend-dies.writers", || {
        let disk = Bound::new(0, driver)?;
        let mut load = fio(LOAD, &disk, KIB, FOREVER)?;
        until(FLOW, "requests of fio", || {
            ensure!(load.is_running()?, "fio ended: {}", load.said());
            Ok((disk.inflight()? > 0).then_some(()))
        })?;
        say::ask(Ask::KillBackend)?;
        left = Some((disk, load));
        Ok(Measured::new(
            1.0,
            "writers",
            "fio, with requests on their way",
        ))
    });
    report.check("backend-dies.unbind", || match left {
        Some((disk, load)) => unbind(disk, load),
        None => anyhow::bail!("nobody wrote"),
    });
    report.check("backend-dies.rmmod", || {
        module::unload(driver, END)?;
        Ok(Measured::new(1.0, "modules", format!("{driver} unloaded")))
    });
    Ok(())
}

/// Whatever comes first.
pub fn unbind_or_see_it_go(disk: &Bound) -> Result<()> {
    let device = &disk.device;
    until(END, "the disk to be gone", || {
        if !device.exists() {
            return Ok(Some(()));
        }
        match device.unbind(END) {
            Ok(()) => Ok(Some(())),
            Err(error) if error.is::<Stuck>() => Err(error),
            // The transport noticed in this moment, and takes the device away.
            Err(_) => Ok(None),
        }
    })
}

fn unbind(disk: Bound, mut load: Program) -> Result<Measured> {
    unbind_or_see_it_go(&disk)?;
    let (status, took) = load.ended(END)?;
    ensure!(!status.success(), "fio saw no error");
    let detail = format!("unbound, and fio {}", load.told(status));
    Ok(Measured::new(took.as_secs_f64() * 1e3, "ms", detail))
}
