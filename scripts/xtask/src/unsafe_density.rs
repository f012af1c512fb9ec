// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much `unsafe` the abstraction holds, beside others of its kind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::assemble::{self, our_files};
use crate::context::Context;
use crate::doctor::{self, Need};
use crate::report::table;
use crate::source;

/// Of other subsystems, of about the same age.
const PEERS: &[&str] = &["rust/kernel/i2c.rs", "rust/kernel/pwm.rs"];

/// The places where a reviewer has to look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    pub blocks: usize,
    pub impls: usize,
    pub functions: usize,
    /// All but empty ones: comments and documentation count.
    pub lines: usize,
}

impl Count {
    pub fn of(text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
        let mut count = Self {
            lines: text.lines().filter(|line| !line.trim().is_empty()).count(),
            ..Self::default()
        };
        let mut pending = vec![tokens];
        while let Some(stream) = pending.pop() {
            let tokens: Vec<_> = stream.into_iter().collect();
            for (index, token) in tokens.iter().enumerate() {
                match token {
                    TokenTree::Group(group) => pending.push(group.stream()),
                    token if is_word(token, "unsafe") => count.opens(&tokens[index + 1..]),
                    _ => (),
                }
            }
        }
        Ok(count)
    }

    /// Counts what an `unsafe` opens. A trait only says what others must hold,
    /// and the type of a function pointer does nothing.
    fn opens(&mut self, after: &[TokenTree]) {
        match after.first() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                self.blocks += 1;
            }
            Some(token) if is_word(token, "impl") => self.impls += 1,
            _ => {
                // `extern "C"` may stand between.
                let mut rest = after
                    .iter()
                    .take(4)
                    .skip_while(|token| !is_word(token, "fn"));
                let named = matches!(rest.nth(1), Some(TokenTree::Ident(_)));
                self.functions += usize::from(named);
            }
        }
    }

    pub fn total(&self) -> usize {
        self.blocks + self.impls + self.functions
    }

    /// For each thousand lines.
    pub fn density(&self) -> f64 {
        1000.0 * self.total() as f64 / self.lines.max(1) as f64
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            blocks: a.blocks + b.blocks,
            impls: a.impls + b.impls,
            functions: a.functions + b.functions,
            lines: a.lines + b.lines,
        })
    }
}

pub type Counts = Vec<(PathBuf, Count)>;

/// The files of the abstraction.
pub fn of_ours(repo: &Path) -> Result<Counts> {
    let is_abstraction = |path: &PathBuf| {
        path.starts_with("rust/kernel") && path.extension().is_some_and(|ext| ext == "rs")
    };
    let files = our_files(repo)?.into_iter().filter(is_abstraction);
    files.map(|path| count(repo, path)).collect()
}

/// Those to compare with, from the work tree.
pub fn of_peers(tree: &Path) -> Result<Counts> {
    let files = PEERS.iter().map(PathBuf::from);
    files.map(|path| count(tree, path)).collect()
}

fn count(top: &Path, path: PathBuf) -> Result<(PathBuf, Count)> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(top.join(&path)).with_context(name)?;
    let count = Count::of(&text).with_context(name)?;
    Ok((path, count))
}

/// The command `unsafe`.
pub fn run(ctx: &Context) -> Result<()> {
    doctor::ensure(ctx, &[Need::Source])?;
    let source = source::ensure(ctx)?;
    let tree = assemble::ensure(ctx, &source)?;
    let rows = rows(&of_ours(&ctx.repo)?, &of_peers(&tree.dir)?);
    ctx.ui.print(&table(&rows));
    Ok(())
}

fn rows(ours: &Counts, peers: &Counts) -> Vec<Vec<String>> {
    let heading = [
        "file",
        "blocks",
        "impls",
        "functions",
        "lines",
        "per 1000 lines",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let sum = (
        PathBuf::from("all of these"),
        ours.iter().map(|(_, count)| *count).sum(),
    );
    for (path, count) in ours.iter().chain([&sum]).chain(peers) {
        rows.push(vec![
            path.display().to_string(),
            count.blocks.to_string(),
            count.impls.to_string(),
            count.functions.to_string(),
            count.lines.to_string(),
            format!("{:.1}", count.density()),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
//! Not unsafe.

unsafe impl Send for A {}
unsafe trait T {}
type F = unsafe extern "C" fn(u8);
type G = unsafe fn(u8);
#[unsafe(no_mangle)]
unsafe extern "C" fn f() {}
pub unsafe fn g() { unsafe { h() } }
macro_rules! m { () => { unsafe { g() } }; }
"#;

    #[test]
    fn what_opens_something_is_counted() {
        let expected = Count {
            blocks: 2,
            impls: 1,
            functions: 2,
            lines: 9,
        };
        let count = Count::of(TEXT).unwrap();
        assert_eq!(count, expected);
        assert_eq!(count.total(), 5);
        assert_eq!(count.density().round(), 556.0);
    }

    #[test]
    fn ours_are_summed_up() {
        let count = Count::of(TEXT).unwrap();
        let ours = vec![("a.rs".into(), count), ("b.rs".into(), count)];
        let rows = rows(&ours, &vec![("i2c.rs".into(), Count::default())]);
        assert_eq!(rows[3][..5], ["all of these", "4", "2", "4", "18"]);
        assert_eq!(rows[4][5], "0.0");
    }
}
