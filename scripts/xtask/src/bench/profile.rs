// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which function executes how many instructions for one operation: what QEMU counted
//! of a guest that did many, less what it counted of one that did few.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context as _, Result};
use protocol::Event;
use serde::Serialize;

use crate::build::Kernel;
use crate::command::Command;
use crate::context::Context;
use crate::doctor::Toolchain;
use crate::guest::liar;
use crate::report;

/// How many crates cargo compiles for the plugin, for the time left.
const CRATES: u64 = 10;
/// Rows of a table.
const TOP: usize = 25;
/// Of a function's name there.
const LONGEST: usize = 90;

const VMLINUX: &str = "vmlinux";
const UNKNOWN: &str = "?";

/// What comes in front of the place of a section, see the guest's scenario.
const PLACE: &str = "module-at ";

/// Builds the plugin that counts.
pub fn plugin(ctx: &Context) -> Result<PathBuf> {
    let target = liar::release(ctx, "profiler", "profile", CRATES)
        .context("the plugin for PROFILE=1 takes rustc 1.88, and QEMU 10, or later")?;
    Ok(target.join("libprofile.so"))
}

/// How often each instruction was executed, by its address.
#[derive(Debug, Default, PartialEq)]
pub struct Counts(BTreeMap<u64, u64>);

impl Counts {
    /// What the plugin wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        Self::parse(&fs::read_to_string(path).with_context(name)?).with_context(name)
    }

    fn parse(text: &str) -> Result<Self> {
        let parse = |line: &str| {
            let (address, count) = line.split_once(' ')?;
            Some((hex(address)?, count.parse().ok()?))
        };
        let parse = |line| parse(line).with_context(|| format!("{line:?} is no count"));
        text.lines().map(parse).collect::<Result<_>>().map(Self)
    }
}

/// Where a section of a module was.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    module: String,
    section: String,
    address: u64,
}

/// The places that a guest told, by the lines of its console. Those of two guests that
/// are compared have to be the same.
pub fn places(lines: &[String]) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for line in lines {
        let Some(Ok(Event::Note { text })) = protocol::decode(line) else {
            continue;
        };
        if let Some(told) = text.strip_prefix(PLACE) {
            places.push(place(told).with_context(|| format!("{told:?} is no place"))?);
        }
    }
    match places.is_empty() {
        true => bail!("the guest did not say where its modules were"),
        false => Ok(places),
    }
}

fn place(told: &str) -> Option<Place> {
    let mut words = told.split_whitespace().map(str::to_owned);
    Some(Place {
        module: words.next()?,
        section: words.next()?,
        address: hex(&words.next()?)?,
    })
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// What a function is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The module of the driver; in Rust, with what is generic in the abstractions.
    Driver,
    /// What the kernel has for drivers in Rust.
    Abstractions,
    /// The kernel's code for virtqueues.
    Virtio,
    /// The block layer.
    Block,
    /// The simulated device, and the module that uses it.
    Device,
    /// The rest of the kernel.
    Rest,
}

impl Group {
    const ALL: [Self; 6] = [
        Self::Driver,
        Self::Abstractions,
        Self::Virtio,
        Self::Block,
        Self::Device,
        Self::Rest,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Abstractions => "Rust abstractions",
            Self::Virtio => "virtio core",
            Self::Block => "block layer",
            Self::Device => "device and benchmark",
            Self::Rest => "rest of the kernel",
        }
    }
}

/// The objects in a build directory that make up a group.
const OBJECTS: [(Group, &str); 5] = [
    (Group::Abstractions, "rust/kernel.o"),
    (Group::Abstractions, "rust/core.o"),
    (Group::Abstractions, "rust/helpers/helpers.o"),
    (Group::Block, "block/built-in.a"),
    (Group::Virtio, "drivers/virtio/built-in.a"),
];
/// These are in the last of them, too.
const SIMULATED: [&str; 2] = ["virtio_sim", "vsim_"];

#[derive(Debug)]
struct Function {
    name: String,
    module: String,
    group: Group,
    end: u64,
}

/// The functions of a kernel and of its modules, by their addresses.
#[derive(Debug, Default)]
pub struct Symbols(BTreeMap<u64, Function>);

