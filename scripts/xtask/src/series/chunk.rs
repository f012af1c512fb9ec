// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts of a file that come with another patch than the rest of it, found by
//! how they begin.

use std::ops::Range;

/// The lines of the part that begins with `start`: an item or an entry of a
/// list up to its closing bracket, with its attributes; a section of module
/// documentation; a paragraph; an option in a Kconfig file.
pub fn find(lines: &[&str], start: &str) -> Result<Range<usize>, String> {
    let begins = |line: &&str| line.trim_start().starts_with(start);
    let mut found = lines.iter().enumerate().filter(|(_, line)| begins(line));
    let first = match (found.next(), found.next()) {
        (Some((first, _)), None) => first,
        (None, _) => return Err(format!("no line begins with {start:?}")),
        (Some(_), Some(_)) => return Err(format!("more than one line begins with {start:?}")),
    };
    Ok(match start {
        _ if start.starts_with("//! # ") => section(lines, first),
        _ if start.starts_with("config ") => option(lines, first),
        _ => with_gap(lines, attributes(lines, first)..item(lines, first)),
    })
}

/// Without the part, no empty line may follow another, or begin or end a block.
fn with_gap(lines: &[&str], part: Range<usize>) -> Range<usize> {
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    let before = if part.start > 0 {
        line(part.start - 1)
    } else {
        ""
    };
    let after = line(part.end);
    if before.ends_with('{') && after.is_empty() {
        return part.start..part.end + 1;
    }
    let ends = after.is_empty() || after.trim_start().starts_with('}');
    match part.start > 0 && before.is_empty() && ends {
        true => part.start - 1..part.end,
        false => part,
    }
}

/// Up to the next heading, or to the end of the documentation. In an example, a
/// line that begins like a heading is none.
fn section(lines: &[&str], first: usize) -> Range<usize> {
    let mut in_example = false;
    for (index, line) in lines.iter().enumerate().skip(first + 1) {
        in_example ^= line.starts_with("//! ```");
        let is_heading = line.starts_with("//! # ") && !in_example;
        if is_heading || !line.starts_with("//!") {
            return first..index;
        }
    }
    first..lines.len()
}

/// With the empty line before it.
fn option(lines: &[&str], first: usize) -> Range<usize> {
    let rest = &lines[first + 1..];
    let ends = |line: &&str| !line.is_empty() && !line.starts_with(['\t', ' ']);
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    let end = first + 1 + length;
    let gap = |line: usize| lines.get(line).is_some_and(|line| line.is_empty());
    match first > 0 && gap(first - 1) {
        // The one after it belongs to the next option.
        true if gap(end - 1) => first - 1..end - 1,
        true => first - 1..end,
        false => first..end,
    }
}

fn attributes(lines: &[&str], first: usize) -> usize {
    let above = lines[..first].iter().rev();
    first
        - above
            .take_while(|line| {
                let line = line.trim_start();
                line.starts_with("#[") || line.starts_with("///")
            })
            .count()
}

fn item(lines: &[&str], first: usize) -> usize {
    let mut depth = 0_isize;
    for (index, line) in lines.iter().enumerate().skip(first) {
        for c in line.chars() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => (),
            }
        }
        if depth <= 0 {
            return index + 1;
        }
    }
    lines.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, start: &str) -> String {
        let lines: Vec<_> = text.lines().collect();
        lines[find(&lines, start).unwrap()].join("\n")
    }

    #[test]
    fn items_end_with_their_brackets_and_begin_with_their_attributes() {
        let text = "mod a;\n#[cfg(X)]\npub mod b;\n\npub use self::{\n    b::{\n        C, //\n    },\n};\n";
        assert_eq!(found(text, "mod a;"), "mod a;");
        assert_eq!(found(text, "pub mod b;"), "#[cfg(X)]\npub mod b;");
        assert_eq!(found(text, "b::{"), "    b::{\n        C, //\n    },");
    }

    #[test]
    fn documentation_and_a_gap_go_with_an_item() {
        let text = "impl A {\n    fn b() {}\n\n    /// C.\n    #[x]\n    fn c() {\n    }\n}\n\nmod d;\n\nmod e;\n";
        assert_eq!(
            found(text, "fn c()"),
            "\n    /// C.\n    #[x]\n    fn c() {\n    }"
        );
        assert_eq!(found(text, "mod d;"), "\nmod d;");
        assert_eq!(found(text, "fn b()"), "    fn b() {}\n");
    }

    #[test]
    fn sections_end_at_the_next_heading() {
        let text = "//! A.\n//!\n//! # B\n//!\n//! b\n//!\n//! # C\n//! c\n\nmod a;\n";
        assert_eq!(found(text, "//! # B"), "//! # B\n//!\n//! b\n//!");
        assert_eq!(found(text, "//! # C"), "//! # C\n//! c");
        let text = "//! # A\n//! ```\n//! # Ok::<(), Error>(())\n//! ```\n//! # B\n";
        assert_eq!(found(text, "//! # A").lines().count(), 4);
    }

    #[test]
    fn options_take_one_empty_line_with_them() {
        let text = "# x\n\nconfig A\n\tbool\n\n\tdepends on B\n\nconfig C\n\ttristate\n";
        assert_eq!(found(text, "config C"), "\nconfig C\n\ttristate");
        assert_eq!(
            found(text, "config A"),
            "\nconfig A\n\tbool\n\n\tdepends on B"
        );
    }

    #[test]
    fn a_part_must_be_there_once() {
        assert!(find(&["a", "a"], "a").is_err());
        assert!(find(&["a"], "b").is_err());
    }
}
