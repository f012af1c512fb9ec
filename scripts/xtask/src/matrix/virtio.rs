// SPDX-License-Identifier: MIT OR Apache-2.0

//! Virtio in the kernel, as a module, and not there: our options are offered in
//! the first case only, and what was linked is what was asked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::kernel::{self, Built, Recipe};
use super::tools::Tools;
use crate::assemble::{our_files, Tree};
use crate::build::config;
use crate::build::Variant;
use crate::context::Context;
use crate::report::Entry;

/// Part of every symbol of the abstraction, as rustc mangles it.
const SYMBOL: &[u8] = b"6kernel6virtio";

/// How virtio is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virtio {
    Yes,
    Module,
    No,
}

impl Virtio {
    pub const ALL: [Self; 3] = [Self::Yes, Self::Module, Self::No];

    pub fn name(self) -> String {
        format!("matrix.config.virtio-{}", self.letter())
    }

    fn letter(self) -> &'static str {
        match self {
            Self::Yes => "y",
            Self::Module => "m",
            Self::No => "n",
        }
    }

    pub fn fragments(self, ctx: &Context) -> Vec<PathBuf> {
        let own = format!("matrix-virtio-{}", self.letter());
        ["matrix", "matrix-modules", &own]
            .map(|name| kernel::fragment(&ctx.repo, name))
            .into()
    }
}

pub fn wishes(ctx: &Context) -> PathBuf {
    kernel::fragment(&ctx.repo, "matrix-ours")
}

pub fn run(ctx: &Context, tools: &Tools, tree: &Tree, virtio: Virtio) -> Result<Entry> {
    let name = virtio.name();
    let recipe = Recipe {
        name: &name,
        variant: Variant::X86_64,
        // One of its own: what another build left must not be found in it.
        dir: &format!("virtio-{}", virtio.letter()),
        fragments: &virtio.fragments(ctx),
        wishes: &[wishes(ctx)],
        boots: false,
        anew: true,
    };
    let entry = Entry::new(&name);
    let built = match kernel::build(ctx, tools, tree, &recipe)? {
        Ok(built) => built,
        Err(broken) => return Ok(entry.fail(broken.why).excerpt(broken.excerpt)),
    };
    let found = Found::look(ctx, &built)?;
    Ok(match found.problem(virtio) {
        Some(problem) => entry.fail(problem).excerpt(found.objects),
        None => {
            let detail = format!("{}; {}", found.summary(), built.summary());
            entry.pass(built.objects as f64, "objects", detail)
        }
    })
}

/// What there is of ours in a build directory.
struct Found {
    /// Options of ours that are on, and how many there are.
    options: (usize, usize),
    /// Objects and modules made from files of ours.
    objects: Vec<String>,
    /// Whether the kernel itself has the abstraction.
    abstraction: bool,
}

impl Found {
    fn look(ctx: &Context, built: &Built) -> Result<Self> {
        let asked = fs::read_to_string(wishes(ctx))?;
        let asked = config::parse(&asked);
        let refused = config::lost(&asked, &built.options).len();
        let vmlinux = built.kbuild.dir.join("vmlinux");
        let image = fs::read(&vmlinux).with_context(|| vmlinux.display().to_string())?;
        Ok(Self {
            options: (asked.len() - refused, asked.len()),
            objects: objects(ctx, &built.kbuild.dir)?,
            abstraction: image.windows(SYMBOL.len()).any(|bytes| bytes == SYMBOL),
        })
    }

    fn problem(&self, virtio: Virtio) -> Option<String> {
        let (on, all) = self.options;
        match virtio {
            Virtio::Yes if on < all => Some(format!("{on} of our {all} options are offered")),
            Virtio::Yes if !self.abstraction => Some("the kernel lacks the abstraction".into()),
            Virtio::Yes if self.objects.is_empty() => Some("no object of ours was built".into()),
            Virtio::Yes => None,
            Virtio::Module | Virtio::No if on > 0 => Some(format!("{on} of our options are on")),
            Virtio::Module | Virtio::No if self.abstraction => {
                Some("the kernel has the abstraction".into())
            }
            Virtio::Module | Virtio::No if !self.objects.is_empty() => {
                Some(format!("{} objects of ours were built", self.objects.len()))
            }
            Virtio::Module | Virtio::No => None,
        }
    }

    fn summary(&self) -> String {
        let (on, all) = self.options;
        let objects = self.objects.len();
        let has = if self.abstraction { "has" } else { "lacks" };
        format!("{on} of our {all} options on, {objects} objects of ours, vmlinux {has} the abstraction")
    }
}

/// Those outside of `rust/` that carry the name of a source file of ours.
fn objects(ctx: &Context, dir: &Path) -> Result<Vec<String>> {
    let ours: Vec<PathBuf> = our_files(&ctx.repo)?
        .into_iter()
        .filter(|path| is_source(path) && !path.starts_with("rust"))
        .map(|path| path.with_extension(""))
        .collect();
    let mut found = Vec::new();
    for entry in WalkDir::new(dir) {
        let entry = entry.with_context(|| dir.display().to_string())?;
        let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        let kind = path.extension().and_then(|extension| extension.to_str());
        if matches!(kind, Some("o" | "ko")) && ours.contains(&path.with_extension("")) {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    Ok(found)
}

fn is_source(path: &Path) -> bool {
    let kind = path.extension().and_then(|extension| extension.to_str());
    matches!(kind, Some("rs" | "c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(on: usize, objects: &[&str], abstraction: bool) -> Found {
        Found {
            options: (on, 5),
            objects: objects.iter().map(|name| (*name).to_owned()).collect(),
            abstraction,
        }
    }

    #[test]
    fn with_virtio_all_of_ours_is_there() {
        let all = found(5, &["drivers/virtio/virtio_sim.o"], true);
        assert_eq!(all.problem(Virtio::Yes), None);
        assert!(found(4, &["a.o"], true).problem(Virtio::Yes).is_some());
        assert!(found(5, &[], true).problem(Virtio::Yes).is_some());
        assert!(found(5, &["a.o"], false).problem(Virtio::Yes).is_some());
    }

    #[test]
    fn without_it_nothing_is() {
        for virtio in [Virtio::Module, Virtio::No] {
            assert_eq!(found(0, &[], false).problem(virtio), None);
            assert!(found(1, &[], false).problem(virtio).is_some());
            assert!(found(0, &["a.o"], false).problem(virtio).is_some());
            assert!(found(0, &[], true).problem(virtio).is_some());
        }
    }
}
