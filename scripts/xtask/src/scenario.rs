// SPDX-License-Identifier: MIT OR Apache-2.0

//! What guests are booted for: on which machine, with which devices, which
//! checks must come back, and which bars they have to clear.

mod blk;
mod disk;
mod liar;
mod platform;

use std::path::PathBuf;
use std::time::Duration;

pub use blk::{
    blk, blk_backend_dies, blk_backend_restarts, blk_backend_returns, blk_bounce, blk_of_lab,
    blk_power_cut, blk_speed, what_is_left,
};
pub use disk::Disk;
pub use liar::{Liar, Lies};
pub use platform::Platform;

use crate::guest::Cut;

/// Where a device has its bytes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entropy {
    Random,
    /// So that what is read tells which device it came from.
    Zeros,
}

impl Entropy {
    pub fn file(self) -> &'static str {
        match self {
            Self::Random => "/dev/urandom",
            Self::Zeros => "/dev/zero",
        }
    }
}

/// A quota of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub bytes: u32,
    pub period: Duration,
}

/// An entropy device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub entropy: Entropy,
    pub rate: Option<Rate>,
    /// Whether the lab's own device plays it.
    pub ours: bool,
}

const RANDOM: Device = Device {
    entropy: Entropy::Random,
    rate: None,
    ours: false,
};
const ZEROS: Device = Device {
    entropy: Entropy::Zeros,
    rate: None,
    ours: false,
};

/// A bar that a value has to clear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    pub check: &'static str,
    pub limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// A plugin of QEMU's that counts, and where it writes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Counting {
    pub plugin: PathBuf,
    pub counts: PathBuf,
}

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Where the scenario alone does not name it.
    pub label: Option<String>,
    /// What the kernel was changed by, if it is not the one with the series.
    pub change: Option<String>,
    pub platform: Platform,
    pub scenario: &'static str,
    pub devices: Vec<Device>,
    pub disks: Vec<Disk>,
    pub liars: Vec<Liar>,
    /// Of QEMU's machines; user-mode Linux has one.
    pub cpus: u32,
    /// `guest.KEY=VALUE` for the kernel command line.
    pub params: Vec<(&'static str, String)>,
    /// All that must be reported; what is missing counts as failed.
    pub checks: Vec<&'static str>,
    pub bars: Vec<Bar>,
    pub kunit: bool,
    /// Time in the guest is the number of instructions that it executed.
    pub counted: bool,
    /// What counts its instructions, one by one.
    pub counting: Option<Counting>,
    /// Whether its clock has to be finer than a tick.
    pub timed: bool,
    /// How often it is booted for its power to be cut, if it is for that.
    pub power_cuts: Option<u64>,
    /// When that happens.
    pub cut: Option<Cut>,
    /// What boots after it, on the same images, with the devices started anew.
    pub next: Option<Box<Boot>>,
    /// How long it may say nothing. A slow machine is no hang: what a guest does
    /// takes as long as it takes, but it tells of each thing that it does.
    pub limit: Duration,
}

/// The part of a name that stands for the console as a whole.
pub const CONSOLE: &str = "console";

impl Boot {
    fn new(platform: Platform, scenario: &'static str, seconds: u64) -> Self {
        Self {
            label: None,
            change: None,
            platform,
            scenario,
            devices: Vec::new(),
            disks: Vec::new(),
            liars: Vec::new(),
            cpus: 2,
            params: Vec::new(),
            checks: Vec::new(),
            bars: Vec::new(),
            kunit: false,
            counted: false,
            counting: None,
            timed: false,
            power_cuts: None,
            cut: None,
            next: None,
            limit: Duration::from_secs(seconds),
        }
    }

    /// Such as `qemu-rng`: for logs and for progress.
    pub fn id(&self) -> String {
        match &self.label {
            Some(label) => label.clone(),
            None => format!("{}-{}", self.platform.name(), self.scenario),
        }
    }

