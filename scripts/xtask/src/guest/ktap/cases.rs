// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each test by its name, for comparisons.

use std::collections::BTreeMap;

use super::{without_time, Verdict};

/// Whether each test passed, by suite and name; skipped ones are not there.
pub fn tests(lines: &[&str]) -> BTreeMap<String, bool> {
    let (mut all, mut of_suite) = (BTreeMap::new(), Vec::new());
    for line in lines {
        // The console's log has a time in front, too.
        let line = without_time(without_time(line));
        let text = line.trim_start();
        let Some(result) = Verdict::parse(text) else {
            continue;
        };
        match line.len() - text.len() {
            0 => {
                let tests = of_suite.drain(..);
                all.extend(tests.map(|(name, ok)| (format!("{}.{name}", result.name), ok)));
            }
            4 if !result.skipped => of_suite.push((result.name.to_owned(), result.ok)),
            _ => (),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_after_their_suite() {
        let log = [
            "[    1.0000] KTAP version 1",
            "[    1.0000] 1..2",
            "[    1.0000]     # Subtest: rust_kvec",
            "[    1.0000]     ok 1 push",
            "[    1.0000]         ok 1 parameter",
            "[    1.0000]     not ok 2 pop",
            "[    1.0000]     ok 3 hardware # SKIP none",
            "[    1.0000] not ok 1 rust_kvec",
            "[    1.0000] [    0.5]     ok 1 push",
            "[    1.0000] [    0.5] ok 2 other",
        ];
        let expected = [
            ("other.push", true),
            ("rust_kvec.pop", false),
            ("rust_kvec.push", true),
        ];
        let expected = expected.map(|(name, ok)| (name.to_owned(), ok));
        assert_eq!(tests(&log), BTreeMap::from(expected));
    }
}
