// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs checks and reports them one by one.

use std::panic::{catch_unwind, AssertUnwindSafe};

use anyhow::{anyhow, Result};
use protocol::{Event, Outcome};

use crate::bounded::Stuck;
use crate::{bus, say};

/// What a check that passed has to show.
#[derive(Debug)]
pub struct Measured {
    pub value: f64,
    pub unit: &'static str,
    pub detail: String,
}

impl Measured {
    pub fn new(value: f64, unit: &'static str, detail: impl Into<String>) -> Self {
        Self {
            value,
            unit,
            detail: detail.into(),
        }
    }
}

/// The reason why a check cannot run here, as an error for `?`.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

#[derive(Default)]
pub struct Report {
    passed: u32,
    failed: u32,
    /// The checks to make, where not all are wanted.
    only: Option<Vec<String>>,
    /// Set once an operation did not return: the kernel may hold any lock, so
    /// whatever came next would tell nothing.
    stuck: Option<String>,
}

impl Report {
    pub fn set_only(&mut self, list: Option<&str>) {
        self.only = list.map(|list| list.split(',').map(str::to_owned).collect());
    }

    pub fn wants(&self, name: &str) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }

    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<Measured>) {
        if !self.wants(name) {
            return;
        }
        say::event(&Event::Begin { name: name.into() });
        if let Some(stuck) = self.stuck.clone() {
            return self.fail(name, &format!("not run: {stuck}"));
        }
        let result = catch_unwind(AssertUnwindSafe(check))
            .unwrap_or_else(|_| Err(anyhow!("the check panicked")));
        match result {
            Ok(measured) => self.pass(name, measured),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(skip) => say::event(&Event::Skip {
                    name: name.into(),
                    reason: skip.to_string(),
                }),
                None => {
                    self.fail(name, &format!("{error:#}"));
                    self.stuck = stuck(&error).or_else(clean_up);
                }
            },
        }
    }

    fn pass(&mut self, name: &str, measured: Measured) {
        self.passed += 1;
        say::event(&Event::Result(Outcome {
            name: name.into(),
            value: measured.value,
            unit: measured.unit.into(),
            ok: true,
            detail: measured.detail,
        }));
    }

    fn fail(&mut self, name: &str, why: &str) {
        self.failed += 1;
        say::event(&Event::Result(Outcome {
            name: name.into(),
            value: 0.0,
            unit: String::new(),
            ok: false,
            detail: why.into(),
        }));
    }

    /// Something outside any check failed.
    pub fn broken(&mut self, why: &str) {
        self.fail("scenario", why);
    }

    pub fn done(&self) {
        say::event(&Event::Done {
            passed: self.passed,
            failed: self.failed,
        });
    }
}

fn stuck(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<Stuck>().map(Stuck::to_string)
}

/// Takes back what a check that failed left bound, so that the next one starts
/// as if nothing had happened.
fn clean_up() -> Option<String> {
    bus::release_all(bus::LIMIT).err().as_ref().and_then(stuck)
}
