// SPDX-License-Identifier: MIT OR Apache-2.0

//! Kernels that differ from the one with the series by a patch. Each is built in a
//! copy of that one's build directory, so that only what the patch touches is made
//! again; for make, tree and directory are where they always are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hostile::case;
use serde::{Deserialize, Serialize};

use crate::assemble::{touched_files, Tree, EDITS};
use crate::build::products::{self, Products};
use crate::build::{output, Kbuild, Kernel};
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::failure::Failure;
use crate::stamp::{self, Fingerprint};

/// Puts the copy in place of the build directory, and changed files in place of the
/// tree's, for this process only; then becomes the program.
const PUT_IN_PLACE: &str = r#"set -eu
copy=$1 build=$2 files=$3 tree=$4
shift 4
mount --bind "$copy" "$build"
cd "$files"
find . -type f | while read -r file; do
	mount --bind "$file" "$tree/$file"
done
cd "$tree"
exec "$@"
"#;

/// Where the patches are, in the checkout.
const DIR: &str = "scripts/hostile/kernels";

/// What a directory holds.
#[derive(Serialize, Deserialize)]
struct Stamp {
    made_from: String,
    products: Products,
}

/// Builds `change` of the kernel `base`, unless that was done.
pub fn ensure(
    ctx: &Context,
    tools: &Toolchain,
    tree: &Tree,
    base: &Kernel,
    change: &case::Kernel,
) -> Result<Kernel> {
    let stage = ctx.ui.stage(format!("build {}", change.name));
    let dir = ctx.cache.join("hostile").join(&change.name);
    let (patch, reverse) = patch(&ctx.repo, change)?;
    let made_from = made_from(tree, base, &patch)?;
    let copy = dir.join("build");
    let files = dir.join("files");
    let kbuild = Kbuild::new(ctx, tools, tree, base.variant);
    let there = Kbuild {
        dir: copy.clone(),
        ..Kbuild::new(ctx, tools, tree, base.variant)
    };
    let stamp_path = dir.join("stamp.json");
    if let Some(kernel) = built_before(&stamp_path, &made_from, &there) {
        stage.finish("up to date");
        return Ok(kernel);
    }
    stamp::remove(&stamp_path)?;
    stage.message("copying the build directory");
    replace_by_copy(&base.build_dir, &copy)?;
    changed_files(&tree.dir, &files, &patch, reverse)?;
    let places = [&copy, &kbuild.dir, &files, &tree.dir];
    let log = ctx.log(&format!("build-{}", change.name));
    let mut objects = 0;
    let built = Kbuild {
        wrapper: put_in_place(&places),
        ..kbuild
    };
    built
        .make(&[&format!("-j{}", built.jobs)])
        .log(&log)
        .lines(|line| {
            if let Some(step) = output::step(line) {
                objects += 1;
                stage.message(&format!("{objects} steps, {step}"));
            }
        })
        .map_err(|error| does_not_build(change, &log, &error))?;
    let kernel = products::kernel(&there)?;
    let products = Products::of(&kernel)?;
    stamp::write(
        &stamp_path,
        &Stamp {
            made_from,
            products,
        },
    )?;
    stage.finish(&format!("{objects} steps: {}", change.what));
    Ok(kernel)
}

/// The patch, and whether it is taken away instead of put on top.
fn patch(repo: &Path, change: &case::Kernel) -> Result<(PathBuf, bool)> {
    let (dir, file, reverse) = match (&change.undo, &change.patch) {
        (Some(undo), _) => (EDITS, undo, true),
        (None, Some(patch)) => (DIR, patch, false),
        (None, None) => anyhow::bail!("the kernel {} is not changed", change.name),
    };
    Ok((repo.join(dir).join(file), reverse))
}

fn made_from(tree: &Tree, base: &Kernel, patch: &Path) -> Result<String> {
    let text = fs::read(patch).with_context(|| patch.display().to_string())?;
    let of_base = serde_json::to_vec(&Products::of(base)?)?;
    let mut fingerprint = Fingerprint::default();
    fingerprint
        .add(&tree.digest)
        .add(&tree.generation)
        .add(of_base)
        .add(text);
    Ok(fingerprint.finish())
}

fn built_before(stamp_path: &Path, made_from: &str, there: &Kbuild) -> Option<Kernel> {
    let stamp: Stamp = stamp::read(stamp_path)?;
    let kernel = products::kernel(there).ok()?;
    let products = Products::of(&kernel).ok()?;
    (stamp.made_from == made_from && stamp.products == products).then_some(kernel)
}

fn replace_by_copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| to.display().to_string())?;
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    // With the times that make goes by.
    Command::new("cp")
        .args(["--archive", "--reflink=auto"])
        .args([from, to])
        .run()
}

/// The files that the patch names, as they are with it.
fn changed_files(tree: &Path, files: &Path, patch: &Path, reverse: bool) -> Result<()> {
    if files.exists() {
        fs::remove_dir_all(files).with_context(|| files.display().to_string())?;
    }
    let text = fs::read_to_string(patch).with_context(|| patch.display().to_string())?;
    for file in touched_files(&text)? {
        let to = files.join(&file);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // Not the time of the original: make is to see that it changed.
        let bytes = fs::read(tree.join(&file)).with_context(|| file.display().to_string())?;
        fs::write(&to, bytes)?;
    }
    Command::new("patch")
        .args(["-p1", "--fuzz=0", "--no-backup-if-mismatch"])
        .arg(if reverse { "--reverse" } else { "--forward" })
        .arg("--input")
        .arg(patch)
        .dir(files)
        .run()
        .with_context(|| format!("{} does not apply", patch.display()))
}

/// What comes in front of make.
fn put_in_place(places: &[&PathBuf; 4]) -> Vec<String> {
    let mut words = vec!["unshare", "--mount", "--propagation", "private"];
    if !nix::unistd::geteuid().is_root() {
        // Mounts that only this process sees need no more than a user of its own.
        words.push("--map-root-user");
    }
    words.extend(["sh", "-c", PUT_IN_PLACE, "put-in-place"]);
    let places = places.iter().map(|place| place.display().to_string());
    words.into_iter().map(str::to_owned).chain(places).collect()
}

fn does_not_build(change: &case::Kernel, log: &Path, error: &anyhow::Error) -> anyhow::Error {
    Failure::new(
        format!("the kernel {} does not build: {error:#}", change.name),
        format!("the whole log is in {}", log.display()),
    )
    .into()
}
