// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is built to see whether it builds, and what compilers say of our files
//! on the way.

use anyhow::Result;

use crate::assemble::Tree;
use crate::build::{self, Kernel, Variant};
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::process_group::check_interrupt;
use crate::report::Entry;

/// How many lines of complaints a report shows.
const SHOWN: usize = 60;

/// A step of a build that is a result of its own.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    pub name: &'static str,
    pub variant: Variant,
    step: &'static str,
}

const fn check(name: &'static str, variant: Variant, step: &'static str) -> Check {
    Check {
        name,
        variant,
        step,
    }
}

/// In the order in which they are made; those of one variant follow each other.
pub const CHECKS: &[Check] = &[
    check("sources.clippy", Variant::Lint, "clippy"),
    check("sources.rustdoc", Variant::Lint, "rustdoc"),
    check("builds.arm64", Variant::Arm64, "make"),
    check("builds.riscv64", Variant::Riscv64, "make"),
];

pub fn run(ctx: &Context, tools: &Toolchain, tree: &Tree, checks: &[Check]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for of_variant in checks.chunk_by(|a, b| a.variant == b.variant) {
        let built = build::ensure(ctx, tools, tree, of_variant[0].variant);
        check_interrupt()?;
        entries.extend(of_variant.iter().map(|check| judge(check, &built)));
    }
    Ok(entries)
}

fn judge(check: &Check, built: &Result<Kernel>) -> Entry {
    let entry = Entry::new(check.name);
    let kernel = match built {
        Ok(kernel) => kernel,
        Err(error) => {
            let text = format!("{error:#}");
            let first = text.lines().next().unwrap_or_default().to_owned();
            return entry.fail(first).excerpt(shown(text.lines().skip(1)));
        }
    };
    let Some(warnings) = kernel.warnings.get(check.step) else {
        return entry.fail(format!("there is no step {}", check.step));
    };
    if let Some(first) = warnings.ours.first() {
        let lines = warnings.ours.iter().flat_map(|text| text.lines());
        let line = first.lines().next().unwrap_or_default();
        let count = warnings.ours.len();
        return entry
            .fail(format!("{count} warnings, the first: {line}"))
            .excerpt(shown(lines));
    }
    let foreign = warnings.foreign;
    entry.pass(
        0.0,
        "warnings",
        format!("about our files, {foreign} about others"),
    )
}

fn shown<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.take(SHOWN).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Warnings;

    fn built(ours: &[&str]) -> Result<Kernel> {
        let warnings = Warnings {
            ours: ours.iter().map(|text| text.to_string()).collect(),
            foreign: 3,
        };
        Ok(Kernel {
            variant: Variant::Lint,
            image: "rust/kernel.o".into(),
            modules: Vec::new(),
            release: "7.3".into(),
            build_dir: "/b".into(),
            warnings: [("clippy".to_owned(), warnings)].into(),
        })
    }

    #[test]
    fn warnings_about_our_files_fail() {
        let clippy = &CHECKS[0];
        assert!(judge(clippy, &built(&[])).ok);
        let bad = judge(
            clippy,
            &built(&["warning: a\n  --> b.rs:1:1", "warning: c"]),
        );
        assert_eq!(bad.detail, "2 warnings, the first: warning: a");
        assert_eq!(bad.excerpt.len(), 3);
    }

    #[test]
    fn what_does_not_build_or_has_no_such_step_fails() {
        let error = Err(anyhow::anyhow!("does not build:\nerror: x"));
        let entry = judge(&CHECKS[0], &error);
        assert_eq!(entry.detail, "does not build:");
        assert_eq!(entry.excerpt, ["error: x"]);
        assert!(!judge(&CHECKS[1], &built(&[])).ok);
    }

    #[test]
    fn each_check_is_a_step_of_its_variant() {
        for check in CHECKS {
            let mut steps = check.variant.steps().iter();
            assert!(steps.any(|step| step.name == check.step), "{}", check.name);
        }
    }
}
