// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waits that end. A limit here bounds a failure; no test passes or fails by
//! how far below it the time was.

use std::fmt;
use std::num::NonZeroI32;
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context as _, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::uml;

/// For effects that the kernel offers no event for.
const POLL: Duration = Duration::from_millis(5);

/// An operation that did not return. Its thread is left behind.
#[derive(Debug)]
pub struct Stuck {
    what: String,
    limit: Duration,
    place: String,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, limit, place } = self;
        let limit = limit.as_secs_f64();
        write!(
            f,
            "{what} did not return within {limit} s; it is in {place}"
        )
    }
}

impl std::error::Error for Stuck {}

impl Stuck {
    fn new(what: &str, limit: Duration, thread: ThreadId) -> Self {
        Self {
            what: what.into(),
            limit,
            place: place(&format!("/proc/self/task/{thread}")),
        }
    }
}

/// As `/proc` has it.
type ThreadId = NonZeroI32;

/// Does `operation` in a thread and gives up on it after `limit`.
pub fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    operation: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (tell_thread, thread) = mpsc::channel();
    let (tell_result, result) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = tell_thread.send(rustix::thread::gettid().as_raw_nonzero());
        let _ = tell_result.send(operation());
    });
    let id = thread.recv()?;
    let asked = Instant::now();
    match result.recv_timeout(limit) {
        Ok(_) if is_frozen(asked, limit) => Err(Stuck::new(what, limit, id).into()),
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(anyhow!("{what} panicked")),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Stuck::new(what, limit, id).into()),
    }
}

/// Whether nobody ran for so long, not even who counts the time: an answer that came
/// meanwhile is no excuse.
fn is_frozen(since: Instant, limit: Duration) -> bool {
    since.elapsed() > 2 * limit
}

/// Does `operation` in a thread and has `see` look at each of the steps that it
/// tells of. Gives up on it when the next one, or the end, takes longer than `limit`.
pub fn each<T: Send + 'static>(
    limit: Duration,
    what: &str,
    operation: impl FnOnce(&mpsc::Sender<T>) + Send + 'static,
    mut see: impl FnMut(T),
) -> Result<()> {
    let (tell_thread, thread) = mpsc::channel();
    let (tell_step, step) = mpsc::channel();
    let handle = std::thread::spawn(move || {
        let _ = tell_thread.send(rustix::thread::gettid().as_raw_nonzero());
        operation(&tell_step);
    });
    let id = thread.recv()?;
    loop {
        let asked = Instant::now();
        match step.recv_timeout(limit) {
            Ok(_) if is_frozen(asked, limit) => return Err(Stuck::new(what, limit, id).into()),
            Ok(step) => see(step),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return handle.join().map_err(|_| anyhow!("{what} panicked"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(Stuck::new(what, limit, id).into());
            }
        }
    }
}

/// Asks `done` again and again until it has an answer.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut done: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = done()? {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs_f64());
        }
        std::thread::sleep(POLL);
    }
}

/// Waits for the end of a child; says how long that took.
pub fn ended(child: &mut Child, what: &str, limit: Duration) -> Result<(ExitStatus, Duration)> {
    let started = Instant::now();
    if let Some(status) = child.try_wait()? {
        return Ok((status, started.elapsed()));
    }
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).context("pidfd_open")?;
    let timeout = Timespec::try_from(limit)?;
    let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))?;
    if ready == 0 {
        bail!(
            "{what} did not end within {} s; it is in {}",
            limit.as_secs_f64(),
            places(child.id())
        );
    }
    Ok((child.wait()?, started.elapsed()))
}

/// Where the threads of a process are, those that only wait for another left out.
fn places(process: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    let mut places: Vec<_> = tasks
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| place(&task.path().to_string_lossy()))
        .collect();
    places.dedup();
    places.join("; ")
}

/// Where in the kernel the task of this `/proc` directory is: the innermost
/// frames where the kernel tells them, else the one function that it sleeps in.
pub fn place(task: &str) -> String {
    let stack = std::fs::read_to_string(format!("{task}/stack")).unwrap_or_default();
    let frames: Vec<_> = stack
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .take(8)
        .collect();
    if frames.is_empty() {
        if uml::is_here() {
            // Its `wchan` is whatever the stack above the scheduler happens to hold.
            return "a place that this kernel does not tell".into();
        }
        return wchan(task).unwrap_or_else(|| "user space".into());
    }
    frames.join(" < ")
}

/// The kernel function that the task sleeps in, if it sleeps and is known.
fn wchan(task: &str) -> Option<String> {
    let name = std::fs::read_to_string(format!("{task}/wchan")).ok()?;
    (name != "0" && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_comes_through() {
        let sum = within(Duration::from_secs(5), "sum", || Ok(1 + 1));
        assert_eq!(sum.unwrap(), 2);
    }

    #[test]
    fn what_hangs_is_given_up_and_told_apart() {
        let error = within(Duration::from_millis(20), "sleep", || {
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        })
        .unwrap_err();
        assert!(error.downcast_ref::<Stuck>().is_some(), "{error}");
    }

    #[test]
    fn steps_are_seen_in_order_and_none_may_hang() {
        let limit = Duration::from_millis(200);
        let mut seen = Vec::new();
        let count = |steps: &mpsc::Sender<u32>| {
            let _ = (0..3).try_for_each(|step| steps.send(step));
        };
        each(limit, "count", count, |step| seen.push(step)).unwrap();
        assert_eq!(seen, [0, 1, 2]);
        let hang = move |steps: &mpsc::Sender<u32>| {
            count(steps);
            std::thread::sleep(Duration::from_secs(30));
        };
        let error = each(limit, "hang", hang, |step| seen.push(step)).unwrap_err();
        assert!(error.is::<Stuck>(), "{error}");
        assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
        let panics = |_: &mpsc::Sender<u32>| panic!("on purpose");
        assert!(each(limit, "panic", panics, |_| ()).is_err());
    }

    #[test]
    fn until_has_a_limit() {
        let never = || Ok(None::<()>);
        assert!(until(Duration::from_millis(20), "never", never).is_err());
    }
}
