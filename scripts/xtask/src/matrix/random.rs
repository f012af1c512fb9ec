// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random configurations with Rust in them: each must link.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::choices::{Choice, GLOBAL, LOCAL, ONE_OF};
use super::kernel::{self, Built, Recipe};
use super::tools::Tools;
use crate::assemble::Tree;
use crate::build::config;
use crate::build::Variant;
use crate::context::Context;
use crate::report::Entry;
use crate::stamp;

/// How many there are.
pub const COUNT: u64 = 30;
/// How many in a row of one architecture share what reaches every object.
const ROUND: u64 = 5;
/// Those of rounds, which must not be those of configurations.
const ROUND_SEEDS: u64 = 1000;

/// Ours, and what they hang on: told of each configuration.
const TOLD: &[&str] = &[
    "VIRTIO",
    "BLK_DEV",
    "HW_RANDOM",
    "KUNIT",
    "VIRTIO_SIM",
    "VIRTIO_SIM_DISK",
    "VIRTIO_RUST_KUNIT_TEST",
    "VIRTIO_COST",
    "VIRTIO_BLK_COST",
    "HW_RANDOM_VIRTIO_RUST",
    "VIRTIO_BLK_RUST",
    "SAMPLE_RUST_DRIVER_VIRTIO",
];

/// UML and x86-64 by turns.
pub fn variant(number: u64) -> Variant {
    match number % 2 {
        1 => Variant::Uml,
        _ => Variant::X86_64,
    }
}

/// The seeds of what reaches every object, and of the rest.
fn seeds(number: u64) -> (u64, u64) {
    let of_its_kind = (number - 1) / 2;
    let round = of_its_kind / ROUND * 2 + number % 2;
    (ROUND_SEEDS + round, number)
}

/// What configuration `number` asks for.
pub fn wishes(number: u64) -> String {
    let (round, own) = seeds(number);
    let mut options = draw(GLOBAL, &mut Random(round));
    let mut random = Random(round + ROUND_SEEDS);
    for row in ONE_OF {
        let chosen = *random.one_of(row);
        options.extend(
            row.iter()
                .map(|name| (*name, if *name == chosen { 'y' } else { 'n' })),
        );
    }
    options.extend(draw(LOCAL, &mut Random(own)));
    options
        .iter()
        .map(|(name, value)| line(name, *value))
        .collect()
}

fn draw(choices: &'static [Choice], random: &mut Random) -> BTreeMap<&'static str, char> {
    choices
        .iter()
        .map(|(name, values)| (*name, char::from(*random.one_of(values.as_bytes()))))
        .collect()
}

fn line(name: &str, value: char) -> String {
    match value {
        'n' => format!("# CONFIG_{name} is not set\n"),
        _ => format!("CONFIG_{name}={value}\n"),
    }
}

/// SplitMix64: small, and the same for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[(self.next() % all.len() as u64) as usize]
    }
}

/// What every one of them has.
pub fn fragments(ctx: &Context) -> Vec<PathBuf> {
    vec![kernel::fragment(&ctx.repo, "matrix")]
}

pub fn run(ctx: &Context, tools: &Tools, tree: &Tree, name: &str, number: u64) -> Result<Entry> {
    let wishes = wishes(number);
    let file = ctx.cache.join("matrix").join(format!("{number}.config"));
    stamp::write_atomically(&file, wishes.as_bytes(), 0o644)?;
    let variant = variant(number);
    let (round, own) = seeds(number);
    // What a round has in common is built once, and still there when the matrix is run again.
    let dir = format!("{}-{round}", variant.name());
    let recipe = Recipe {
        name,
        variant,
        dir: &dir,
        fragments: &fragments(ctx),
        wishes: &[file],
        boots: false,
        anew: false,
    };
    let what = format!("{}, seeds {round} and {own}", variant.name());
    let entry = Entry::new(name);
    Ok(match kernel::build(ctx, tools, tree, &recipe)? {
        Ok(built) => {
            let detail = format!("{what}; {}; {}", told(&built, &wishes), built.summary());
            entry.pass(built.objects as f64, "objects", detail)
        }
        Err(broken) => {
            let config = keep_config(ctx, &dir, name)?;
            entry
                .fail(format!("{what}: {}; {config}", broken.why))
                .excerpt(broken.excerpt)
        }
    })
}

/// Saves the configuration that failed from the next one; says where.
fn keep_config(ctx: &Context, dir: &str, name: &str) -> Result<String> {
    let config = ctx.cache.join("matrix").join(dir).join(".config");
    let kept = ctx.out.join("logs").join(format!("{name}.config"));
    let text = fs::read(&config).with_context(|| config.display().to_string())?;
    stamp::write_atomically(&kept, &text, 0o644)?;
    let shown = kept.strip_prefix(&ctx.repo).unwrap_or(&kept);
    Ok(format!("configured as {}", shown.display()))
}

fn told(built: &Built, wishes: &str) -> String {
    let wished = config::parse(wishes);
    let refused = config::lost(&wished, &built.options).len();
    let all = wished.len();
    let value = |name: &&str| {
        let value = built.options.get(&format!("CONFIG_{name}"));
        format!("{name}={}", value.map_or("n", String::as_str))
    };
    let values: Vec<_> = TOLD.iter().map(value).collect();
    format!(
        "{} of {all} options as drawn, {}",
        all - refused,
        values.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_asks_for_the_same() {
        assert_eq!(wishes(7), wishes(7));
        assert_ne!(wishes(7), wishes(9));
        assert_eq!(Random(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn rounds_share_a_seed_and_no_two_rounds_do() {
        let round = |number| seeds(number).0;
        assert_eq!(round(1), round(9));
        assert_ne!(round(1), round(11));
        assert_ne!(round(1), round(2));
        let mut rounds: Vec<_> = (1..=COUNT).map(round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        assert_eq!(rounds.len() as u64, COUNT / ROUND);
    }

    #[test]
    fn one_of_each_row_is_on() {
        let asked = config::parse(&wishes(1));
        for row in ONE_OF {
            let on = row
                .iter()
                .filter(|name| asked[&format!("CONFIG_{name}")] == "y");
            assert_eq!(on.count(), 1, "{row:?}");
        }
    }

    #[test]
    fn every_value_is_known() {
        let values = GLOBAL
            .iter()
            .chain(LOCAL)
            .flat_map(|(_, values)| values.chars());
        assert!(values.into_iter().all(|value| "ymn".contains(value)));
    }
}
