// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes wrong on other people's machines: each gives one clear error, and
//! the next run, with the cause out of the way, works.

use std::fs;
use std::process::Command;

use crate::support::{check_error, fails, Bench};

#[test]
fn a_missing_tool_is_named() {
    let bench = Bench::new();
    let path = bench.path_without(&["patch", "apt-get"]);
    let said = fails(bench.xtask(&["assemble"]).env("PATH", path));
    assert!(said.contains("error: missing: patch"), "{said}");
    bench.succeeds(&["assemble"]);
}

#[test]
fn a_wrong_tree_version_is_told_with_the_right_one() {
    let bench = Bench::new();
    bench.set_version("6.1.0");
    let said = bench.fails(&["assemble"]);
    assert!(
        said.contains("error: Linux 7.3 or later is needed"),
        "{said}"
    );
    assert!(said.contains("is Linux 6.1.0"), "{said}");
    bench.set_version("7.4.0");
    bench.succeeds(&["assemble"]);
}

#[test]
fn a_tree_that_is_none_is_told() {
    let bench = Bench::new();
    fs::remove_file(bench.path("kernel/Makefile")).unwrap();
    let said = bench.fails(&["assemble"]);
    assert!(said.contains("is not a Linux source tree"), "{said}");
}

#[test]
fn a_hunk_that_does_not_apply_is_shown_with_its_file() {
    let bench = Bench::new();
    bench.kernel("rust/kernel/lib.rs", "pub mod list;\npub mod other;\n");
    let said = bench.fails(&["assemble"]);
    for expected in [
        "scripts/series/edits/10-lib.patch does not apply to rust/kernel/lib.rs",
        "+pub mod virtio;",
        "Linux 7.3.4",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    bench.kernel(
        "rust/kernel/lib.rs",
        "// A line more.\n\npub mod list;\npub mod types;\npub mod workqueue;\n",
    );
    bench.succeeds(&["assemble"]);
    let lib = fs::read_to_string(bench.tree("rust/kernel/lib.rs")).unwrap();
    assert!(lib.contains("pub mod types;\npub mod virtio;\n"), "{lib}");
}

#[test]
fn an_edit_of_a_file_that_is_gone_is_told() {
    let bench = Bench::new();
    fs::remove_file(bench.path("kernel/rust/kernel/lib.rs")).unwrap();
    let said = bench.fails(&["assemble"]);
    assert!(
        said.contains("10-lib.patch edits rust/kernel/lib.rs, which the source does not have"),
        "{said}"
    );
}

#[test]
fn a_file_of_ours_that_the_source_has_is_named() {
    let bench = Bench::new();
    bench.kernel("rust/kernel/virtio.rs", "//! Theirs.\n");
    let said = bench.fails(&["assemble"]);
    assert!(
        said.contains("rust/kernel/virtio.rs is a file of ours"),
        "{said}"
    );
    fs::remove_file(bench.path("kernel/rust/kernel/virtio.rs")).unwrap();
    bench.succeeds(&["assemble"]);
}

#[test]
fn a_rust_src_of_another_version_is_told_with_both() {
    let bench = Bench::new();
    let library = bench.path("rustc-1.2.3/library");
    fs::create_dir_all(library.join("core/src")).unwrap();
    fs::write(library.join("core/src/lib.rs"), "").unwrap();
    // As if all were built: this is not about disk space.
    for product in [
        "build/x86_64",
        "build/uml",
        "toolchain",
        "cargo-target",
        "tree",
    ] {
        fs::create_dir_all(bench.path("cache").join(product)).unwrap();
    }
    let path = bench.path_without(&["apt-get"]);
    let mut build = bench.xtask(&["build"]);
    let said = fails(build.env("RUST_LIB_SRC", &library).env("PATH", path));
    if said.contains("error: missing: ") {
        println!("skipped: this machine lacks the tools that are looked for first: {said}");
        return;
    }
    assert!(
        said.contains("rust-src does not match: rustc is 1."),
        "{said}"
    );
    assert!(said.contains("1.2.3"), "{said}");
    bench.succeeds(&["assemble"]);
}

/// A cache on a disk of two megabytes, which grows later.
const FULL_DISK: &str = r#"
mount -t tmpfs -o size=2m none "$CACHE" || { echo 'NO MOUNT'; exit 0; }
"$@" build; echo "EXIT $?"
"$@" assemble; echo "EXIT $?"
mount -o remount,size=64m "$CACHE"
"$@" assemble; echo "EXIT $?"
cmp "$CACHE/tree/large" "$LARGE" && echo SAME
"#;

#[test]
fn a_full_disk_is_told_and_survived() {
    let bench = Bench::new();
    bench.kernel("large", &"0123456789abcdef".repeat(256 << 10));
    let xtask = bench.xtask(&[]);
    // In a mount namespace of its own, the disk is gone when this ends.
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", FULL_DISK, "sh"])
        .arg(xtask.get_program())
        .args(xtask.get_args())
        .env("CACHE", bench.path("cache"))
        .env("LARGE", bench.path("kernel/large"))
        .output();
    let Ok(output) = output else {
        println!("skipped: there is no unshare");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !said.contains("EXIT") {
        println!("skipped: no disk can be mounted here: {said}{errors}");
        return;
    }
    let exits: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("EXIT"))
        .collect();
    assert_eq!(exits, ["EXIT 1", "EXIT 1", "EXIT 0"], "{said}{errors}");
    assert!(said.contains("SAME"), "{said}{errors}");
    let (check, copy) = errors.split_at(errors.rfind("error: ").unwrap());
    assert!(check.contains("needs about"), "{errors}");
    assert!(copy.contains("No space left on device"), "{errors}");
    check_error(copy);
}

#[test]
fn a_cache_that_cannot_be_made_is_told() {
    let bench = Bench::new();
    fs::write(bench.path("file"), "").unwrap();
    let output = bench
        .xtask(&["assemble"])
        .env("LC_ALL", "C")
        .arg("--cache")
        .arg(bench.path("file/cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.starts_with("error: "), "{said}");
}
