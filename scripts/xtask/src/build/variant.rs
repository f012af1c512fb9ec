// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which kernels there are.

/// One configuration of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Variant {
    /// For QEMU
    #[value(name = "x86_64")]
    X86_64,
    /// User-mode Linux
    Uml,
    /// User-mode Linux with KASAN, lockdep and the other checkers
    UmlDebug,
}

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Uml => "uml",
            Self::UmlDebug => "uml-debug",
        }
    }

    /// The value of make's `ARCH=`.
    pub fn arch(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Uml | Self::UmlDebug => "um",
        }
    }

    /// Names in `scripts/config`; a later one may override an earlier one.
    pub fn fragments(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["common", "x86_64"],
            Self::Uml => &["common", "uml"],
            Self::UmlDebug => &["common", "uml", "debug"],
        }
    }

    /// What is booted, in the build directory.
    pub fn image(self) -> &'static str {
        match self {
            Self::X86_64 => "arch/x86/boot/bzImage",
            Self::Uml | Self::UmlDebug => "linux",
        }
    }

    /// How many objects make builds from nothing, near enough for a first
    /// estimate of the time left.
    pub fn usual_objects(self) -> u64 {
        match self {
            Self::X86_64 => 1515,
            Self::Uml => 1109,
            Self::UmlDebug => 1150,
        }
    }
}
