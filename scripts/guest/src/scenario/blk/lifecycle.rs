// SPDX-License-Identifier: MIT OR Apache-2.0

//! Comings and goings, with fio at work on the disk.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};
use protocol::disk::{KIB, PLUGGABLE, SCRATCH};
use protocol::Ask;

use crate::bounded::{until, within};
use crate::bus::{self, Device, LIMIT};
use crate::disk::{slot, Bound, Cache};
use crate::params::Params;
use crate::program::{fio, Program};
use crate::report::{Measured, Report, Skip};
use crate::scenario::{leaks, suspend};
use crate::{module, say, uml};

const LOAD: &str = include_str!("../../../jobs/load.fio");
const FOREVER: Duration = Duration::from_secs(3600);
/// For fio to start, on an emulated machine.
const FLOW: Duration = Duration::from_secs(60);
/// For fio to notice that its disk is gone.
const END: Duration = Duration::from_secs(60);
/// For a slot: it blinks for 5 s before it gives anything up.
const PLUG: Duration = Duration::from_secs(90);

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.disk_driver();
    let cycles = |usual| params.number("cycles", usual);
    // An emulated machine takes long to start fio.
    let usual = match uml::is_slot(&slot(SCRATCH)?.name()) {
        true => 20,
        false => 5,
    };
    let (binds, plugs) = (cycles(usual)?, cycles(4)?);
    report.check("cycles", || under_load(driver, binds));
    if slot(PLUGGABLE).is_ok() {
        report.check("hotplug", || hotplug(driver, plugs));
        report.check("function-reset", || function_reset(driver));
    }
    report.check("suspend", || suspended(driver));
    report.check("reload", || reload(driver));
    Ok(())
}

/// Starts fio on a disk, and waits until it has requests on their way.
fn load(disk: &Bound, limit: Duration) -> Result<Program> {
    let mut load = fio(LOAD, disk, KIB[PLUGGABLE], limit)?;
    flows(disk, &mut load)?;
    Ok(load)
}

fn flows(disk: &Bound, load: &mut Program) -> Result<()> {
    until(FLOW, "requests of fio", || {
        if !load.is_running()? {
            let (status, _) = load.ended(END)?;
            bail!("fio {}", load.told(status));
        }
        Ok((disk.inflight()? > 0).then_some(()))
    })
}

/// Unbinds while requests are on their way; fio ends, the disk comes back.
fn under_load(driver: &str, cycles: u64) -> Result<Measured> {
    let started = Instant::now();
    for cycle in 0..cycles {
        one_unbind(driver, cycle).with_context(|| format!("cycle {cycle}"))?;
    }
    let disk = Bound::new(SCRATCH, driver)?;
    disk.write(Cache::Direct, 5, 0, 1 << 20)?;
    disk.holds(Cache::Direct, 5, 0, 1 << 20)?;
    disk.unbind(LIMIT)?;
    let took = started.elapsed().as_secs_f64();
    let detail = format!("unbound under fio and bound again, in {took:.1} s");
    Ok(Measured::new(cycles as f64, "cycles", detail))
}

fn one_unbind(driver: &str, cycle: u64) -> Result<()> {
    let disk = Bound::new(SCRATCH, driver)?;
    let mut load = load(&disk, FOREVER)?;
    disk.unbind(LIMIT)?;
    load.ended(END)?;
    if cycle % 2 == 1 {
        // Nobody has the disk open any more, so the module can go, too.
        module::unload_now(driver)?;
        module::load(driver)?;
    }
    Ok(())
}

/// Pulled out under fio, and plugged in again.
fn hotplug(driver: &str, cycles: u64) -> Result<Measured> {
    let started = Instant::now();
    let port = port()?;
    for cycle in 0..cycles {
        one_unplug(driver, &port).with_context(|| format!("cycle {cycle}"))?;
    }
    let disk = Bound::new(PLUGGABLE, driver)?;
    disk.write(Cache::Direct, 6, 0, 1 << 20)?;
    disk.holds(Cache::Direct, 6, 0, 1 << 20)?;
    disk.unbind(LIMIT)?;
    let took = started.elapsed().as_secs_f64();
    let detail = format!("pulled out under fio and plugged in again, in {took:.1} s");
    Ok(Measured::new(cycles as f64, "cycles", detail))
}

