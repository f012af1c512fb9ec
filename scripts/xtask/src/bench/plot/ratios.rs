// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rust by C of many rows below each other, with the bar that each has to meet.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use anyhow::Result;
use plotters::prelude::*;
use protocol::stats::Summary;

use super::pen::{
    self, Area, Place, Point, BAD, GOOD, GRID, INK, LABEL, MISSED, NOTE, SOFT, STRONG,
};
use super::scale::Scale;
use super::{latency, unique, words, Body, Picture, COST, MARGIN};
use crate::bench::figures::{Better, Figures, Row};

/// As many rows are read at a glance.
const MOST: usize = 24;
const LINE: i32 = 19;
/// Where the axis is, and what is beside it.
const LEFT: i32 = 310;
const RIGHT: i32 = 560;
const RATIO: i32 = 622;
const BAR: i32 = 636;
/// Between two words of the legend.
const STEP: i32 = 112;
/// A ratio that is not among these is on another plot, or the others would be a heap at 1.
const NEAR: RangeInclusive<f64> = 0.5..=2.0;
/// Below the lines: ticks, what they are, and the legend.
const FOOT: i32 = 74;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// Measured only.
    NoBar,
}

pub fn verdict(row: &Row) -> Verdict {
    match row.bar {
        _ if !row.ok => Verdict::Missed,
        Some(_) => Verdict::Met,
        None => Verdict::NoBar,
    }
}

enum Line {
    Heading(String),
    Ratio {
        label: String,
        ratio: Summary,
        bar: Option<String>,
        verdict: Verdict,
    },
}

struct Panel {
    better: Better,
    lines: Vec<Line>,
    scale: Scale,
}

pub(super) fn pictures(figures: &Figures) -> Vec<Picture> {
    let picture = |(better, title, near)| picture(figures, better, title, near);
    [
        (Better::Less, "Rust by C, where less is better", true),
        (Better::More, "Rust by C, where more is better", true),
        (
            Better::Less,
            "Rust by C, where less is better: far from 1",
            false,
        ),
        (
            Better::More,
            "Rust by C, where more is better: far from 1",
            false,
        ),
    ]
    .into_iter()
    .filter_map(picture)
    .collect()
}

fn picture(figures: &Figures, better: Better, title: &str, near: bool) -> Option<Picture> {
    let rows = figures.rows.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.better == better && row.ratio.is_some() && is_near(row) == near)
        .collect();
    let chosen = choose(&rows);
    if chosen.is_empty() {
        return None;
    }
    let reach = chosen.iter().flat_map(|row| reach(row));
    let panel = Panel {
        better,
        scale: match near {
            true => Scale::around_one(reach),
            false => Scale::log(reach.chain([1.0])),
        },
        lines: lines(&chosen),
    };
    let notes = notes(&chosen, rows.len());
    Some(Picture::new(figures, &chosen, title.into(), &notes, panel))
}

fn is_near(row: &Row) -> bool {
    reach(row).iter().all(|value| NEAR.contains(value))
}

fn notes(chosen: &[&Row], of: usize) -> Vec<String> {
    let mut notes = vec![format!(
        "Points are medians, measured {}; whiskers reach from the smallest to the largest.",
        words::times(chosen.iter().copied())
    )];
    if chosen.len() < of {
        notes.push(format!(
            "{} of {of} comparisons; bench.html has all.",
            chosen.len()
        ));
    }
    let bars = chosen.iter().filter_map(|row| row.bar.as_deref());
    for more in unique(bars.map(|bar| parts(bar).1)) {
        if !more.is_empty() {
            notes.push(format!("* {more}."));
        }
    }
    if chosen.iter().any(|row| words::scrubs(row)) {
        notes.push(words::SCRUB.into());
    }
    notes
}

