// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long requests take: most of them, and the slowest.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use plotters::prelude::*;
use protocol::bench::{Shape, Side};

use super::pen::{self, Area, Place, Point, GRID, LABEL, NOTE, SOFT};
use super::scale::Scale;
use super::{by_machine, unique, words, Body, Picture, MARGIN};
use crate::bench::figures::{Figures, Row};

/// What a unit of latency starts with; its percentile follows.
const UNIT: &str = "us p";
/// As many kinds of requests are read at a glance.
const MOST: usize = 16;
const LINE: i32 = 17;
/// Between two kinds of requests.
const SPACE: i32 = 9;
const TOP: i32 = 22;
const LEFT: i32 = 240;
const RIGHT: i32 = 590;
const NUMBERS: i32 = 606;
/// Below the lines: ticks, what they are, and the legend.
const FOOT: i32 = 78;

/// One kind of requests.
struct Group {
    label: String,
    /// The value of each percentile, in their order.
    sides: BTreeMap<Side, Vec<Option<f64>>>,
}

struct Panel {
    /// Such as `99.9`, the lowest first.
    percentiles: Vec<String>,
    groups: Vec<Group>,
    x: Scale,
}

pub(super) fn pictures(figures: &Figures) -> Vec<Picture> {
    let machines = by_machine(figures, is_latency).into_iter();
    machines
        .map(|(machine, rows)| picture(figures, machine, &rows))
        .collect()
}

pub(super) fn is_latency(row: &Row) -> bool {
    percentile(row).is_some() && !row.sides.is_empty()
}

fn percentile(row: &Row) -> Option<f64> {
    row.unit.strip_prefix(UNIT)?.parse().ok()
}

fn picture(figures: &Figures, machine: &str, rows: &[&Row]) -> Picture {
    let mut percentiles: Vec<_> = rows.iter().filter_map(|row| percentile(row)).collect();
    percentiles.sort_by(f64::total_cmp);
    percentiles.dedup();
    let kinds = unique(rows.iter().map(|row| (row.of.as_str(), row.shape)));
    let mut notes =
        vec!["Of each repeat the percentiles, of all repeats the medians of these.".to_owned()];
    if kinds.len() > MOST {
        notes.push(format!("{MOST} of {} kinds of requests.", kinds.len()));
    }
    let kinds = kinds.into_iter().take(MOST);
    let groups: Vec<_> = kinds.map(|kind| group(rows, kind, &percentiles)).collect();
    if groups
        .iter()
        .any(|group| group.sides.contains_key(&Side::Scrub))
    {
        notes.push(words::SCRUB.into());
    }
    let values = groups.iter().flat_map(|group| group.sides.values());
    let panel = Panel {
        x: Scale::log(values.flatten().copied().flatten()),
        percentiles: percentiles.iter().map(f64::to_string).collect(),
        groups,
    };
    let title = format!("Latency on {machine}");
    Picture::new(figures, rows, title, &notes, panel)
}

fn group(rows: &[&Row], (of, shape): (&str, Shape), percentiles: &[f64]) -> Group {
    let rows = rows.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.of == of && row.shape == shape)
        .collect();
    let sides: BTreeSet<_> = rows.iter().flat_map(|row| row.sides.keys()).collect();
    let value = |side: &Side, wanted: f64| {
        let mut rows = rows.iter().filter(|row| percentile(row) == Some(wanted));
        rows.find_map(|row| row.sides.get(side)).map(|of| of.median)
    };
    let values = |side: &Side| percentiles.iter().map(|of| value(side, *of)).collect();
    Group {
        label: format!("{of} {}", words::shape(&shape)),
        sides: sides
            .into_iter()
            .map(|side| (*side, values(side)))
            .collect(),
    }
}

impl Group {
    fn height(&self) -> i32 {
        LINE * self.sides.len() as i32 + SPACE
    }
}

impl Panel {
    fn bottom(&self) -> i32 {
        TOP + self.groups.iter().map(Group::height).sum::<i32>()
    }

