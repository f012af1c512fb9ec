// SPDX-License-Identifier: MIT OR Apache-2.0

//! The sample driver on an entropy device: it reports what it read.

use std::time::Duration;

use anyhow::Result;

use crate::bus::{Device, LIMIT};
use crate::kmsg::Kmsg;
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Skip};

const SAMPLE: &str = "rust_driver_virtio";

pub fn run(params: &Params) -> Result<Measured> {
    if params.is_control() && !module::exists(SAMPLE) {
        return Err(Skip(format!("this kernel has no module {SAMPLE}")).into());
    }
    module::load(SAMPLE)?;
    let device = Device::rng(1)?;
    let mut log = Kmsg::from_now()?;
    device.bind(SAMPLE)?;
    let said = log.wait_for(&[SAMPLE, "bytes"], Duration::from_secs(60))?;
    device.unbind(LIMIT)?;
    module::unload_now(SAMPLE)?;
    Ok(Measured::new(1.0, "devices", said))
}
