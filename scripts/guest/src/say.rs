// SPDX-License-Identifier: MIT OR Apache-2.0

//! Speaking to the host.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context as _, Result};
use protocol::{Ask, Event};

use crate::bounded::within;

/// Alert: a level that reaches every console.
const LEVEL: &str = "<1>";

/// A write to `/dev/kmsg` is one record, which the kernel never tears and
/// keeps in order with what it says itself.
fn kmsg() -> Option<&'static File> {
    static KMSG: OnceLock<Option<File>> = OnceLock::new();
    KMSG.get_or_init(|| OpenOptions::new().write(true).open("/dev/kmsg").ok())
        .as_ref()
}

pub fn event(event: &Event) {
    let line = protocol::encode(event);
    let written = kmsg().map(|mut file| file.write_all(format!("{LEVEL}{line}\n").as_bytes()));
    if !matches!(written, Some(Ok(()))) {
        // A guest without /dev/kmsg still has a console.
        let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
    }
}

/// Says that something was done, now and then: whoever hears nothing for long takes
/// this for a hang.
pub fn progress(what: &dyn fmt::Display) {
    const OFTEN_ENOUGH: Duration = Duration::from_secs(5);
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else {
        return;
    };
    let now = Instant::now();
    let since = last.get_or_insert(now);
    if now.duration_since(*since) >= OFTEN_ENOUGH {
        *since = now;
        note(format!("done: {what}"));
    }
}

pub fn note(text: impl Into<String>) {
    event(&Event::Note { text: text.into() });
}

/// Asks the host to act.
pub fn await_host(what: &str) {
    event(&Event::Await { what: what.into() });
}

/// Asks the host to act, and waits for its answer.
pub fn ask(ask: Ask) -> Result<u64> {
    static CONSOLE: Mutex<Option<BufReader<File>>> = Mutex::new(None);
    const LIMIT: Duration = Duration::from_secs(30);
    const PATH: &str = "/dev/console";
    within(LIMIT, &format!("the host, asked to {ask:?},"), move || {
        let mut console = CONSOLE.lock().map_err(|_| anyhow!("a reader panicked"))?;
        if console.is_none() {
            *console = Some(BufReader::new(File::open(PATH).context(PATH)?));
        }
        event(&Event::Ask(ask));
        let mut line = String::new();
        while let Some(console) = console.as_mut() {
            line.clear();
            if console.read_line(&mut line).context(PATH)? == 0 {
                break;
            }
            if let Some(answer) = protocol::read_answer(&line) {
                return answer.map_err(|why| anyhow!("the host {why}"));
            }
        }
        bail!("the host hung up")
    })
}
