// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cases: what the device does, and what must come of it. They are in
//! `cases.toml`; a case more is an entry more.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{ensure, Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::lie::{Lie, Rule};
use crate::model::Device;
use crate::server::Bits;
use crate::teller::Told;

const KNOWN: &str = include_str!("../cases.toml");

/// What came of a run, from what is good to what is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nobody noticed anything.
    Clean,
    /// Some requests failed, others did not, before and after.
    RequestError,
    /// The device was not bound.
    ProbeError,
    /// From some request on, all failed.
    Broken,
    /// The reader got what nobody sent, and nothing said so.
    Corrupt,
    /// What the reader must not see reached it.
    Leak,
    /// It could not be bound again.
    Lost,
    /// Something did not come to its end.
    Hang,
    /// The kernel complained.
    Splat,
    /// The kernel died.
    Crash,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::RequestError => "request error",
            Self::ProbeError => "probe error",
            Self::Broken => "broken",
            Self::Corrupt => "wrong data",
            Self::Leak => "leak",
            Self::Lost => "lost",
            Self::Hang => "hang",
            Self::Splat => "splat",
            Self::Crash => "crash",
        }
    }
}

/// What the guest does meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Reads, and writes where that can be.
    #[default]
    Io,
    /// A reader waits and is killed.
    Kill,
    /// A reader waits, and the device is unbound.
    Unbind,
    /// A reader waits, and all devices are suspended.
    Suspend,
    /// What chance chooses, for as long as `chance` says.
    Fuzz,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Kill => "kill",
            Self::Unbind => "unbind",
            Self::Suspend => "suspend",
            Self::Fuzz => "fuzz",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    Split,
    Packed,
}

impl Layout {
    pub const ALL: [Self; 2] = [Self::Split, Self::Packed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Packed => "packed",
        }
    }
}

/// What the device is reached through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    Uml,
    Qemu,
}

/// Numbers of feature bits that a device has, or has not, by way of exception.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BitLists {
    pub add: Vec<u8>,
    pub remove: Vec<u8>,
}

impl BitLists {
    pub fn as_bits(&self) -> Bits {
        let mask = |list: &[u8]| list.iter().fold(0, |mask, bit| mask | 1_u64 << bit);
        Bits {
            added: mask(&self.add),
            removed: mask(&self.remove),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum About {
    All(String),
    Each(BTreeMap<Device, String>),
}

/// What the guest's own choices follow from, and for how long it makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    pub seed: u64,
    pub seconds: u64,
    /// On the kernel with all checkers.
    pub checked: bool,
}

/// A case, for one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// What the device does, in words.
    pub lie: String,
    /// The devices that can do it. The first one bears the name of the case, others
    /// have theirs behind it.
    pub devices: Vec<Device>,
    #[serde(default)]
    pub workload: Workload,
    /// None: the device is honest.
    #[serde(default)]
    pub rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "BitLists::is_empty")]
    pub bits: BitLists,
    /// How a driver that does not trust the device may fare.
    pub must: Vec<Outcome>,
    #[serde(default = "all_layouts")]
    pub rings: Vec<Layout>,
    #[serde(default = "uml_only")]
    pub transports: Vec<Transport>,
    /// A parameter of our module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Complaints of the transport that it makes whatever the driver does: what the
    /// first line of such a complaint contains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transport_complains: Vec<String>,
    /// The device reaches memory through bounce buffers only.
    #[serde(default)]
    pub bounced: bool,
    /// What the kernel's log has to say of it with our driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Another kernel than the one with the series: the name of a change to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Why the C driver fares as it does, for who is to repair it: a file in
    /// `analysis/`, or one for each device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about_c: Option<About>,
    /// Of the workload `fuzz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
    /// In the part that runs each time.
    #[serde(default)]
    pub brief: bool,
}

fn all_layouts() -> Vec<Layout> {
    Layout::ALL.to_vec()
}

fn uml_only() -> Vec<Transport> {
    vec![Transport::Uml]
}

impl Case {
    /// The name of the analysis of the C driver.
    pub fn analysis(&self) -> Option<&str> {
        match self.about_c.as_ref()? {
            About::All(name) => Some(name),
            About::Each(names) => names.get(&self.device()).map(String::as_str),
        }
    }

    pub fn device(&self) -> Device {
        self.devices[0]
    }

    /// Whether it runs on a kernel without checkers.
    pub fn is_fast(&self) -> bool {
        self.chance.is_some_and(|chance| !chance.checked)
    }

    /// Whether the device saw what it must not see.
    pub fn was_shown(&self, told: &[Told]) -> bool {
        told.iter().any(|told| told.rule.lie == Lie::Look)
    }

    pub fn is_honest(&self) -> bool {
        self.rules.is_empty() && self.bits.is_empty()
    }

