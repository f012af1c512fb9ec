// SPDX-License-Identifier: MIT OR Apache-2.0

//! KUnit's results, in KTAP on the console, among other messages.

mod cases;

use std::collections::BTreeMap;

use protocol::Event;
use serde::Serialize;

pub use cases::tests as cases;

/// A suite that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Suite {
    pub name: String,
    /// The module whose loading ran it; `None` for one that is built in.
    pub module: Option<String>,
    /// Names of what passed.
    pub passed: Vec<String>,
    pub skipped: u64,
    /// Names of what failed.
    pub failed: Vec<String>,
    /// How many tests it said it would run.
    planned: u64,
}

impl Suite {
    /// Whether all that it planned was run and passed, or was skipped.
    pub fn is_good(&self) -> bool {
        let ran = self.passed.len() as u64 + self.skipped;
        self.failed.is_empty() && (ran == self.planned || self.planned == 0)
    }
}

/// All that KUnit reported in one boot.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    pub suites: Vec<Suite>,
    /// How many suites it said it would run; `None` if it never began.
    pub planned: Option<u64>,
}

impl Totals {
    pub fn passed(&self) -> u64 {
        self.suites
            .iter()
            .map(|suite| suite.passed.len() as u64)
            .sum()
    }

    pub fn skipped(&self) -> u64 {
        self.suites.iter().map(|suite| suite.skipped).sum()
    }

    pub fn failed(&self) -> u64 {
        self.suites
            .iter()
            .map(|suite| suite.failed.len() as u64)
            .sum()
    }

    /// How many suites, with how many tests, came from where.
    pub fn origins(&self) -> String {
        let mut counts = BTreeMap::<_, (u64, u64)>::new();
        for suite in &self.suites {
            let count = counts.entry(suite.module.as_deref()).or_default();
            count.0 += 1;
            count.1 += suite.passed.len() as u64;
        }
        let origins = counts.iter().map(|(module, (suites, tests))| {
            let module = module.unwrap_or("built in");
            format!("{module}: {suites} with {tests} tests")
        });
        origins.collect::<Vec<_>>().join(", ")
    }

    /// Why the run as a whole does not count, if it does not.
    pub fn problem(&self) -> Option<String> {
        let done = self.suites.len() as u64;
        match self.planned {
            None => Some("KUnit did not run".into()),
            Some(0) => Some("there are no suites".into()),
            Some(planned) if planned != done => {
                Some(format!("{done} of {planned} suites came to their end"))
            }
            Some(_) if self.passed() == 0 => Some("no test passed".into()),
            Some(_) => None,
        }
    }
}

/// Reads what is KTAP among `lines`.
pub fn parse<S: AsRef<str>>(lines: &[S]) -> Totals {
    let mut totals = Totals::default();
    let mut suite = Suite::default();
    let mut module = None;
    for line in lines {
        let line = without_time(line.as_ref().trim_end());
        if let Some(Ok(Event::Loading { module: name })) = protocol::decode(line) {
            module = Some(name);
        }
        let text = line.trim_start();
        // Suites are not indented, their tests by four; what a test reports of
        // its parameters is deeper and summed up by the test itself.
        match line.len() - text.len() {
            0 => {
                if let Some(count) = plan(text) {
                    totals.planned = Some(totals.planned.unwrap_or(0) + count);
                } else if let Some(result) = Verdict::parse(text) {
                    suite.name = result.name.to_owned();
                    suite.module.clone_from(&module);
                    if !result.ok && suite.failed.is_empty() {
                        suite.failed.push(format!("{} as a whole", result.name));
                    }
                    totals.suites.push(std::mem::take(&mut suite));
                }
            }
            4 => {
                if let Some(count) = plan(text) {
                    suite.planned = count;
                } else if let Some(result) = Verdict::parse(text) {
                    match (result.ok, result.skipped) {
                        (true, true) => suite.skipped += 1,
                        (true, false) => suite.passed.push(result.name.to_owned()),
                        (false, _) => suite.failed.push(result.name.to_owned()),
                    }
                }
            }
            _ => (),
        }
    }
    totals
}

/// Kernels may put the time in front of each line.
fn without_time(line: &str) -> &str {
    let stripped = line.strip_prefix('[').and_then(|rest| {
        let (time, text) = rest.split_once("] ")?;
        time.trim().parse::<f64>().ok()?;
        Some(text)
    });
    stripped.unwrap_or(line)
}

