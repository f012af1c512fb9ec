// SPDX-License-Identifier: MIT OR Apache-2.0

//! What guests do with disks.

use protocol::disk::{DATA, KIB, PACKED, PLUGGABLE, READ_ONLY, SCRATCH};

use super::{Boot, Disk, Platform};

/// Names how often disks are unbound, and pulled out, where the usual number is
/// not enough.
const CYCLES_ENV: &str = "RUST_VIRTIO_BLK_CYCLES";

/// Names how often the power is cut.
const POWER_CUTS_ENV: &str = "RUST_VIRTIO_POWER_CUTS";
const POWER_CUTS: u64 = 3;

/// What `qemu-storage-daemon` offers.
const BACKEND: &[&str] = &[
    "bind",
    "read",
    "write",
    "verify",
    "verify-buffered",
    "scrub",
    "read-only",
    "swap",
    "cache-type",
    "discard",
    "write-zeroes",
    "resize",
    "resize-mounted",
    "ext4",
    "xfs",
    "null",
    "cycles",
    "suspend",
    "reload",
];
/// What QEMU offers beyond that.
const QEMU: &[&str] = &["queues", "packed", "flush"];
const PCI: &[&str] = &["polled", "hotplug", "function-reset"];
/// What takes fio or a mkfs: guests have those of the host, if their architecture is the same.
const NEEDS_PROGRAMS: &[&str] = &[
    "verify",
    "verify-buffered",
    "scrub",
    "discard",
    "resize-mounted",
    "ext4",
    "xfs",
    "cycles",
    "suspend",
    "queues",
    "packed",
];

/// The driver at its normal work, and its comings and goings.
pub fn blk(platform: Platform) -> Boot {
    let mut checks = BACKEND.to_vec();
    if !platform.is_uml() {
        checks.extend(QEMU);
    }
    if platform == Platform::Qemu {
        checks.extend(PCI);
    }
    if platform.has_kmemleak() {
        checks.push("kmemleak");
    }
    checks.extend(["kernel-log", "image"]);
    let mut params = Vec::new();
    if platform.is_arm64() {
        checks.retain(|check| !NEEDS_PROGRAMS.contains(check));
        params.push(("only", checks.join(",")));
    }
    let cycles = std::env::var(CYCLES_ENV).ok();
    let seconds = match cycles {
        Some(_) => 3600,
        None => 600,
    };
    params.extend(cycles.into_iter().map(|count| ("cycles", count)));
    Boot {
        disks: disks(platform),
        cpus: 4,
        params,
        checks,
        ..Boot::new(platform, "blk", seconds)
    }
}

fn disks(platform: Platform) -> Vec<Disk> {
    let filled = |number: usize| Disk {
        filled: true,
        ..Disk::new(KIB[number])
    };
    let mut disks = vec![
        filled(DATA),
        Disk {
            queues: 4,
            ..Disk::new(KIB[SCRATCH])
        },
        Disk {
            read_only: true,
            ..filled(READ_ONLY)
        },
    ];
    if !platform.is_uml() {
        disks.push(Disk {
            packed: true,
            queues: 2,
            block: 4096,
            ..filled(PACKED)
        });
    }
    if platform == Platform::Qemu {
        disks.push(Disk {
            pluggable: true,
            ..Disk::new(KIB[PLUGGABLE])
        });
    }
    disks
}

/// The lab's own disk, which is honest here, in the place of another's.
pub fn blk_of_lab(platform: Platform) -> Boot {
    let checks = [
        "read",
        "write",
        "verify",
        "verify-buffered",
        "swap",
        "ext4",
        "kernel-log",
        "image",
    ];
    let ours = |disk: Disk| Disk { ours: true, ..disk };
    Boot {
        label: Some(format!("{}-honest-blk", platform.name())),
        disks: disks(platform).into_iter().map(ours).collect(),
        params: vec![("only", checks.join(","))],
        checks: checks.to_vec(),
        ..Boot::new(platform, "blk", 300)
    }
}

/// The back end is killed while it is written to.
pub fn blk_backend_dies(platform: Platform) -> Boot {
    Boot {
        disks: vec![Disk::new(KIB[SCRATCH])],
        checks: vec![
            "backend-dies.writers",
            "backend-dies.unbind",
            "backend-dies.rmmod",
            "backend-dies.kernel-log",
        ],
        ..Boot::new(platform, "blk-backend-dies", 120)
    }
}

