// SPDX-License-Identifier: MIT OR Apache-2.0

//! Guests: started, watched on their console, ended in time, and judged by
//! what they said.

pub mod accel;
mod clock;
mod console;
mod disk;
mod durations;
pub mod initramfs;
mod judge;
pub mod ktap;
pub mod liar;
mod power_cut;
pub mod qemu;
mod qmp;
pub mod uml;
mod userland;
mod vm;
mod write_log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{anyhow, Context as _, Result};
use protocol::Event;
use tempfile::TempDir;

use crate::build::{Kernel, Variant};
use crate::command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::process_group::check_interrupt;
use crate::report::Entry;
use crate::scenario::{Boot, Platform};
use crate::ui::{self, Stage};
use accel::Accel;
use console::Console;
pub use console::{End, Transcript};
use durations::Durations;
use initramfs::Archives;
pub use power_cut::Cut;
use vm::Vm;

/// Between the last word of a guest and its end.
const POWER_OFF: Duration = Duration::from_secs(20);
/// The same where something in it hangs.
const STUCK: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);
/// How many times its limit a guest may take that keeps on saying something.
const TALK: u32 = 6;

/// A kernel with the file system for its guests.
pub struct Bootable {
    pub kernel: Kernel,
    pub archives: Archives,
}

impl Bootable {
    pub fn initramfs(&self, boot: &Boot) -> &Path {
        match &self.archives.with_disk_tools {
            Some(archive) if !boot.disks.is_empty() => archive,
            _ => &self.archives.plain,
        }
    }
}

/// All that boots need.
pub struct Lab<'a> {
    pub ctx: &'a Context,
    pub tools: &'a Toolchain,
    /// Names the logs, such as `test`.
    command: &'static str,
    /// What starts UML, such as a program that changes the root directory.
    pub wrapper: Vec<String>,
    bootable: BTreeMap<(Variant, Option<String>), Bootable>,
    /// The program that plays devices which lie.
    liar: Option<PathBuf>,
    accel: Option<Accel>,
}

impl<'a> Lab<'a> {
    pub fn new(ctx: &'a Context, tools: &'a Toolchain, command: &'static str) -> Self {
        Self {
            ctx,
            tools,
            command,
            wrapper: Vec::new(),
            bootable: BTreeMap::new(),
            liar: None,
            accel: None,
        }
    }

    /// Makes a kernel bootable here.
    pub fn add(&mut self, kernel: Kernel) -> Result<()> {
        self.add_changed(kernel, None)
    }

    /// The same of a kernel that is not the one with the series.
    pub fn add_changed(&mut self, kernel: Kernel, change: Option<String>) -> Result<()> {
        let archives = initramfs::build(self.ctx, self.tools, &kernel, change.as_deref())?;
        let key = (kernel.variant, change);
        self.bootable.insert(key, Bootable { kernel, archives });
        Ok(())
    }

    /// Builds the program that plays devices which lie.
    pub fn add_liars(&mut self) -> Result<()> {
        self.liar = Some(liar::build(self.ctx)?);
        Ok(())
    }

    pub fn liar(&self) -> Result<&Path> {
        let liar = self.liar.as_deref();
        liar.ok_or_else(|| anyhow!("what plays devices that lie was not built"))
    }

    pub fn bootable(&self, variant: Variant) -> Result<&Bootable> {
        self.changed(variant, &None)
    }

    fn changed(&self, variant: Variant, change: &Option<String>) -> Result<&Bootable> {
        self.bootable
            .get(&(variant, change.clone()))
            .ok_or_else(|| anyhow!("the kernel {} was not built", variant.name()))
    }

    pub fn log_path(&self, id: &str) -> PathBuf {
        let name = format!("{}-{id}.log", self.command);
        self.ctx.out.join("logs").join(name)
    }

    /// How guests run on this machine.
    pub fn accel_of(&mut self, platform: Platform) -> Result<Accel> {
        if platform.is_uml() {
            return Ok(Accel::None);
        }
        if platform.is_arm64() {
            let why = "this machine is an x86-64".into();
            return Ok(Accel::Tcg { why });
        }
        self.accel()
    }

    /// How x86-64 guests run on this machine; found out once.
    pub fn accel(&mut self) -> Result<Accel> {
        if let Some(accel) = &self.accel {
            return Ok(accel.clone());
        }
        let accel = accel::probe(self)?;
        self.accel = Some(accel.clone());
        Ok(accel)
    }

    /// Boots a guest and judges it.
    pub fn run(&mut self, boot: &Boot) -> Result<Vec<Entry>> {
        self.measure(boot).map(|(entries, _)| entries)
    }

    /// The same, with all that the guest said.
    pub fn measure(&mut self, boot: &Boot) -> Result<(Vec<Entry>, Transcript)> {
        let accel = self.accel_of(boot.platform)?;
        let stage = self.ctx.ui.stage(boot.id());
        if let Some(rounds) = boot.power_cuts {
            let entry = power_cut::run(self, boot, &accel, &stage, rounds)?;
            let entries = self.conclude(vec![entry], stage, &self.log_path(&boot.id()));
            return Ok((entries, Transcript::empty(&self.log_path(&boot.id()))));
        }
        let dir = temporary()?;
        let mut transcript = self.watch(boot, &accel, Some(&stage), dir.path())?;
        let outcome = transcript.claims.judge(dir.path(), boot);
        transcript.outcomes.extend(outcome);
        let mut entries = judge::judge(boot, &transcript);
        let mut log = &transcript.log;
        let after;
        if let Some(next) = &boot.next {
            let next = transcript.told_to(next);
            after = self.watch(&next, &accel, Some(&stage), dir.path())?;
            if entries.iter().all(|entry| entry.ok) {
                log = &after.log;
            }
            entries.extend(judge::judge(&next, &after));
        }
        let entries = self.conclude(entries, stage, log);
        Ok((entries, transcript))
    }

