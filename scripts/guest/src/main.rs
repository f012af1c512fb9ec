// SPDX-License-Identifier: MIT OR Apache-2.0

//! The first process of a test guest: it runs the scenario that the kernel
//! command line names, says on the console what it found, and powers off.
//!
//! Whatever may hang in the kernel is done in a thread or a child that can be
//! given up, so that the last word is always said.

mod boot;
mod bounded;
mod bus;
mod disk;
mod disk_reader;
mod figures;
mod fips;
mod hwrng;
mod kmsg;
mod module;
mod params;
mod poison;
mod program;
mod reader;
mod report;
mod sanity;
mod say;
mod scenario;
mod uml;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;

use anyhow::Result;

use params::Params;
use report::Report;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(reader::ROLE) => return reader::child(&args[2..]),
        Some(disk_reader::ROLE) => return disk_reader::child(&args[2..]),
        Some(poison::ROLE) => return poison::child(&args[2..]),
        _ => (),
    }
    if std::process::id() != 1 {
        eprintln!("error: this is the first process of a test guest, not a program for a host");
        return ExitCode::FAILURE;
    }
    first_process()
}

/// Never returns in practice: the kernel would panic.
fn first_process() -> ExitCode {
    let mut report = Report::default();
    let mut params = Params::default();
    let ran = catch_unwind(AssertUnwindSafe(|| -> Result<()> {
        boot::mount_all()?;
        params = Params::from_kernel()?;
        report.set_only(params.get("only"));
        scenario::run(&params, &mut report)
    }));
    match ran {
        Ok(Ok(())) => (),
        Ok(Err(error)) => report.broken(&format!("{error:#}")),
        Err(_) => report.broken("the scenario panicked"),
    }
    if params.scenario() != "shell" {
        report.done();
    }
    boot::end(&params)
}
