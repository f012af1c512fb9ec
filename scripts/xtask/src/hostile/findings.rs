// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the C drivers make of a device that lies, for those who maintain them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hostile::case::{Outcome, Transport};

use super::page::{self, Head};
use super::row::{Driver, Row};
use super::table;
use crate::html;
use crate::ui::duration;

/// Lines of a complaint; the log has the rest.
const EXCERPT: usize = 15;

const NO_ANALYSIS: &str = "No analysis has been written yet.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Memory,
    Availability,
    Other,
}

impl Part {
    const ALL: [Self; 3] = [Self::Memory, Self::Availability, Self::Other];

    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Corrupt | Outcome::Leak | Outcome::Splat | Outcome::Crash => Self::Memory,
            Outcome::Lost | Outcome::Hang => Self::Availability,
            Outcome::Clean | Outcome::RequestError | Outcome::ProbeError | Outcome::Broken => {
                Self::Other
            }
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Memory => {
                "## Wrong data, leaks, complaints and crashes\n\n\
                 Memory reached a reader that must never see it, the kernel complained, or it \
                 died. Not every complaint is about memory: its first line says what it is \
                 about.\n\n"
            }
            Self::Availability => {
                "## Hangs and lost devices\n\n\
                 Upstream does not treat denial of service by the host as a vulnerability \
                 (`Documentation/security/snp-tdx-threat-model.rst`): a host can stop its guest \
                 at any time. These are bugs all the same where a task cannot be killed, or \
                 where a device that has become honest cannot be used again.\n\n"
            }
            Self::Other => {
                "## Other differences\n\n\
                 The guest did not suffer, but requests succeeded, failed or were refused in \
                 another way than is demanded.\n\n"
            }
        }
    }
}

/// What the C driver made of one case.
struct Finding<'a> {
    part: Part,
    /// All that prove something, also those that ended as demanded.
    rows: Vec<&'a Row>,
}

impl<'a> Finding<'a> {
    fn of(rows: Vec<&'a Row>) -> Option<Self> {
        let differ = rows.iter().filter(|row| table::differs(row));
        let parts = differ.filter_map(|row| table::outcome(row)).map(Part::of);
        Some(Self {
            part: parts.min()?,
            rows,
        })
    }

    fn name(&self) -> &'a str {
        &self.rows[0].run.case.name
    }

    fn about(&self) -> Option<&'a str> {
        self.rows[0].run.case.analysis()
    }

    fn differing(&self) -> impl Iterator<Item = &'a Row> + '_ {
        let rows = self.rows.iter().copied();
        rows.filter(|row| table::differs(row))
    }

    fn text(&self) -> String {
        let case = &self.rows[0].run.case;
        let mut text = format!("### {}\n\n", code(&case.name));
        text += &item("What the device does", &plain(table::lie(case)));
        if let Some(kernel) = &case.kernel {
            text += &item("Kernel", &format!("with the change {}", code(kernel)));
        }
        text += &item("Demanded", &self.rows[0].demand());
        for row in &self.rows {
            text += &item(&format!("Seen, {}", place(row)), &seen(row));
        }
        for command in self.commands() {
            text += &item("Repeat", &code(&command));
        }
        text + &self.excerpt()
    }

    fn commands(&self) -> Vec<String> {
        let names = self.differing().map(|row| row.run.case_name());
        let mut commands: Vec<_> = names
            .map(|name| format!("make hostile CASE={name} DRIVER=c"))
            .collect();
        commands.dedup();
        commands
    }

    /// The complaint of the kernel where it is worst.
    fn excerpt(&self) -> String {
        let complaints = self.differing().filter(|row| !row.excerpt.is_empty());
        let Some(row) = complaints.min_by_key(|row| Reverse(table::outcome(row))) else {
            return String::new();
        };
        let shown = &row.excerpt[..row.excerpt.len().min(EXCERPT)];
        let lines: Vec<_> = shown.iter().map(|line| html::printable(line)).collect();
        let lines = lines.join("\n");
        let fence = "`".repeat(longest_run(&lines).max(2) + 1);
        let more = match row.excerpt.len() - shown.len() {
            0 => String::new(),
            more => format!("The log has {more} more lines of it.\n"),
        };
        format!(
            "\nThe kernel's complaint, {}:\n\n{fence}text\n{lines}\n{fence}\n{more}",
            place(row)
        )
    }
}

