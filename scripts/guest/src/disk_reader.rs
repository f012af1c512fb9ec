// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers of a disk in processes of their own: they read the same place again and
//! again, past the page cache, until a read fails.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::process::ExitCode;

use anyhow::Result;
use rustix::fs::OFlags;

use crate::disk::{Bound, Buffer};
use crate::reader::{self, Reader};

/// The first argument that makes this binary a reader of a disk.
pub const ROLE: &str = "disk-reader";

const AT: u64 = 1 << 20;
const LEN: usize = 4096;

pub fn spawn(disk: &Bound) -> Result<Reader> {
    Reader::start(ROLE, &[disk.path()])
}

/// The reader's own side; it exits with the error number.
pub fn child(args: &[String]) -> ExitCode {
    let [progress, path] = args else {
        return ExitCode::FAILURE;
    };
    let Ok(progress) = File::create(progress) else {
        return ExitCode::FAILURE;
    };
    let errno = match read_until_error(&progress, path) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(i32::MAX),
    };
    ExitCode::from(u8::try_from(errno).unwrap_or(u8::MAX))
}

/// Returns at the end of the file.
fn read_until_error(progress: &File, path: &str) -> io::Result<()> {
    let direct = OFlags::DIRECT.bits().try_into();
    let mut options = OpenOptions::new();
    let options = options.read(true);
    let file = options
        .custom_flags(direct.map_err(io::Error::other)?)
        .open(path)?;
    let mut buffer = Buffer::new(LEN);
    let mut total = 0;
    loop {
        match file.read_at(buffer.bytes(), AT)? {
            0 => return Ok(()),
            count => total += count as u64,
        }
        reader::tell(progress, total);
    }
}
