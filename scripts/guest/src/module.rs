// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loading and unloading kernel modules.

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use rustix::fs::OFlags;
use rustix::system::{delete_module, finit_module};

use crate::bounded::within;

const LIMIT: Duration = Duration::from_secs(60);

fn file(name: &str) -> PathBuf {
    Path::new("/modules").join(format!("{name}.ko"))
}

/// All modules that were built with the kernel.
pub fn all() -> Result<Vec<String>> {
    let entries = std::fs::read_dir("/modules").context("/modules")?;
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().to_string_lossy().into_owned();
            Some(name.strip_suffix(".ko")?.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

pub fn exists(name: &str) -> bool {
    file(name).exists()
}

pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
}

/// Loads the module unless it is in the kernel already.
pub fn load(name: &str) -> Result<()> {
    load_within(name, LIMIT)
}

/// As [`load`], for a module that does more than a driver when it is loaded.
pub fn load_within(name: &str, limit: Duration) -> Result<()> {
    load_with_within(name, "", limit)
}

/// As [`load`], with parameters.
pub fn load_with(name: &str, params: &str) -> Result<()> {
    load_with_within(name, params, LIMIT)
}

/// As [`load_within`], with parameters.
pub fn load_with_within(name: &str, params: &str, limit: Duration) -> Result<()> {
    if is_loaded(name) {
        return Ok(());
    }
    let params = CString::new(params)?;
    ensure!(exists(name), "this kernel has no module {name}");
    let path = file(name);
    within(limit, &format!("insmod {name}"), move || {
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        finit_module(&file, &params, 0).with_context(|| format!("insmod {}", path.display()))
    })
}

pub fn unload(name: &str, limit: Duration) -> Result<()> {
    let module = CString::new(name)?;
    let what = format!("rmmod {name}");
    let context = what.clone();
    within(limit, &what, move || {
        let flags = OFlags::NONBLOCK.bits().try_into()?;
        delete_module(&module, flags).context(context)
    })
}

/// As [`unload`], with the limit for a module that nothing slows down.
pub fn unload_now(name: &str) -> Result<()> {
    unload(name, LIMIT)
}