/// The text of `out/hostile-findings.md`; `about` is the analysis with a name.
pub fn report(head: &Head, rows: &[Row], about: impl Fn(&str) -> Option<String>) -> String {
    let findings = findings(rows);
    let mut text = intro(head, rows, &findings);
    let mut told: BTreeMap<&str, &str> = BTreeMap::new();
    for part in Part::ALL {
        let of_part: Vec<_> = findings.iter().filter(|found| found.part == part).collect();
        if !of_part.is_empty() {
            text += part.heading();
        }
        for finding in of_part {
            text += &finding.text();
            text += &format!("\n{}\n\n", analysis(finding, &mut told, &about));
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// In the order of the cases.
fn findings(rows: &[Row]) -> Vec<Finding<'_>> {
    let mut cases: Vec<Vec<&Row>> = Vec::new();
    for row in of_c(rows).filter(|row| table::outcome(row).is_some()) {
        let is_same = |case: &&mut Vec<&Row>| case[0].run.case.name == row.run.case.name;
        match cases.iter_mut().find(is_same) {
            Some(case) => case.push(row),
            None => cases.push(vec![row]),
        }
    }
    cases.into_iter().filter_map(Finding::of).collect()
}

fn of_c(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.run.driver == Driver::C)
}

fn intro(head: &Head, rows: &[Row], findings: &[Finding]) -> String {
    let runs = of_c(rows).count();
    let void = of_c(rows).filter(|row| table::outcome(row).is_none());
    let differing: usize = findings.iter().map(|found| found.differing().count()).sum();
    let mut text = format!(
        "# The C drivers of virtio and a device that lies\n\n\
         Linux {}, {}, {}; {} for all drivers{}.\n\n\
         The attacker is who provides the device, such as the host of a confidential guest. \
         Each case is one lie, told to the C driver of a device in a fresh guest: user-mode \
         Linux with KASAN, UBSAN and lockdep, or QEMU where that is said. The kernel is the \
         above with this series applied, where no other is named. What is demanded is how a \
         driver may fare that does not trust its device.\n\n\
         Of {runs} runs of C drivers, {} proved nothing and are left out (the lie was not told, \
         or an honest device was not served well). {differing} did not end as demanded, in {} \
         cases.\n\n",
        plain(&head.kernel),
        plain(&head.date),
        plain(&head.machine.join(", ")),
        duration(head.took),
        plain(&page::only(head)),
        void.count(),
        findings.len(),
    );
    if !findings.is_empty() {
        text += "Logs are below `out/`, the consoles of the guests from boot to end.\n\n";
    }
    text
}

fn analysis<'a>(
    finding: &Finding<'a>,
    told: &mut BTreeMap<&'a str, &'a str>,
    about: impl Fn(&str) -> Option<String>,
) -> String {
    let Some(name) = finding.about() else {
        return NO_ANALYSIS.into();
    };
    if let Some(first) = told.get(name) {
        return format!("The analysis is that of {}, above.", code(first));
    }
    let Some(text) = about(name) else {
        return NO_ANALYSIS.into();
    };
    told.insert(name, finding.name());
    format!("#### Analysis\n\n{}", below_section(text.trim()))
}