    /// Says what came of a boot.
    fn conclude(&self, entries: Vec<Entry>, stage: Stage, log: &Path) -> Vec<Entry> {
        let failed = entries.iter().filter(|entry| !entry.ok).count();
        for entry in entries.iter().filter(|entry| !entry.ok) {
            stage.line(&format!("{}: {}", entry.name, entry.detail));
        }
        if failed == 0 {
            stage.finish(&format!("{} results, all good", entries.len()));
        } else {
            stage.line(&format!("{failed} failed, see {}", log.display()));
        }
        entries
    }

    /// Boots a guest beside others, which share a line of progress.
    pub fn watch_quietly(&self, boot: &Boot, accel: &Accel, dir: &Path) -> Result<Transcript> {
        self.watch(boot, accel, None, dir)
    }

    /// Boots a guest and returns all that it said.
    fn watch(
        &self,
        boot: &Boot,
        accel: &Accel,
        stage: Option<&Stage>,
        dir: &Path,
    ) -> Result<Transcript> {
        let bootable = self.changed(boot.platform.variant(), &boot.change)?;
        let id = boot.id();
        let usual = stage.and_then(|_| Durations::load(self.ctx).get(&id));
        let mut vm = Vm::start(self, bootable, boot, accel, dir)?;
        let console = Console::create(&self.log_path(&id), vm.shell_line())?;
        let mut watch = Watch {
            boot,
            console,
            stage,
            usual,
            passed: 0,
            doing: "booting".into(),
        };
        if let Some(stage) = stage {
            stage.set_total(usual.map(|usual| usual.as_secs().max(1)));
        }
        let end = watch.until_end(&mut vm)?;
        for line in vm.said_by_devices() {
            watch.console.remark(&format!("a device: {line}"))?;
        }
        let transcript = watch.console.close(end);
        if stage.is_some() && transcript.end == End::PoweredOff {
            let mut durations = Durations::load(self.ctx);
            durations.set(&id, transcript.took);
            durations.save(self.ctx)?;
        }
        Ok(transcript)
    }
}

/// For the files of a guest, gone when this is dropped.
pub fn temporary() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let dir = builder.prefix("guest-").tempdir();
    dir.context("cannot make a temporary directory")
}

/// A guest that runs, as seen from outside.
struct Watch<'a> {
    boot: &'a Boot,
    console: Console,
    stage: Option<&'a Stage>,
    usual: Option<Duration>,
    passed: u32,
    doing: String,
}

impl Watch<'_> {
    fn until_end(&mut self, vm: &mut Vm) -> Result<End> {
        let started = Instant::now();
        let mut heard = started;
        let mut last_word = None;
        let whole = self.boot.limit.saturating_mul(TALK);
        loop {
            check_interrupt()?;
            if heard.elapsed() > self.boot.limit {
                return Ok(End::Silent(self.boot.limit));
            }
            if started.elapsed() > whole {
                return Ok(End::Endless(whole));
            }
            // Where something hangs, it need not come to that.
            let patience = match self.console.is_stuck() {
                true => STUCK,
                false => POWER_OFF,
            };
            if last_word.is_some_and(|at: Instant| at.elapsed() > patience) {
                return Ok(End::NoPowerOff(patience));
            }
            match vm.next(POLL)? {
                command::Event::Line(line) => {
                    heard = Instant::now();
                    let event = self.console.line(&line)?;
                    if matches!(event, Some(Event::Done { .. })) {
                        last_word = Some(Instant::now());
                    }
                    self.handle(event, vm)?;
                }
                command::Event::Quiet => (),
                command::Event::End => return Ok(End::PoweredOff),
            }
            if let Some(delay) = self.time_to_cut() {
                std::thread::sleep(delay);
                vm.cut_power().context("cutting the power")?;
                self.console.remark("the power was cut")?;
                return Ok(End::PowerCut);
            }
            self.show(started.elapsed());
        }
    }

    /// How much longer the guest has power, if its time has come.
    fn time_to_cut(&self) -> Option<Duration> {
        let cut = self.boot.cut?;
        (self.console.stored() >= cut.stored).then_some(cut.delay)
    }

    fn handle(&mut self, event: Option<Event>, vm: &mut Vm) -> Result<()> {
        match event {
            Some(Event::Begin { name }) => self.doing = name,
            Some(Event::Result(outcome)) if outcome.ok => self.passed += 1,
            Some(Event::Skip { name, reason }) => {
                if let Some(stage) = self.stage {
                    stage.line(&format!("{name} skipped: {reason}"));
                }
            }
            Some(Event::Await { what }) if what == protocol::KILL_BACKEND => {
                vm.kill_backend().context("ending the back end")?;
                self.console
                    .remark("the back end of the first device was killed")?;
            }
            Some(Event::Ask(ask)) => {
                let answer = vm.answer(&ask)?;
                self.console.remark(&format!("{ask:?}: {answer}"))?;
            }
            Some(Event::Await { what }) => {
                return Err(anyhow!("the guest awaits {what}, which the host cannot do"));
            }
            _ => (),
        }
        Ok(())
    }

    fn show(&self, elapsed: Duration) {
        let Some(stage) = self.stage else { return };
        let mut text = format!("{}, {} good so far", self.doing, self.passed);
        if let Some(usual) = self.usual {
            text += &format!(", took {} last time", ui::duration(usual));
        }
        stage.message(&text);
        stage.set_pos(elapsed.as_secs());
    }
}

#[cfg(test)]
mod tests;