/// What was missed, what has a bar, one of each other kind, the others: as many as fit.
fn choose<'a>(rows: &[&'a Row]) -> Vec<&'a Row> {
    let mut kinds = BTreeSet::new();
    let mut firsts = BTreeSet::new();
    for (index, row) in with_bars_first(rows) {
        if kinds.insert((&row.of, &row.machine, &row.unit)) {
            firsts.insert(index);
        }
    }
    let rank = |index: usize| match verdict(rows[index]) {
        Verdict::Missed => 0,
        Verdict::Met => 1,
        // These have plots of their own.
        Verdict::NoBar if latency::is_latency(rows[index]) => 5,
        Verdict::NoBar if firsts.contains(&index) => 2,
        Verdict::NoBar if rows[index].unit == COST => 4,
        Verdict::NoBar => 3,
    };
    let mut order: Vec<_> = (0..rows.len()).filter(|index| rank(*index) < 4).collect();
    order.sort_by_key(|index| rank(*index));
    order.truncate(MOST);
    order.sort_unstable();
    order.into_iter().map(|index| rows[index]).collect()
}

fn with_bars_first<'a>(rows: &[&'a Row]) -> Vec<(usize, &'a Row)> {
    let mut rows: Vec<_> = rows.iter().copied().enumerate().collect();
    rows.sort_by_key(|(_, row)| row.bar.is_none());
    rows
}

/// The rows, each under a heading that says what they have in common.
fn lines(rows: &[&Row]) -> Vec<Line> {
    let kind = |row: &Row| {
        let by = match words::scrubs(row) {
            true => ", Scrub by Rust",
            false => "",
        };
        format!("{}: {}{by}", row.machine, words::unit(&row.unit))
    };
    let mut lines = Vec::new();
    for heading in unique(rows.iter().map(|row| kind(row))) {
        let of_kind = rows.iter().filter(|row| kind(row) == heading);
        let of_kind: Vec<_> = of_kind.filter_map(|row| line(row)).collect();
        lines.push(Line::Heading(heading));
        lines.extend(of_kind);
    }
    lines
}

fn line(row: &Row) -> Option<Line> {
    Some(Line::Ratio {
        label: words::what(row),
        ratio: row.ratio?,
        bar: row.bar.clone(),
        verdict: verdict(row),
    })
}

/// What the axis has to reach.
fn reach(row: &Row) -> Vec<f64> {
    let ratio = row.ratio.iter();
    let ratio = ratio.flat_map(|ratio| [ratio.min, ratio.median, ratio.max]);
    ratio.chain(row.bar.as_deref().and_then(limit)).collect()
}

/// The number of a bar such as `<= 0.98`.
fn limit(bar: &str) -> Option<f64> {
    bar.split_whitespace().find_map(|word| word.parse().ok())
}

/// `>= 1`, and what follows the number, such as `in a quarter of the turns`.
fn parts(bar: &str) -> (&str, &str) {
    let number = bar
        .split_whitespace()
        .find(|word| word.parse::<f64>().is_ok());
    let Some(number) = number else {
        return (bar, "");
    };
    let end = bar
        .find(number)
        .map_or(bar.len(), |start| start + number.len());
    (&bar[..end], bar[end..].trim_start())
}

impl Body for Panel {
    fn height(&self) -> i32 {
        LINE * (1 + self.lines.len() as i32) + FOOT
    }

    fn draw(&self, area: &Area) -> Result<()> {
        self.axis(area)?;
        pen::text(area, (RATIO, LINE / 2), Place::Left, NOTE, "median")?;
        pen::text(area, (BAR, LINE / 2), Place::Right, NOTE, "bar")?;
        for (index, line) in (1..).zip(&self.lines) {
            let y = LINE * index + LINE / 2;
            match line {
                Line::Heading(text) => {
                    pen::text(area, (MARGIN, y), Place::Right, STRONG, text)?;
                }
                Line::Ratio {
                    label,
                    ratio,
                    bar,
                    verdict,
                } => {
                    pen::text(area, (MARGIN + 10, y), Place::Right, LABEL, label)?;
                    self.bar(area, y, bar.as_deref(), *verdict)?;
                    self.ratio(area, y, ratio, *verdict)?;
                }
            }
        }
        self.legend(area)
    }
}

