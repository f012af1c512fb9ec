// SPDX-License-Identifier: MIT OR Apache-2.0

//! What make says: the steps that it takes, and what compilers complain about.

use std::path::{Path, PathBuf};

use super::Warnings;

/// How many lines of a failure are shown; the log has them all.
const SHOWN: usize = 60;
/// How a warning of kernel-doc begins; the place follows.
const KERNEL_DOC: &str = "Warning: ";
/// Steps that run in every build and make nothing.
const IDLE: &[&str] = &["CALL", "DESCEND", "CHK"];

/// Sorts the lines of one run of make.
#[derive(Debug, Default)]
pub struct Output {
    /// How many objects, or the like, were made so far.
    pub objects: u64,
    pub warnings: Warnings,
    /// The checkout: what lies in it is ours.
    repo: PathBuf,
    /// The warning that is being printed.
    warning: Vec<String>,
    errors: Vec<String>,
}

impl Output {
    pub fn new(repo: &Path) -> Self {
        Self {
            repo: repo.to_owned(),
            ..Self::default()
        }
    }

    /// Returns a warning about a file of ours, once it is complete: the user
    /// should see it at once. Errors are shown when make has ended.
    pub fn feed(&mut self, line: &str) -> Vec<String> {
        if let Some(kind) = step_kind(line) {
            self.objects += u64::from(!IDLE.contains(&kind));
            return self.end_of_warning();
        }
        let is_error = is_error(line);
        if (is_error || !self.errors.is_empty()) && self.errors.len() < SHOWN {
            self.errors.push(line.to_owned());
        }
        if is_warning(line) || is_error || is_make(line) || is_include(line) {
            let ended = self.end_of_warning();
            if is_warning(line) && self.errors.is_empty() {
                self.warning.push(line.to_owned());
            }
            return ended;
        }
        if !self.warning.is_empty() {
            self.warning.push(line.to_owned());
        }
        Vec::new()
    }

    fn end_of_warning(&mut self) -> Vec<String> {
        let warning = std::mem::take(&mut self.warning);
        if warning.iter().any(|line| self.names_our_file(line)) {
            self.warnings.ours.push(warning.join("\n"));
            return warning;
        }
        self.warnings.foreign += usize::from(!warning.is_empty());
        Vec::new()
    }

    /// Whether a line has a place such as `--> rust/kernel/virtio.rs:10:5` or
    /// `/tree/rust/helpers/virtio.c:3:5: warning: ...` in a file of ours.
    fn names_our_file(&self, line: &str) -> bool {
        let place = line.trim_start().trim_start_matches("--> ");
        let place = place.trim_start_matches(KERNEL_DOC);
        let Some((path, _)) = place.split_once(':') else {
            return false;
        };
        // The work tree comes first, if it is there: try the path from each of
        // its folders on. A lone file name says too little.
        let mut rest = Path::new(path).components();
        while !rest.as_path().as_os_str().is_empty() {
            let path = rest.as_path();
            let tells = path.is_relative() && path.components().count() > 1;
            if tells && self.repo.join(path).is_file() {
                return true;
            }
            rest.next();
        }
        false
    }

    /// All from the first error on, if there was one.
    pub fn errors(&self) -> Option<String> {
        (!self.errors.is_empty()).then(|| self.errors.join("\n"))
    }
}

/// The step that a line reports, such as `CC kernel/fork.o`.
pub fn step(line: &str) -> Option<String> {
    step_kind(line)?;
    let words: Vec<_> = line.split_whitespace().collect();
    Some(words.join(" "))
}

/// Lines look like `  CC      kernel/fork.o` and `  RUSTC L rust/core.o`.
fn step_kind(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    let kind = rest.split(' ').next()?;
    let shouts = kind
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    (kind.len() > 1 && shouts && rest.len() > kind.len()).then_some(kind)
}

fn is_make(line: &str) -> bool {
    line.starts_with("make[") || line.starts_with("make:")
}

/// How the compiler came to the place of the next warning, which may be a file
/// of ours that includes one that is not.
fn is_include(line: &str) -> bool {
    line.starts_with("In file included from ")
}

fn is_error(line: &str) -> bool {
    line.starts_with("error")
        || line.contains(" error: ")
        || line.starts_with("ERROR: ")
        || (is_make(line) && line.contains("***"))
}

