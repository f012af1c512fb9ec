// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's log, read from its own buffer: a console may drop lines.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::splat;
use rustix::fs::OFlags;

use crate::bounded::until;
use crate::report::Measured;
use crate::say;

const PATH: &str = "/dev/kmsg";

pub struct Kmsg(File);

impl Kmsg {
    /// From the oldest record that the kernel still has.
    pub fn from_start() -> Result<Self> {
        let nonblocking = OFlags::NONBLOCK.bits().try_into()?;
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(nonblocking);
        Ok(Self(options.open(PATH).context(PATH)?))
    }

    /// From the next record on.
    pub fn from_now() -> Result<Self> {
        let mut log = Self::from_start()?;
        log.0.seek(SeekFrom::End(0)).context(PATH)?;
        Ok(log)
    }

    /// The next record's text, if there is one.
    fn next(&mut self) -> Result<Option<String>> {
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(count) => {
                    let record = String::from_utf8_lossy(&record[..count]);
                    return Ok(Some(text(&record).to_owned()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // The buffer went around; the next read has the oldest record.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => continue,
                Err(error) => return Err(error).context(PATH),
            }
        }
    }

    /// Waits for a record that contains all of `words`.
    pub fn wait_for(&mut self, words: &[&str], limit: Duration) -> Result<String> {
        until(limit, &format!("a kernel message with {words:?}"), || {
            while let Some(text) = self.next()? {
                let ours = text.contains(protocol::MARK);
                if !ours && words.iter().all(|word| text.contains(word)) {
                    return Ok(Some(text));
                }
            }
            Ok(None)
        })
    }

    fn rest(mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(text) = self.next()? {
            lines.push(text);
        }
        Ok(lines)
    }
}

/// A record is `priority,sequence,time,flags;text` and then further lines with
/// properties of the device.
fn text(record: &str) -> &str {
    let first = record.lines().next().unwrap_or_default();
    first.split_once(';').map_or(first, |(_, text)| text)
}

/// The check that ends each scenario.
pub fn is_clean(scenario: &str) -> Result<Measured> {
    let lines = Kmsg::from_start()?.rest()?;
    let splats = splat::find(&lines, splat::accepted(scenario));
    let bad: Vec<_> = splats
        .iter()
        .filter(|found| found.accepted.is_none())
        .collect();
    for splat in &bad {
        // Where the console lost it, the host sees it here.
        say::note(splat.excerpt.join(" | "));
    }
    ensure!(
        bad.is_empty(),
        "{} splats, first: {}: {}",
        bad.len(),
        bad[0].meaning,
        bad[0].excerpt[0]
    );
    let detail = format!("{} lines, {} accepted splats", lines.len(), splats.len());
    Ok(Measured::new(0.0, "splats", detail))
}

/// The number behind a word: `virtio_cost_rng: virtio_rng probe 9 remove 8 memory 7`.
pub fn number_after(line: &str, word: &str) -> Option<f64> {
    let mut words = line.split_whitespace().skip_while(|other| *other != word);
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_module() {
        let line = "virtio_cost_rng: virtio_rng probe 9 remove 8 memory 7";
        assert_eq!(number_after(line, "probe"), Some(9.0));
        assert_eq!(number_after(line, "memory"), Some(7.0));
        assert_eq!(number_after(line, "read"), None);
        assert_eq!(number_after("virtio_cost_rng: empty read", "read"), None);
    }

    #[test]
    fn the_text_of_a_record_is_its_first_line_after_the_header() {
        let record = "4,338,1093424,-;virtio_rng virtio0: odd; very\n SUBSYSTEM=virtio\n";
        assert_eq!(text(record), "virtio_rng virtio0: odd; very");
        assert_eq!(text(""), "");
    }
}
