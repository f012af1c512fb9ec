// SPDX-License-Identifier: MIT OR Apache-2.0

//! What kmemleak has to say, in kernels that have it.

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

pub fn run(report: &mut Report) {
    if Path::new(FILE).exists() {
        report.check("kmemleak", check);
    }
}

fn check() -> Result<Measured> {
    // It reports what two scans find unchanged and unreferenced.
    tell("scan")?;
    std::thread::sleep(AGE);
    tell("scan")?;
    let found = fs::read_to_string(FILE).context(FILE)?;
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
    }
}
