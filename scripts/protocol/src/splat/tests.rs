// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;

fn meanings(text: &str) -> Vec<&'static str> {
    let lines: Vec<_> = text.lines().collect();
    find(&lines, &[])
        .iter()
        .map(|splat| splat.meaning)
        .collect()
}

#[test]
fn a_quiet_boot_is_clean() {
    let log = "\
Linux version 7.3.4-rust-virtio
Warning: unable to open an initial console.
kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)
kmemleak: Automatic memory scanning thread started
random: crng init done
kmemleak: 232 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
debug: lockdep is turned off
virtio_rng: loading out-of-tree module
    ok 12 rust_doctest_kernel_list_rs_0
reboot: Power down";
    assert_eq!(meanings(log), Vec::<&str>::new());
}

#[test]
fn what_the_guest_says_is_no_splat() {
    assert_eq!(
        meanings("@@guest {\"type\":\"note\",\"text\":\"WARNING: at x\"}"),
        Vec::<&str>::new()
    );
}

#[test]
fn a_warning_is_one_splat_with_its_trace() {
    let log = "\
------------[ cut here ]------------
WARNING: arch/um/drivers/virtio_uml.c:880 at vu_del_vqs+0xb4/0x110, CPU#0: init/1
Modules linked in: virtio_rng
CPU: 0 UID: 0 PID: 1 Comm: init Not tainted 7.3.4-rust-virtio #1 NONE
Call Trace:
 [<6002d1d2>] ? _printk+0x0/0x94
---[ end trace 0000000000000000 ]---
virtio_rng virtio0: later";
    let lines: Vec<_> = log.lines().collect();
    let splats = find(&lines, &[]);
    assert_eq!(splats.len(), 1);
    assert_eq!(splats[0].line, 1);
    assert_eq!(splats[0].meaning, "a WARN()");
    assert!(splats[0].excerpt[0].starts_with("WARNING: arch/um"));
    assert_eq!(splats[0].accepted, None);
}

#[test]
fn accepted_splats_keep_their_reason_and_hide_no_other() {
    let log = "\
WARNING: arch/um/drivers/virtio_uml.c:880 at vu_del_vqs+0xb4/0x110, CPU#0: init/1
Call Trace:
BUG: KASAN: slab-use-after-free in virtqueue_get_buf+0x1c/0x40
Read of size 8 at addr 0000000061b0a410 by task init/1";
    let lines: Vec<_> = log.lines().collect();
    let splats = find(&lines, accepted("backend-dies"));
    assert_eq!(splats.len(), 2);
    assert!(splats[0].accepted.is_some());
    assert_eq!(splats[1].accepted, None);
    assert_eq!(splats[1].meaning, "a memory access that KASAN forbids");
}

#[test]
fn each_checker_is_known_by_its_words() {
    let cases = [
        (
            "BUG: KASAN: slab-out-of-bounds in copy_data+0x8c/0xf0 [virtio_rng]",
            "a memory access that KASAN forbids",
        ),
        (
            "UBSAN: array-index-out-of-bounds in drivers/a.c:12:3",
            "undefined behaviour",
        ),
        (
            "WARNING: possible circular locking dependency detected",
            "lockdep: locks taken in opposite orders",
        ),
        (
            "WARNING: possible recursive locking detected",
            "lockdep: a lock taken twice",
        ),
        (
            "WARNING: inconsistent lock state",
            "lockdep: a lock shared with an interrupt, unsafely",
        ),
        (
            "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
            "lockdep: locks of different interrupt safety nested",
        ),
        (
            "[ BUG: Invalid wait context ]",
            "lockdep: a sleeping lock taken in atomic context",
        ),
        (
            "WARNING: suspicious RCU usage",
            "RCU-protected data used without protection",
        ),
        (
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:285",
            "sleeping in atomic context",
        ),
        (
            "BUG: scheduling while atomic: swapper/0/1/0x00000002",
            "sleeping in atomic context",
        ),
        (
            "INFO: task init:21 blocked for more than 60 seconds.",
            "a task that hangs",
        ),
        (
            "rcu: INFO: rcu_sched self-detected stall on CPU",
            "an RCU stall",
        ),
        (
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "an RCU stall",
        ),
        (
            "Oops: general protection fault, probably for non-canonical address 0xdead",
            "a wild memory access",
        ),
        (
            "BUG: unable to handle page fault for address: ffffc90000000000",
            "a wild memory access",
        ),
        (
            "kernel BUG at drivers/virtio/virtio_ring.c:1191!",
            "a BUG()",
        ),
        (
            "Kernel panic - not syncing: Attempted to kill init!",
            "a panic",
        ),
        (
            "rust_kernel: panicked at rust/kernel/virtio/queue.rs:10:5:",
            "a panic in Rust code",
        ),
    ];
    for (line, meaning) in cases {
        assert_eq!(meanings(line), [meaning], "{line}");
        assert_eq!(meanings(&format!("[   12.345678] {line}\r")), [meaning]);
    }
}

#[test]
fn a_long_splat_shows_its_first_lines() {
    let mut lines = vec!["BUG: something".to_owned()];
    lines.extend((0..100).map(|n| format!(" frame {n}")));
    let splats = find(&lines, &[]);
    assert_eq!(splats.len(), 1);
    assert_eq!(splats[0].excerpt.len(), SHOWN);
}

#[test]
fn what_is_accepted_is_accepted_in_its_place_only() {
    let log = "\
ODEBUG: object 000000006fbd2a5a is on stack 00000000fc4518a7, but NOT annotated.
------------[ cut here ]------------
WARNING: lib/debugobjects.c:672 at __debug_object_init+0x4b1/0x620, CPU#0: kunit_try_catch/679
 [<602bf1a8>] ? hrtimer_setup+0x28/0xc0
---[ end trace 0000000000000000 ]---";
    let lines: Vec<_> = log.lines().collect();
    let good = |scenario: &str| {
        find(&lines, accepted(scenario))
            .iter()
            .all(|splat| splat.accepted.is_some())
    };
    assert!(good("kunit"));
    assert!(!good("rng"));
    let other: Vec<_> = lines
        .iter()
        .map(|line| line.replace("hrtimer", "work"))
        .collect();
    assert!(find(&other, accepted("kunit"))
        .iter()
        .all(|splat| splat.accepted.is_none()));
}
