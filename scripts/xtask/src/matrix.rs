// SPDX-License-Identifier: MIT OR Apache-2.0

//! What takes too long for every run of the tests.

mod arm64;

use std::process;

use anyhow::Result;

use crate::bail_help;
use crate::context::Context;
use crate::report::{table, write_ktap, Counts};

/// The command `matrix`.
pub fn run(ctx: &Context, filter: Option<&str>) -> Result<()> {
    let part = filter.unwrap_or_default();
    let results = arm64::run(ctx, |name| name.contains(part))?;
    if results.is_empty() {
        bail_help!(
            format!("no cell of the matrix has {part:?} in its name"),
            "leave the filter out to see all names"
        );
    }
    write_ktap(&ctx.out.join("matrix.ktap"), &results)?;
    let mut rows = vec![["cell", "verdict", "value", "detail"]
        .map(str::to_owned)
        .to_vec()];
    for entry in &results {
        let verdict = if entry.ok { "passed" } else { "FAILED" };
        rows.push(vec![
            entry.name.clone(),
            verdict.into(),
            format!("{} {}", entry.value, entry.unit),
            entry.detail.clone(),
        ]);
    }
    ctx.ui.print(&table(&rows));
    let counts = Counts::of(&results);
    ctx.ui.print(&counts.to_string());
    if counts.failed > 0 {
        process::exit(1);
    }
    Ok(())
}
