// SPDX-License-Identifier: MIT OR Apache-2.0

//! What compilers complain about, without line numbers, so that the same
//! complaint before and after a patch is the same.

use std::collections::BTreeSet;

/// Collects the warnings of a build as its lines come.
#[derive(Debug, Default)]
pub struct Collector {
    pub found: BTreeSet<String>,
    /// A warning of rustc whose place is in one of the next lines.
    pending: Option<String>,
}

impl Collector {
    pub fn feed(&mut self, line: &str) {
        if let Some(place) = line.trim_start().strip_prefix("--> ") {
            if let Some(warning) = self.pending.take() {
                self.found
                    .insert(format!("{}: {warning}", without_numbers(place)));
            }
            return;
        }
        let is_sum = line.ends_with(" emitted") || line.contains("generated ");
        if line.starts_with("warning: ") && !is_sum {
            self.finish();
            self.pending = Some(line.to_owned());
        } else if line.contains(": warning: ")
            || line.starts_with("WARNING: ")
            || line.starts_with("Warning: ")
        {
            self.finish();
            self.found.insert(without_numbers(line));
        } else if line.is_empty() {
            self.finish();
        }
    }

    /// A warning of rustc may have no place.
    pub fn finish(&mut self) {
        self.found.extend(self.pending.take());
    }
}

/// Without what comes after a colon as a number: lines and columns.
fn without_numbers(text: &str) -> String {
    let mut kept = String::new();
    for (index, field) in text.split(':').enumerate() {
        if index > 0 && !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        if index > 0 {
            kept.push(':');
        }
        kept += field;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(text: &str) -> Vec<String> {
        let mut collector = Collector::default();
        text.lines().for_each(|line| collector.feed(line));
        collector.finish();
        collector.found.into_iter().collect()
    }

    #[test]
    fn the_same_warning_on_another_line_is_the_same() {
        let c = "/t/a.c:10:5: warning: unused variable 'x' [-Wunused]\n";
        assert_eq!(
            collected(c),
            ["/t/a.c: warning: unused variable 'x' [-Wunused]"]
        );
        assert_eq!(collected(c), collected(&c.replace("10:5", "11:7")));
        let rust = "warning: unused import\n  --> rust/kernel/a.rs:3:5\n   |\n\nwarning: 1 warning emitted\n";
        assert_eq!(
            collected(rust),
            ["rust/kernel/a.rs: warning: unused import"]
        );
    }

    #[test]
    fn warnings_without_a_place_count_and_steps_do_not() {
        let text = "warning: no place\n\n  CC      a.o\nWARNING: modpost: x\nWarning: a.h:3 no description\n";
        assert_eq!(
            collected(text),
            [
                "WARNING: modpost: x",
                "Warning: a.h:3 no description",
                "warning: no place"
            ]
        );
    }
}
