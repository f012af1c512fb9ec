// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the abstraction must not let a driver do: each case is a small driver
//! that rustc has to refuse, for the reason that the case names. With
//! `--cfg fixed` the forbidden line gives way to an allowed one, and the same
//! file has to compile: it was that line, not a mistake beside it.

mod case;
mod diagnostics;
mod rustc;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::assemble::{our_files, Tree};
use crate::build::Kernel;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::report::{table, Entry};
use case::Case;
use diagnostics::Said;
use rustc::Rustc;

/// Where the cases lie, in the checkout and in the work tree.
pub const DIR: &str = "tools/testing/rust/compile_fail/virtio";
/// What the names of all results start with.
pub const PREFIX: &str = "compile-fail.";

/// The names of the cases, without [`PREFIX`].
pub fn names(repo: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in our_files(repo)? {
        let is_case =
            path.parent() == Some(Path::new(DIR)) && path.extension() == Some("rs".as_ref());
        if let (true, Some(name)) = (is_case, path.file_stem()) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Compiles the cases `names` as modules of `kernel` are compiled.
pub fn run(
    ctx: &Context,
    tools: &Toolchain,
    tree: &Tree,
    kernel: &Kernel,
    names: &[String],
) -> Result<Vec<Entry>> {
    let stage = ctx.ui.stage("compile-fail");
    if names.is_empty() {
        let entry = Entry::new(format!("{PREFIX}cases"));
        return Ok(vec![entry.fail(format!("there are no cases in {DIR}"))]);
    }
    let rustc = match Rustc::of_a_module(&kernel.build_dir, tools) {
        Ok(rustc) => rustc,
        Err(error) => {
            let entry = Entry::new(format!("{PREFIX}rustc"));
            return Ok(vec![entry.fail(format!("{error:#}"))]);
        }
    };
    let mut entries = Vec::new();
    stage.set_total(Some(names.len() as u64));
    for (done, name) in names.iter().enumerate() {
        stage.set_pos(done as u64);
        stage.message(name);
        let path = tree.dir.join(DIR).join(name).with_extension("rs");
        let entry = compile(&rustc, name, &path)?;
        if !entry.ok {
            stage.line(&format!("{}: {}", entry.name, entry.detail));
        }
        entries.push(entry);
    }
    if entries.iter().all(|entry| entry.ok) {
        stage.finish(&format!("{} cases, all refused", entries.len()));
    }
    Ok(entries)
}

fn compile(rustc: &Rustc, name: &str, path: &Path) -> Result<Entry> {
    let entry = Entry::new(format!("{PREFIX}{name}"));
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let case = match Case::parse(&text) {
        Ok(case) => case,
        Err(error) => return Ok(entry.fail(format!("{error:#}"))),
    };
    let fixed = rustc.compile(path, &case, true)?;
    let broken = rustc.compile(path, &case, false)?;
    Ok(judge(entry, &case, path, &fixed, &broken))
}

fn judge(entry: Entry, case: &Case, path: &Path, fixed: &Said, broken: &Said) -> Entry {
    let what = &case.what;
    if !fixed.succeeded {
        return entry
            .fail(format!("{what}: does not compile with --cfg fixed either"))
            .excerpt(fixed.excerpt());
    }
    if broken.succeeded {
        return entry.fail(format!("{what}: compiles, and must not"));
    }
    match broken.problem(&case.expected, path) {
        Some(problem) => entry
            .fail(format!("{what}: {problem}"))
            .excerpt(broken.excerpt()),
        None => entry.pass(0.0, "", format!("{what}: {}", case.expected)),
    }
}

/// All cases among `entries` that were refused as they should be.
pub fn listing(entries: &[Entry]) -> Option<String> {
    let of_case = |entry: &Entry| {
        let name = entry.name.strip_prefix(PREFIX)?;
        let (what, code) = entry.detail.rsplit_once(": ")?;
        let cells = [name, what, code].map(str::to_owned);
        (entry.ok && entry.skipped.is_none()).then(|| cells.to_vec())
    };
    let heading = ["compile-fail", "refused", "error"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().filter_map(of_case));
    (rows.len() > 1).then(|| table(&rows))
}

#[cfg(test)]
mod tests;
