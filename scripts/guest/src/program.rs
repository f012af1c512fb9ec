// SPDX-License-Identifier: MIT OR Apache-2.0

//! Other programs in the guest, and what they say.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};

use crate::bounded;
use crate::disk::Bound;

/// Where the host puts the libraries of the programs for disks.
const LIBRARIES: &str = "/usr/lib/disk-tools";
/// How many of a failed program's last lines are shown.
const TAIL: usize = 6;

/// A program that runs; dropping it kills it.
pub struct Program {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Program {
    pub fn start(name: &str, args: &[&str], envs: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new(format!("/usr/bin/{name}"));
        command
            .args(args)
            .env("LD_LIBRARY_PATH", LIBRARIES)
            .envs(envs.iter().map(|(key, value)| (key, value)));
        Self::spawn(name, command)
    }

    /// Starts one of the small programs of busybox.
    pub fn small(name: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new("/bin/busybox");
        command.arg(name).args(args);
        Self::spawn(name, command)
    }

    fn spawn(name: &str, mut command: Command) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let output = PathBuf::from(format!("/tmp/{name}-{number}"));
        let file = File::create(&output).with_context(|| output.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name: name.into(),
            output,
        })
    }

    /// Waits for its end; says how long that took.
    pub fn ended(&mut self, limit: Duration) -> Result<(ExitStatus, Duration)> {
        bounded::ended(&mut self.child, &self.name, limit)
    }

    /// Waits for its end, which must be a good one.
    pub fn succeeds(&mut self, limit: Duration) -> Result<()> {
        let (status, _) = self.ended(limit)?;
        ensure!(status.success(), "{} {}", self.name, self.told(status));
        Ok(())
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// How it ended, and its last words.
    pub fn told(&self, status: ExitStatus) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".into(),
        };
        let said = self.said();
        let lines: Vec<_> = said.lines().filter(|line| is_words(line)).collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        format!("{how}: {}", tail.join(" | "))
    }

    pub fn said(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// fio ends with a line of numbers.
fn is_words(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("3;fio")
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.ended(Duration::from_secs(2));
        let _ = fs::remove_file(&self.output);
    }
}

/// Runs a program to its good end.
pub fn run(name: &str, args: &[&str], limit: Duration) -> Result<()> {
    Program::start(name, args, &[])?.succeeds(limit)
}

/// Starts fio on a disk, or on the first `kib` of it.
pub fn fio(job: &'static str, disk: &Bound, kib: u64, limit: Duration) -> Result<Program> {
    fio_with(job, disk, kib, limit, &[])
}

/// As [`fio`], with more for the job to know.
pub fn fio_with(
    job: &'static str,
    disk: &Bound,
    kib: u64,
    limit: Duration,
    more: &[(&str, String)],
) -> Result<Program> {
    let file = "/tmp/job.fio";
    fs::write(file, job).context(file)?;
    let args = ["--output-format=terse", "--terse-version=3", file];
    let mut envs = vec![
        ("DISK", disk.path()),
        ("BLOCK", disk.read_attribute("queue/logical_block_size")?),
        ("SIZE", format!("{kib}k")),
        ("SECONDS", limit.as_secs().to_string()),
    ];
    envs.extend_from_slice(more);
    Program::start("fio", &args, &envs)
}