    /// A lie of the case that was not told, if there is one: then the case was not
    /// tried.
    pub fn untold(&self, told: &[Told]) -> Option<String> {
        let is_told = |rule: &&Rule| match &rule.lie {
            Lie::Config(field) => field.values.iter().all(|value| {
                let is_it = |lie: &Lie| {
                    matches!(lie, Lie::Config(told)
                    if told.offset == field.offset && told.values == [*value])
                };
                told.iter().any(|told| is_it(&told.rule.lie))
            }),
            // As many as there were.
            Lie::Reverse(_) => told
                .iter()
                .any(|told| matches!(told.rule.lie, Lie::Reverse(_))),
            lie => told.iter().any(|told| told.rule.lie == *lie),
        };
        // To look is no lie; what is seen is the result.
        let looks = |rule: &&Rule| rule.lie == Lie::Look;
        let mut rules = self.rules.iter().filter(|rule| !looks(rule));
        let untold = rules.find(|rule| !is_told(rule))?;
        Some(format!("{:?}", untold.lie))
    }
}

/// A case that these transports cannot carry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    pub name: String,
    pub why: String,
    /// What tests it instead.
    pub test: String,
}

/// A kernel that differs from the one with the series.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    pub name: String,
    /// What is different, in words.
    pub what: String,
    /// The edit of the series that it lacks.
    pub undo: Option<String>,
    /// What it has on top: a file in `kernels/`.
    pub patch: Option<String>,
    /// If that is a mistake: the cases of which one must show it in our drivers.
    #[serde(default)]
    pub caught_by: Vec<String>,
    /// What is then seen contains this: other trouble is not that mistake.
    pub shows: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Case>,
    #[serde(default)]
    elsewhere: Vec<Elsewhere>,
    #[serde(default)]
    kernel: Vec<Kernel>,
}

/// The cases that are known, each for one device.
pub fn all() -> Result<Vec<Case>> {
    parse(KNOWN).context("cases.toml")
}

/// What this lab cannot do.
pub fn elsewhere() -> Result<Vec<Elsewhere>> {
    let file: File = toml::from_str(KNOWN)?;
    Ok(file.elsewhere)
}

/// The kernels that are known beside the one with the series.
pub fn kernels() -> Result<Vec<Kernel>> {
    let file: File = toml::from_str(KNOWN)?;
    Ok(file.kernel)
}

pub fn read(path: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse(&text).with_context(|| path.display().to_string())
}

/// The text of a file with this one case.
pub fn write(case: &Case) -> Result<String> {
    #[derive(Serialize)]
    struct One<'a> {
        case: [&'a Case; 1],
    }
    Ok(toml::to_string_pretty(&One { case: [case] })?)
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let file: File = toml::from_str(text)?;
    let cases: Vec<_> = file.case.iter().flat_map(for_each_device).collect();
    let mut names = HashSet::new();
    for case in &cases {
        ensure!(names.insert(&case.name), "{} is there twice", case.name);
        ensure!(!case.must.is_empty(), "{} demands nothing", case.name);
    }
    Ok(cases)
}

fn for_each_device(case: &Case) -> Vec<Case> {
    let devices = case.devices.iter().enumerate();
    devices
        .map(|(number, device)| Case {
            name: match number {
                0 => case.name.clone(),
                _ => format!("{}-{}", case.name, device.name()),
            },
            devices: vec![*device],
            ..case.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_cases_are_good() {
        let cases = all().unwrap();
        let named = |name: &str| cases.iter().any(|case| case.name == name);
        assert!(named("honest") && named("honest-blk"));
        assert!(!elsewhere().unwrap().is_empty());
        // Whatever is demanded, it is not that the guest suffers.
        for case in &cases {
            let bad = |outcome: &&Outcome| **outcome > Outcome::Lost;
            assert!(!case.must.iter().any(|must| bad(&must)), "{}", case.name);
        }
    }

    #[test]
    fn kernels_and_cases_know_each_other() {
        let (cases, kernels) = (all().unwrap(), kernels().unwrap());
        for kernel in &kernels {
            assert!(
                kernel.undo.is_some() != kernel.patch.is_some(),
                "{kernel:?}"
            );
            let known = |name: &&String| cases.iter().any(|case| case.name == **name);
            assert!(
                kernel.caught_by.iter().all(|name| known(&name)),
                "{kernel:?}"
            );
        }
        let known = |name: &String| kernels.iter().any(|kernel| kernel.name == *name);
        let named = cases.iter().filter_map(|case| case.kernel.as_ref());
        assert!(named.into_iter().all(known));
    }

    #[test]
    fn analyses_are_there() {
        // Not what was compiled in: that can be another checkout with the same cache.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
        let dir = Path::new(&package).join("analysis");
        for case in all().unwrap() {
            if let Some(name) = case.analysis() {
                assert!(dir.join(format!("{name}.md")).is_file(), "{name}");
            }
        }
    }

    #[test]
    fn a_case_is_the_same_when_it_is_read_back() {
        for case in all().unwrap() {
            let text = write(&case).unwrap();
            assert_eq!(parse(&text).unwrap(), [case], "{text}");
        }
    }

    #[test]
    fn bits_are_numbers() {
        let lists = BitLists {
            add: vec![1, 34],
            remove: vec![28],
        };
        let bits = lists.as_bits();
        assert_eq!(bits.added, 1 << 34 | 2);
        assert_eq!(bits.removed, 1 << 28);
    }
}
