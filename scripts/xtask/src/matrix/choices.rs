// SPDX-License-Identifier: MIT OR Apache-2.0

//! What random configurations choose among.
//!
//! Not chosen among is what Linux forbids together with Rust (randomised
//! structures, module versions without DWARF), what this machine's tools cannot
//! do (link-time optimisation wants clang and rustc of one LLVM), what takes
//! long and tells little here (debug information, most drivers), and 32 bits.

/// An option and its values, each as likely as it is often.
pub type Choice = (&'static str, &'static str);

/// Drawn once for several configurations in a row: they reach every object.
pub const GLOBAL: &[Choice] = &[
    ("SMP", "yn"),
    ("MODULES", "yyyn"),
    ("MODULE_UNLOAD", "yn"),
    ("TRIM_UNUSED_KSYMS", "nny"),
    ("NET", "nnnnny"),
    ("BLOCK", "yyyn"),
    ("BLK_DEV", "yyyn"),
    ("BLK_DEV_ZONED", "yn"),
    ("BLK_DEV_INTEGRITY", "yn"),
    ("PCI", "yyn"),
    ("PCI_MSI", "yn"),
    ("ACPI", "nny"),
    ("HOTPLUG_CPU", "yn"),
    ("SUSPEND", "yn"),
    ("PM", "yn"),
    ("HIGH_RES_TIMERS", "yn"),
    ("NO_HZ_IDLE", "yn"),
    ("KALLSYMS", "yyn"),
    ("BUG", "yyyn"),
    ("DEBUG_BUGVERBOSE", "yn"),
    ("JUMP_LABEL", "yn"),
    ("SLUB_TINY", "yn"),
    ("INIT_ON_ALLOC_DEFAULT_ON", "yn"),
    ("STACKPROTECTOR", "yn"),
    ("STACKPROTECTOR_STRONG", "yn"),
    ("FORTIFY_SOURCE", "yn"),
    ("CFI", "nny"),
    ("X86_KERNEL_IBT", "yn"),
    ("AMD_MEM_ENCRYPT", "nny"),
    ("CPU_MITIGATIONS", "yn"),
    ("MITIGATION_RETPOLINE", "yn"),
    ("MITIGATION_RETHUNK", "yn"),
    ("MITIGATION_SLS", "yn"),
    ("RANDOMIZE_BASE", "yn"),
    // Linux itself has warnings; those about files of ours count in any case.
    ("WERROR", "n"),
    ("DEBUG_KERNEL", "yn"),
    ("PROVE_LOCKING", "nny"),
    ("DEBUG_ATOMIC_SLEEP", "yn"),
    ("DEBUG_LIST", "yn"),
    ("DEBUG_OBJECTS", "nny"),
    ("KASAN", "nnny"),
    ("KASAN_INLINE", "yn"),
    ("UBSAN", "nny"),
    ("UBSAN_TRAP", "yn"),
    ("KCOV", "nnny"),
    ("FTRACE", "nny"),
    ("FUNCTION_TRACER", "yn"),
    ("RUST_DEBUG_ASSERTIONS", "nny"),
    ("RUST_OVERFLOW_CHECKS", "yn"),
    ("RUST_BITMAP_HARDENED", "yn"),
    ("IOMMU_SUPPORT", "yn"),
    ("DMA_API_DEBUG", "nny"),
    ("DEBUG_FS", "yn"),
    ("PROC_FS", "yyn"),
    ("SYSFS", "yyyn"),
    ("TTY", "yn"),
];

/// One of each row is on.
pub const ONE_OF: &[&[&str]] = &[
    &[
        "PREEMPT_NONE",
        "PREEMPT_VOLUNTARY",
        "PREEMPT",
        "PREEMPT_LAZY",
        "PREEMPT_RT",
    ],
    &["CC_OPTIMIZE_FOR_PERFORMANCE", "CC_OPTIMIZE_FOR_SIZE"],
    &["UNWINDER_ORC", "UNWINDER_FRAME_POINTER"],
    &[
        "INIT_STACK_NONE",
        "INIT_STACK_ALL_ZERO",
        "INIT_STACK_ALL_PATTERN",
    ],
];

/// Drawn for each configuration.
pub const LOCAL: &[Choice] = &[
    ("VIRTIO_UML", "yyn"),
    ("VIRTIO_PCI", "yymn"),
    ("VIRTIO_PCI_LEGACY", "yn"),
    ("VIRTIO_MMIO", "ymn"),
    ("VIRTIO_MMIO_CMDLINE_DEVICES", "yn"),
    ("VIRTIO_BALLOON", "ymn"),
    ("INPUT", "ymn"),
    ("VIRTIO_INPUT", "ymn"),
    ("VIRTIO_CONSOLE", "ymn"),
    ("VIRTIO_BLK", "ymn"),
    ("VIRTIO_BLK_RUST", "yymmn"),
    ("BLK_DEV_RUST_NULL", "nnym"),
    ("CONFIGFS_FS", "ymn"),
    ("VIRTIO_NET", "ymn"),
    ("VIRTIO_RTC", "ymn"),
    ("VIRTIO_DEBUG", "yn"),
    ("VIRTIO_SIM", "yyyn"),
    ("VIRTIO_RUST_KUNIT_TEST", "yymn"),
    ("VIRTIO_COST", "mmn"),
    ("VIRTIO_SIM_DISK", "yyyn"),
    ("VIRTIO_BLK_COST", "mmn"),
    ("HW_RANDOM", "yyyymn"),
    ("HW_RANDOM_VIRTIO", "ymn"),
    ("HW_RANDOM_VIRTIO_RUST", "yymmn"),
    ("KUNIT", "yyyymn"),
    ("KUNIT_DEBUGFS", "yn"),
    ("KUNIT_ALL_TESTS", "nnnnnnny"),
    ("RUST_KUNIT_TESTS", "nny"),
    ("RUST_KERNEL_DOCTESTS", "nnnnny"),
    ("RUST_BUILD_ASSERT_ALLOW", "nnny"),
    ("RUST_FW_LOADER_ABSTRACTIONS", "nny"),
    ("SAMPLES", "yyyn"),
    ("SAMPLES_RUST", "yyyn"),
    ("SAMPLE_RUST_DRIVER_VIRTIO", "yymmn"),
    ("SAMPLE_RUST_MINIMAL", "ymn"),
    ("SAMPLE_RUST_DRIVER_PLATFORM", "ymn"),
    ("SAMPLE_RUST_DRIVER_FAUX", "ymn"),
    ("SAMPLE_RUST_DRIVER_PCI", "ymn"),
    ("SAMPLE_RUST_DMA", "ymn"),
];
