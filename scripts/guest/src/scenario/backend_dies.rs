// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device side vanishes in the middle of a read. A transport that notices
//! breaks the device, and the reader gets an error. `virtio_uml` as it is in
//! Linux 7.3 only warns and tells nobody: then the reader must still be one
//! that can be killed, and one that unbind ends.

use std::time::Duration;

use anyhow::{ensure, Result};

use crate::bus::{self, Device};
use crate::hwrng::Bound;
use crate::params::Params;
use crate::reader::{describe, OnError, Reader};
use crate::report::{Measured, Report};
use crate::{module, say};

const FLOW: Duration = Duration::from_secs(60);
/// For the transport to notice, and the reader to learn of it.
const NOTICE: Duration = Duration::from_secs(10);
const DIE: Duration = Duration::from_secs(2);
const END: Duration = Duration::from_secs(30);
const CHUNK: usize = 4096;

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.driver();
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    let device = Device::rng(0)?;
    let mut second = None;
    report.check("backend-dies.reader", || {
        let bound = Bound::new(&device, driver)?;
        bound.select()?;
        let mut first = Reader::spawn(CHUNK, OnError::Exit)?;
        first.beyond(64 << 10, FLOW)?;
        second = Some(Reader::spawn(CHUNK, OnError::Exit)?);
        say::await_host(protocol::KILL_BACKEND);
        ends_or_can_be_killed(&mut first)
    });
    report.check("backend-dies.unbind", || {
        if device.exists() {
            device.unbind(END)?;
        }
        let how = match second.as_mut() {
            Some(reader) => describe(reader.ended(END)?.0),
            None => "never ran".into(),
        };
        let detail = format!("unbound, and the other reader {how}");
        Ok(Measured::new(1.0, "devices", detail))
    });
    report.check("backend-dies.rmmod", || {
        module::unload(driver, END)?;
        Ok(Measured::new(1.0, "modules", format!("{driver} unloaded")))
    });
    Ok(())
}

fn ends_or_can_be_killed(reader: &mut Reader) -> Result<Measured> {
    if let Ok((status, took)) = reader.ended(NOTICE) {
        ensure!(status.code().is_some(), "the reader {}", describe(status));
        let detail = format!("a reader in mid-read {}", describe(status));
        return Ok(Measured::new(took.as_secs_f64() * 1e3, "ms", detail));
    }
    let took = reader.die(DIE)?;
    let detail = "the transport told nobody; the reader that waited could be killed";
    Ok(Measured::new(took.as_secs_f64() * 1e3, "ms", detail))
}
