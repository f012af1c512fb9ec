// SPDX-License-Identifier: MIT OR Apache-2.0

//! The configuration: tinyconfig, the fragments of this checkout on top, and a
//! check that every line of them came through. Kconfig drops what it cannot
//! satisfy without a word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::kbuild::Kbuild;
use crate::bail_help;
use crate::doctor::Toolchain;
use crate::stamp::Fingerprint;
use crate::ui::Stage;

/// Names the fragments and the tools.
pub fn inputs(kbuild: &Kbuild, toolchain: &Toolchain) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    fingerprint
        .add(&toolchain.llvm)
        .add(&toolchain.llvm_version)
        .add(&toolchain.rustc_version)
        .add(&toolchain.bindgen_version);
    for fragment in &kbuild.fragments {
        fingerprint.add(read(fragment)?);
    }
    Ok(fingerprint.finish())
}

/// Names all of the work tree that a configuration is made from.
pub fn kconfig(kbuild: &Kbuild) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    for entry in WalkDir::new(&kbuild.tree).sort_by_file_name() {
        let entry = entry.with_context(|| kbuild.tree.display().to_string())?;
        if entry.file_type().is_file() && is_kconfig(&entry.file_name().to_string_lossy()) {
            let path = entry.path();
            fingerprint
                .add(path.as_os_str().as_encoded_bytes())
                .add(fs::read(path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(fingerprint.finish())
}

fn is_kconfig(name: &str) -> bool {
    name.starts_with("Kconfig") || name == "tiny-base.config" || name == "tiny.config"
}

/// Makes `.config` anew.
pub fn make(kbuild: &Kbuild, stage: &Stage) -> Result<()> {
    stage.message("configuring");
    merge(kbuild)?;
    verify(kbuild, &kbuild.fragments)
}

/// Makes `.config` anew, of as much of the fragments as Kconfig lets through.
pub fn merge(kbuild: &Kbuild) -> Result<()> {
    let log = |step: &str| kbuild.log.with_extension(format!("{step}.log"));
    let make = |target| kbuild.make(&[target]).log(log(target)).run();
    make("tinyconfig")?;
    kbuild
        .script("scripts/kconfig/merge_config.sh")
        .args(["-m", "-O"])
        .arg(&kbuild.dir)
        .arg(kbuild.dir.join(".config"))
        .args(&kbuild.fragments)
        .log(log("merge_config"))
        .run()?;
    make("olddefconfig")
}

/// Fails unless all of `fragments` came through.
pub fn verify(kbuild: &Kbuild, fragments: &[PathBuf]) -> Result<()> {
    let mut wanted = Options::new();
    for fragment in fragments {
        wanted.extend(parse(&read(fragment)?));
    }
    let lost = lost(&wanted, &options(kbuild)?);
    if lost.is_empty() {
        return Ok(());
    }
    bail_help!(
        format!(
            "the kernel {} cannot be configured as scripts/config asks:\n{}",
            kbuild.variant.name(),
            lost.join("\n")
        ),
        "look in the Kconfig files for what these options depend on, and add that to the fragment"
    )
}

/// What `.config` says.
pub fn options(kbuild: &Kbuild) -> Result<Options> {
    Ok(parse(&read(&kbuild.dir.join(".config"))?))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Options and their values; `n` for one that is not set.
pub type Options = BTreeMap<String, String>;

pub fn parse(text: &str) -> Options {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.trim_end();
    let unset = line
        .strip_prefix("# ")
        .and_then(|rest| rest.strip_suffix(" is not set"));
    let (name, value) = match unset {
        Some(name) => (name, "n"),
        None => line.split_once('=')?,
    };
    let known = name.starts_with("CONFIG_");
    known.then(|| (name.to_owned(), value.to_owned()))
}

/// One line for each option that is not what it should be.
pub fn lost(wanted: &Options, found: &Options) -> Vec<String> {
    wanted
        .iter()
        .filter_map(|(name, value)| {
            let is = found.get(name).map_or("n", String::as_str);
            (is != value).then(|| format!("  {name}: wanted {value}, is {is}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_say_no_are_the_same() {
        let text = "# A comment = not an option\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=n\n\
                    CONFIG_D=\"fd:0,fd:1\"\n";
        let options = parse(text);
        let value = |name: &str| options.get(name).map(String::as_str);
        assert_eq!(options.len(), 4);
        assert_eq!(value("CONFIG_B"), Some("n"));
        assert_eq!(value("CONFIG_C"), Some("n"));
        assert_eq!(value("CONFIG_D"), Some("\"fd:0,fd:1\""));
    }

    #[test]
    fn what_was_lost_is_named_and_what_is_absent_is_off() {
        let wanted = parse("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=n\n");
        let found = parse("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_D is not set\n");
        assert_eq!(lost(&wanted, &found), ["  CONFIG_B: wanted m, is y"]);
    }

    #[test]
    fn a_later_fragment_overrides_an_earlier_one() {
        let mut wanted = parse("CONFIG_A=y\n");
        wanted.extend(parse("# CONFIG_A is not set\n"));
        assert!(lost(&wanted, &Options::new()).is_empty());
    }
}
