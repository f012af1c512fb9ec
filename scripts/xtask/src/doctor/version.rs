// SPDX-License-Identifier: MIT OR Apache-2.0

//! Version numbers as programs print them.

use std::fmt;

/// Dotted numbers, such as `19.1.7`; compares number by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// The dotted number that `text` starts with, whatever comes after it.
    pub fn at_start(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let numbers: Option<Vec<u64>> = text[..end]
            .trim_end_matches('.')
            .split('.')
            .map(|number| number.parse().ok())
            .collect();
        numbers.map(Self)
    }

    /// The first word of `text` that is a dotted number, as in
    /// `Debian clang version 19.1.7 (3~deb12u1)`.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace()
            .filter_map(Self::at_start)
            .find(|version| version.0.len() > 1)
    }

    /// The upstream part of a Debian version, as in `1:10.0.2+ds-2+deb13u1`.
    pub fn of_package(text: &str) -> Option<Self> {
        Self::at_start(text.split_once(':').map_or(text, |(_, rest)| rest))
    }

    pub fn at_least(&self, numbers: &[u64]) -> bool {
        self.0.as_slice() >= numbers
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_versions_in_what_programs_say() {
        let find = |text| Version::find(text).unwrap().to_string();
        assert_eq!(find("Debian clang version 19.1.7 (3~deb12u1)"), "19.1.7");
        assert_eq!(find("rustc 1.95.0 (59807616e 2026-04-14)"), "1.95.0");
        assert_eq!(find("QEMU emulator version 10.0.2 (Debian 1:10)"), "10.0.2");
        assert_eq!(Version::find("no numbers 2 see"), None);
    }

    #[test]
    fn reads_package_versions() {
        let of = |text| Version::of_package(text).unwrap().to_string();
        assert_eq!(of("1:10.0.2+ds-2+deb13u1~bpo12+1"), "10.0.2");
        assert_eq!(of("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
        assert_eq!(of("7.3.4-1~bpo13+1"), "7.3.4");
    }

    #[test]
    fn compares_number_by_number() {
        let version = Version::at_start("1.100.0").unwrap();
        assert!(version.at_least(&[1, 85]));
        assert!(!version.at_least(&[1, 100, 1]));
        assert!(Version::at_start("7.2").unwrap() < Version::at_start("10.0").unwrap());
    }
}