impl Panel {
    fn x(&self, ratio: f64) -> i32 {
        self.scale.pixel(ratio, LEFT, RIGHT)
    }

    fn bottom(&self) -> i32 {
        LINE * (1 + self.lines.len() as i32) + 4
    }

    fn axis(&self, area: &Area) -> Result<()> {
        let bottom = self.bottom();
        for tick in &self.scale.ticks {
            let x = self.x(*tick);
            pen::line(area, vec![(x, LINE), (x, bottom)], GRID, 1)?;
            pen::text(
                area,
                (x, bottom + 10),
                Place::Middle,
                NOTE,
                &words::tick(*tick),
            )?;
        }
        let one = self.x(1.0);
        pen::line(area, vec![(one, LINE), (one, bottom)], SOFT, 2)?;
        let meaning = match self.better {
            Better::Less => "Rust by C: left of 1, Rust needs less",
            Better::More => "Rust by C: right of 1, Rust does more",
        };
        let middle = (LEFT + RIGHT) / 2;
        pen::text(area, (middle, bottom + 28), Place::Middle, LABEL, meaning)
    }

    fn ratio(&self, area: &Area, y: i32, ratio: &Summary, verdict: Verdict) -> Result<()> {
        let (min, max) = (self.x(ratio.min), self.x(ratio.max));
        pen::line(area, vec![(min, y), (max, y)], INK, 1)?;
        for end in [min, max] {
            pen::line(area, vec![(end, y - 3), (end, y + 3)], INK, 1)?;
        }
        mark(area, verdict, (self.x(ratio.median), y))?;
        let text = words::number(ratio.median);
        pen::text(area, (RATIO, y), Place::Left, LABEL, &text)
    }

    fn bar(&self, area: &Area, y: i32, bar: Option<&str>, verdict: Verdict) -> Result<()> {
        if let Some(limit) = bar.and_then(limit) {
            let x = self.x(limit);
            pen::line(area, vec![(x, y - 8), (x, y + 8)], INK, 3)?;
        }
        let (bar, more) = parts(bar.unwrap_or_default());
        let star = if more.is_empty() { "" } else { "*" };
        let (font, end) = match verdict {
            Verdict::Missed => (MISSED, " missed"),
            _ => (LABEL, ""),
        };
        let text = format!("{bar}{star}{end}");
        pen::text(area, (BAR, y), Place::Right, font, text.trim_start())
    }

    fn legend(&self, area: &Area) -> Result<()> {
        let y = self.bottom() + 54;
        let signs = [
            (Verdict::Met, "meets its bar"),
            (Verdict::Missed, "misses it"),
            (Verdict::NoBar, "has none"),
        ];
        for (x, (verdict, name)) in (LEFT..).step_by(STEP as usize).zip(signs) {
            mark(area, verdict, (x, y))?;
            pen::text(area, (x + 10, y), Place::Right, LABEL, name)?;
        }
        let x = LEFT + 3 * STEP;
        pen::line(area, vec![(x, y - 8), (x, y + 8)], INK, 3)?;
        pen::text(area, (x + 8, y), Place::Right, LABEL, "the bar")
    }
}

fn mark(area: &Area, verdict: Verdict, at: Point) -> Result<()> {
    match verdict {
        Verdict::Met => area.draw(&Circle::new(at, 5, GOOD.filled()))?,
        Verdict::Missed => area.draw(&Cross::new(at, 5, BAD.stroke_width(3)))?,
        Verdict::NoBar => {
            area.draw(&Circle::new(at, 4, WHITE.filled()))?;
            area.draw(&Circle::new(at, 4, SOFT.stroke_width(2)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_read() {
        for (bar, wanted) in [
            ("<= 0.98", (Some(0.98), ("<= 0.98", ""))),
            (
                ">= 1.00 in 3 of 4 turns",
                (Some(1.0), (">= 1.00", "in 3 of 4 turns")),
            ),
            ("none", (None, ("none", ""))),
            ("", (None, ("", ""))),
        ] {
            assert_eq!((limit(bar), parts(bar)), wanted);
        }
    }
}
