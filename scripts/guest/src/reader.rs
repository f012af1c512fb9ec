// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers of `/dev/hwrng` in processes of their own, which can be watched,
//! killed, and left to wait.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{anyhow, ensure, Context as _, Result};

use crate::bounded::{self, place, until};
use crate::hwrng;

/// The first argument that makes this binary a reader.
pub const ROLE: &str = "reader";

/// What a reader does when a read fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OnError {
    /// Exit, with the error number as exit code; 0 stands for an end of file.
    Exit,
    /// Try again: the reader is the load of another test.
    Retry,
}

/// A reader must be seen asleep so many times in a row to count as waiting for
/// the device rather than for its turn.
const ASLEEP_SAMPLES: u32 = 40;

pub struct Reader {
    child: Child,
    progress: PathBuf,
}

impl Reader {
    /// Starts a process that reads in system calls of `chunk` bytes.
    pub fn spawn(chunk: usize, on_error: OnError) -> Result<Self> {
        Self::start(ROLE, &[chunk.to_string(), format!("{on_error:?}")])
    }

    /// Starts a process with this role, whose first argument is where it tells of
    /// its progress.
    pub fn start(role: &str, args: &[String]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let progress = PathBuf::from(format!("/tmp/reader-{number}"));
        let child = Command::new("/proc/self/exe")
            .arg(role)
            .arg(&progress)
            .args(args)
            .spawn()
            .context("cannot start a reader")?;
        Ok(Self { child, progress })
    }

    /// How many bytes it has read.
    pub fn total(&self) -> u64 {
        let text = std::fs::read_to_string(&self.progress).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Waits until it has read more than `bytes`.
    pub fn beyond(&mut self, bytes: u64, limit: Duration) -> Result<u64> {
        until(limit, &format!("reader beyond {bytes} bytes"), || {
            self.must_live()?;
            let total = self.total();
            Ok((total > bytes).then_some(total))
        })
    }

    /// Waits until it sleeps in the driver.
    pub fn asleep(&mut self, limit: Duration) -> Result<()> {
        let mut seen = (0, u64::MAX);
        until(limit, "reader asleep in the driver", || {
            self.must_live()?;
            let total = self.total();
            seen = match (self.sleeps_in_driver(), seen) {
                (false, _) => (0, total),
                (true, (samples, before)) if before == total => (samples + 1, total),
                (true, _) => (1, total),
            };
            Ok((seen.0 >= ASLEEP_SAMPLES).then_some(()))
        })
        .with_context(|| format!("it is in {}", place(&self.task())))
    }

    /// A wait that only a fatal signal ends shows as state D. So does the
    /// driver wait; the class, for a reader's turn, waits interruptibly (S).
    fn sleeps_in_driver(&self) -> bool {
        let stat = std::fs::read_to_string(format!("{}/stat", self.task()));
        stat.is_ok_and(|stat| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('D'))
        })
    }

    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the reader")
    }

    /// Kills it, and waits until it died of that; says how long it took.
    pub fn die(&mut self, limit: Duration) -> Result<Duration> {
        self.kill()?;
        let (status, took) = self.ended(limit)?;
        ensure!(
            status.signal() == Some(9),
            "the reader {}",
            describe(status)
        );
        Ok(took)
    }

    /// Waits for its end; says how long that took.
    pub fn ended(&mut self, limit: Duration) -> Result<(ExitStatus, Duration)> {
        bounded::ended(&mut self.child, "the reader", limit)
    }

    pub fn must_live(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("the reader {}", describe(status))),
        }
    }

    fn task(&self) -> String {
        format!("/proc/{}", self.child.id())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // One that hangs in the kernel is left behind; whoever waited for it
        // has said so.
        let _ = self.child.kill();
        let _ = self.ended(Duration::from_secs(2));
        let _ = std::fs::remove_file(&self.progress);
    }
}

/// How a reader ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended at end of file".into(),
        (Some(errno), _) => format!("ended: {}", std::io::Error::from_raw_os_error(errno)),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The reader's own side.
pub fn child(args: &[String]) -> ExitCode {
    let [progress, chunk, on_error] = args else {
        return ExitCode::FAILURE;
    };
    let (Ok(progress), Ok(chunk)) = (File::create(progress), chunk.parse()) else {
        return ExitCode::FAILURE;
    };
    let retry = *on_error == format!("{:?}", OnError::Retry);
    let mut total = 0;
    loop {
        let errno = read_until_error(&progress, chunk, &mut total);
        if !retry {
            return ExitCode::from(u8::try_from(errno).unwrap_or(u8::MAX));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_until_error(progress: &File, chunk: usize, total: &mut u64) -> i32 {
    let mut buffer = vec![0; chunk];
    let mut file = match File::open(hwrng::PATH) {
        Ok(file) => file,
        Err(error) => return error.raw_os_error().unwrap_or(i32::MAX),
    };
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return 0,
            Ok(count) => *total += count as u64,
            Err(error) => return error.raw_os_error().unwrap_or(i32::MAX),
        }
        tell(progress, *total);
    }
}

/// Tells of the bytes that were read so far.
pub fn tell(progress: &File, total: u64) {
    // A file instead of a pipe: nobody has to empty it.
    let _ = progress.write_all_at(format!("{total:020}").as_bytes(), 0);
}