/// The file that turns the power of the disk's slot off.
fn port() -> Result<String> {
    // QEMU is told to number the slots so.
    let path = format!("/sys/bus/pci/slots/{}/power", PLUGGABLE + 1);
    ensure!(fs::exists(&path)?, "there is no {path}");
    Ok(path)
}

fn one_unplug(driver: &str, port: &str) -> Result<()> {
    let disk = Bound::new(PLUGGABLE, driver)?;
    let mut load = load(&disk, FOREVER)?;
    say::ask(Ask::Unplug { disk: PLUGGABLE })?;
    // Somebody pressed the button; this is what the slot does 5 s later.
    let power = port.to_owned();
    within(PLUG, "turning the slot off", move || {
        fs::write(&power, "0").context(power)
    })?;
    until(PLUG, "the disk to be gone", || {
        Ok((!disk.device.exists()).then_some(()))
    })?;
    load.ended(END)?;
    until(PLUG, "QEMU to plug the disk in", || {
        Ok(say::ask(Ask::Plug { disk: PLUGGABLE }).ok())
    })?;
    until(PLUG, "the disk to be back", || {
        Ok(Device::disks()?
            .iter()
            .any(|it| *it == disk.device && it.exists())
            .then_some(()))
    })
}

/// fio does not notice that the PCI function was reset.
fn function_reset(driver: &str) -> Result<Measured> {
    const TIMES: usize = 5;
    let runtime = Duration::from_secs(8);
    let disk = Bound::new(PLUGGABLE, driver)?;
    let len = 1 << 20;
    let at = (KIB[PLUGGABLE] << 10) - len as u64;
    disk.write(Cache::Direct, 11, at, len)?;
    let mut load = fio(LOAD, &disk, KIB[PLUGGABLE] / 2, runtime)?;
    for _ in 0..TIMES {
        flows(&disk, &mut load)?;
        disk.device.reset_function()?;
    }
    load.succeeds(runtime + END)?;
    disk.holds(Cache::Direct, 11, at, len)?;
    disk.unbind(LIMIT)?;
    let detail = "the function reset under fio, which saw no error";
    Ok(Measured::new(TIMES as f64, "times", detail))
}

/// fio does not notice that all devices were suspended.
fn suspended(driver: &str) -> Result<Measured> {
    const TIMES: usize = 2;
    if let Some(why) = suspend::impossible() {
        return Err(Skip(why).into());
    }
    // For both suspends, which are to find fio at work.
    let runtime = Duration::from_secs(if leaks::is_there() { 24 } else { 8 });
    let disk = Bound::new(SCRATCH, driver)?;
    disk.write(Cache::Direct, 9, 32 << 20, 1 << 20)?;
    let mut load = load(&disk, runtime)?;
    for _ in 0..TIMES {
        suspend::devices()?;
        flows(&disk, &mut load)?;
    }
    load.succeeds(runtime + END)?;
    disk.holds(Cache::Direct, 9, 32 << 20, 1 << 20)?;
    disk.unbind(LIMIT)?;
    let detail = "devices frozen and restored under fio, which saw no error";
    Ok(Measured::new(TIMES as f64, "times", detail))
}

/// Unloads the idle module, and the one with bound devices, and loads it again.
fn reload(driver: &str) -> Result<Measured> {
    const TIMES: usize = 3;
    for _ in 0..TIMES {
        module::unload_now(driver).context("idle")?;
        bus::set_autoprobe(true)?;
        module::load(driver)?;
        bus::set_autoprobe(false)?;
        let disk = Bound::of(&slot(SCRATCH)?)?;
        disk.write(Cache::Buffered, 3, 0, 1 << 20)?;
        disk.holds(Cache::Direct, 3, 0, 1 << 20)?;
        module::unload_now(driver).context("bound")?;
        let left = slot(SCRATCH)?.driver();
        ensure!(left.is_none(), "still bound to {left:?} after rmmod");
        module::load(driver)?;
    }
    let detail = "rmmod idle and bound, then insmod, write and read";
    Ok(Measured::new(TIMES as f64, "times", detail))
}