    /// The name of a result: what the check is of, where, and which.
    pub fn full_name(&self, check: &str) -> String {
        let subject = match self.scenario {
            "kunit" | "cost" => self.scenario,
            "cost-blk" | "cost-rng" | "profile" => "cost",
            scenario if scenario.starts_with("blk") => "blk",
            _ => "rng",
        };
        // The lab's own devices are tested as others are.
        let of_lab = if self.is_ours() {
            "hostile.honest-"
        } else {
            ""
        };
        format!("{of_lab}{subject}.{}.{check}", self.platform.name())
    }

    /// Whether the lab's own devices stand in for those of others.
    fn is_ours(&self) -> bool {
        self.devices.iter().any(|device| device.ours) || self.disks.iter().any(|disk| disk.ours)
    }

    /// The check that the host makes of each console.
    pub fn console_check(&self) -> String {
        match self.scenario {
            "kunit" | "rng" | "blk" | "cost" => CONSOLE.into(),
            "cost-blk" => "blk-console".into(),
            "cost-rng" => "rng-console".into(),
            "profile" => "profile.console".into(),
            // The subject is part of the name in any case.
            scenario => format!("{}.{CONSOLE}", scenario.trim_start_matches("blk-")),
        }
    }

    /// The kernel command line, without what the machine needs.
    pub fn command_line(&self) -> String {
        let kunit = u8::from(self.kunit);
        // A log shows all but debug messages; a prompt is not to be interrupted.
        let level = if self.scenario == "shell" { 4 } else { 7 };
        let mut line = format!(
            "loglevel={level} printk.devkmsg=on kunit.enable={kunit} guest.scenario={}",
            self.scenario
        );
        for (key, value) in &self.params {
            line += &format!(" guest.{key}={value}");
        }
        line
    }

    /// With one parameter more.
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.params.push((key, value.into()));
        self
    }

    /// The boot that makes only the checks with `part` in their names, if any.
    pub fn only(mut self, part: &str) -> Option<Self> {
        if self.kunit {
            // The names of the suites are known only once they have run.
            let prefix = self.full_name("");
            return (prefix.contains(part) || part.starts_with(&prefix)).then_some(self);
        }
        if self.full_name(&self.console_check()).contains(part) {
            return Some(self);
        }
        let names = self.checks.iter().copied();
        let mut chosen: Vec<_> = names
            .filter(|check| self.full_name(check).contains(part))
            .collect();
        if chosen.is_empty() {
            return None;
        }
        // Only here are checks independent of each other, but for these pairs.
        if matches!(self.scenario, "rng" | "blk") && chosen.len() < self.checks.len() {
            for (check, needs) in [("fips", "read"), ("image", "write")] {
                if chosen.contains(&check) && !chosen.contains(&needs) {
                    chosen.push(needs);
                }
            }
            self.params.push(("only", chosen.join(",")));
            self.checks = chosen;
        }
        Some(self)
    }
}

/// Powers off at once: shows that a machine boots.
pub fn smoke(platform: Platform) -> Boot {
    Boot::new(platform, "smoke", 60)
}

/// The kernel's own tests: those that are built in, and those of its modules.
pub fn kunit(platform: Platform) -> Boot {
    let mut checks = vec!["modules"];
    if platform.has_kmemleak() {
        checks.push("kmemleak");
    }
    checks.push("kernel-log");
    Boot {
        kunit: true,
        checks,
        // As long as the kernel lets a test take.
        ..Boot::new(platform, "kunit", 300)
    }
}

/// An interactive guest; only the user ends it.
pub fn shell(platform: Platform) -> Boot {
    Boot {
        devices: vec![RANDOM, RANDOM],
        ..Boot::new(platform, "shell", u64::MAX)
    }
}

/// Both drivers on one device, by turns.
pub fn throughput(platform: Platform, pairs: u32, at_least: f64) -> Boot {
    Boot {
        devices: vec![RANDOM],
        timed: true,
        params: vec![("pairs", pairs.to_string())],
        checks: vec![
            "throughput",
            "throughput.c",
            "throughput.rust",
            "ratio",
            "throughput.kernel-log",
        ],
        bars: vec![Bar {
            check: "ratio",
            limit: Limit::AtLeast(at_least),
        }],
        ..Boot::new(platform, "throughput", 180)
    }
}

