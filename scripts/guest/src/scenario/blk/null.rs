// SPDX-License-Identifier: MIT OR Apache-2.0

//! The null device in Rust, which uses what Linux had of the block layer in Rust
//! before.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{ensure, Context as _, Result};

use crate::bounded::within;
use crate::disk::IO_LIMIT;
use crate::module;
use crate::report::Measured;

const MODULE: &str = "rnull_mod";
const NAME: &str = "rnullb0";
const SUBSYSTEM: &str = "/sys/kernel/config/rnull";
const LEN: usize = 1 << 20;

pub fn exists() -> bool {
    module::exists(MODULE)
}

pub fn run() -> Result<Measured> {
    module::load(MODULE)?;
    let dir = Path::new(SUBSYSTEM).join(NAME);
    let power = dir.join("power");
    fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
    fs::write(&power, "1").context("power on")?;
    within(IO_LIMIT, "reading from the null device", || {
        let path = Path::new("/dev").join(NAME);
        let mut disk = File::open(&path).with_context(|| path.display().to_string())?;
        disk.read_exact(&mut vec![0xa5; LEN])?;
        Ok(())
    })?;
    within(IO_LIMIT, "ending the null device", move || {
        fs::write(&power, "0").context("power off")?;
        fs::remove_dir(&dir).context("rmdir")
    })?;
    module::unload_now(MODULE)?;
    ensure!(!module::is_loaded(MODULE), "{MODULE} is still there");
    Ok(Measured::new(
        LEN as f64,
        "bytes",
        "read from the null device",
    ))
}
