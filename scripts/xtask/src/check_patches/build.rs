// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds of the tree after each patch: with the series as modules, built in,
//! and configured out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::docs;
use super::warnings::Collector;
use crate::assemble::Tree;
use crate::build::{config, forget_our_objects, Kbuild, Output, Variant};
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::process_group::check_interrupt;
use crate::series::{isolated_git, Repository};
use crate::stamp::{self, Fingerprint};
use crate::ui::Stage;

/// One way to configure and to build.
pub struct Setup {
    pub name: &'static str,
    fragments: &'static [&'static str],
    /// Always the same for one directory, or else make builds all anew.
    pub args: &'static [&'static str],
}

pub const MODULES: Setup = Setup {
    name: "modules",
    fragments: &["common", "uml"],
    args: &["W=1"],
};
/// clippy compiles as rustc does, and says more.
pub const BUILTIN: Setup = Setup {
    name: "builtin",
    fragments: &["common", "uml", "builtin"],
    args: &["W=1", "CLIPPY=1"],
};
const OFF: Setup = Setup {
    name: "off",
    fragments: &["common", "uml", "off"],
    args: &["W=1"],
};
const SETUPS: &[&Setup] = &[&MODULES, &BUILTIN, &OFF];
/// The name that warnings of the documentation are kept under.
const RUSTDOC: &str = "rustdoc";

/// The source without the series: what it complains about is not our doing.
#[derive(Serialize, Deserialize)]
struct Base {
    key: String,
    warnings: BTreeMap<String, BTreeSet<String>>,
}

/// Builds one tree after the other, each from where the last one ended.
pub struct Builder<'a> {
    ctx: &'a Context,
    tools: &'a Toolchain,
    pub dir: PathBuf,
    pub tree: PathBuf,
    base: Base,
    /// Until the first build of this run, nobody knows what is configured.
    configured: bool,
    /// The documentation, which nobody reads, while this runs.
    _docs: Option<TempDir>,
}

impl<'a> Builder<'a> {
    pub fn new(
        ctx: &'a Context,
        tools: &'a Toolchain,
        repository: &Repository,
        stage: &Stage,
    ) -> Result<Self> {
        let dir = ctx.cache.join("check-patches");
        let mut this = Self {
            ctx,
            tools,
            tree: dir.join("tree"),
            base: Base {
                key: key(ctx, tools, repository)?,
                warnings: BTreeMap::new(),
            },
            dir,
            configured: false,
            _docs: None,
        };
        let stamp = this.dir.join("base.json");
        match stamp::read::<Base>(&stamp) {
            Some(base) if base.key == this.base.key => this.base = base,
            _ => {
                this.start_anew(repository)?;
                this.build_base(repository, stage)?;
                stamp::write(&stamp, &this.base)?;
            }
        }
        this._docs = Some(docs::redirect(&this.build_dir(&MODULES))?);
        Ok(this)
    }

    /// Names what a build depends on beside the tree.
    pub fn key(&self) -> &str {
        &self.base.key
    }