/// The instructions that posting and popping one buffer take, in Rust and in C.
pub fn cost(platform: Platform, at_most: f64) -> Boot {
    let bar = |check| Bar {
        check,
        limit: Limit::AtMost(at_most),
    };
    Boot {
        counted: true,
        cpus: 1,
        checks: vec!["bytes", "request", "kernel-log"],
        bars: vec![bar("bytes"), bar("request")],
        ..Boot::new(platform, "cost", 180)
    }
}

/// The instructions that reading a block takes with the Rust driver and with the C driver: with one
/// queue and with two, one request at a time and many.
pub fn cost_blk(platform: Platform, at_most: f64) -> Boot {
    let mut checks = vec!["blk-q1-d1", "blk-q1-d32", "blk-q2-d1", "blk-q2-d32"];
    let bar = |check: &&'static str| Bar {
        check,
        limit: Limit::AtMost(at_most),
    };
    let bars = checks.iter().map(bar).collect();
    checks.push("blk-kernel-log");
    Boot {
        counted: true,
        params: vec![("counted", "1".into())],
        checks,
        bars,
        ..Boot::new(platform, "cost-blk", 300)
    }
}

/// What reading takes with a simulated disk, however it is used: in instructions
/// on a machine that counts them, or in time.
pub fn sweep_blk(platform: Platform, pairs: u32, counted: bool) -> Boot {
    Boot {
        counted,
        cpus: 4,
        params: vec![
            ("sweep", "1".into()),
            ("pairs", pairs.to_string()),
            ("counted", u8::from(counted).to_string()),
        ],
        checks: vec!["blk-sweep", "blk-queues", "blk-kernel-log"],
        ..Boot::new(platform, "cost-blk", 1200)
    }
}

/// What reading takes with a simulated entropy device, and what a device takes.
pub fn sweep_rng(platform: Platform, pairs: u32, counted: bool) -> Boot {
    Boot {
        counted,
        cpus: 1,
        params: vec![
            ("pairs", pairs.to_string()),
            ("counted", u8::from(counted).to_string()),
        ],
        checks: vec!["rng-sweep", "rng-kernel-log"],
        ..Boot::new(platform, "cost-rng", 600)
    }
}

/// Uses one driver as often as it is told, while each instruction is counted.
pub fn profile(platform: Platform, counting: Counting) -> Boot {
    Boot {
        counted: true,
        counting: Some(counting),
        cpus: 1,
        checks: vec!["profile.kernel-log"],
        ..Boot::new(platform, "profile", 600)
    }
}

/// The driver at its normal work, and its comings and goings.
pub fn rng(platform: Platform) -> Boot {
    let mut checks = vec![
        "bind",
        "read",
        "fips",
        "two-devices",
        "nonblock",
        "cycles",
        "reload",
        "alternate",
        "sample",
    ];
    if platform.has_kmemleak() {
        checks.push("kmemleak");
    }
    checks.push("kernel-log");
    let seconds = match platform {
        Platform::Uml => 240,
        Platform::UmlDebug | Platform::UmlSmp => 900,
        _ => 420,
    };
    Boot {
        devices: vec![RANDOM, ZEROS],
        checks,
        ..Boot::new(platform, "rng", seconds)
    }
}

/// The lab's own device, which is honest here, in the place of another's.
pub fn rng_of_lab(platform: Platform) -> Boot {
    let ours = Device {
        ours: true,
        ..RANDOM
    };
    Boot {
        label: Some(format!("{}-honest-rng", platform.name())),
        devices: vec![ours; 2],
        ..rng_in_brief(platform)
    }
}

/// As [`rng`], but only that the driver binds and reads well.
pub fn rng_in_brief(platform: Platform) -> Boot {
    let brief = ["bind", "read", "fips", "kernel-log"];
    let checks = brief.to_vec();
    Boot {
        params: vec![("only", checks.join(","))],
        checks,
        ..rng(platform)
    }
}

