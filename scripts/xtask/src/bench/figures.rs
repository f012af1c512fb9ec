// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was measured, ready to be shown: a row for each thing that was done,
//! with a summary for each side that did it.

use std::collections::BTreeMap;

use protocol::bench::{Shape, Side};
use protocol::stats::Summary;
use serde::{Deserialize, Serialize};

/// Which value is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    Less,
    More,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Such as `blk.read`: the subject, and what was done.
    pub of: String,
    /// Where: `counted` (QEMU, which counts instructions), `qemu` or `uml`.
    pub machine: String,
    /// Such as `instructions`, `requests/s`, `us p99`.
    pub unit: String,
    pub better: Better,
    pub shape: Shape,
    /// How often each side was measured.
    pub turns: usize,
    /// Median, smallest and largest of the turns.
    pub sides: BTreeMap<Side, Summary>,
    /// Rust by C, pair by pair; with scrubbing by without where C does not scrub.
    pub ratio: Option<Summary>,
    /// What the median of the ratio has to be, such as `<= 0.98`.
    pub bar: Option<String>,
    pub ok: bool,
}

/// All rows, and what they are of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The release of the kernel.
    pub kernel: String,
    pub date: String,
    /// Names the work tree.
    pub tree: String,
    /// The nature of each machine that measured, in words, by the names that rows have.
    pub machines: BTreeMap<String, String>,
    pub rows: Vec<Row>,
}
