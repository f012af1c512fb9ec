// SPDX-License-Identifier: MIT OR Apache-2.0

//! What came of one case with one driver.

use std::time::Duration;

use hostile::case::{Case, Layout, Outcome, Transport};

use super::ON_QEMU;
use crate::report::Entry;
use crate::ui;

/// Whose driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Driver {
    C,
    Rust,
}

impl Driver {
    pub const ALL: [Self; 2] = [Self::C, Self::Rust];

    pub fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Rust => "rust",
        }
    }
}

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Run {
    pub case: Case,
    pub driver: Driver,
    pub layout: Layout,
    pub transport: Transport,
}

impl Run {
    /// `<case>.<c or rust>.<split or packed>`; on QEMU the case has that behind it.
    pub fn name(&self) -> String {
        format!(
            "{}.{}.{}",
            self.case_name(),
            self.driver.name(),
            self.layout.name()
        )
    }

    /// As its log is called: with the kernel, if that is another one.
    pub fn log_name(&self) -> String {
        match &self.case.kernel {
            Some(kernel) => format!("{}-{kernel}", self.name()),
            None => self.name(),
        }
    }

    pub fn case_name(&self) -> String {
        case_name(&self.case, self.transport)
    }
}

/// The name that results have of a case on a transport.
pub fn case_name(case: &Case, transport: Transport) -> String {
    match transport {
        Transport::Uml => case.name.clone(),
        Transport::Qemu => format!("{}{ON_QEMU}", case.name),
    }
}

/// What was seen of it.
#[derive(Clone, Debug)]
pub struct Row {
    pub run: Run,
    /// The worst of all that was seen; none if this proves nothing.
    pub outcome: Option<Outcome>,
    /// In a sentence: the first error, where it hangs, the complaint.
    pub detail: String,
    /// Why it proves nothing: the lie was not told, or the honest device is not
    /// served well.
    pub void: Option<String>,
    /// What the log should say and does not.
    pub unsaid: Option<String>,
    /// How often the device lied.
    pub told: usize,
    /// The log of the guest's console, below `out`.
    pub log: String,
    pub took: Duration,
    /// The lines of the kernel's complaint.
    pub excerpt: Vec<String>,
}

impl Row {
    /// Whether it ended as the case demands.
    pub fn as_demanded(&self) -> bool {
        self.outcome
            .is_some_and(|outcome| self.run.case.must.contains(&outcome))
    }

    /// Whether that is good enough. The C driver is measured, and so are both on another
    /// kernel; these cannot fail, but for the honest device.
    pub fn is_good(&self) -> bool {
        let case = &self.run.case;
        let of_c = self.run.driver == Driver::C && !case.is_honest();
        let is_measured = of_c || case.kernel.is_some();
        self.void.is_none() && (is_measured || self.as_demanded() && self.unsaid.is_none())
    }

    pub fn demand(&self) -> String {
        let must = self.run.case.must.iter().map(|must| must.name());
        must.collect::<Vec<_>>().join(" or ")
    }

    pub fn entry(&self) -> Entry {
        let outcome = self.outcome.map_or("nothing", Outcome::name);
        let detail = match (&self.void, &self.unsaid) {
            (Some(why), _) => format!("proves nothing: {why}"),
            (None, Some(text)) => format!("the log does not say {text:?}; {}", self.detail),
            (None, None) => format!(
                "{}; {} lies told, {}",
                self.detail,
                self.told,
                ui::duration(self.took)
            ),
        };
        Entry {
            name: self.run.name(),
            value: self
                .outcome
                .map_or(-1.0, |outcome| f64::from(outcome as u8)),
            unit: outcome.into(),
            bar: (self.run.driver == Driver::Rust || self.run.case.is_honest())
                .then(|| self.demand()),
            ok: self.is_good(),
            skipped: None,
            detail,
            excerpt: match self.is_good() {
                true => Vec::new(),
                false => self.excerpt.clone(),
            },
        }
    }
}
