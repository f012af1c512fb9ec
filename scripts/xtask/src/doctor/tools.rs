// SPDX-License-Identifier: MIT OR Apache-2.0

//! The programs and headers that a distribution provides.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::version::Version;
use super::Need;
use crate::command::Command;

/// Something that must be on the machine, and Debian's name for where it is.
pub struct Tool {
    need: Need,
    probe: Probe,
    pub package: &'static str,
}

enum Probe {
    Program(&'static str),
    Header(&'static str),
}

const fn program(need: Need, name: &'static str, package: &'static str) -> Tool {
    let probe = Probe::Program(name);
    Tool {
        need,
        probe,
        package,
    }
}

const fn header(need: Need, name: &'static str, package: &'static str) -> Tool {
    let probe = Probe::Header(name);
    Tool {
        need,
        probe,
        package,
    }
}

const TOOLS: &[Tool] = &[
    program(Need::Source, "patch", "patch"),
    program(Need::Source, "tar", "tar"),
    program(Need::Source, "xz", "xz-utils"),
    // The series is made of commits.
    program(Need::Source, "git", "git"),
    program(Need::Kernel, "make", "make"),
    // Links the Rust programs, ours and the kernel build's own.
    program(Need::Kernel, "cc", "gcc"),
    program(Need::Kernel, "flex", "flex"),
    program(Need::Kernel, "bison", "bison"),
    program(Need::Kernel, "bc", "bc"),
    program(Need::Kernel, "cpio", "cpio"),
    program(Need::Kernel, "kmod", "kmod"),
    program(Need::Kernel, "perl", "perl"),
    program(Need::Kernel, "python3", "python3"),
    header(Need::Kernel, "stdio.h", "libc6-dev"),
    // For objtool, and for the signing tools.
    header(Need::Kernel, "gelf.h", "libelf-dev"),
    header(Need::Kernel, "openssl/ssl.h", "libssl-dev"),
    program(Need::Lint, "clippy-driver", "rust-clippy"),
    program(Need::Disks, "qemu-storage-daemon", "qemu-utils"),
    program(Need::Roots, "mmdebstrap", "mmdebstrap"),
    program(Need::Roots, "unshare", "util-linux"),
    program(Need::Matrix, "ccache", "ccache"),
];

impl Tool {
    /// What to call it in a message.
    pub fn name(&self) -> String {
        match self.probe {
            Probe::Program(name) => name.to_owned(),
            Probe::Header(name) => format!("<{name}>"),
        }
    }

    fn found(&self) -> bool {
        match self.probe {
            Probe::Program(name) => find_program(name).is_some(),
            Probe::Header(name) => compiles(name),
        }
    }
}

/// Those of the tools for `needs` that are not there.
pub fn missing(needs: &[Need]) -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| needs.contains(&tool.need) && !tool.found())
        .collect()
}

/// Looks on PATH, and where Debian keeps programs that it deems root's.
pub fn find_program(name: &str) -> Option<PathBuf> {
    if let Ok(path) = which::which(name) {
        return Some(path);
    }
    let sbin = OsString::from("/usr/local/sbin:/usr/sbin:/sbin");
    which::which_in(name, Some(sbin), Path::new("/")).ok()
}

/// Asks the preprocessor, which knows where this machine keeps headers.
fn compiles(header: &str) -> bool {
    let source = format!("#include <{header}>\n");
    let child = std::process::Command::new("cc")
        .args(["-E", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return false;
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A preprocessor that did not read its input has failed anyway.
        let _ = std::io::Write::write_all(&mut stdin, source.as_bytes());
    }
    child.wait().is_ok_and(|status| status.success())
}

/// The paths in what `ldd` says: of libraries, and of the interpreter.
pub fn parse_ldd(listed: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    listed.lines().filter_map(path).collect()
}

/// QEMU for x86-64 guests, and its version.
pub fn find_qemu() -> Option<(PathBuf, Version)> {
    let path = find_program("qemu-system-x86_64")?;
    let version = version_of(&path)?;
    Some((path, version))
}

/// What a program that runs here says when it is asked for its version.
pub fn version_of(program: &Path) -> Option<Version> {
    Version::find(&Command::new(program).arg("--version").output().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_looked_up_by_the_compiler() {
        assert!(compiles("stdio.h"));
        assert!(!compiles("no/such/header.h"));
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program").is_none());
    }

    #[test]
    fn ldd_names_libraries_and_the_interpreter() {
        let listed = "\tlinux-vdso.so.1 (0x00007f67c4cef000)\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f67c4af6000)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f67c4cf1000)\n";
        let found = parse_ldd(listed);
        assert_eq!(found[0], Path::new("/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(found[1], Path::new("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(found.len(), 2);
    }
}