impl Symbols {
    /// Those of a guest with its modules at `places`, one of which is the driver.
    pub fn read(
        tools: &Toolchain,
        kernel: &Kernel,
        driver: &str,
        places: &[Place],
    ) -> Result<Self> {
        let mut groups = BTreeMap::new();
        for (group, object) in OBJECTS {
            add_names(
                &mut groups,
                group,
                &nm(tools, &kernel.build_dir.join(object))?,
            );
        }
        let mut symbols = Self::default();
        symbols.add_kernel(&nm(tools, &kernel.build_dir.join(VMLINUX))?, &groups);
        for module in &kernel.modules {
            let name = module_name(module);
            if places.iter().any(|place| place.module == name) {
                symbols.add_module(&nm(tools, module)?, &name, driver, places);
            }
        }
        Ok(symbols)
    }

    fn add_kernel(&mut self, said: &str, groups: &BTreeMap<String, Group>) {
        for symbol in functions(said) {
            let group = groups.get(symbol.name).copied().unwrap_or(Group::Rest);
            self.add(&symbol, symbol.value, VMLINUX, group);
        }
    }

    fn add_module(&mut self, said: &str, module: &str, driver: &str, places: &[Place]) {
        let group = match module == driver {
            true => Group::Driver,
            false => Group::Device,
        };
        for symbol in functions(said) {
            let is_there =
                |place: &&Place| place.module == module && place.section == symbol.section;
            if let Some(place) = places.iter().find(is_there) {
                self.add(&symbol, place.address + symbol.value, module, group);
            }
        }
    }

    fn add(&mut self, symbol: &Symbol, start: u64, module: &str, group: Group) {
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name));
        // Of several names of a function, the shortest is the usual one.
        let is_better = |known: &Function| (name.len(), &name) < (known.name.len(), &known.name);
        if self.0.get(&start).is_none_or(is_better) {
            let function = Function {
                name,
                module: module.to_owned(),
                group,
                end: start + symbol.size,
            };
            self.0.insert(start, function);
        }
    }

    fn at(&self, address: u64) -> Option<&Function> {
        let (_, function) = self.0.range(..=address).next_back()?;
        (address < function.end).then_some(function)
    }
}

/// The kernel knows a module by underscores, whatever its file is called.
fn module_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.replace('-', "_")
}

fn nm(tools: &Toolchain, file: &Path) -> Result<String> {
    Command::new(tools.llvm_program("llvm-nm"))
        .arg("--format=sysv")
        .arg(file)
        .envs(&tools.envs)
        .output()
}

/// A function, as `llvm-nm` shows it.
#[derive(Debug, PartialEq)]
struct Symbol<'a> {
    name: &'a str,
    value: u64,
    size: u64,
    section: &'a str,
}

/// Labels within functions, and around them, have no size.
fn functions(said: &str) -> impl Iterator<Item = Symbol<'_>> {
    said.lines()
        .filter_map(symbol)
        .filter(|symbol| symbol.size > 0)
}

/// `name|value|class|type|size|line|section`
fn symbol(line: &str) -> Option<Symbol<'_>> {
    let mut fields = line.split('|').map(str::trim);
    let (name, value, class) = (fields.next()?, fields.next()?, fields.next()?);
    let (_type, size) = (fields.next()?, fields.next()?);
    let (_line, section) = (fields.next()?, fields.next()?);
    let is_code = matches!(class, "t" | "T" | "w" | "W");
    is_code.then_some(Symbol {
        name,
        value: hex(value)?,
        size: hex(size)?,
        section,
    })
}

fn add_names(groups: &mut BTreeMap<String, Group>, group: Group, said: &str) {
    for symbol in functions(said) {
        let is_simulated = SIMULATED
            .iter()
            .any(|prefix| symbol.name.starts_with(prefix));
        let group = match group {
            Group::Virtio if is_simulated => Group::Device,
            group => group,
        };
        groups.insert(symbol.name.to_owned(), group);
    }
}

/// What a function does for one operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub symbol: String,
    /// Or `vmlinux`.
    pub module: String,
    pub group: Group,
    pub instructions: f64,
}

