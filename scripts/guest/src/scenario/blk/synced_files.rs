// SPDX-License-Identifier: MIT OR Apache-2.0

//! A file system with a journal under load, until the host cuts the power or ends
//! the back end; and what is left of it in the next boot. What was synced must be
//! there.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use protocol::disk::{fill, first_difference, Random, SECTOR};
use protocol::{Ask, Event};

use super::backend_dies::unbind_or_see_it_go;
use super::cache::WRITE_BACK;
use super::file_system::{self, FileSystem, AT};
use crate::bounded::{until, within};
use crate::bus::{self, LIMIT};
use crate::disk::{Bound, IO_LIMIT};
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Report};
use crate::say;

/// More than fit into the time that the host gives.
const FILES: u64 = 20_000;
/// How many the load keeps that nobody syncs.
const NOISE: u64 = 40;
/// Before the back end is ended, and how long that may take.
const ENOUGH: u64 = 40;
const FLOW: Duration = Duration::from_secs(60);

pub fn until_power_is_cut(params: &Params, report: &mut Report) -> Result<()> {
    let disk = bind(params)?;
    report.check("load", || {
        make(&disk)?;
        store_all(&AtomicU64::new(0))?;
        bail!("nobody cut the power");
    });
    Ok(())
}

pub fn until_backend_dies(params: &Params, report: &mut Report) -> Result<()> {
    let disk = bind(params)?;
    let mut left = None;
    report.check("backend-restarts.load", || {
        make(&disk)?;
        let stored = Arc::new(AtomicU64::new(0));
        let storing = thread::spawn({
            let stored = stored.clone();
            move || store_all(&stored)
        });
        let stored = until(FLOW, "files to be synced", || {
            ensure!(!storing.is_finished(), "a file could not be synced");
            let stored = stored.load(Ordering::Relaxed);
            Ok((stored >= ENOUGH).then_some(stored))
        })?;
        say::ask(Ask::KillBackend)?;
        left = Some(storing);
        let detail = "synced one after the other, and some that nobody syncs";
        Ok(Measured::new(stored as f64, "files", detail))
    });
    report.check("backend-restarts.unbind", || {
        let storing = left.context("nobody wrote")?;
        unbind_or_see_it_go(&disk)?;
        let storing = move || Ok(storing.join());
        let Ok(Err(error)) = within(LIMIT, "syncing a file", storing)? else {
            bail!("nobody saw an error");
        };
        let detail = format!("unbound, and then: {error:#}");
        Ok(Measured::new(1.0, "devices", detail))
    });
    Ok(())
}

/// A file system, and the files in it that nobody syncs.
fn make(disk: &Bound) -> Result<()> {
    // The storage daemon claims to have no cache, until it is told to.
    if disk.read_attribute("cache_type")? != WRITE_BACK {
        disk.write_attribute("cache_type", WRITE_BACK)?;
    }
    FileSystem::Ext4.make(disk)?;
    FileSystem::Ext4.mount(disk)?;
    thread::spawn(make_noise);
    Ok(())
}

/// Stores all files, and tells the host and `stored` of each that is there for
/// good.
fn store_all(stored: &AtomicU64) -> Result<()> {
    for number in 0..FILES {
        store(number).with_context(|| format!("file {number}"))?;
        say::event(&Event::Stored { count: number + 1 });
        stored.store(number + 1, Ordering::Relaxed);
    }
    Ok(())
}

pub fn what_is_left(params: &Params, report: &mut Report) -> Result<()> {
    let stored = params.number("stored", 0)?;
    let disk = bind(params)?;
    report.check("what-is-left.mount", || {
        FileSystem::Ext4.mount(&disk)?;
        Ok(Measured::new(1.0, "times", "the journal was recovered"))
    });
    report.check("what-is-left.files", || {
        within(IO_LIMIT, "reading the files", move || {
            (0..stored).try_for_each(|number| {
                check(number).with_context(|| format!("of {stored} files that were synced"))
            })
        })?;
        Ok(Measured::new(
            stored as f64,
            "files",
            "that were synced are there",
        ))
    });
    report.check("what-is-left.fsck", || {
        file_system::unmount_it()?;
        FileSystem::Ext4.is_clean(&disk)?;
        disk.unbind(LIMIT)?;
        Ok(Measured::new(1.0, "times", "e2fsck is content"))
    });
    Ok(())
}

fn bind(params: &Params) -> Result<Bound> {
    let driver = params.disk_driver();
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    Bound::new(0, driver)
}

fn path(number: u64) -> PathBuf {
    Path::new(AT).join(format!("dir{}/file{number}", number % 9))
}

/// Of the file with this number, in bytes.
fn len(number: u64) -> usize {
    (1 + Random::new(number).below(40)) as usize * SECTOR
}

fn content(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; len(number)];
    fill(number, 0, &mut bytes);
    bytes
}

/// Returns when the file is there for good, by its name.
fn store(number: u64) -> Result<()> {
    let path = path(number);
    let dir = path.parent().unwrap_or(Path::new(AT));
    if !dir.exists() {
        fs::create_dir(dir)?;
        File::open(AT)?.sync_all().context("fsync of the root")?;
    }
    let mut file = File::create(&path)?;
    file.write_all(&content(number))?;
    file.sync_all().context("fsync")?;
    File::open(dir)?
        .sync_all()
        .context("fsync of the directory")
}

fn check(number: u64) -> Result<()> {
    let path = path(number);
    let mut bytes = Vec::new();
    let mut file = File::open(&path).with_context(|| path.display().to_string())?;
    file.read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() == len(number) && first_difference(number, 0, &bytes).is_none(),
        "{} is not what was written: {} bytes",
        path.display(),
        bytes.len()
    );
    Ok(())
}

/// Files that come, change and go while others are synced.
fn make_noise() {
    let dir = Path::new(AT).join("noise");
    let _ = fs::create_dir(&dir);
    for number in 0.. {
        let path = |number: u64| dir.join(format!("{}", number % NOISE));
        let _ = fs::write(path(number), content(number));
        let _ = fs::rename(path(number), path(number + 7));
        let _ = fs::remove_file(path(number + 11));
        thread::yield_now();
    }
}
