// SPDX-License-Identifier: MIT OR Apache-2.0

//! What kmemleak has to say, in kernels that have it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};

use crate::bounded::within;
use crate::report::{Measured, Report};

const FILE: &str = "/sys/kernel/debug/kmemleak";
/// kmemleak does not report what is younger than 5 s.
const AGE: Duration = Duration::from_secs(6);
const LIMIT: Duration = Duration::from_secs(60);

/// Whether this kernel has kmemleak, and as a rule other checkers, which make it slow.
pub fn is_there() -> bool {
    Path::new(FILE).exists()
}

pub fn run(report: &mut Report) {
    if is_there() {
        report.check("kmemleak", check);
    }
}

/// What had leaked before a check began. Suites that are built in run before the
/// first process, and some of them leak on purpose.
pub struct Before {
    addresses: BTreeSet<String>,
    /// Leaks that name code of the series; no purpose excuses these.
    ours: Vec<String>,
}

impl Before {
    /// `None` in a kernel without kmemleak.
    pub fn look() -> Result<Option<Self>> {
        if !is_there() {
            return Ok(None);
        }
        let found = scan()?;
        Ok(Some(Self {
            addresses: objects(&found).map(|text| address(&text)).collect(),
            ours: objects(&found)
                .filter(|text| names_ours(text) && !is_of_boot(text))
                .collect(),
        }))
    }

    pub fn check_since(self, report: &mut Report) {
        report.check("kmemleak", || {
            let found = scan()?;
            let is_new = |text: &String| !self.addresses.contains(&address(text));
            let leaks: Vec<_> = objects(&found).filter(is_new).chain(self.ours).collect();
            ensure!(
                leaks.is_empty(),
                "{} leaks, the first: {}",
                leaks.len(),
                leaks[0]
            );
            let detail = format!(
                "none since the first process began, which found {}",
                self.addresses.len()
            );
            Ok(Measured::new(0.0, "leaks", detail))
        });
    }
}

/// It reports what two scans find unchanged and unreferenced.
fn scan() -> Result<String> {
    tell("scan")?;
    std::thread::sleep(AGE);
    tell("scan")?;
    fs::read_to_string(FILE).context(FILE)
}

fn check() -> Result<Measured> {
    let found = scan()?;
    let (ours, of_boot): (Vec<_>, Vec<_>) = objects(&found).partition(|text| !is_of_boot(text));
    ensure!(
        ours.is_empty(),
        "{} leaks, the first: {}",
        ours.len(),
        ours[0]
    );
    let detail = format!("none since the boot, which left {}", of_boot.len());
    Ok(Measured::new(0.0, "leaks", detail))
}

/// Each object's text, in one line.
fn objects(found: &str) -> impl Iterator<Item = String> + '_ {
    let texts = found.split("unreferenced object ").skip(1);
    texts.map(|text| text.lines().map(str::trim).collect::<Vec<_>>().join(" | "))
}

fn address(object: &str) -> String {
    object.split(' ').next().unwrap_or_default().to_owned()
}

/// Whether the backtrace leads through a function of the series.
fn names_ours(object: &str) -> bool {
    object.contains("virtio") || object.contains("hwrng")
}

/// Before the first process, the kernel runs under the idle task's name.
fn is_of_boot(object: &str) -> bool {
    object.contains("comm \"swapper")
}

fn tell(command: &'static str) -> Result<()> {
    within(LIMIT, "kmemleak", move || {
        fs::write(FILE, command).context(FILE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_boot_left_is_told_apart() {
        let found = "\
unreferenced object 0x62040000 (size 262144):
  comm \"swapper\", pid 0, jiffies 4294937296
  hex dump (first 32 bytes):
    ff ff ff ff
unreferenced object 0x62040010 (size 64):
  comm \"init\", pid 1, jiffies 4294937396
  backtrace (crc debb20e3):
";
        let all: Vec<_> = objects(found).collect();
        assert_eq!(all.len(), 2);
        assert!(is_of_boot(&all[0]));
        assert!(!is_of_boot(&all[1]));
        assert!(
            all[1].starts_with("0x62040010 (size 64): | comm"),
            "{}",
            all[1]
        );
        assert_eq!(address(&all[1]), "0x62040010");
    }

    #[test]
    fn a_leak_of_ours_is_known_by_its_backtrace() {
        assert!(names_ours(
            "0x1 (size 8): | _RNvNtCs1_6kernel6virtio3new+0x1/0x2"
        ));
        assert!(!names_ours(
            "0x1 (size 8): | _RNvNtCs1_6kernel4list3new+0x1/0x2"
        ));
    }
}
