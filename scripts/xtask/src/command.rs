// SPDX-License-Identifier: MIT OR Apache-2.0

//! Other programs: their output goes to a log, their whole process group ends
//! with them, and what they said last is part of the error when they fail.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{anyhow, Context as _, Result};

use crate::failure::Failure;
use crate::process_group::{check_interrupt, ProcessGroup};
use crate::ui;

/// How many of a failed program's last lines the error shows.
const TAIL: usize = 20;
/// How long a process that outlives its parent may keep the output open.
const STRAGGLER_GRACE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);

/// A program to run, in the manner of [`std::process::Command`].
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    removed: Vec<&'static str>,
    dir: Option<PathBuf>,
    log: Option<PathBuf>,
    limit: Option<Duration>,
    listens: bool,
}

impl Command {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            removed: Vec::new(),
            dir: None,
            log: None,
            limit: None,
            listens: false,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn envs<'a>(mut self, envs: impl IntoIterator<Item = &'a (String, String)>) -> Self {
        self.envs
            .extend(envs.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Lets another program start this one: `wrapper` comes in front.
    pub fn behind(mut self, wrapper: &[String]) -> Self {
        let Some((program, args)) = wrapper.split_first() else {
            return self;
        };
        let program = std::mem::replace(&mut self.program, program.into());
        let args = args.iter().map(OsString::from);
        self.args.splice(0..0, args.chain([program]));
        self
    }

    /// Keeps variables of the caller's environment from the program.
    pub fn without_envs(mut self, names: &[&'static str]) -> Self {
        self.removed.extend(names);
        self
    }

    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Writes all output of [`Command::run`] and [`Command::lines`] to `path`.
    pub fn log(mut self, path: impl AsRef<Path>) -> Self {
        self.log = Some(path.as_ref().to_owned());
        self
    }

    /// Kills the program, and all that it started, after `limit`.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Lets [`Running::tell`] write to its standard input; else that is empty.
    pub fn listens(mut self) -> Self {
        self.listens = true;
        self
    }

    /// Runs the program to its end; fails unless it exits with 0.
    pub fn run(&self) -> Result<()> {
        self.lines(|_| ())
    }

    /// As [`Command::run`], and calls `on_line` with each line of standard
    /// output and standard error as it comes.
    pub fn lines(&self, mut on_line: impl FnMut(&str)) -> Result<()> {
        self.watch(|line| {
            if let Some(line) = line {
                on_line(line);
            }
        })
    }

    /// As [`Command::lines`], and calls `on_event` with `None` a few times a
    /// second while there is nothing to read.
    pub fn watch(&self, mut on_event: impl FnMut(Option<&str>)) -> Result<()> {
        let mut log = self.open_log()?;
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut running = self.spawn()?;
        loop {
            match running.next(POLL)? {
                Event::Quiet => on_event(None),
                Event::End => break,
                Event::Line(line) => {
                    if let Some((file, path)) = &mut log {
                        writeln!(file, "{line}").with_context(|| path.display().to_string())?;
                    }
                    on_event(Some(&line));
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(line);
                }
            }
        }
        let status = running.finish()?;
        if status.success() {
            return Ok(());
        }
        Err(self.failed(status, &Vec::from(tail).join("\n")))
    }

    /// Runs the program and returns its standard output.
    pub fn output(&self) -> Result<String> {
        let child = self
            .prepare()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("cannot run {}", self.name()))?;
        check_interrupt()?;
        if child.status.success() {
            return Ok(String::from_utf8_lossy(&child.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&child.stderr);
        Err(self.failed(child.status, said.trim_end()))
    }

    /// Starts the program with its standard output and standard error joined.
    pub fn spawn(&self) -> Result<Running> {
        let (reader, writer) = nix::unistd::pipe().context("pipe")?;
        let mut command = self.prepare();
        command.stdout(writer.try_clone()?).stderr(writer);
        if self.listens {
            command.stdin(Stdio::piped());
        }
        let mut group = ProcessGroup::spawn(&mut command)
            .with_context(|| format!("cannot run {}", self.name()))?;
        // The writing ends that this process holds close here, so that the
        // reader sees the end of the output when the children end.
        drop(command);
        let lines = read_lines(File::from(reader));
        Ok(Running {
            name: self.name(),
            input: group.take_stdin(),
            group,
            lines,
            limit: self.limit,
            started: Instant::now(),
            quiet_since_exit: None,
        })
    }

    /// Runs the program on the user's own terminal.
    pub fn foreground(&self) -> Result<ExitStatus> {
        self.prepare()
            .stdin(Stdio::inherit())
            .status()
            .with_context(|| format!("cannot run {}", self.name()))
    }

    fn prepare(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(self.envs.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn name(&self) -> String {
        Path::new(&self.program)
            .file_name()
            .unwrap_or(&self.program)
            .to_string_lossy()
            .into_owned()
    }

    fn open_log(&self) -> Result<Option<(File, PathBuf)>> {
        let Some(path) = &self.log else {
            return Ok(None);
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        let mut file = File::create(path).with_context(|| path.display().to_string())?;
        writeln!(file, "$ {}", self.shell_line()).with_context(|| path.display().to_string())?;
        Ok(Some((file, path.clone())))
    }

    /// The command as a person would type it, for logs and for advice.
    pub fn shell_line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    fn failed(&self, status: ExitStatus, said: &str) -> anyhow::Error {
        let message = match said {
            "" => format!("{} failed ({status})", self.name()),
            _ => format!("{} failed ({status}):\n{said}", self.name()),
        };
        match &self.log {
            Some(log) => {
                Failure::new(message, format!("the whole log is in {}", log.display())).into()
            }
            None => anyhow!(message),
        }
    }
}

/// What [`Running::next`] saw.
pub enum Event {
    Line(String),
    /// Nothing for as long as the caller was willing to wait.
    Quiet,
    /// The program closed its output: time to call [`Running::finish`].
    End,
}

/// A program that runs; dropping it kills it and all that it started.
pub struct Running {
    name: String,
    input: Option<ChildStdin>,
    group: ProcessGroup,
    lines: Receiver<String>,
    limit: Option<Duration>,
    started: Instant,
    quiet_since_exit: Option<Instant>,
}

impl Running {
    /// Waits at most `patience` for the next line.
    ///
    /// # Errors
    /// When the time limit has passed or the user interrupted; the caller then
    /// drops this, which kills the process group.
    pub fn next(&mut self, patience: Duration) -> Result<Event> {
        check_interrupt()?;
        self.check_limit()?;
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Event::Line(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(Event::End),
            Err(RecvTimeoutError::Timeout) if self.only_stragglers_left()? => Ok(Event::End),
            Err(RecvTimeoutError::Timeout) => Ok(Event::Quiet),
        }
    }

    /// Waits for the exit status within the time limit.
    pub fn finish(mut self) -> Result<ExitStatus> {
        while !self.group.has_exited()? {
            check_interrupt()?;
            self.check_limit()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        self.group.reap()
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut();
        let input = input.with_context(|| format!("{} does not listen", self.name))?;
        writeln!(input, "{line}").with_context(|| format!("telling {}", self.name))
    }

    /// Ends the program without letting it notice.
    pub fn end_at_once(&mut self) {
        self.group.end_at_once();
    }

    fn check_limit(&self) -> Result<()> {
        match self.limit {
            Some(limit) if self.started.elapsed() > limit => Err(anyhow!(
                "{} did not end within its time limit of {}",
                self.name,
                ui::duration(limit)
            )),
            _ => Ok(()),
        }
    }

    /// The program ended, yet something that it started holds its output open.
    fn only_stragglers_left(&mut self) -> Result<bool> {
        if !self.group.has_exited()? {
            return Ok(false);
        }
        let since = self.quiet_since_exit.get_or_insert_with(Instant::now);
        Ok(since.elapsed() > STRAGGLER_GRACE)
    }
}

fn read_lines(reader: File) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let line = String::from_utf8_lossy(&bytes);
            if sender.send(line.trim_end().to_owned()).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[test]
    fn failure_carries_the_last_lines_and_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("deep/sh.log");
        let error = shell("echo out; echo err >&2; exit 3").log(&log).run();
        let text = crate::failure::render(&error.unwrap_err());
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("out\nerr"), "{text}");
        assert!(text.contains(&log.display().to_string()), "{text}");
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(logged.ends_with("out\nerr\n"), "{logged}");
    }

    #[test]
    fn limit_kills_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let error = shell(&script).limit(Duration::from_millis(300)).run();
        assert!(error.unwrap_err().to_string().contains("time limit"));
        let pid = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // Being killed takes its time; one that nobody has reaped yet is dead, too.
        let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let patience = Instant::now();
        while alive() {
            assert!(patience.elapsed() < Duration::from_secs(10), "still alive");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn a_straggler_does_not_hold_us_up() {
        let started = Instant::now();
        shell("sleep 30 & exit 0").run().unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn output_is_standard_output_only() {
        assert_eq!(shell("echo a; echo b >&2").output().unwrap(), "a\n");
    }
}
