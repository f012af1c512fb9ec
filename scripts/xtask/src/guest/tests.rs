// SPDX-License-Identifier: MIT OR Apache-2.0

//! Guests that are played by shell scripts in QEMU's place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::report::Counts;
use crate::scenario;

/// Boots `script` as if it were QEMU.
fn try_boot(script: &str, boot: &Boot) -> Result<(Vec<Entry>, Duration)> {
    let dir = tempfile::tempdir().unwrap();
    let qemu = dir.path().join("qemu");
    fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let mut ctx = Context::in_dir(dir.path());
    ctx.out = dir.path().join("out");
    let tools = Toolchain {
        qemu_x86: qemu,
        ..Toolchain::default()
    };
    let mut lab = Lab::new(&ctx, &tools, "test");
    lab.accel = Some(Accel::Tcg { why: "test".into() });
    let kernel = Kernel {
        variant: Variant::X86_64,
        image: "bzImage".into(),
        modules: Vec::new(),
        release: "7.3".into(),
        build_dir: dir.path().to_owned(),
        warnings: Default::default(),
    };
    let archives = Archives {
        plain: "initramfs".into(),
        with_disk_tools: None,
    };
    let bootable = Bootable { kernel, archives };
    lab.bootable.insert((Variant::X86_64, None), bootable);
    let started = Instant::now();
    let entries = lab.run(boot)?;
    Ok((entries, started.elapsed()))
}

fn boot(script: &str, boot: &Boot) -> (Vec<Entry>, Duration) {
    try_boot(script, boot).unwrap()
}

fn say(event: &Event) -> String {
    format!("echo '[    0.1] {}'\n", protocol::encode(event))
}

const DONE: Event = Event::Done {
    passed: 1,
    failed: 0,
};

#[test]
fn a_guest_that_comes_to_its_end_is_good() {
    let script = format!("echo Linux version\n{}", say(&DONE));
    let (entries, _) = boot(&script, &scenario::smoke(Platform::Qemu));
    assert_eq!(Counts::of(&entries).failed, 0, "{entries:?}");
}

#[test]
fn a_guest_that_never_boots_is_given_up_in_time() {
    let limited = Boot {
        limit: Duration::from_secs(1),
        ..scenario::slow(Platform::Qemu)
    };
    // The grandchild must end, too.
    let (entries, took) = boot("sleep 1000 & wait", &limited);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(Counts::of(&entries).passed, 0, "{entries:?}");
    let console = entries.last().unwrap();
    assert!(
        console
            .detail
            .contains("printed nothing within its time limit of 1.0 s"),
        "{}",
        console.detail
    );
}

#[test]
fn a_guest_that_hangs_is_known_by_what_it_did_last() {
    let begin = say(&Event::Begin {
        name: "slow.kill".into(),
    });
    let limited = Boot {
        limit: Duration::from_secs(1),
        ..scenario::slow(Platform::Qemu)
    };
    let (entries, _) = boot(&format!("{begin}sleep 1000"), &limited);
    let console = entries.last().unwrap();
    assert!(
        console.detail.contains("hung during slow.kill"),
        "{}",
        console.detail
    );
}

#[test]
fn a_guest_that_is_slow_may_take_longer_than_its_limit_if_it_tells() {
    let limited = Boot {
        limit: Duration::from_secs(1),
        ..scenario::smoke(Platform::Qemu)
    };
    let tell = "echo Linux version; for n in 1 2 3 4; do sleep 0.5; echo $n; done";
    let (entries, took) = boot(&format!("{tell}\n{}", say(&DONE)), &limited);
    assert!(took > limited.limit);
    assert_eq!(Counts::of(&entries).failed, 0, "{entries:?}");
}

#[test]
fn a_guest_that_never_stops_talking_is_given_up() {
    let limited = Boot {
        limit: Duration::from_millis(200),
        ..scenario::slow(Platform::Qemu)
    };
    let (entries, _) = boot("while true; do echo more; sleep 0.05; done", &limited);
    let console = entries.last().unwrap();
    assert!(
        console.detail.contains("still said something"),
        "{}",
        console.detail
    );
}

#[test]
fn a_kernel_that_panics_fails_with_its_last_words() {
    let script = "echo 'Kernel panic - not syncing: Attempted to kill init!'; exit 0";
    let (entries, _) = boot(script, &scenario::smoke(Platform::Qemu));
    let console = entries.last().unwrap();
    assert!(!console.ok);
    assert!(console.detail.contains("a panic"), "{}", console.detail);
    assert!(console.excerpt[0].contains("Attempted to kill init"));
}

#[test]
fn a_back_end_that_is_not_there_cannot_be_killed() {
    let script = say(&Event::Await {
        what: protocol::KILL_BACKEND.into(),
    });
    let error = try_boot(&script, &scenario::smoke(Platform::Qemu)).unwrap_err();
    assert!(
        error.to_string().contains("ending the back end"),
        "{error:#}"
    );
}
