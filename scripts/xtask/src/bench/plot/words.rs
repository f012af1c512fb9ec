// SPDX-License-Identifier: MIT OR Apache-2.0

//! Numbers, shapes and sides as a reader wants them.

use protocol::bench::{Shape, Side};

use crate::bench::figures::Row;

/// Three digits that count, and a letter for the thousands.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let (value, letter) = thousands(value);
    let decimals = match value.abs() {
        whole if letter.is_empty() && whole.fract() == 0.0 => 0,
        small if small < 0.009_995 => 5,
        small if small < 0.09995 => 4,
        small if small < 0.9995 => 3,
        small if small < 9.995 => 2,
        small if small < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{letter}")
}

/// The same without zeros that say nothing, for an axis.
pub fn tick(value: f64) -> String {
    let text = number(value);
    let (digits, letter) = match text.find(|char: char| char.is_ascii_alphabetic()) {
        Some(end) => text.split_at(end),
        None => (text.as_str(), ""),
    };
    match digits.contains('.') {
        true => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}{letter}")
        }
        false => text,
    }
}

fn thousands(value: f64) -> (f64, &'static str) {
    let mut value = value;
    for letter in ["", "k", "M"] {
        if value.abs() < 999.5 {
            return (value, letter);
        }
        value /= 1e3;
    }
    (value, "G")
}

pub fn bytes(bytes: u32) -> String {
    match bytes {
        _ if bytes != 0 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        _ if bytes != 0 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// What is not single: `4 KiB, depth 32, 2 queues`.
pub fn shape(shape: &Shape) -> String {
    let mut parts = Vec::new();
    if shape.size > 0 {
        parts.push(bytes(shape.size));
    }
    if shape.depth > 1 {
        parts.push(format!("depth {}", shape.depth));
    }
    if shape.queues > 1 {
        parts.push(format!("{} queues", shape.queues));
    }
    if shape.devices > 1 {
        parts.push(format!("{} devices", shape.devices));
    }
    parts.join(", ")
}

/// What was done, and how: `blk.read 4 KiB, depth 32`.
pub fn what(row: &Row) -> String {
    let what = format!("{} {}", row.of, shape(&row.shape));
    what.trim_end().to_owned()
}

/// Whether its ratio is that of scrubbing.
pub fn scrubs(row: &Row) -> bool {
    row.sides.contains_key(&Side::Scrub) && !row.sides.contains_key(&Side::C)
}

pub fn unit(unit: &str) -> String {
    match unit.strip_prefix("us") {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => format!("µs{rest}"),
        _ => unit.to_owned(),
    }
}

pub const fn side(side: Side) -> &'static str {
    match side {
        Side::C => "C",
        Side::Rust => "Rust",
        Side::Scrub => "Scrub",
        Side::Empty => "Empty",
    }
}

/// Who is not known by the name alone.
pub const SCRUB: &str = "Scrub: the driver in Rust, which clears the memory of reads.";
pub const EMPTY: &str =
    "Empty: a driver in C that does only what the virtqueue asks for, request by request.";

/// The lines of a text, none longer than `most` characters unless a word is.
pub fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How often each side of these was measured.
pub fn times<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> String {
    let turns = rows.map(|row| row.turns);
    let (least, most) = (turns.clone().min(), turns.max());
    match (least.unwrap_or(0), most.unwrap_or(0)) {
        (1, 1) => "once".into(),
        (least, most) if least == most => format!("{most} times"),
        (least, most) => format!("{least} to {most} times"),
    }
}

/// A name for what is called so, as links want it.
pub fn slug<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let words = texts.flat_map(|text| text.split(|char: char| !char.is_ascii_alphanumeric()));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [0.0, 0.00831, 0.0221, 0.98, 1.0, 1.0237, 12.34, 123.4, 256.0];
        assert_eq!(
            numbers.map(number),
            ["0", "0.00831", "0.0221", "0.980", "1", "1.02", "12.3", "123", "256"]
        );
        let large = [999.7, 1000.0, 12_345.0, 999_999.0, 2.5e6, 3e10];
        assert_eq!(
            large.map(number),
            ["1.00k", "1.00k", "12.3k", "1.00M", "2.50M", "30.0G"]
        );
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!(
            [0.0, 0.95, 1.0, 200.0, 2e4, 1.5e6].map(tick),
            ["0", "0.95", "1", "200", "20k", "1.5M"]
        );
    }

    #[test]
    fn sizes_are_in_binary_units() {
        assert_eq!(
            [0, 512, 1024, 1536, 65536, 1 << 20].map(bytes),
            ["0 B", "512 B", "1 KiB", "1536 B", "64 KiB", "1 MiB"]
        );
    }

    #[test]
    fn shapes_name_what_is_not_single() {
        let all = Shape {
            depth: 32,
            size: 4096,
            queues: 2,
            devices: 8,
        };
        assert_eq!(shape(&all), "4 KiB, depth 32, 2 queues, 8 devices");
        assert_eq!(shape(&Shape::single(0)), "");
    }

    #[test]
    fn only_microseconds_change_their_name() {
        assert_eq!(
            ["us p99.9", "us", "users", "MB/s"].map(unit),
            ["µs p99.9", "µs", "users", "MB/s"]
        );
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("toolong a", 3), ["toolong", "a"]);
        assert!(wrap("", 3).is_empty());
    }

    #[test]
    fn slugs_are_plain() {
        assert_eq!(
            slug(["blk.read: by <depth>", "4 KiB"].into_iter()),
            "blk-read-by-depth-4-kib"
        );
    }
}
