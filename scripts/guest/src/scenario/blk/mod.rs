// SPDX-License-Identifier: MIT OR Apache-2.0

//! The block driver at its normal work. The host gives several disks, see
//! [`protocol::disk`]; what the first one and the one that cannot be written to
//! hold in the end is compared by the host.

pub mod backend_dies;
pub mod backend_returns;
pub mod bounce;
mod cache;
mod data;
mod file_system;
mod lifecycle;
mod null;
mod resize;
pub mod speed;
pub mod synced_files;
mod verify;

use anyhow::Result;
use file_system::FileSystem;

use super::leaks;
use crate::bus;
use crate::module;
use crate::params::Params;
use crate::report::Report;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.disk_driver();
    report.check("bind", || data::bind_by_itself(driver));
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    data::run(driver, report);
    verify::run(driver, report);
    cache::run(driver, report);
    // Where the host does not expect these, the machine cannot do them.
    report.check("resize", || resize::online(driver));
    if FileSystem::Ext4.is_known() {
        report.check("resize-mounted", || resize::under_mount(driver));
    }
    for (name, kind) in [("ext4", FileSystem::Ext4), ("xfs", FileSystem::Xfs)] {
        if kind.is_known() {
            report.check(name, || file_system::run(driver, kind));
        }
    }
    if null::exists() {
        report.check("null", null::run);
    }
    lifecycle::run(params, report)?;
    leaks::run(report);
    Ok(())
}
