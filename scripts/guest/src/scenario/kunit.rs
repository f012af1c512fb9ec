// SPDX-License-Identifier: MIT OR Apache-2.0

//! KUnit suites that sit in modules run when these are loaded; those of the
//! kernel itself have run before the first process.

use anyhow::{ensure, Result};

use crate::report::{Measured, Report};
use crate::{bus, module};

pub fn run(report: &mut Report) -> Result<()> {
    bus::set_autoprobe(false)?;
    report.check("modules", load_all);
    Ok(())
}

fn load_all() -> Result<Measured> {
    let names = module::all()?;
    ensure!(!names.is_empty(), "the kernel was built without modules");
    for name in &names {
        module::load(name)?;
    }
    for name in &names {
        module::unload_now(name)?;
    }
    let detail = format!("loaded and unloaded: {}", names.join(", "));
    Ok(Measured::new(names.len() as f64, "modules", detail))
}
