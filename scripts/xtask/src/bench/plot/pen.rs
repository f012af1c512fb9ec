// SPDX-License-Identifier: MIT OR Apache-2.0

//! What all plots are drawn with. The colours are those of Okabe and Ito,
//! which differ for all eyes; no meaning is in a colour alone.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use protocol::bench::Side;

use super::scale::Scale;
use super::{words, MARGIN, WIDTH};
use crate::html;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Point = (i32, i32);

pub const INK: RGBColor = RGBColor(28, 30, 33);
pub const SOFT: RGBColor = RGBColor(91, 97, 106);
pub const GRID: RGBColor = RGBColor(225, 228, 232);
pub const GOOD: RGBColor = RGBColor(0, 158, 115);
pub const BAD: RGBColor = RGBColor(178, 24, 43);

/// How text looks: its height in pixels, its weight, its colour.
#[derive(Clone, Copy)]
pub struct Font(f64, FontStyle, RGBColor);

pub const TITLE: Font = Font(17.0, FontStyle::Bold, INK);
pub const NOTE: Font = Font(12.0, FontStyle::Normal, SOFT);
pub const LABEL: Font = Font(12.0, FontStyle::Normal, INK);
pub const STRONG: Font = Font(12.0, FontStyle::Bold, INK);
pub const INSIDE: Font = Font(12.0, FontStyle::Bold, WHITE);
pub const MISSED: Font = Font(12.0, FontStyle::Bold, BAD);

/// Where text is, seen from its point.
#[derive(Clone, Copy)]
pub enum Place {
    /// Below it, to the right.
    Below,
    Right,
    Left,
    Middle,
}

impl Place {
    fn anchor(self) -> Pos {
        match self {
            Self::Below => Pos::new(HPos::Left, VPos::Top),
            Self::Right => Pos::new(HPos::Left, VPos::Center),
            Self::Left => Pos::new(HPos::Right, VPos::Center),
            Self::Middle => Pos::new(HPos::Center, VPos::Center),
        }
    }
}

/// `plotters` divides what it is told of a font by this.
const FONT_SCALE: f64 = 1.24;

pub fn text(area: &Area, at: Point, place: Place, font: Font, text: &str) -> Result<()> {
    let Font(size, weight, color) = font;
    let style = TextStyle::from(("sans-serif", size * FONT_SCALE, weight).into_font())
        .color(&color)
        .pos(place.anchor());
    area.draw_text(&html::printable(text), &style, at)?;
    Ok(())
}

/// Text that reads upwards.
fn upright(area: &Area, at: Point, text: &str) -> Result<()> {
    let Font(size, weight, color) = NOTE;
    let font = ("sans-serif", size * FONT_SCALE, weight).into_font();
    let style = TextStyle::from(font.transform(FontTransform::Rotate270))
        .color(&color)
        .pos(Place::Middle.anchor());
    area.draw_text(&html::printable(text), &style, at)?;
    Ok(())
}

pub fn line(area: &Area, points: Vec<Point>, color: RGBColor, width: u32) -> Result<()> {
    area.draw(&PathElement::new(points, color.stroke_width(width)))?;
    Ok(())
}

pub fn block(area: &Area, corners: [Point; 2], style: impl Into<ShapeStyle>) -> Result<()> {
    area.draw(&Rectangle::new(corners, style))?;
    Ok(())
}

pub const fn color(side: Side) -> RGBColor {
    match side {
        Side::C => RGBColor(0, 114, 178),
        Side::Rust => RGBColor(213, 94, 0),
        Side::Scrub => RGBColor(204, 121, 167),
        Side::Empty => RGBColor(110, 110, 110),
    }
}

/// The sign of a side.
pub fn marker(area: &Area, side: Side, at: Point) -> Result<()> {
    let color = color(side);
    match side {
        Side::C => area.draw(&Circle::new(at, 4, color.filled()))?,
        Side::Rust => area.draw(&TriangleMarker::new(at, 6, color.filled()))?,
        Side::Scrub => diamond(area, at, color)?,
        Side::Empty => {
            let corners = [(at.0 - 4, at.1 - 4), (at.0 + 4, at.1 + 4)];
            block(area, corners, WHITE.filled())?;
            block(area, corners, color.stroke_width(2))?;
        }
    }
    Ok(())
}

fn diamond(area: &Area, (x, y): Point, color: RGBColor) -> Result<()> {
    let points = vec![(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)];
    area.draw(&Polygon::new(points, color))?;
    Ok(())
}

/// What lies in it grows upwards.
pub struct Frame {
    top: i32,
    pub bottom: i32,
    pub left: i32,
    pub right: i32,
}

impl Frame {
    /// As wide as the plot, with room for ticks and a name.
    pub const fn new(top: i32, bottom: i32) -> Self {
        Self {
            top,
            bottom,
            left: 96,
            right: WIDTH as i32 - MARGIN,
        }
    }

    pub fn middle(&self) -> i32 {
        (self.left + self.right) / 2
    }

    pub fn y(&self, scale: &Scale, value: f64) -> i32 {
        scale.pixel(value, self.bottom, self.top)
    }

    /// What is behind the values: the ticks of their axis, and its name.
    pub fn draw(&self, area: &Area, scale: &Scale, name: &str) -> Result<()> {
        let across = |y| vec![(self.left, y), (self.right, y)];
        for value in &scale.ticks {
            let y = self.y(scale, *value);
            let tick = words::tick(*value);
            line(area, across(y), GRID, 1)?;
            text(area, (self.left - 8, y), Place::Left, NOTE, &tick)?;
        }
        line(area, across(self.bottom), SOFT, 1)?;
        let middle = (self.top + self.bottom) / 2;
        upright(area, (MARGIN + 6, middle), name)
    }
}
