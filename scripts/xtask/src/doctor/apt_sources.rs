// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which archives this machine installs from.

use std::fs;
use std::path::{Path, PathBuf};

use super::os_release::OsRelease;

/// One archive and suite, as one line of `sources.list` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    /// Options in brackets that say whose signature counts.
    signed_by: Option<String>,
}

impl Entry {
    pub fn new(uri: &str, suite: &str, signed_by: Option<&str>) -> Self {
        Self {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            components: vec!["main".into()],
            signed_by: signed_by.map(str::to_owned),
        }
    }

    pub fn line(&self) -> String {
        let options = match &self.signed_by {
            Some(key) => format!("[signed-by={key}] "),
            None => String::new(),
        };
        let components = self.components.join(" ");
        format!("deb {options}{} {} {components}", self.uri, self.suite)
    }

    /// Whether this is the distribution's own archive, not some vendor's.
    fn is_distribution(&self) -> bool {
        let uri = self.uri.trim_end_matches('/');
        let last = uri.rsplit('/').next().unwrap_or(uri);
        let known = ["debian", "debian-security", "ubuntu", "ubuntu-ports"];
        known.contains(&last)
            && !uri.contains("://ppa.")
            && self.components.iter().any(|component| component == "main")
    }
}

/// The entries of the machine's own release, security updates included: without
/// them a `-dev` package would not match the library that is installed.
pub fn of_machine(os: &OsRelease) -> Vec<Entry> {
    let all = read_all(Path::new("/etc/apt"));
    let own = |entry: &Entry| entry.is_distribution() && entry.suite.starts_with(&os.codename);
    all.into_iter()
        .filter(|entry| own(entry) && !entry.suite.ends_with("-backports"))
        .collect()
}

/// The mirror that this machine takes `distribution` from, if it does.
pub fn mirror(entries: &[Entry], distribution: &str) -> Option<String> {
    entries
        .iter()
        .map(|entry| entry.uri.trim_end_matches('/'))
        .find(|uri| uri.ends_with(&format!("/{distribution}")))
        .map(str::to_owned)
}

fn read_all(etc: &Path) -> Vec<Entry> {
    let mut files = vec![etc.join("sources.list")];
    let mut parts: Vec<PathBuf> = fs::read_dir(etc.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    parts.sort();
    files.extend(parts);
    files.iter().flat_map(|file| read_file(file)).collect()
}

fn read_file(file: &Path) -> Vec<Entry> {
    let Ok(text) = fs::read_to_string(file) else {
        return Vec::new();
    };
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("list") => text.lines().filter_map(parse_line).collect(),
        Some("sources") => text.split("\n\n").flat_map(parse_stanza).collect(),
        _ => Vec::new(),
    }
}

/// The one-line format: `deb [options] uri suite component...`.
fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    Some(Entry {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// The deb822 format: one stanza may hold several archives and suites.
fn parse_stanza(stanza: &str) -> Vec<Entry> {
    let field = |name: &str| -> Vec<String> {
        stanza
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let disabled = field("Enabled").first().is_some_and(|word| word == "no");
    if disabled || !field("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    // A key that is written out in the file cannot go on one line; apt then
    // falls back to the keys that it trusts for every archive.
    let signed_by = field("Signed-By")
        .into_iter()
        .find(|key| key.starts_with('/'));
    let (uris, suites, components) = (field("URIs"), field("Suites"), field("Components"));
    let pairs = uris
        .iter()
        .flat_map(|uri| suites.iter().map(move |suite| (uri, suite)));
    pairs
        .map(|(uri, suite)| Entry {
            uri: uri.clone(),
            suite: suite.clone(),
            components: components.clone(),
            signed_by: signed_by.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_line_entries() {
        let line = "deb [arch=amd64 signed-by=/k.gpg] http://a/debian/ bookworm main contrib # x";
        let entry = parse_line(line).unwrap();
        assert_eq!(
            entry.line(),
            "deb [signed-by=/k.gpg] http://a/debian/ bookworm main contrib"
        );
        assert!(entry.is_distribution());
        assert_eq!(parse_line("# deb http://a/debian bookworm main"), None);
        assert_eq!(parse_line("deb-src http://a/debian bookworm main"), None);
    }

    #[test]
    fn reads_stanzas() {
        let stanza = "Types: deb\n# comment\nURIs: http://a/debian\n\
                      Suites: trixie trixie-updates\nComponents: main\nSigned-By: /k.gpg";
        let lines: Vec<_> = parse_stanza(stanza).iter().map(Entry::line).collect();
        assert_eq!(
            lines,
            [
                "deb [signed-by=/k.gpg] http://a/debian trixie main",
                "deb [signed-by=/k.gpg] http://a/debian trixie-updates main"
            ]
        );
        assert!(parse_stanza("Enabled: no\nTypes: deb\nURIs: x\nSuites: y").is_empty());
    }

    #[test]
    fn vendors_archives_do_not_count() {
        let vendor = parse_line("deb https://packages.example.com/apt stable main").unwrap();
        assert!(!vendor.is_distribution());
        let ppa = "deb https://ppa.launchpadcontent.net/a/b/ubuntu noble main";
        assert!(!parse_line(ppa).unwrap().is_distribution());
    }

    #[test]
    fn the_mirror_is_not_the_security_archive() {
        let entries = [
            Entry::new("http://m/debian-security", "bookworm-security", None),
            Entry::new("http://m/debian/", "bookworm", None),
        ];
        assert_eq!(
            mirror(&entries, "debian").as_deref(),
            Some("http://m/debian")
        );
    }
}
