// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a request costs as one thing about its shape grows, with the numbers
//! below the lines.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use protocol::bench::{Shape, Side};
use protocol::stats::Summary;

use super::pen::{self, Area, Frame, Place, LABEL, NOTE, SOFT};
use super::scale::Scale;
use super::{unique, words, Body, Picture, COST, COSTS, MARGIN};
use crate::bench::figures::{Figures, Row};

const FRAME: Frame = Frame::new(6, 260);
/// Below the axis: the ticks and what they are.
const TICKS: i32 = 44;
const LINE: i32 = 18;
/// Numbers that are nearer than that would overlap.
const APART: i32 = 40;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Depth,
    Size,
    Queues,
    Devices,
}

impl Axis {
    const ALL: [Self; 4] = [Self::Depth, Self::Size, Self::Queues, Self::Devices];

    const fn name(self) -> &'static str {
        match self {
            Self::Depth => "queue depth",
            Self::Size => "request size",
            Self::Queues => "number of queues",
            Self::Devices => "number of devices",
        }
    }

    fn field(self, shape: &mut Shape) -> &mut u32 {
        match self {
            Self::Depth => &mut shape.depth,
            Self::Size => &mut shape.size,
            Self::Queues => &mut shape.queues,
            Self::Devices => &mut shape.devices,
        }
    }

    fn value(self, shape: &Shape) -> u32 {
        *self.field(&mut shape.clone())
    }

    /// What stays as it is.
    fn rest(self, shape: &Shape) -> Shape {
        let mut rest = *shape;
        *self.field(&mut rest) = 0;
        rest
    }

    fn tick(self, value: u32) -> String {
        match self {
            Self::Size => words::bytes(value),
            _ => value.to_string(),
        }
    }
}

struct Panel {
    axis: Axis,
    /// In the order of the axis.
    points: Vec<u32>,
    sides: BTreeMap<Side, Vec<(u32, Summary)>>,
    x: Scale,
    y: Scale,
}

pub(super) fn pictures(figures: &Figures) -> Vec<Picture> {
    let rows = figures.rows.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.unit == COST && row.of.ends_with(".read"))
        .collect();
    let kind = |row: &Row| (row.of.clone(), row.machine.clone());
    let mut pictures = Vec::new();
    for wanted in unique(rows.iter().map(|row| kind(row))) {
        let rows = rows.iter().copied();
        let rows: Vec<_> = rows.filter(|row| kind(row) == wanted).collect();
        for axis in Axis::ALL {
            let curves = curves(&rows, axis);
            pictures.extend(curves.iter().map(|rows| picture(figures, rows, axis)));
        }
    }
    pictures
}

/// The rows that differ in this axis only, where that shows how it goes on: not of a
/// few points beside a curve of many.
fn curves<'a>(rows: &[&'a Row], axis: Axis) -> Vec<Vec<&'a Row>> {
    let mut curves: BTreeMap<Shape, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| axis.value(&row.shape) > 0) {
        curves.entry(axis.rest(&row.shape)).or_default().push(row);
    }
    let points = |curve: &[&Row]| {
        let values = curve.iter().map(|row| axis.value(&row.shape));
        values.collect::<BTreeSet<_>>().len()
    };
    let most = curves
        .values()
        .map(|curve| points(curve))
        .max()
        .unwrap_or(0);
    let curves = curves.into_values();
    curves
        .filter(|curve| points(curve) > 1 && points(curve) * 3 > most * 2)
        .collect()
}

fn picture(figures: &Figures, rows: &[&Row], axis: Axis) -> Picture {
    let panel = Panel::new(rows, axis);
    let (of, shape) = rows.first().map_or(("", Shape::single(0)), |row| {
        (row.of.as_str(), axis.rest(&row.shape))
    });
    let what = format!("{of} {}", words::shape(&shape));
    let title = format!("{}: {COST} per request by {}", what.trim_end(), axis.name());
    let mut notes = vec![fixed(axis, &shape)];
    for (side, meaning) in [(Side::Scrub, words::SCRUB), (Side::Empty, words::EMPTY)] {
        if panel.sides.contains_key(&side) {
            notes.push(meaning.into());
        }
    }
    Picture::new(figures, rows, title, &notes, panel)
}