/// The back end is killed under a file system, and started again.
pub fn blk_backend_restarts(platform: Platform) -> Boot {
    let boot = Boot {
        disks: vec![Disk::new(KIB[SCRATCH])],
        checks: vec![
            "backend-restarts.load",
            "backend-restarts.unbind",
            "backend-restarts.kernel-log",
        ],
        ..Boot::new(platform, "blk-backend-restarts", 120)
    };
    Boot {
        next: Some(Box::new(what_is_left(&boot))),
        ..boot
    }
}

/// The back end is killed while it is written to, and started again under the driver.
pub fn blk_backend_returns(platform: Platform) -> Boot {
    Boot {
        disks: vec![Disk {
            served: true,
            ..Disk::new(KIB[SCRATCH])
        }],
        checks: vec!["backend-returns.write", "backend-returns.kernel-log"],
        ..Boot::new(platform, "blk-backend-returns", 120)
    }
}

/// A look at the disk on which another boot synced files.
pub fn what_is_left(of: &Boot) -> Boot {
    Boot {
        label: Some(format!("{}-again", of.id())),
        disks: vec![Disk {
            logged: false,
            ..of.disks[0].clone()
        }],
        checks: vec![
            "what-is-left.mount",
            "what-is-left.files",
            "what-is-left.fsck",
            "what-is-left.kernel-log",
        ],
        params: of.params.clone(),
        ..Boot::new(of.platform, "blk-what-is-left", 120)
    }
}

/// Both drivers on one disk, by turns of `ms` milliseconds for each load; and the
/// one in Rust with and without scrubbing.
pub fn blk_speed(platform: Platform, pairs: u32, ms: u32) -> Boot {
    Boot {
        disks: vec![Disk::new(KIB[DATA]), Disk::new(KIB[SCRATCH])],
        timed: true,
        params: vec![("pairs", pairs.to_string()), ("ms", ms.to_string())],
        checks: vec!["speed", "speed.scrub", "speed.kernel-log"],
        ..Boot::new(platform, "blk-speed", 1200)
    }
}

/// What the host sees of a reader's memory where devices use bounce buffers.
pub fn blk_bounce(platform: Platform) -> Boot {
    Boot {
        disks: vec![Disk {
            filled: true,
            bounced: true,
            ..Disk::new(KIB[DATA])
        }],
        checks: vec![
            "bounce.scrubbed",
            "bounce.not-scrubbed",
            "bounce.kernel-log",
        ],
        ..Boot::new(platform, "blk-bounce", 120)
    }
}

/// The power is cut under a file system.
pub fn blk_power_cut(platform: Platform) -> Boot {
    // What is no number is none: that fails, rather than to pass with fewer.
    let count = match std::env::var(POWER_CUTS_ENV) {
        Ok(count) => count.parse().unwrap_or(0),
        Err(_) => POWER_CUTS,
    };
    Boot {
        disks: vec![Disk {
            logged: true,
            ..Disk::new(KIB[SCRATCH])
        }],
        checks: vec!["power-cut"],
        power_cuts: Some(count),
        ..Boot::new(platform, "blk-power-cut", 120)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_have_the_numbers_that_the_guest_knows() {
        let boot = blk(Platform::Qemu);
        assert!(boot.disks[READ_ONLY].read_only);
        assert!(boot.disks[PACKED].packed);
        assert!(boot.disks[PLUGGABLE].pluggable);
        assert_eq!(boot.disks.len(), KIB.len());
        assert_eq!(boot.full_name("bind"), "blk.qemu.bind");
        assert_eq!(boot.console_check(), "console");
    }

    #[test]
    fn where_programs_are_missing_nothing_waits_for_them() {
        let boot = blk(Platform::Arm64Mmio);
        assert!(boot.checks.contains(&"write") && boot.checks.contains(&"kmemleak"));
        assert!(!boot.checks.contains(&"ext4"));
        assert_eq!(boot.params, [("only", boot.checks.join(","))]);
    }

    #[test]
    fn a_part_has_what_it_needs() {
        let part = blk(Platform::Uml).only("uml.image").unwrap();
        assert_eq!(part.checks, ["image", "write"]);
    }
}
