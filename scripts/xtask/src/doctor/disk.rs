// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disk space: said before hours of work end in a full disk.

use anyhow::{Context as _, Result};
use nix::sys::statvfs::statvfs;

use super::Need;
use crate::bail_help;
use crate::context::Context;

const MB: u64 = 1 << 20;

/// What each product takes, as measured, with some room for growth.
const PRODUCTS: &[(Need, &str, u64)] = &[
    (Need::Source, "source", 2500 * MB),
    (Need::Source, "tree", 2000 * MB),
    (Need::Kernel, "build/x86_64", 700 * MB),
    (Need::Kernel, "build/uml", 600 * MB),
    (Need::DebugKernel, "build/uml-debug", 900 * MB),
    (Need::Objects, "build/arm64", 250 * MB),
    (Need::Arm64, "build/arm64-boot", 450 * MB),
    (Need::Arm64, "toolchain/arm64", 100 * MB),
    (Need::Objects, "build/riscv64", 250 * MB),
    (Need::Objects, "build/lint", 500 * MB),
    (Need::Disks, "toolchain/disk-tools", 100 * MB),
    (Need::Guest, "initramfs", 800 * MB),
    (Need::DebugKernel, "hostile", 2500 * MB),
    (Need::Lint, "series.git", 400 * MB),
    (Need::Lint, "check-patches", 3000 * MB),
    (Need::Matrix, "matrix", 5000 * MB),
    (Need::Matrix, "build/uml-smp", 900 * MB),
    (Need::Roots, "roots", 4000 * MB),
    (Need::Kernel, "toolchain", 500 * MB),
    (Need::Kernel, "cargo-target", 1500 * MB),
];

/// Fails unless the cache's disk has room for what `needs` will still add. Only
/// kernels are worth it: a full disk stops the other steps within seconds.
pub fn check(ctx: &Context, needs: &[Need]) -> Result<()> {
    if !needs.contains(&Need::Kernel) {
        return Ok(());
    }
    let wanted: u64 = PRODUCTS
        .iter()
        .filter(|(need, name, _)| needs.contains(need) && !ctx.cache.join(name).exists())
        .filter(|(_, name, _)| *name != "source" || ctx.kernel_tree.is_none())
        .map(|(_, _, size)| size)
        .sum();
    let free = free(ctx)?;
    if free < wanted {
        bail_help!(
            format!(
                "the cache {} needs about {} of free disk space, there are {}",
                ctx.cache.display(),
                gigabytes(wanted),
                gigabytes(free)
            ),
            "free some space, or choose a cache on another disk with --cache DIR \
             (RUST_VIRTIO_CACHE=DIR)"
        );
    }
    Ok(())
}

/// What an unprivileged user may still write, in bytes.
fn free(ctx: &Context) -> Result<u64> {
    let stat = statvfs(&ctx.cache).with_context(|| ctx.cache.display().to_string())?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / (1024 * MB) as f64)
}
