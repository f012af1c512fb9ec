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
    /// The same, with several processors
    UmlSmp,
    /// Only our objects, for another machine
    Arm64,
    /// For QEMU on another architecture
    Arm64Boot,
    /// Only our objects, for another machine
    Riscv64,
    /// Only our objects, by clippy, and the documentation
    Lint,
}

/// One call of make.
#[derive(Debug)]
pub struct Step {
    pub name: &'static str,
    /// Variables and targets; without any target, make builds all.
    pub args: &'static [&'static str],
}

const ALL: &[Step] = &[Step {
    name: "make",
    args: &[],
}];

/// Our objects lie in these directories.
macro_rules! with_objects {
    ($($variable:literal),*) => {
        &[
            $($variable,)*
            "rust/",
            "drivers/virtio/",
            "drivers/block/virtio_blk_rust/",
            "drivers/char/hw_random/",
            "samples/rust/",
        ]
    };
}

const OBJECTS: &[Step] = &[Step {
    name: "make",
    args: with_objects!(),
}];

// The second step with the variables of the first: others would build all anew.
const LINT: &[Step] = &[
    Step {
        name: "clippy",
        args: with_objects!("CLIPPY=1", "W=1"),
    },
    Step {
        name: "rustdoc",
        args: &["CLIPPY=1", "W=1", "rustdoc"],
    },
];

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Uml => "uml",
            Self::UmlDebug => "uml-debug",
            Self::UmlSmp => "uml-smp",
            Self::Arm64 => "arm64",
            Self::Arm64Boot => "arm64-boot",
            Self::Riscv64 => "riscv64",
            Self::Lint => "lint",
        }
    }

    /// The value of make's `ARCH=`.
    pub fn arch(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Uml | Self::UmlDebug | Self::UmlSmp | Self::Lint => "um",
            Self::Arm64 | Self::Arm64Boot => "arm64",
            Self::Riscv64 => "riscv",
        }
    }

    /// Names in `scripts/config`; a later one may override an earlier one.
    pub fn fragments(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["common", "x86_64", "xfs"],
            Self::Uml => &["common", "uml", "xfs"],
            Self::Lint => &["common", "uml", "lint"],
            Self::UmlDebug => &["common", "uml", "xfs", "debug"],
            Self::UmlSmp => &["common", "uml", "xfs", "debug", "smp"],
            Self::Arm64 => &["common", "arm64"],
            Self::Arm64Boot => &["common", "arm64", "arm64-boot"],
            Self::Riscv64 => &["common", "riscv64"],
        }
    }

    /// Whether it has KASAN, lockdep and the others, which take time and memory.
    pub fn has_checkers(self) -> bool {
        matches!(self, Self::UmlDebug | Self::UmlSmp)
    }

    /// Whether it comes to a whole kernel.
    pub fn is_bootable(self) -> bool {
        match self {
            Self::X86_64 | Self::Uml | Self::UmlDebug | Self::UmlSmp | Self::Arm64Boot => true,
            Self::Arm64 | Self::Riscv64 | Self::Lint => false,
        }
    }

    pub fn steps(self) -> &'static [Step] {
        match self {
            Self::X86_64 | Self::Uml | Self::UmlDebug | Self::UmlSmp | Self::Arm64Boot => ALL,
            Self::Arm64 | Self::Riscv64 => OBJECTS,
            Self::Lint => LINT,
        }
    }

    /// What is booted, in the build directory, or, where nothing is, the object
    /// that stands for all.
    pub fn image(self) -> &'static str {
        match self {
            Self::X86_64 => "arch/x86/boot/bzImage",
            Self::Uml | Self::UmlDebug | Self::UmlSmp => "linux",
            Self::Arm64Boot => "arch/arm64/boot/Image",
            Self::Arm64 | Self::Riscv64 | Self::Lint => "rust/kernel.o",
        }
    }

    /// How many objects make builds from nothing, near enough for a first
    /// estimate of the time left.
    pub fn usual_objects(self) -> u64 {
        match self {
            Self::X86_64 => 1515,
            Self::Uml => 1109,
            Self::UmlDebug | Self::UmlSmp => 1150,
            Self::Arm64Boot => 1500,
            Self::Arm64 | Self::Riscv64 | Self::Lint => 120,
        }
    }
}
