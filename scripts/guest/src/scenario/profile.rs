// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the host profiles by the instructions that QEMU executes: a module loads that
//! uses a driver as often as it is told, or makes a device to be read from. All that
//! is said is where the modules are.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bus;
use crate::hwrng;
use crate::module;
use crate::params::Params;
use crate::say;

const MODULES: &str = "/sys/module";
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of a read of the guest's own.
const READ: usize = 4096;

pub fn run(params: &Params) -> Result<()> {
    let name = |key| params.get(key).with_context(|| format!("no guest.{key}"));
    let (driver, module) = (name("driver")?, name("module")?);
    // The kernel command line splits at spaces, so commas stand for them.
    let args = params.get("args").unwrap_or_default().replace(',', " ");
    // The module binds what it makes.
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    module::load_with_within(module, &args, LIMIT)?;
    say_places()?;
    // Where the module only makes the device.
    let reads = params.number("reads", 0)?;
    if reads > 0 {
        hwrng::latencies(READ, reads.try_into()?, LIMIT)?;
    }
    module::unload_now(module)?;
    module::unload_now(driver)
}

/// `module-at virtio_blk .text 0xffffffffa0000000`, for each module and section.
fn say_places() -> Result<()> {
    for module in entries(Path::new(MODULES))? {
        let sections = Path::new(MODULES).join(&module).join("sections");
        // What is built in has none.
        if !sections.exists() {
            continue;
        }
        for section in entries(&sections)?.iter().filter(|name| is_code(name)) {
            let address = fs::read_to_string(sections.join(section))?;
            say::note(format!("module-at {module} {section} {}", address.trim()));
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<String>> {
    let entries = dir.read_dir().with_context(|| dir.display().to_string())?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries.map(name).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Whether the section is of functions, and of such as stay: others take the place
/// of `.init.text`.
fn is_code(section: &str) -> bool {
    let is_text = section.ends_with(".text") || section.starts_with(".text.");
    is_text && !section.starts_with(".init")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_functions() {
        assert!(is_code(".text") && is_code(".text.unlikely") && is_code(".exit.text"));
        assert!(!is_code(".init.text") && !is_code(".data") && !is_code(".orc_unwind"));
    }
}
