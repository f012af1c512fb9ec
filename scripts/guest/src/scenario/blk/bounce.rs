// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device that reaches memory through bounce buffers only, as in guests whose
//! memory is encrypted. While reads are on their way, the host looks where the
//! device is to write: for what the memory of the reader held before.

use std::os::unix::fs::FileExt as _;
use std::thread;

use anyhow::{anyhow, ensure, Result};
use protocol::disk::{first_difference, host_seed, DATA, MARKER};
use protocol::Ask;

use crate::bounded::{until, within};
use crate::bus::{self, LIMIT};
use crate::disk::{Bound, Buffer, Cache, IO_LIMIT, RUST_DRIVER};
use crate::module;
use crate::report::{Measured, Report};
use crate::say;

const READERS: usize = 8;
const LEN: usize = 64 << 10;

pub fn run(report: &mut Report) -> Result<()> {
    bus::set_autoprobe(false)?;
    report.check("bounce.scrubbed", || {
        let found = markers_in_flight("scrub=1")?;
        ensure!(
            found == 0,
            "the host saw {found} words of the reader's memory"
        );
        let detail = format!("{READERS} reads, the host saw nothing of the reader's memory");
        Ok(Measured::new(found as f64, "words", detail))
    });
    // That the host would have seen it.
    report.check("bounce.not-scrubbed", || {
        let found = markers_in_flight("scrub=0")?;
        ensure!(
            found > 0,
            "the host saw nothing, so it looked in the wrong place"
        );
        let detail = format!("{READERS} reads, the host saw what the reader's memory held before");
        Ok(Measured::new(found as f64, "words", detail))
    });
    Ok(())
}

/// How many markers the host sees while the device has requests.
fn markers_in_flight(parameter: &str) -> Result<u64> {
    module::load_with(RUST_DRIVER, parameter)?;
    let disk = Bound::new(DATA, RUST_DRIVER)?;
    // Whoever opens the disk first may look for partitions, which is not what is meant here.
    disk.read(Cache::Direct, 0, 4096, 4096)?;
    // One request per second: all but the first one stay where they are.
    let throttle = |iops| say::ask(Ask::Throttle { disk: DATA, iops });
    throttle(1)?;
    let readers: Vec<_> = (0..READERS).map(|number| read(&disk, number)).collect();
    let found = until(LIMIT, "requests on their way", || {
        Ok((disk.inflight()? >= READERS as u64 / 2).then_some(()))
    })
    .and_then(|()| say::ask(Ask::Markers { disk: DATA }));
    throttle(0)?;
    within(IO_LIMIT, "readers", move || {
        for (number, reader) in readers.into_iter().enumerate() {
            let read = reader.join().map_err(|_| anyhow!("a reader panicked"))??;
            let right = first_difference(host_seed(DATA), at(number), &read).is_none();
            ensure!(right, "reader {number} got something else");
        }
        Ok(())
    })?;
    disk.unbind(LIMIT)?;
    module::unload_now(RUST_DRIVER)?;
    found
}

/// Not one behind the other, or they would be made one.
fn at(number: usize) -> u64 {
    (number * 2 * LEN) as u64
}

/// Reads into memory that is full of markers.
fn read(disk: &Bound, number: usize) -> thread::JoinHandle<Result<Vec<u8>>> {
    let disk = disk.clone();
    thread::spawn(move || {
        let mut buffer = Buffer::new(LEN);
        for word in buffer.bytes().chunks_exact_mut(MARKER.len()) {
            word.copy_from_slice(&MARKER);
        }
        let file = disk.open(Cache::Direct, false)?;
        file.read_exact_at(buffer.bytes(), at(number))?;
        Ok(buffer.bytes().to_vec())
    })
}