/// The rest of the shape, with what is single.
fn fixed(axis: Axis, shape: &Shape) -> String {
    let count = |count: u32, of: &str| match count {
        1 => format!("1 {of}"),
        _ => format!("{count} {of}s"),
    };
    let parts = Axis::ALL.into_iter().filter(|part| *part != axis);
    let parts = parts.map(|part| match part {
        Axis::Depth => format!("depth {}", shape.depth),
        Axis::Size => words::bytes(shape.size),
        Axis::Queues => count(shape.queues, "queue"),
        Axis::Devices => count(shape.devices, "device"),
    });
    format!("Each at {}.", parts.collect::<Vec<_>>().join(", "))
}

impl Panel {
    fn new(rows: &[&Row], axis: Axis) -> Self {
        let mut sides: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in rows {
            for (side, summary) in &row.sides {
                let point = (axis.value(&row.shape), *summary);
                sides.entry(*side).or_default().push(point);
            }
        }
        for points in sides.values_mut() {
            points.sort_by_key(|(value, _)| *value);
        }
        let points: BTreeSet<_> = rows.iter().map(|row| axis.value(&row.shape)).collect();
        let points: Vec<_> = points.into_iter().collect();
        let values = sides.values().flatten();
        let values = values.flat_map(|(_, summary)| [summary.min, summary.max]);
        let y = match axis {
            Axis::Size => Scale::log(values),
            _ => Scale::from_zero(values),
        };
        Self {
            axis,
            x: Scale::at(&points),
            points,
            y,
            sides,
        }
    }

    fn x(&self, value: u32) -> i32 {
        self.x.pixel(f64::from(value), FRAME.left, FRAME.right)
    }

    fn y(&self, value: f64) -> i32 {
        FRAME.y(&self.y, value)
    }

    fn grid(&self, area: &Area) -> Result<()> {
        FRAME.draw(area, &self.y, COSTS)?;
        for value in self.with_numbers() {
            let x = self.x(value);
            pen::line(
                area,
                vec![(x, FRAME.bottom), (x, FRAME.bottom + 4)],
                SOFT,
                1,
            )?;
            let tick = self.axis.tick(value);
            pen::text(area, (x, FRAME.bottom + 13), Place::Middle, NOTE, &tick)?;
        }
        let middle = FRAME.middle();
        pen::text(
            area,
            (middle, FRAME.bottom + 31),
            Place::Middle,
            LABEL,
            self.axis.name(),
        )
    }

    /// The points that have room for numbers.
    fn with_numbers(&self) -> Vec<u32> {
        let mut shown: Vec<u32> = Vec::new();
        for value in &self.points {
            let last = shown.last().map(|last| self.x(*last));
            if last.is_none_or(|last| self.x(*value) - last >= APART) {
                shown.push(*value);
            }
        }
        shown
    }

    fn curve(&self, area: &Area, side: Side, points: &[(u32, Summary)]) -> Result<()> {
        let color = pen::color(side);
        let medians = points.iter();
        let medians: Vec<_> = medians
            .map(|(value, summary)| (self.x(*value), self.y(summary.median)))
            .collect();
        pen::line(area, medians.clone(), color, 2)?;
        for (value, summary) in points {
            let x = self.x(*value);
            let ends = vec![(x, self.y(summary.min)), (x, self.y(summary.max))];
            pen::line(area, ends, color, 1)?;
        }
        for at in medians {
            pen::marker(area, side, at)?;
        }
        Ok(())
    }

    /// The numbers of a side, in a line.
    fn numbers(&self, area: &Area, y: i32, side: Side, points: &[(u32, Summary)]) -> Result<()> {
        pen::marker(area, side, (MARGIN + 5, y))?;
        let name = words::side(side);
        pen::text(area, (MARGIN + 16, y), Place::Right, LABEL, name)?;
        let shown = self.with_numbers();
        for (value, summary) in points.iter().filter(|(value, _)| shown.contains(value)) {
            let number = words::number(summary.median);
            pen::text(area, (self.x(*value), y), Place::Middle, LABEL, &number)?;
        }
        Ok(())
    }
}

impl Body for Panel {
    fn height(&self) -> i32 {
        FRAME.bottom + TICKS + LINE * self.sides.len() as i32 + MARGIN
    }

    fn draw(&self, area: &Area) -> Result<()> {
        self.grid(area)?;
        for (side, points) in self.sides.iter().rev() {
            self.curve(area, *side, points)?;
        }
        for (index, (side, points)) in (0..).zip(&self.sides) {
            let y = FRAME.bottom + TICKS + LINE * index + LINE / 2;
            self.numbers(area, y, *side, points)?;
        }
        Ok(())
    }
}