    fn start_anew(&self, repository: &Repository) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir).with_context(|| self.dir.display().to_string())?;
        }
        fs::create_dir_all(&self.dir).with_context(|| self.dir.display().to_string())?;
        isolated_git()
            .args(["clone", "--quiet", "--shared", "--bare"])
            .args([&repository.dir, &self.git_dir()])
            .run()?;
        fs::create_dir_all(&self.tree).with_context(|| self.tree.display().to_string())
    }

    /// Beside the tree: where make finds a repository, it asks git about each file.
    fn git_dir(&self) -> PathBuf {
        self.dir.join("tree.git")
    }

    fn build_base(&mut self, repository: &Repository, stage: &Stage) -> Result<()> {
        stage.message("checking out the pristine source");
        self.checkout(&repository.base)?;
        let mut warnings = BTreeMap::new();
        for setup in SETUPS {
            let from = self.build_dir(&MODULES);
            let to = self.build_dir(setup);
            if !to.exists() && from.exists() {
                Command::new("cp").arg("-a").args([&from, &to]).run()?;
            }
            stage.message(&format!("building the pristine source, {}", setup.name));
            config::merge(&self.kbuild(setup))?;
            let built = self.make(setup, &[], Some(stage));
            warnings.insert(setup.name.to_owned(), built.found()?);
        }
        stage.message("documenting the pristine source");
        let _docs = docs::redirect(&self.build_dir(&MODULES))?;
        let documented = self.make(&MODULES, &["rustdoc"], Some(stage));
        warnings.insert(RUSTDOC.to_owned(), documented.found()?);
        self.base.warnings = warnings;
        Ok(())
    }

    /// Changes only files that differ.
    pub fn checkout(&self, commit: &str) -> Result<()> {
        let git = isolated_git()
            .arg("--git-dir")
            .arg(self.git_dir())
            .arg("--work-tree")
            .arg(&self.tree)
            .dir(&self.tree);
        git.clone().args(["clean", "-ffdxq"]).run()?;
        git.args(["checkout", "--quiet", "--force", "--detach", commit])
            .run()
    }

    /// Checks the tree that is checked out; returns what is wrong with it.
    pub fn check(&mut self, changed: &[&str]) -> Result<Vec<String>> {
        let mut problems = self.rustfmt(changed)?;
        let is_kconfig = |path: &&str| {
            path.rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with("Kconfig"))
        };
        if !self.configured {
            // What failed in an earlier run, or was cut short, may lie here compiled, and
            // compilers do not say twice what they think of it.
            for setup in SETUPS {
                forget_our_objects(&self.kbuild(setup))?;
            }
        }
        if !self.configured || changed.iter().any(is_kconfig) {
            self.configure()?;
        }
        let documented = self.crate_time();
        let built: Vec<_> = std::thread::scope(|scope| {
            let this = &*self;
            let threads: Vec<_> = SETUPS
                .iter()
                .map(|setup| (setup.name, scope.spawn(move || this.make(setup, &[], None))))
                .collect();
            let join = |(name, thread): (_, std::thread::ScopedJoinHandle<_>)| {
                (
                    name,
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                )
            };
            threads.into_iter().map(join).collect()
        });
        check_interrupt()?;
        for (name, made) in built {
            problems.extend(self.problems(name, made));
        }
        if self.crate_time() != documented && problems.is_empty() {
            let made = self.make(&MODULES, &["rustdoc"], None);
            check_interrupt()?;
            problems.extend(self.problems(RUSTDOC, made));
        }
        Ok(problems)
    }

    /// Asks for what this tree has of all that is wanted in the end.
    fn configure(&mut self) -> Result<()> {
        for setup in SETUPS {
            config::merge(&self.kbuild(setup))?;
        }
        self.configured = true;
        Ok(())
    }

    /// For the last tree, which has to have all options.
    pub fn configure_all(&mut self) -> Result<()> {
        self.configure()?;
        SETUPS.iter().try_for_each(|setup| {
            let kbuild = self.kbuild(setup);
            config::verify(&kbuild, &kbuild.fragments)
        })
    }

    /// The documentation is made from what the crate is made from.
    fn crate_time(&self) -> Option<SystemTime> {
        let object = self.build_dir(&MODULES).join("rust/kernel.o");
        fs::metadata(object).and_then(|meta| meta.modified()).ok()
    }

    fn problems(&self, name: &str, made: Made) -> Vec<String> {
        // Of all ways to build: each began as a copy of the one before it.
        let known: Vec<_> = self.base.warnings.values().collect();
        let is_new = |warning: &&String| !known.iter().any(|known| known.contains(*warning));
        let warnings = made.warnings.iter().filter(is_new);
        let warnings = warnings.map(|warning| format!("{name}: {warning}"));
        let errors = made
            .errors
            .iter()
            .map(|errors| format!("{name} does not build:\n{errors}"));
        errors.chain(warnings).collect()
    }

    fn rustfmt(&self, changed: &[&str]) -> Result<Vec<String>> {
        let is_rust = |path: &&&str| path.ends_with(".rs") && self.tree.join(path).is_file();
        let files: Vec<_> = changed.iter().filter(is_rust).collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let mut said = Vec::new();
        let result = Command::new("rustfmt")
            .args(["--check", "--edition", "2021", "--config-path"])
            .arg(self.tree.join(".rustfmt.toml"))
            .args(files)
            .envs(&self.tools.envs)
            .dir(&self.tree)
            .lines(|line| said.push(line.to_owned()));
        check_interrupt()?;
        Ok(match result {
            Ok(()) => Vec::new(),
            Err(error) => vec![format!("rustfmt: {error:#}\n{}", said.join("\n"))],
        })
    }

    fn make(&self, setup: &Setup, targets: &[&str], stage: Option<&Stage>) -> Made {
        let mut collector = Collector::default();
        let mut output = Output::new(&self.ctx.repo);
        let result = self
            .kbuild(setup)
            .make(setup.args)
            .args(targets)
            .arg(format!("-j{}", self.ctx.jobs))
            .log(self.log(setup, targets))
            .lines(|line| {
                collector.feed(line);
                output.feed(line);
                if let Some(stage) = stage {
                    if output.objects % 50 == 0 {
                        stage.message(&format!(
                            "pristine source, {}: {} objects",
                            setup.name, output.objects
                        ));
                    }
                }
            });
        collector.finish();
        Made {
            warnings: collector.found,
            errors: result
                .err()
                .map(|error| output.errors().unwrap_or_else(|| format!("{error:#}"))),
        }
    }

    /// make of the tree that is checked out, for what comes after all patches.
    pub fn command(&self, setup: &Setup, targets: &[&str]) -> Command {
        let name = targets.first().copied().unwrap_or("make");
        self.kbuild(setup)
            .make(setup.args)
            .args(targets)
            .log(self.log(setup, &[name]))
    }

    fn kbuild(&self, setup: &Setup) -> Kbuild {
        let tree = Tree {
            dir: self.tree.clone(),
            digest: String::new(),
            generation: String::new(),
        };
        let dir = self.build_dir(setup);
        Kbuild::new(self.ctx, self.tools, &tree, Variant::Uml).elsewhere(
            dir,
            setup.fragments,
            self.log(setup, &[]),
        )
    }

    pub fn build_dir(&self, setup: &Setup) -> PathBuf {
        self.dir.join(setup.name)
    }

    fn log(&self, setup: &Setup, targets: &[&str]) -> PathBuf {
        let names: Vec<_> = ["check-patches", setup.name]
            .iter()
            .chain(targets)
            .copied()
            .collect();
        self.ctx.log(&names.join("-"))
    }
}

/// What came of one call of make.
struct Made {
    warnings: BTreeSet<String>,
    errors: Option<String>,
}

impl Made {
    fn found(self) -> Result<BTreeSet<String>> {
        check_interrupt()?;
        match self.errors {
            None => Ok(self.warnings),
            Some(errors) => Err(crate::failure::Failure::new(
                format!("the pristine source does not build:\n{errors}"),
                "the logs are in the cache, logs/check-patches-*.log",
            )
            .into()),
        }
    }
}

/// The base, the tools and the configurations.
fn key(ctx: &Context, tools: &Toolchain, repository: &Repository) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    fingerprint
        .add(&repository.base)
        .add(&tools.llvm_version)
        .add(&tools.rustc_version)
        .add(&tools.bindgen_version);
    for setup in SETUPS {
        fingerprint.add(setup.name).add(setup.args.join(" "));
        for fragment in setup.fragments {
            let path = ctx
                .repo
                .join("scripts/config")
                .join(format!("{fragment}.config"));
            fingerprint.add(read(&path)?);
        }
    }
    Ok(fingerprint.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}
