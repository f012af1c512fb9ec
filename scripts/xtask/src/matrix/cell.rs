// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cells of the matrix, in the order in which they are run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::machine::{self, Machine};
use super::tools::{Set, Tools};
use super::virtio::{self, Virtio};
use super::{arch, random, toolchain, users, Bench};
use crate::build::Variant;
use crate::context::Context;
use crate::report::Entry;

/// One build, and all that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    Toolchain(Set),
    Virtio(Virtio),
    Arch(Variant),
    Machine(Machine),
    Users,
    Random(u64),
}

impl Cell {
    pub fn all() -> Vec<Self> {
        let sets = [Set::Min, Set::Machine, Set::Newer, Set::Gcc];
        let toolchains = sets.into_iter().map(Self::Toolchain);
        let virtio = Virtio::ALL.into_iter().map(Self::Virtio);
        let arch = arch::ALL.into_iter().map(Self::Arch);
        let random = (1..=random::COUNT).map(Self::Random);
        let machines = Machine::ALL.into_iter().map(Self::Machine);
        toolchains
            .chain(virtio)
            .chain(arch)
            .chain(machines)
            .chain([Self::Users])
            .chain(random)
            .collect()
    }

    /// The names of its results.
    pub fn names(self) -> Vec<String> {
        match self {
            Self::Toolchain(set) => toolchain::names(set),
            Self::Virtio(virtio) => vec![virtio.name()],
            Self::Arch(variant) => vec![arch::name(variant)],
            Self::Machine(machine) => machine.names(),
            Self::Users => users::names(),
            Self::Random(number) => vec![format!("matrix.random.{number:02}")],
        }
    }

    pub fn set(self) -> Set {
        match self {
            Self::Toolchain(set) => set,
            Self::Virtio(_) | Self::Arch(_) | Self::Machine(_) | Self::Users | Self::Random(_) => {
                Set::Machine
            }
        }
    }

    /// All that it asks of Kconfig, as text.
    pub fn configuration(self, ctx: &Context) -> Result<String> {
        let files: Vec<PathBuf> = match self {
            Self::Toolchain(_) => toolchain::fragments(ctx),
            Self::Virtio(virtio) => {
                let wishes = virtio::wishes(ctx);
                virtio.fragments(ctx).into_iter().chain([wishes]).collect()
            }
            Self::Arch(variant) => arch::fragments(ctx, variant),
            Self::Machine(machine) => machine.fragments(ctx),
            Self::Users => {
                let wishes = users::wishes(ctx);
                users::fragments(ctx).into_iter().chain([wishes]).collect()
            }
            Self::Random(_) => random::fragments(ctx),
        };
        let mut text = String::new();
        for file in files {
            text += &fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        }
        if let Self::Random(number) = self {
            text += &random::wishes(number);
        }
        Ok(text)
    }

    pub fn run(self, bench: &Bench, tools: &Tools) -> Result<Vec<Entry>> {
        let Bench {
            ctx,
            machine,
            source,
            tree,
            ..
        } = bench;
        let name = &self.names()[0];
        let one = |entry: Entry| vec![entry];
        match self {
            Self::Toolchain(set) => toolchain::run(ctx, machine, tools, tree, set),
            Self::Virtio(virtio) => virtio::run(ctx, tools, tree, virtio).map(one),
            Self::Arch(variant) => arch::run(ctx, tools, tree, variant).map(one),
            Self::Machine(other) => machine::run(ctx, machine, tree, other),
            Self::Users => users::run(ctx, machine, tools, source, tree),
            Self::Random(number) => random::run(ctx, tools, tree, name, number).map(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_results_are_unique() {
        let mut names: Vec<_> = Cell::all().into_iter().flat_map(Cell::names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&"matrix.random.30".to_owned()));
    }
}