/// Readers that wait, and what happens to them.
pub fn slow(platform: Platform) -> Boot {
    // vhost-device-rng sleeps until it has quota again and answers nothing
    // meanwhile, not even the messages that unbind sends, once per buffer that
    // is in flight. QEMU's devices stay responsive.
    let (period, stall) = match platform.is_uml() {
        true => (3, "15"),
        false => (60, "0"),
    };
    let slow = Device {
        rate: Some(Rate {
            bytes: 256,
            period: Duration::from_secs(period),
        }),
        ..RANDOM
    };
    Boot {
        devices: vec![slow; 3],
        params: vec![("stall", stall.into())],
        checks: vec!["slow.kill", "slow.unbind", "slow.rmmod", "slow.kernel-log"],
        ..Boot::new(platform, "slow", 300)
    }
}

/// A device that lies, or is shown to be honest when it does not.
pub fn hostile(platform: Platform, liar: Liar, seconds: u64) -> Boot {
    Boot {
        liars: vec![liar],
        ..Boot::new(platform, "hostile", seconds)
    }
}

/// Suspend and resume.
pub fn suspend(platform: Platform) -> Boot {
    Boot {
        devices: vec![RANDOM],
        checks: vec!["suspend", "suspend.kernel-log"],
        ..Boot::new(platform, "suspend", 180)
    }
}

/// The back end is killed while it is read from.
pub fn backend_dies(platform: Platform) -> Boot {
    Boot {
        devices: vec![RANDOM],
        checks: vec![
            "backend-dies.reader",
            "backend-dies.unbind",
            "backend-dies.rmmod",
            "backend-dies.kernel-log",
        ],
        ..Boot::new(platform, "backend-dies", 120)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_results() {
        let boot = throughput(Platform::Uml, 5, 10.0);
        assert_eq!(boot.full_name("ratio"), "rng.uml.ratio");
        let boot = throughput(Platform::Qemu, 5, 5.0);
        assert_eq!(boot.full_name("ratio"), "rng.qemu.ratio");
        assert_eq!(boot.console_check(), "throughput.console");
        assert_eq!(rng(Platform::Qemu).console_check(), "console");
        assert_eq!(kunit(Platform::Uml).full_name("a"), "kunit.uml.a");
        let boot = cost(Platform::Qemu, 1.0);
        assert_eq!(boot.full_name("bytes"), "cost.qemu.bytes");
        let boot = cost_blk(Platform::Qemu, 1.0);
        assert_eq!(boot.full_name(boot.checks[0]), "cost.qemu.blk-q1-d1");
        assert_eq!(boot.console_check(), "blk-console");
    }

    #[test]
    fn the_second_boots_of_two_disks_have_logs_of_their_own() {
        let after = |boot: Boot| boot.next.map(|next| next.id());
        let restarted = after(blk::blk_backend_restarts(Platform::Uml)).unwrap();
        let left = blk::what_is_left(&blk::blk_power_cut(Platform::Uml)).id();
        assert_ne!(restarted, left);
    }

    #[test]
    fn a_part_of_a_boot() {
        let rng = || rng(Platform::Uml);
        assert!(rng().only("qemu").is_none());
        assert_eq!(rng().only("rng.uml").unwrap().checks, rng().checks);
        let part = rng().only("uml.fips").unwrap();
        assert_eq!(part.checks, ["fips", "read"]);
        assert!(part.command_line().ends_with("guest.only=fips,read"));
        let part = slow(Platform::Qemu).only("slow.kill").unwrap();
        assert_eq!(part.checks.len(), 4);
        let kunit = || kunit(Platform::Uml);
        assert!(kunit().only("cycles").is_none());
        assert!(kunit().only("kunit").is_some());
        assert!(kunit().only("kunit.uml.rust_doctests_kernel").is_some());
        assert!(kunit().only("kunit.uml-debug").is_none());
    }
}
