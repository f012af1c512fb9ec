// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machines that guests run on.

use crate::build::Variant;

/// A machine that a guest runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// User-mode Linux; devices are vhost-user back ends.
    Uml,
    /// The same, with the kernel's checkers.
    UmlDebug,
    /// The same, with several processors.
    UmlSmp,
    /// QEMU's q35; devices sit on PCI.
    Qemu,
    /// QEMU's microvm; devices are memory-mapped.
    QemuMmio,
    /// QEMU's virt, for arm64; devices sit on PCI.
    Arm64,
    /// The same machine; devices are memory-mapped.
    Arm64Mmio,
}

impl Platform {
    pub fn name(self) -> &'static str {
        match self {
            Self::Uml => "uml",
            Self::UmlDebug => "uml-debug",
            Self::UmlSmp => "uml-smp",
            Self::Qemu => "qemu",
            Self::QemuMmio => "qemu-mmio",
            Self::Arm64 => "arm64",
            Self::Arm64Mmio => "arm64-mmio",
        }
    }

    pub fn variant(self) -> Variant {
        match self {
            Self::Uml => Variant::Uml,
            Self::UmlDebug => Variant::UmlDebug,
            Self::UmlSmp => Variant::UmlSmp,
            Self::Qemu | Self::QemuMmio => Variant::X86_64,
            Self::Arm64 | Self::Arm64Mmio => Variant::Arm64Boot,
        }
    }

    /// Where a kernel is booted for a person to look around, if it is one.
    pub fn of(variant: Variant) -> Option<Self> {
        let platforms = [
            Self::Uml,
            Self::UmlDebug,
            Self::UmlSmp,
            Self::Qemu,
            Self::Arm64,
        ];
        let fits = |platform: &Self| platform.variant() == variant;
        platforms.into_iter().find(fits)
    }

    pub fn is_uml(self) -> bool {
        matches!(self, Self::Uml | Self::UmlDebug | Self::UmlSmp)
    }

    pub fn is_arm64(self) -> bool {
        matches!(self, Self::Arm64 | Self::Arm64Mmio)
    }

    /// Whether QEMU's devices are memory-mapped.
    pub fn is_mmio(self) -> bool {
        matches!(self, Self::QemuMmio | Self::Arm64Mmio)
    }

    /// Whether its kernel looks for memory leaks.
    pub fn has_kmemleak(self) -> bool {
        self.variant().has_checkers() || self.is_arm64()
    }
}