/// With its headings below those of a section.
fn below_section(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().map(|line| {
        is_code ^= line.starts_with("```");
        let marks = line.chars().take_while(|char| *char == '#').count();
        match line[marks..].starts_with(' ') && (1..=6).contains(&marks) && !is_code {
            true => format!("{}{}", "#".repeat((marks + 4).min(6)), &line[marks..]),
            false => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn place(row: &Row) -> String {
    let layout = row.run.layout.name();
    match row.run.transport {
        Transport::Uml => format!("{layout} ring"),
        Transport::Qemu => format!("{layout} ring, QEMU"),
    }
}

fn seen(row: &Row) -> String {
    let outcome = row.outcome.map_or("nothing", Outcome::name);
    let outcome = match table::differs(row) {
        true => format!("**{outcome}**"),
        false => format!("{outcome}, as demanded"),
    };
    let detail = match row.detail.is_empty() {
        true => String::new(),
        false => format!(": {}", code(&row.detail)),
    };
    let log = code(&format!("out/{}", row.log));
    format!("{outcome}{detail} (log: {log})")
}

fn item(what: &str, text: &str) -> String {
    format!("- {what}: {text}\n")
}

/// Text of others, on one line and with no effect on what is around it.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for char in html::printable(text).replace('\n', " ").chars() {
        if "\\`*<>[]&".contains(char) {
            plain.push('\\');
        }
        plain.push(char);
    }
    plain
}

/// The same, as it was printed.
fn code(text: &str) -> String {
    let text = html::printable(text).replace('\n', " ");
    match longest_run(&text) {
        0 => format!("`{text}`"),
        run => {
            let fence = "`".repeat(run + 1);
            format!("{fence} {text} {fence}")
        }
    }
}

/// Of backticks: what encloses them needs more.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|char| char != '`').map(str::len);
    runs.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hostile::case::Layout;

    use super::super::table::invented::{row, void};
    use super::*;

    const SPLIT: Layout = Layout::Split;
    const PACKED: Layout = Layout::Packed;

    fn c(name: &str, layout: Layout, outcome: Outcome) -> Row {
        row(name, Driver::C, layout, outcome)
    }

    fn text(rows: &[Row]) -> String {
        let head = Head {
            part: None,
            kernel: "7.3.4".into(),
            date: "2026-10-01".into(),
            machine: vec!["x86_64".into()],
            took: Duration::from_secs(200),
        };
        report(&head, rows, |name| {
            (name == "core").then(|| "# Why\n\nBecause.".into())
        })
    }

    #[test]
    fn parts_are_in_the_order_of_their_weight() {
        let rows = [
            c("a", SPLIT, Outcome::Clean),
            c("b", SPLIT, Outcome::Hang),
            c("d", SPLIT, Outcome::Hang),
            c("d", PACKED, Outcome::Leak),
            c("e", SPLIT, Outcome::Broken),
        ];
        let text = text(&rows);
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with("##")).collect();
        let expected = [
            "## Wrong data, leaks, complaints and crashes",
            "### `d`",
            "## Hangs and lost devices",
            "### `b`",
            "## Other differences",
            "### `a`",
        ];
        assert_eq!(headings, expected, "{text}");
        assert!(text.contains("Of 5 runs of C drivers, 0 proved"), "{text}");
        assert!(text.contains("4 did not end as demanded, in 3 cases"));
    }

    #[test]
    fn a_section_says_what_was_seen_and_how_to_repeat_it() {
        let mut bad = c("a", SPLIT, Outcome::Splat);
        bad.detail = "KASAN: `x`".into();
        let text = text(&[bad, c("a", PACKED, Outcome::Broken)]);
        for line in [
            "- Demanded: broken",
            "- Seen, split ring: **splat**: `` KASAN: `x` `` (log: `out/hostile/a.c.split.log`)",
            "- Seen, packed ring: broken, as demanded: `broken was seen` (log: `out/hostile/a.c.packed.log`)",
            "- Repeat: `make hostile CASE=a DRIVER=c`",
            NO_ANALYSIS,
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn void_rows_and_rust_are_left_out() {
        let rows = [
            void(c("a", SPLIT, Outcome::Crash)),
            row("a", Driver::Rust, SPLIT, Outcome::Crash),
        ];
        let text = text(&rows);
        assert!(!text.contains("##"), "{text}");
        assert!(text.contains("Of 1 runs of C drivers, 1 proved nothing"));
    }

    #[test]
    fn a_case_on_two_transports_is_one_section() {
        let mut qemu = c("a", SPLIT, Outcome::Hang);
        qemu.run.transport = Transport::Qemu;
        let text = text(&[c("a", SPLIT, Outcome::Hang), qemu]);
        assert_eq!(text.matches("###").count(), 1, "{text}");
        assert!(
            text.contains("- Seen, split ring, QEMU: **hang**"),
            "{text}"
        );
        assert!(text.contains("CASE=a DRIVER"), "{text}");
        assert!(text.contains("CASE=a-qemu DRIVER"));
    }

    #[test]
    fn an_excerpt_is_short_and_cannot_end_its_fence() {
        let mut bad = c("a", SPLIT, Outcome::Splat);
        bad.excerpt = (0..20).map(|number| format!("```line {number}")).collect();
        let text = text(&[bad]);
        assert!(text.contains("\n````text\n```line 0\n"), "{text}");
        assert!(text.contains("```line 14\n````\nThe log has 5 more lines of it.\n"));
        assert!(!text.contains("line 15"));
    }

    #[test]
    fn an_analysis_is_printed_once() {
        let with_analysis = |name| {
            let mut row = c(name, SPLIT, Outcome::Crash);
            row.run.case.about_c = Some(hostile::case::About::All("core".into()));
            row.run.case.kernel = Some("other".into());
            row
        };
        let rows = [with_analysis("a"), with_analysis("b")];
        let text = text(&rows);
        assert_eq!(text.matches("Because.").count(), 1, "{text}");
        assert!(text.contains("#### Analysis\n\n##### Why\n\nBecause."));
        assert!(text.contains("The analysis is that of `a`, above."));
        assert!(text.contains("- Kernel: with the change `other`"));
    }

    #[test]
    fn comments_in_code_are_no_headings() {
        let text = "# A\n```sh\n# b\n```\n#include\n## C";
        assert_eq!(
            below_section(text),
            "##### A\n```sh\n# b\n```\n#include\n###### C"
        );
    }
}