fn plan(text: &str) -> Option<u64> {
    text.strip_prefix("1..")?.parse().ok()
}

struct Verdict<'a> {
    ok: bool,
    name: &'a str,
    skipped: bool,
}

impl<'a> Verdict<'a> {
    /// `ok 3 name # SKIP why`, `not ok 4 name`.
    fn parse(text: &'a str) -> Option<Self> {
        let (ok, rest) = match text.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix("ok ")?),
        };
        let (number, name) = rest.split_once(' ')?;
        number.parse::<u64>().ok()?;
        let name = name.strip_prefix("- ").unwrap_or(name);
        let (name, directive) = name.split_once(" # ").unwrap_or((name, ""));
        Some(Self {
            ok,
            name: name.trim(),
            skipped: directive.starts_with("SKIP"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
printk: legacy console [mc-1] enabled
KTAP version 1
1..2
    KTAP version 1
    # Subtest: rust_doctests_kernel
    # speed: normal
    1..3
    # rust_doctest_kernel_list_rs_0.location: rust/kernel/list.rs:10
    ok 1 rust_doctest_kernel_list_rs_0
virtio_rng: a message in between
    # rust_doctest_kernel_list_rs_1: ASSERTION FAILED at rust/kernel/list.rs:40
    not ok 2 rust_doctest_kernel_list_rs_1
    ok 3 rust_doctest_kernel_list_rs_2 # SKIP no hardware
# rust_doctests_kernel: pass:1 fail:1 skip:1 total:3
# Totals: pass:1 fail:1 skip:1 total:3
not ok 1 rust_doctests_kernel
    KTAP version 1
    # Subtest: rust_kvec
    # module: kernel
    1..1
        KTAP version 1
        # Subtest: with_parameters
        ok 1 first
        ok 2 second
    ok 1 with_parameters
ok 2 rust_kvec
Run /init as init process";

    #[test]
    fn suites_tests_and_skips_are_counted() {
        let lines: Vec<_> = LOG.lines().collect();
        let totals = parse(&lines);
        assert_eq!(totals.suites.len(), 2);
        assert_eq!(
            (totals.passed(), totals.failed(), totals.skipped()),
            (2, 1, 1)
        );
        assert_eq!(totals.suites[0].failed, ["rust_doctest_kernel_list_rs_1"]);
        assert!(!totals.suites[0].is_good());
        assert!(totals.suites[1].is_good());
        assert_eq!(totals.problem(), None);
    }

    #[test]
    fn suites_of_modules_add_up() {
        let module = [
            "KTAP version 1",
            "1..1",
            "    1..1",
            "    ok 1 pace",
            "ok 1 hwrng",
        ];
        let lines: Vec<_> = LOG.lines().chain(module).collect();
        let totals = parse(&lines);
        assert_eq!((totals.suites.len(), totals.planned), (3, Some(3)));
        assert_eq!(totals.problem(), None);
    }

    #[test]
    fn suites_are_told_by_where_they_come_from() {
        let loading = protocol::encode(&Event::Loading {
            module: "virtio_kunit".into(),
        });
        let module = [&loading, "1..1", "    1..1", "    ok 1 a", "ok 1 ring"];
        let lines: Vec<_> = LOG.lines().chain(module).collect();
        let totals = parse(&lines);
        assert_eq!(totals.suites[1].module, None);
        assert_eq!(totals.suites[2].module.as_deref(), Some("virtio_kunit"));
        assert_eq!(
            totals.origins(),
            "built in: 2 with 2 tests, virtio_kunit: 1 with 1 tests"
        );
    }

    #[test]
    fn times_in_front_do_not_matter() {
        let with_times: Vec<_> = LOG
            .lines()
            .map(|line| format!("[    0.512345] {line}"))
            .collect();
        let lines: Vec<_> = LOG.lines().collect();
        assert_eq!(parse(&with_times), parse(&lines));
    }

    #[test]
    fn a_run_that_stops_half_way_is_a_problem() {
        let lines: Vec<_> = LOG.lines().take(14).collect();
        let totals = parse(&lines);
        assert_eq!(totals.suites.len(), 0);
        assert!(totals.problem().unwrap().contains("0 of 2"));
        assert!(parse(&["nothing"]).problem().is_some());
    }

    #[test]
    fn a_suite_that_ran_too_few_is_not_good() {
        let lines = ["1..1", "    1..3", "    ok 1 a", "ok 1 suite"];
        assert!(!parse(&lines).suites[0].is_good());
    }
}
