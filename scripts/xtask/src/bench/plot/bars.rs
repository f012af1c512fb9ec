// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much of what a request costs is the driver's own.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::prelude::*;
use protocol::bench::{Shape, Side};

use super::pen::{self, Area, Frame, Place, INSIDE, LABEL, STRONG};
use super::scale::Scale;
use super::{by_machine, words, Body, Picture, COST, COSTS};
use crate::bench::figures::{Figures, Row};

/// What is measured of a request, and what that is called.
const PARTS: [(&str, &str); 3] = [
    ("blk.read", "whole request"),
    ("blk.submit", "to submit it"),
    ("blk.complete", "to complete it"),
];
const SIZE: u32 = 4096;
const DEPTHS: [u32; 2] = [1, 32];
const FRAME: Frame = Frame::new(30, 280);
/// Below the axis: whose a bar is, the group, and the legend.
const FOOT: i32 = 76;
/// Of a bar.
const THICK: i32 = 54;
/// Between the middles of two bars.
const STEP: i32 = 66;
/// As high has a part to be for a number in it.
const ROOM: i32 = 16;
/// How much ink the part has that no driver can save.
const PALE: f64 = 0.35;

struct Group {
    name: &'static str,
    values: BTreeMap<Side, f64>,
}

struct Panel {
    groups: Vec<Group>,
    y: Scale,
}

pub(super) fn pictures(figures: &Figures) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for rows in by_machine(figures, is_part).into_values() {
        for depth in DEPTHS {
            let shape = Shape {
                depth,
                ..Shape::single(SIZE)
            };
            let rows = rows.iter().copied().filter(|row| row.shape == shape);
            pictures.extend(picture(figures, &shape, &rows.collect::<Vec<_>>()));
        }
    }
    pictures
}

fn is_part(row: &Row) -> bool {
    row.unit == COST && PARTS.iter().any(|(of, _)| row.of == *of) && !row.sides.is_empty()
}

fn picture(figures: &Figures, shape: &Shape, rows: &[&Row]) -> Option<Picture> {
    let groups = PARTS.iter().filter_map(|(of, name)| {
        let row = rows.iter().find(|row| row.of == *of)?;
        Some(group(row, name))
    });
    let groups: Vec<_> = groups.collect();
    if groups.is_empty() {
        return None;
    }
    let values = groups.iter().flat_map(|group| group.values.values());
    let panel = Panel {
        y: Scale::from_zero(values.copied()),
        groups,
    };
    let size = words::bytes(shape.size);
    let title = format!(
        "A read of {size} at depth {}: where the {COST} go",
        shape.depth
    );
    let notes = match panel.has_limit() {
        true => vec![words::EMPTY.into()],
        false => Vec::new(),
    };
    Some(Picture::new(figures, rows, title, &notes, panel))
}

fn group(row: &Row, name: &'static str) -> Group {
    let medians = row.sides.iter();
    Group {
        name,
        values: medians.map(|(side, of)| (*side, of.median)).collect(),
    }
}

impl Panel {
    fn has_limit(&self) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.values.contains_key(&Side::Empty))
    }

    fn y(&self, value: f64) -> i32 {
        FRAME.y(&self.y, value)
    }

    /// With its bars around `middle`.
    fn group(&self, area: &Area, middle: i32, group: &Group) -> Result<()> {
        let limit = group.values.get(&Side::Empty).copied();
        let first = middle - STEP * (group.values.len() as i32 - 1) / 2;
        for (index, (side, value)) in (0..).zip(&group.values) {
            self.bar(area, first + STEP * index, *side, *value, limit)?;
        }
        pen::text(
            area,
            (middle, FRAME.bottom + 34),
            Place::Middle,
            STRONG,
            group.name,
        )
    }

    fn bar(&self, area: &Area, x: i32, side: Side, value: f64, limit: Option<f64>) -> Result<()> {
        let color = pen::color(side);
        let (top, left, right) = (self.y(value), x - THICK / 2, x + THICK / 2);
        let own = limit.map_or(FRAME.bottom, |limit| self.y(limit.min(value)));
        pen::block(
            area,
            [(left, own), (right, FRAME.bottom)],
            color.mix(PALE).filled(),
        )?;
        pen::block(area, [(left, top), (right, own)], color.filled())?;
        pen::block(
            area,
            [(left, top), (right, FRAME.bottom)],
            color.stroke_width(1),
        )?;
        if limit.is_some() && own - top > ROOM {
            let adds = format!("+{}", words::number(value - limit.unwrap_or_default()));
            pen::text(area, (x, (top + own) / 2), Place::Middle, INSIDE, &adds)?;
        }
        let number = words::number(value);
        pen::text(area, (x, top - 9), Place::Middle, STRONG, &number)?;
        pen::text(
            area,
            (x, FRAME.bottom + 14),
            Place::Middle,
            LABEL,
            words::side(side),
        )
    }

    fn legend(&self, area: &Area) -> Result<()> {
        let y = FRAME.bottom + FOOT - 18;
        let color = pen::color(Side::Empty);
        let parts = [
            (color.mix(1.0), "what the driver adds"),
            (color.mix(PALE), "what Empty needs too"),
        ];
        for (x, (color, name)) in (FRAME.left..).step_by(190).zip(parts) {
            pen::block(area, [(x, y - 6), (x + 14, y + 6)], color.filled())?;
            pen::text(area, (x + 22, y), Place::Right, LABEL, name)?;
        }
        Ok(())
    }
}

impl Body for Panel {
    fn height(&self) -> i32 {
        FRAME.bottom + FOOT
    }

    fn draw(&self, area: &Area) -> Result<()> {
        FRAME.draw(area, &self.y, COSTS)?;
        let width = (FRAME.right - FRAME.left) / (self.groups.len() as i32).max(1);
        for (index, group) in (0..).zip(&self.groups) {
            self.group(area, FRAME.left + width * index + width / 2, group)?;
        }
        match self.has_limit() {
            true => self.legend(area),
            false => Ok(()),
        }
    }
}
