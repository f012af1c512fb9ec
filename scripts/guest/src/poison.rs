// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that tells on whoever hands it out: a process fills much of it with the
//! marker and ends, so that the kernel's free pages are full of it.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::MARKER;

use crate::bounded;
use crate::reader::describe;

/// The first argument that makes this binary fill memory.
pub const ROLE: &str = "marker";

const MOST: usize = 128 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// Returns when the memory is free again.
pub fn free_memory() -> Result<()> {
    let path = "/proc/meminfo";
    let info = std::fs::read_to_string(path).context(path)?;
    let available = available(&info).context("no MemAvailable")?;
    let bytes = MOST.min(available / 4 * 3);
    let mut child = Command::new("/proc/self/exe")
        .args([ROLE, &bytes.to_string()])
        .spawn()
        .context("cannot start who fills memory")?;
    let ended = bounded::ended(&mut child, "who fills memory", LIMIT);
    if ended.is_err() {
        let _ = child.kill();
    }
    let (status, _) = ended?;
    ensure!(status.success(), "who fills memory {}", describe(status));
    Ok(())
}

/// Memory that can be had, in bytes.
fn available(info: &str) -> Option<usize> {
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// The child's own side.
pub fn child(args: &[String]) -> ExitCode {
    let [bytes] = args else {
        return ExitCode::FAILURE;
    };
    let Ok(bytes) = bytes.parse::<usize>() else {
        return ExitCode::FAILURE;
    };
    // Nobody reads it here, which the compiler is not to know.
    black_box(MARKER.repeat(bytes / MARKER.len()));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_found() {
        let info = "MemTotal:  100 kB\nMemFree: 10 kB\nMemAvailable:   20 kB\n";
        assert_eq!(available(info), Some(20 << 10));
        assert_eq!(available("MemTotal: 100 kB\n"), None);
    }
}
