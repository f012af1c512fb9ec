// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device side is killed while it is written to, and comes back: whoever writes
//! waits meanwhile, and nothing is lost. One write at a time, as what takes over knows
//! no more than how many requests were answered.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context as _, Result};
use protocol::disk::{fill, overwrite, writes};
use protocol::Ask;

use crate::bounded::{until, within};
use crate::bus::{self, LIMIT};
use crate::disk::{Bound, Buffer, Cache, IO_LIMIT};
use crate::module;
use crate::params::Params;
use crate::report::{Measured, Report};
use crate::say;

const RESTARTS: u64 = 5;
const WRITES: u64 = 3000;
const SEED: u64 = 0xbac4;
const FLOW: Duration = Duration::from_secs(90);

pub fn run(params: &Params, report: &mut Report) -> Result<()> {
    let driver = params.disk_driver();
    bus::set_autoprobe(false)?;
    module::load(driver)?;
    report.check("backend-returns.write", || write(driver));
    Ok(())
}

fn write(driver: &str) -> Result<Measured> {
    let disk = Bound::new(0, driver)?;
    let size = disk.size()?;
    let written = Arc::new(AtomicU64::new(0));
    let writer = thread::spawn({
        let (disk, written) = (disk.clone(), written.clone());
        move || write_all(&disk, size, &written)
    });
    let mut restarts = 0;
    while restarts < RESTARTS {
        let enough = (restarts + 1) * WRITES / (RESTARTS + 1);
        let in_the_middle = until(FLOW, "a write on its way", || {
            let goes_on = !writer.is_finished();
            let is_due = written.load(Ordering::Relaxed) >= enough && disk.inflight()? > 0;
            Ok((is_due || !goes_on).then_some(goes_on))
        })?;
        if !in_the_middle {
            break;
        }
        say::ask(Ask::RestartBackend)?;
        restarts += 1;
    }
    let done = move || Ok(writer.join());
    let done = within(IO_LIMIT, "the rest of the writes", done)?;
    done.map_err(|_| anyhow!("the writer panicked"))??;
    ensure!(
        restarts == RESTARTS,
        "all was written after {restarts} of them"
    );
    let mut expected = vec![0; size as usize];
    overwrite(SEED, WRITES, &mut expected);
    let found = disk.read(Cache::Direct, 0, size as usize, 1 << 20)?;
    let different = found.iter().zip(&expected).position(|(a, b)| a != b);
    ensure!(
        different.is_none(),
        "byte {different:?} is not what was written"
    );
    disk.unbind(LIMIT)?;
    let detail = format!("{WRITES} writes, none of which failed, all read back");
    Ok(Measured::new(RESTARTS as f64, "restarts", detail))
}

fn write_all(disk: &Bound, size: u64, written: &AtomicU64) -> Result<()> {
    let file = disk.open(Cache::Direct, true)?;
    for (number, write) in (1..).zip(writes(SEED, WRITES, size)) {
        let mut buffer = Buffer::new(write.len);
        fill(write.seed, write.at, buffer.bytes());
        file.write_all_at(buffer.bytes(), write.at)
            .with_context(|| format!("write {number}: {write:?}"))?;
        written.store(number, Ordering::Relaxed);
    }
    Ok(())
}