fn is_warning(line: &str) -> bool {
    let is_sum = line.starts_with("warning: ") && line.ends_with(" emitted");
    let starts = ["warning", "WARNING: ", KERNEL_DOC];
    let starts = starts.iter().any(|start| line.starts_with(start));
    (starts || line.contains(" warning: ")) && !is_sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC_ERROR: &str = "make[1]: Entering directory '/build'
  RUSTC L rust/core.o
  CC      init/main.o
error[E0308]: mismatched types
  --> rust/kernel/virtio.rs:10:5
   |
10 |     0u32
   |     ^^^^ expected `u8`, found `u32`

error: aborting due to 1 previous error
make[3]: *** [rust/Makefile:700: rust/kernel.o] Error 1
  AR      init/built-in.a";

    /// A checkout with one file.
    fn repo() -> tempfile::TempDir {
        let repo = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(repo.path().join("rust/kernel")).unwrap();
        std::fs::write(repo.path().join("rust/kernel/virtio.rs"), "").unwrap();
        repo
    }

    #[test]
    fn counts_what_is_made() {
        let mut output = Output::default();
        for line in [
            "make[1]: Entering directory '/build'",
            "  CALL    scripts/checksyscalls.sh",
            "  DESCEND objtool",
            "  CC      init/main.o",
            "  CC [M]  drivers/char/hw_random/virtio-rng.o",
            "  RUSTC L rust/core.o",
            "Kernel: arch/x86/boot/bzImage is ready  (#1)",
        ] {
            assert!(output.feed(line).is_empty(), "{line}");
        }
        assert_eq!(output.objects, 3);
        assert_eq!(output.errors(), None);
    }

    #[test]
    fn errors_are_kept_from_the_first_on() {
        let mut output = Output::default();
        let shown = RUSTC_ERROR
            .lines()
            .flat_map(|line| output.feed(line))
            .count();
        let errors = output.errors().unwrap();
        assert!(errors.starts_with("error[E0308]: mismatched types\n  --> rust/kernel"));
        assert!(errors.ends_with("rust/kernel.o] Error 1"));
        assert_eq!(shown, 0);
        assert_eq!(output.objects, 3);
    }

    #[test]
    fn warnings_about_our_files_are_shown() {
        let repo = repo();
        let mut output = Output::new(repo.path());
        for line in [
            "warning: unused variable: `a`",
            "  --> rust/kernel/virtio.rs:10:5",
            "   |",
        ] {
            assert!(output.feed(line).is_empty());
        }
        assert_eq!(output.feed("  LD      vmlinux").len(), 3);
        assert!(output
            .feed("/t/rust/kernel/virtio.rs:3:5: warning: x")
            .is_empty());
        assert_eq!(output.feed("make[1]: Leaving directory").len(), 1);
        output.feed("Warning: /t/rust/kernel/virtio.rs:4 function parameter 'a' not described");
        assert_eq!(output.feed("  CC      a.o").len(), 1);
        assert_eq!(output.warnings.foreign, 0);
        assert_eq!(output.warnings.ours.len(), 3);
        assert!(output.warnings.ours[0].contains("unused variable: `a`\n"));
        assert_eq!(output.errors(), None);
    }

    #[test]
    fn other_warnings_are_counted() {
        let repo = repo();
        let mut output = Output::new(repo.path());
        for line in [
            "drivers/x.c:3:5: warning: unused variable 'a' [-Wunused]",
            "    3 | int a;",
            "/t/include/io.h:9:5: warning: null pointer",
            "In file included from /t/rust/kernel/virtio.rs:1:",
            "/t/include/io.h:9:5: warning: null pointer",
            "  LD      vmlinux",
            "warning: 2 warnings emitted",
            "  LD      vmlinux",
        ] {
            assert!(output.feed(line).is_empty());
        }
        assert_eq!(output.warnings.foreign, 3);
    }

    #[test]
    fn steps_are_told_from_continuation_lines() {
        assert_eq!(step("  CC [M]  a/b.o").as_deref(), Some("CC [M] a/b.o"));
        assert_eq!(step("  --> rust/kernel/lib.rs:1:1"), None);
        assert_eq!(step("  = note: see"), None);
        assert_eq!(step("  A"), None);
    }
}