/// Compares two guests, the second of which did so many operations more, and is the
/// same otherwise. What takes most comes first.
pub fn of(before: &Counts, after: &Counts, operations: u64, symbols: &Symbols) -> Vec<Line> {
    let mut sums: BTreeMap<(&str, &str, Group), i128> = BTreeMap::new();
    for (counts, sign) in [(before, -1), (after, 1)] {
        for (address, count) in &counts.0 {
            let key = match symbols.at(*address) {
                Some(function) => (&*function.name, &*function.module, function.group),
                None => (UNKNOWN, UNKNOWN, Group::Rest),
            };
            *sums.entry(key).or_default() += sign * i128::from(*count);
        }
    }
    let mut lines: Vec<_> = sums
        .into_iter()
        .filter(|(_, sum)| *sum != 0)
        .map(|((symbol, module, group), sum)| Line {
            symbol: symbol.to_owned(),
            module: module.to_owned(),
            group,
            instructions: sum as f64 / operations as f64,
        })
        .collect();
    lines.sort_by(|a, b| b.instructions.total_cmp(&a.instructions));
    lines
}

/// The driver in C and the one in Rust at the same work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Such as `blk.read`.
    pub of: String,
    pub c: Vec<Line>,
    pub rust: Vec<Line>,
}

/// What both do in a function.
type Both = [f64; 2];

impl Profile {
    /// By groups, and the functions that take most.
    pub fn table(&self) -> String {
        let by_group = self.both(|line| line.group);
        let all = self.both(|_| ());
        let mut groups = vec![heading(&["instructions for one operation"])];
        for group in Group::ALL {
            let both = by_group.get(&group).copied().unwrap_or_default();
            groups.push(row(&[group.name()], both));
        }
        groups.push(row(&["all"], all.get(&()).copied().unwrap_or_default()));

        let mut lines = vec![heading(&["function", "in"])];
        for ((symbol, module), both) in self.top() {
            lines.push(row(&[&short(symbol), module], both));
        }
        let (of, groups, lines) = (&self.of, report::table(&groups), report::table(&lines));
        format!("{of}\n\n{groups}\n{lines}")
    }

    fn top(&self) -> Vec<((&str, &str), Both)> {
        let both = self.both(|line| (&*line.symbol, &*line.module));
        let mut rows: Vec<_> = both.into_iter().collect();
        let most = |both: &Both| both[0].max(both[1]);
        rows.sort_by(|(_, a), (_, b)| most(b).total_cmp(&most(a)));
        rows.truncate(TOP);
        rows
    }

    /// Sums of what has a key in common.
    fn both<'a, K: Ord>(&'a self, key: impl Fn(&'a Line) -> K) -> BTreeMap<K, Both> {
        let mut sums: BTreeMap<K, Both> = BTreeMap::new();
        for (side, lines) in [&self.c, &self.rust].into_iter().enumerate() {
            for line in lines {
                sums.entry(key(line)).or_default()[side] += line.instructions;
            }
        }
        sums
    }
}

fn heading(first: &[&str]) -> Vec<String> {
    let numbers = ["C", "Rust", "Rust - C"].map(|name| format!("{name:>8}"));
    first
        .iter()
        .map(|name| name.to_string())
        .chain(numbers)
        .collect()
}

fn row(first: &[&str], [c, rust]: Both) -> Vec<String> {
    let numbers = [
        format!("{c:8.1}"),
        format!("{rust:8.1}"),
        format!("{:+8.1}", rust - c),
    ];
    first
        .iter()
        .map(|name| name.to_string())
        .chain(numbers)
        .collect()
}

