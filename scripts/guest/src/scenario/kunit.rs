// SPDX-License-Identifier: MIT OR Apache-2.0

//! KUnit suites that sit in modules run when these are loaded; those of the
//! kernel itself have run before the first process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::Event;

use super::leaks;
use crate::report::{Measured, Report};
use crate::{bus, module, say};

/// For all suites of one module, with every checker on, no KVM and a slow machine:
/// where no test ends any more, the host gives up long before.
const SUITES: Duration = Duration::from_secs(3600);
/// Whoever loads a module waits for each of its tests as a task that hangs would, and
/// the longest test takes a good part of the usual limit.
const HUNG_TASK: &str = "/proc/sys/kernel/hung_task_timeout_secs";
const LONGEST_TEST: &str = "280";

const FAILSLAB: &str = "/sys/kernel/debug/failslab";

pub fn run(report: &mut Report) -> Result<()> {
    bus::set_autoprobe(false)?;
    arm_failslab()?;
    if Path::new(HUNG_TASK).exists() {
        fs::write(HUNG_TASK, LONGEST_TEST).context(HUNG_TASK)?;
    }
    let before = leaks::Before::look()?;
    report.check("modules", load_all);
    if let Some(before) = before {
        before.check_since(report);
    }
    Ok(())
}

/// Lets suites make allocations fail that may sleep, too, and without a
/// backtrace for each. Few kernels have this.
fn arm_failslab() -> Result<()> {
    for (name, value) in [("ignore-gfp-wait", "N"), ("verbose", "0")] {
        let path = Path::new(FAILSLAB).join(name);
        if path.exists() {
            fs::write(&path, value).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn load_all() -> Result<Measured> {
    let names = module::all()?;
    ensure!(!names.is_empty(), "the kernel was built without modules");
    for name in &names {
        say::event(&Event::Loading {
            module: name.clone(),
        });
        module::load_within(name, SUITES)?;
        // One by one: a suite wants its own driver on the devices that it makes.
        module::unload_now(name)?;
    }
    let detail = format!("loaded and unloaded: {}", names.join(", "));
    Ok(Measured::new(names.len() as f64, "modules", detail))
}
