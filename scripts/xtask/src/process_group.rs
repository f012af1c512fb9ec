// SPDX-License-Identifier: MIT OR Apache-2.0

//! Process groups: what we start ends with us, also on Ctrl-C.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};
use nix::sys::signal::{killpg, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long a program may take to end by itself once asked to. `make` uses it
/// to delete the files that it was in the middle of.
const GRACE: Duration = Duration::from_secs(3);
/// How long the main thread may take to leave in good order after Ctrl-C.
const UNWIND: Duration = Duration::from_secs(8);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The groups that run now, for the signal thread.
static LIVE: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Pid>> {
    LIVE.lock().unwrap_or_else(|e| e.into_inner())
}

/// The exit code of a command that the user interrupted, as shells have it.
pub const INTERRUPTED_EXIT: u8 = 130;

/// From here on Ctrl-C ends all children and makes [`check_interrupt`] fail,
/// so that temporary files are removed on the way out. A second one exits.
pub fn handle_signals() -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot install signal handlers")?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                leave();
            }
            for group in live().iter() {
                let _ = killpg(*group, Signal::SIGTERM);
            }
            std::thread::spawn(|| {
                std::thread::sleep(UNWIND);
                leave();
            });
        }
    });
    Ok(())
}

/// Exits at once, without a child that was asked to end and has not.
fn leave() -> ! {
    for group in live().iter() {
        let _ = killpg(*group, Signal::SIGKILL);
    }
    std::process::exit(INTERRUPTED_EXIT.into());
}

/// Whether the user asked us to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Fails once the user asked us to stop.
pub fn check_interrupt() -> Result<()> {
    if interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// A child that leads its own process group; dropping it ends the group.
pub struct ProcessGroup {
    child: Child,
    reaped: bool,
}

impl ProcessGroup {
    pub fn spawn(command: &mut Command) -> Result<Self> {
        check_interrupt()?;
        // Held while the child starts: Ctrl-C either sees the group or comes
        // first and is seen here.
        let mut groups = live();
        let child = command.process_group(0).spawn()?;
        let group = Self {
            child,
            reaped: false,
        };
        groups.push(group.leader());
        Ok(group)
    }

    /// What the leader reads, if it was given a pipe for that.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Whether the leader has ended. It is not reaped, so its number, which is
    /// the group's too, cannot be given to another process yet.
    pub fn has_exited(&self) -> Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::Pid(self.leader()), flags).context("waitid")?;
        Ok(status != WaitStatus::StillAlive)
    }

    /// Waits for the leader and ends what it left behind.
    pub fn reap(&mut self) -> Result<ExitStatus> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.leader()), flags).context("waitid")?;
        let _ = killpg(self.leader(), Signal::SIGKILL);
        self.forget();
        self.child.wait().context("wait")
    }

    /// Ends the group at once, in the middle of whatever it does.
    pub fn end_at_once(&mut self) {
        if !self.reaped {
            let _ = killpg(self.leader(), Signal::SIGKILL);
            self.forget();
            let _ = self.child.wait();
        }
    }

    /// Asks the group to end, then makes it.
    pub fn kill(&mut self) {
        if self.reaped {
            return;
        }
        let _ = killpg(self.leader(), Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE && !self.has_exited().unwrap_or(true) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = killpg(self.leader(), Signal::SIGKILL);
        self.forget();
        let _ = self.child.wait();
    }

    fn leader(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn forget(&mut self) {
        let leader = self.leader();
        live().retain(|group| *group != leader);
        self.reaped = true;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
