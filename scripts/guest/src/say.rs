// SPDX-License-Identifier: MIT OR Apache-2.0

//! Speaking to the host.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;

use protocol::Event;

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

pub fn note(text: impl Into<String>) {
    event(&Event::Note { text: text.into() });
}

/// Asks the host to act.
pub fn await_host(what: &str) {
    event(&Event::Await { what: what.into() });
}
