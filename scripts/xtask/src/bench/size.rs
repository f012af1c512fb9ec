// SPDX-License-Identifier: MIT OR Apache-2.0

//! How large the modules of the drivers are, without the tests that the kernels
//! of this project have in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context as _, Result};
use protocol::bench::{Sample, Shape, Side};
use tempfile::TempDir;

use crate::build::Kernel;
use crate::command::Command;
use crate::doctor::Toolchain;
use crate::stamp;

/// What drivers are told of the configuration, in a build directory.
const CONFIGURATION: &str = "include/generated/rustc_cfg";
/// Options that bring tests into modules.
const OF_TESTS: [&str; 2] = ["CONFIG_KUNIT", "CONFIG_VIRTIO_SIM"];

/// Subjects, with the modules in C and in Rust.
const MODULES: [(&str, &str, &str); 2] = [
    ("rng", "virtio-rng", "virtio_rng_rust"),
    ("blk", "virtio_blk", "virtio_blk_rust"),
];

/// The sizes of all of them.
pub fn samples(tools: &Toolchain, kernel: &Kernel, subjects: &[&str]) -> Result<Vec<Sample>> {
    let dir = tempfile::tempdir()?;
    let mut samples = Vec::new();
    let wanted = |(subject, ..): &&(&str, _, _)| subjects.contains(subject);
    for (subject, c, rust) in MODULES.iter().filter(wanted) {
        let objects = [
            (Side::C, object(kernel, c)?),
            (Side::Rust, without_tests(tools, kernel, rust, &dir)?),
        ];
        for (side, object) in objects {
            let sizes = sizes(tools, &object)?;
            for (part, bytes) in [("text", sizes.text), ("data", sizes.data)] {
                samples.push(Sample {
                    of: format!("{subject}.{part}"),
                    unit: "bytes".into(),
                    side,
                    shape: Shape::single(0),
                    values: vec![bytes as f64],
                });
            }
        }
    }
    Ok(samples)
}

/// What a module was linked from.
fn object(kernel: &Kernel, module: &str) -> Result<PathBuf> {
    let is = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == module);
    let found = kernel.modules.iter().find(is);
    found
        .map(|path| path.with_extension("o"))
        .ok_or_else(|| anyhow!("there is no module {module}"))
}

/// The same in Rust, compiled once more, as the build did it but for the tests.
fn without_tests(
    tools: &Toolchain,
    kernel: &Kernel,
    module: &str,
    dir: &TempDir,
) -> Result<PathBuf> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let original = object(kernel, module)?;
    let saved = read(&original.with_file_name(format!(".{module}.o.cmd")))?;
    let configuration = read(&kernel.build_dir.join(CONFIGURATION))?;
    let told = dir.path().join("rustc_cfg");
    stamp::write_atomically(&told, strip(&configuration).as_bytes(), 0o644)?;
    let object = dir.path().join(format!("{module}.o"));
    let line = command(&saved, &told, &object)
        .with_context(|| format!("how {} was compiled is not known", original.display()))?;
    Command::new("sh")
        .args(["-c", &line])
        .envs(&tools.envs)
        // As the kernel's Makefile does.
        .env("RUSTC_BOOTSTRAP", "1")
        .dir(&kernel.build_dir)
        .output()?;
    Ok(object)
}

/// The configuration without tests.
fn strip(configuration: &str) -> String {
    let is_of_tests = |line: &&str| OF_TESTS.iter().any(|option| line.contains(option));
    let lines = configuration.lines().filter(|line| !is_of_tests(line));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Of what kbuild kept, `savedcmd_x.o := rustc ... ; objtool ...`, the compiler's
/// part, with another configuration and another object.
fn command(saved: &str, configuration: &Path, object: &Path) -> Option<String> {
    let (_, line) = saved.lines().next()?.split_once(" := ")?;
    let compiler = line.split(" ; ").next()?;
    let word = |word: &str| match word {
        word if word.starts_with('@') && word.ends_with(CONFIGURATION) => {
            Some(format!("@{}", configuration.display()))
        }
        word if word.starts_with("--emit=dep-info") => None,
        word if word.starts_with("--emit=obj") => Some(format!("--emit=obj={}", object.display())),
        word => Some(word.to_owned()),
    };
    let words: Vec<_> = compiler.split_whitespace().filter_map(word).collect();
    words
        .iter()
        .any(|word| word.starts_with("--emit=obj"))
        .then(|| words.join(" "))
}

/// In bytes.
#[derive(Debug, Default, PartialEq)]
struct Sizes {
    /// Code.
    text: u64,
    /// Constants and variables.
    data: u64,
}

fn sizes(tools: &Toolchain, object: &Path) -> Result<Sizes> {
    let program = tools.llvm_program("llvm-size");
    let said = Command::new(&program)
        .args(["-A", "-d"])
        .arg(object)
        .envs(&tools.envs)
        .output()?;
    parse(&said).with_context(|| format!("{program} {}", object.display()))
}

/// `.text    1234    0`: a line for each section.
fn parse(said: &str) -> Result<Sizes> {
    let mut sizes = Sizes::default();
    for line in said.lines() {
        let mut words = line.split_whitespace();
        let (Some(section), Some(size)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(size) = size.parse::<u64>() else {
            continue;
        };
        match section {
            section if is_one_of(section, &[".text", ".init.text", ".exit.text"]) => {
                sizes.text += size;
            }
            section if is_one_of(section, &[".rodata", ".data", ".bss", ".init.data"]) => {
                sizes.data += size;
            }
            _ => (),
        }
    }
    if sizes.text == 0 {
        bail!("no section with code: {said:?}");
    }
    Ok(sizes)
}

/// Functions and data may have sections of their own: `.text.unlikely`.
fn is_one_of(section: &str, names: &[&str]) -> bool {
    let rest = names.iter().filter_map(|name| section.strip_prefix(name));
    rest.into_iter()
        .any(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_called_as_before() {
        let saved = "savedcmd_d/x.o := A=b rustc --cfg MODULE @./include/generated/rustc_cfg \
                     --emit=dep-info=d/.x.o.d --emit=obj=d/x.o /t/x.rs ; ./objtool d/x.o\n\n";
        assert_eq!(
            command(saved, Path::new("/c"), Path::new("/o")).unwrap(),
            "A=b rustc --cfg MODULE @/c --emit=obj=/o /t/x.rs"
        );
        assert_eq!(
            command("savedcmd_x := ld x", Path::new("/c"), Path::new("/o")),
            None
        );
        let stripped = strip("--cfg=CONFIG_KUNIT\n--cfg=CONFIG_PCI\n--cfg=CONFIG_VIRTIO_SIM\n");
        assert_eq!(stripped, "--cfg=CONFIG_PCI\n");
    }

    #[test]
    fn sections_are_summed_up() {
        let said = "virtio_blk.ko  :\nsection  size  addr\n.text  100  0\n.text.unlikely  10  0\n\
                    .init.text  5  0\n.rodata.str1.1  7  0\n.bss  2  0\n.debug_info  999  0\n\
                    Total  1123\n";
        let expected = Sizes { text: 115, data: 9 };
        assert_eq!(parse(said).unwrap(), expected);
        assert!(parse("").is_err());
    }
}