fn short(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VMLINUX_NM: &str = "

Symbols from vmlinux:

Name                  Value   Class        Type         Size             Line  Section

_stext              |ffffffff81000000|   T  |            NOTYPE|0000000000000000|     |.text
__memcpy            |ffffffff81000000|   T  |              FUNC|0000000000000010|     |.text
memcpy              |ffffffff81000000|   W  |              FUNC|0000000000000010|     |.text
label               |ffffffff81000008|   T  |            NOTYPE|0000000000000000|     |.text
vring_interrupt     |ffffffff81000020|   T  |              FUNC|0000000000000004|     |.text
_RNvMs1_NtNtCs1EKtwoKEMO2_6kernel6virtio4ringNtB5_8RawQueue11why_refused|ffffffff81000030|   T  |              FUNC|0000000000000008|     |.text
table               |ffffffff81000040|   R  |            OBJECT|0000000000000008|     |.rodata
";
    const MODULE_NM: &str = "
init_module         |0000000000000000|   T  |              FUNC|0000000000000010|     |.init.text
virtblk_done        |0000000000000010|   t  |              FUNC|0000000000000010|     |.text
";

    fn symbols() -> Symbols {
        let mut groups = BTreeMap::new();
        let object = "vring_interrupt|0|   T  |FUNC|4|     |.text\n\
                      vsim_kick|0|   t  |FUNC|4|     |.text\n";
        add_names(&mut groups, Group::Virtio, object);
        assert_eq!(groups["vsim_kick"], Group::Device);
        let place = place("virtio_blk .text 0xffffffffa0000000").unwrap();
        let mut symbols = Symbols::default();
        symbols.add_kernel(VMLINUX_NM, &groups);
        symbols.add_module(MODULE_NM, "virtio_blk", "virtio_blk", &[place]);
        symbols
    }

    fn line(symbol: &str, module: &str, group: Group, instructions: f64) -> Line {
        Line {
            symbol: symbol.into(),
            module: module.into(),
            group,
            instructions,
        }
    }

    #[test]
    fn addresses_have_names() {
        let symbols = symbols();
        let name = |address| symbols.at(address).map(|function| &*function.name);
        assert_eq!(name(0xffff_ffff_8100_000f), Some("memcpy"));
        assert_eq!(name(0xffff_ffff_8100_0010), None);
        let refused = "<kernel::virtio::ring::RawQueue>::why_refused";
        assert_eq!(name(0xffff_ffff_8100_0030), Some(refused));
        assert_eq!(name(0xffff_ffff_8100_0040), None);
        assert_eq!(name(0xffff_ffff_a000_0010), Some("virtblk_done"));
        // Its first section is not known.
        assert_eq!(name(0xffff_ffff_a000_0000), None);
    }

    #[test]
    fn what_the_boot_does_is_no_part_of_an_operation() {
        let before = "ffffffff81000000 500\nffffffff81000020 30\nffffffffa0000010 30\n";
        let after = "ffffffff81000000 500\nffffffff81000020 60\nffffffff81000021 20\n\
                     ffffffffa0000010 40\nffffffffa0000011 10\nffffffffc0000000 10\n";
        let (before, after) = (Counts::parse(before), Counts::parse(after));
        let lines = of(&before.unwrap(), &after.unwrap(), 100, &symbols());
        assert_eq!(
            lines,
            [
                line("vring_interrupt", VMLINUX, Group::Virtio, 0.5),
                line("virtblk_done", "virtio_blk", Group::Driver, 0.2),
                line(UNKNOWN, UNKNOWN, Group::Rest, 0.1),
            ]
        );
        assert!(Counts::parse("ffffffff81000000").is_err());
    }

    #[test]
    fn a_guest_tells_places() {
        let note = |text: &str| protocol::encode(&Event::Note { text: text.into() });
        let told = note("module-at virtio_blk .text 0xffffffffa0000000");
        let lines = ["reboot: machine restart".into(), note("else"), told];
        let place = Place {
            module: "virtio_blk".into(),
            section: ".text".into(),
            address: 0xffff_ffff_a000_0000,
        };
        assert_eq!(places(&lines).unwrap(), [place]);
        assert!(places(&lines[..2]).is_err());
        assert!(places(&[note("module-at virtio_blk")]).is_err());
    }

    #[test]
    fn both_side_by_side() {
        let done = line("virtblk_done", "virtio_blk", Group::Driver, 20.0);
        let pop = line("pop", "virtio_blk_rust", Group::Driver, 15.5);
        let memcpy = |instructions| line("memcpy", VMLINUX, Group::Rest, instructions);
        let profile = Profile {
            of: "blk.read".into(),
            c: vec![done, memcpy(10.0)],
            rust: vec![pop, memcpy(12.0)],
        };
        let table = profile.table();
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = table.lines().map(squeezed).collect();
        assert!(lines.contains(&"driver 20.0 15.5 -4.5".into()), "{table}");
        assert!(lines.contains(&"all 30.0 27.5 -2.5".into()), "{table}");
        assert_eq!(
            lines[lines.len() - 3..],
            [
                "virtblk_done virtio_blk 20.0 0.0 -20.0",
                "pop virtio_blk_rust 0.0 15.5 +15.5",
                "memcpy vmlinux 10.0 12.0 +2.0",
            ]
        );
        assert!(short(&"x".repeat(LONGEST + 1)).ends_with("x…"));
    }
}
