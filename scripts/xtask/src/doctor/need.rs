// SPDX-License-Identifier: MIT OR Apache-2.0

//! What tools are needed for.

/// What a command is about to do, and so which tools it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Unpack the source and put the series on it.
    Source,
    /// Build kernels.
    Kernel,
    /// Build the kernel with the checkers as well, which takes more room.
    DebugKernel,
    /// Build our objects where no kernel comes of it.
    Objects,
    /// Check our files with clippy and rustdoc.
    Lint,
    /// Boot x86-64 guests.
    Qemu,
    /// Boot UML guests with vhost-user devices.
    Uml,
    /// Make the guests' file system.
    Guest,
    /// Boot guests with disks.
    Disks,
    /// Build for arm64 and boot what comes of it.
    Arm64,
    /// Build many kernels that differ in little.
    Matrix,
    /// Build kernels inside other releases of Debian.
    Roots,
}

impl Need {
    /// Of the commands that everybody runs.
    pub const ALL: &'static [Self] = &[
        Self::Source,
        Self::Kernel,
        Self::DebugKernel,
        Self::Objects,
        Self::Lint,
        Self::Qemu,
        Self::Uml,
        Self::Guest,
        Self::Disks,
    ];

    /// Whether QEMU is needed: that for arm64 comes on top of that for x86-64.
    pub fn qemu(needs: &[Self]) -> bool {
        needs.contains(&Self::Qemu) || needs.contains(&Self::Arm64)
    }
}
