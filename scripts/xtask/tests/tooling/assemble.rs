// SPDX-License-Identifier: MIT OR Apache-2.0

//! The work tree follows the source and the checkout, and only what changed is
//! written.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::{succeeds, Bench};

fn mtime(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Makes a file look as old as those of a release.
fn make_old(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(time).unwrap();
}

#[test]
fn the_tree_is_the_source_with_the_series_on_it() {
    let bench = Bench::new();
    bench.succeeds(&["assemble"]);
    assert!(read(&bench.tree("rust/kernel/lib.rs")).contains("pub mod virtio;\n"));
    assert_eq!(read(&bench.tree("rust/kernel/virtio.rs")), "//! Ours.\n");
    let maintainers = read(&bench.tree("MAINTAINERS"));
    let place = |title: &str| maintainers.find(title).unwrap();
    assert!(place("AAA") < place("VIRTIO RUST"));
    assert!(place("VIRTIO RUST") < place("THE REST"));
    assert!(!read(&bench.path("kernel/rust/kernel/lib.rs")).contains("virtio"));
    assert!(!bench.tree("scripts/series").exists());
}

#[test]
fn what_did_not_change_is_not_written() {
    let bench = Bench::new();
    bench.succeeds(&["assemble"]);
    let watched = ["rust/kernel/lib.rs", "rust/kernel/virtio.rs", "init/main.c"];
    let before = watched.map(|path| mtime(&bench.tree(path)));
    assert!(bench.succeeds(&["assemble"]).contains("nothing changed"));
    bench.ours("rust/kernel/virtio.rs", "//! Ours, changed.\n");
    assert!(bench.succeeds(&["assemble"]).contains("1 files changed"));
    let after = watched.map(|path| mtime(&bench.tree(path)));
    assert_eq!(before[0], after[0]);
    assert!(before[1] < after[1]);
    assert_eq!(before[2], after[2]);
}

#[test]
fn a_hand_on_the_work_tree_is_noticed() {
    let bench = Bench::new();
    make_old(&bench.path("kernel/init/main.c"));
    bench.succeeds(&["assemble"]);
    fs::write(bench.tree("init/main.c"), "int fake;\n").unwrap();
    fs::write(bench.tree("init/stray.c"), "").unwrap();
    fs::write(bench.tree("rust/kernel/virtio.rs"), "").unwrap();
    let said = bench.succeeds(&["assemble"]);
    assert!(
        said.contains("init/main.c differed from the source"),
        "{said}"
    );
    assert!(said.contains("init/stray.c is not in the source"), "{said}");
    assert_eq!(read(&bench.tree("init/main.c")), "int main;\n");
    assert_eq!(read(&bench.tree("rust/kernel/virtio.rs")), "//! Ours.\n");
    assert!(!bench.tree("init/stray.c").exists());
    // An object that was built from the fake must look older than the file.
    let age = mtime(&bench.tree("init/main.c")).elapsed().unwrap();
    assert!(age < Duration::from_secs(3600));
    assert!(bench.succeeds(&["assemble"]).contains("nothing changed"));
}

#[test]
fn what_left_the_series_leaves_the_tree() {
    let bench = Bench::new();
    make_old(&bench.path("kernel/rust/kernel/lib.rs"));
    bench.ours("drivers/char/new/driver.rs", "");
    bench.succeeds(&["assemble"]);
    fs::remove_dir_all(bench.path("repo/drivers")).unwrap();
    fs::remove_file(bench.path("repo/scripts/series/edits/10-lib.patch")).unwrap();
    bench.succeeds(&["assemble"]);
    assert!(!bench.tree("drivers").exists());
    let lib = bench.tree("rust/kernel/lib.rs");
    assert!(!read(&lib).contains("virtio"));
    assert!(mtime(&lib).elapsed().unwrap() < Duration::from_secs(3600));
}

#[test]
fn a_first_copy_that_was_cut_short_is_finished() {
    let bench = Bench::new();
    bench.succeeds(&["assemble"]);
    let state = read(&bench.path("cache/tree.json"));
    let state = state.replace("\"complete\": true", "\"complete\": false");
    fs::write(bench.path("cache/tree.json"), state).unwrap();
    fs::write(bench.tree("init/main.c"), "int").unwrap();
    bench.succeeds(&["assemble"]);
    assert_eq!(read(&bench.tree("init/main.c")), "int main;\n");
}

#[test]
fn another_source_makes_another_tree() {
    let bench = Bench::new();
    bench.succeeds(&["assemble"]);
    let generation = |text: String| {
        let line = text.lines().find(|line| line.contains("generation"));
        line.unwrap().to_owned()
    };
    let before = generation(read(&bench.path("cache/tree.json")));
    fs::rename(bench.path("kernel"), bench.path("other")).unwrap();
    let mut assemble = bench.xtask(&["assemble"]);
    succeeds(assemble.arg("--kernel-tree").arg(bench.path("other")));
    assert_ne!(before, generation(read(&bench.path("cache/tree.json"))));
}

#[test]
fn of_a_git_checkout_only_what_is_tracked_is_copied() {
    let bench = Bench::new();
    let git = |args: &[&str]| {
        let status = Command::new("git")
            .args(args)
            .current_dir(bench.path("kernel"))
            .output();
        status.is_ok_and(|output| output.status.success())
    };
    if !git(&["init", "--quiet"]) || !git(&["add", "."]) {
        println!("skipped: there is no git");
        return;
    }
    bench.kernel(".config", "CONFIG_A=y\n");
    bench.kernel("init/untracked.c", "");
    bench.succeeds(&["assemble"]);
    assert!(bench.tree("init/main.c").exists());
    for absent in [".config", "init/untracked.c", ".git"] {
        assert!(!bench.tree(absent).exists(), "{absent}");
    }
}

#[test]
fn of_another_tree_build_products_are_left_behind() {
    let bench = Bench::new();
    bench.kernel(".config", "CONFIG_A=y\n");
    bench.kernel("init/main.o", "");
    bench.kernel("include/generated/autoconf.h", "");
    bench.succeeds(&["assemble"]);
    for absent in [".config", "init/main.o", "include/generated"] {
        assert!(!bench.tree(absent).exists(), "{absent}");
    }
    assert!(bench.path("kernel/.config").exists());
}