    fn x(&self, value: f64) -> i32 {
        self.x.pixel(value, LEFT, RIGHT)
    }

    fn axis(&self, area: &Area) -> Result<()> {
        let bottom = self.bottom();
        for tick in &self.x.ticks {
            let x = self.x(*tick);
            pen::line(area, vec![(x, TOP), (x, bottom)], GRID, 1)?;
            pen::text(
                area,
                (x, bottom + 10),
                Place::Middle,
                NOTE,
                &words::tick(*tick),
            )?;
        }
        let middle = (LEFT + RIGHT) / 2;
        let name = "µs from the request to its end, less is better";
        pen::text(area, (middle, bottom + 28), Place::Middle, LABEL, name)?;
        let columns = self.names().join(" / ");
        pen::text(area, (NUMBERS, TOP / 2), Place::Right, NOTE, &columns)
    }

    fn names(&self) -> Vec<String> {
        let percentiles = self.percentiles.iter();
        percentiles
            .map(|percentile| format!("p{percentile}"))
            .collect()
    }

    fn group(&self, area: &Area, top: i32, group: &Group) -> Result<()> {
        let middle = top + (group.height() - SPACE) / 2;
        pen::text(area, (MARGIN, middle), Place::Right, LABEL, &group.label)?;
        for (index, (side, values)) in (0..).zip(&group.sides) {
            let y = top + LINE * index + LINE / 2;
            pen::text(area, (LEFT - 8, y), Place::Left, NOTE, words::side(*side))?;
            self.line(area, y, *side, values)?;
        }
        let end = top + group.height() - SPACE / 2;
        pen::line(area, vec![(MARGIN, end), (RIGHT, end)], GRID, 1)
    }

    fn line(&self, area: &Area, y: i32, side: Side, values: &[Option<f64>]) -> Result<()> {
        let color = pen::color(side);
        let xs = values.iter().flatten().map(|value| (self.x(*value), y));
        pen::line(area, xs.collect(), color, 2)?;
        for (index, value) in values.iter().enumerate() {
            if let Some(value) = value {
                mark(area, index, (self.x(*value), y), color)?;
            }
        }
        let numbers = values.iter().map(|value| match value {
            Some(value) => words::number(*value),
            None => "–".into(),
        });
        let numbers = numbers.collect::<Vec<_>>().join(" / ");
        pen::text(area, (NUMBERS, y), Place::Right, LABEL, &numbers)
    }

    fn legend(&self, area: &Area) -> Result<()> {
        let y = self.bottom() + 56;
        let mut x = LEFT;
        for (index, name) in self.names().iter().enumerate() {
            mark(area, index, (x, y), SOFT)?;
            pen::text(area, (x + 10, y), Place::Right, LABEL, name)?;
            x += 70;
        }
        let sides: BTreeSet<_> = self.groups.iter().flat_map(|g| g.sides.keys()).collect();
        for side in sides {
            pen::line(area, vec![(x, y), (x + 18, y)], pen::color(*side), 3)?;
            pen::text(area, (x + 24, y), Place::Right, LABEL, words::side(*side))?;
            x += 70;
        }
        Ok(())
    }
}

/// The sign of a percentile: the first ones differ, the others are all alike.
fn mark(area: &Area, index: usize, at: Point, color: RGBColor) -> Result<()> {
    match index {
        0 => area.draw(&Circle::new(at, 5, color.filled()))?,
        1 => {
            area.draw(&Circle::new(at, 5, WHITE.filled()))?;
            area.draw(&Circle::new(at, 5, color.stroke_width(2)))?;
        }
        _ => {
            let (x, y) = at;
            pen::line(area, vec![(x, y - 6), (x, y + 6)], color, 3)?;
        }
    }
    Ok(())
}

impl Body for Panel {
    fn height(&self) -> i32 {
        self.bottom() + FOOT
    }

    fn draw(&self, area: &Area) -> Result<()> {
        self.axis(area)?;
        let mut top = TOP;
        for group in &self.groups {
            self.group(area, top, group)?;
            top += group.height();
        }
        self.legend(area)
    }
}
