// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures as plots, in SVG. A plot that has no rows is left out.

mod bars;
mod latency;
mod lines;
mod pen;
mod ratios;
mod scale;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use plotters::prelude::*;

use self::pen::{Area, Place, NOTE, TITLE};
pub use self::ratios::{verdict, Verdict};
use super::figures::{Figures, Row};

/// Of each plot, in pixels.
const WIDTH: u32 = 760;
const MARGIN: i32 = 14;
const NOTE_LINE: i32 = 16;
/// As many characters of a note fit in a line.
const NOTE_WIDTH: usize = 112;
/// What a plot has below its title.
const TITLE_HEIGHT: i32 = 38;
/// Between a plot's notes and what is drawn.
const GAP: i32 = 8;
/// The unit of what a request costs, and what an axis of it is called.
const COST: &str = "instructions";
const COSTS: &str = "instructions per request";
/// Between the plots of a sheet.
const GUTTER: i32 = 16;

pub struct Plot {
    pub id: String,
    pub title: String,
    pub svg: String,
}

/// What a plot has below its notes.
trait Body {
    fn height(&self) -> i32;
    fn draw(&self, area: &Area) -> Result<()>;
}

/// A plot that is not drawn yet.
struct Picture {
    id: String,
    title: String,
    notes: Vec<String>,
    body: Box<dyn Body>,
}

/// Each plot by itself.
pub fn all(figures: &Figures) -> Result<Vec<Plot>> {
    pictures(figures).iter().map(Picture::plot).collect()
}

/// All plots, in two columns.
pub fn sheet(figures: &Figures) -> Result<String> {
    let pictures = pictures(figures);
    let mut bottoms = [TITLE_HEIGHT + 2 * GUTTER; 2];
    let mut places = Vec::new();
    for picture in &pictures {
        let column = usize::from(bottoms[1] < bottoms[0]);
        let left = GUTTER + (column as i32) * (WIDTH as i32 + GUTTER);
        places.push((left, bottoms[column]));
        bottoms[column] += picture.height() + GUTTER;
    }
    let width = 2 * WIDTH + 3 * GUTTER.unsigned_abs();
    draw((width, bottoms[0].max(bottoms[1])), |area| {
        let title = format!("Virtio drivers: Rust by C, {}", taken(figures));
        pen::text(area, (GUTTER + MARGIN, GUTTER), Place::Below, TITLE, &title)?;
        for (picture, place) in pictures.iter().zip(places) {
            let size = (WIDTH, picture.height().unsigned_abs());
            picture.draw(&area.clone().shrink(place, size))?;
        }
        Ok(())
    })
}

/// Of what kernel, and when.
fn taken(figures: &Figures) -> String {
    format!("Linux {}, {}", figures.kernel, figures.date)
}

fn pictures(figures: &Figures) -> Vec<Picture> {
    let mut pictures = ratios::pictures(figures);
    pictures.extend(bars::pictures(figures));
    pictures.extend(lines::pictures(figures));
    pictures.extend(latency::pictures(figures));
    pictures
}

fn by_machine(figures: &Figures, wanted: fn(&Row) -> bool) -> BTreeMap<&str, Vec<&Row>> {
    let mut machines: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in figures.rows.iter().filter(|row| wanted(row)) {
        machines.entry(&row.machine).or_default().push(row);
    }
    machines
}

/// Each once, in the order in which they come.
fn unique<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut known = Vec::new();
    for item in items {
        if !known.contains(&item) {
            known.push(item);
        }
    }
    known
}

/// Writes an SVG with a white ground, whatever page it is on.
fn draw(size: (u32, i32), draw: impl FnOnce(&Area) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let size = (size.0, size.1.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    Ok(svg)
}

impl Picture {
    /// With `notes` on these rows below those that each plot has.
    fn new(
        figures: &Figures,
        rows: &[&Row],
        title: String,
        notes: &[String],
        body: impl Body + 'static,
    ) -> Self {
        let machines: BTreeSet<_> = rows.iter().map(|row| row.machine.as_str()).collect();
        let mut all = vec![taken(figures)];
        for machine in &machines {
            let nature = figures.machines.get(*machine);
            all.extend(nature.map(|nature| format!("{machine}: {nature}")));
        }
        all.extend_from_slice(notes);
        let name = [title.as_str()].into_iter().chain(machines);
        Self {
            id: words::slug(name),
            title,
            notes: all
                .iter()
                .flat_map(|note| words::wrap(note, NOTE_WIDTH))
                .collect(),
            body: Box::new(body),
        }
    }

    fn plot(&self) -> Result<Plot> {
        Ok(Plot {
            id: self.id.clone(),
            title: self.title.clone(),
            svg: draw((WIDTH, self.height()), |area| self.draw(area))?,
        })
    }

    fn top(&self) -> i32 {
        TITLE_HEIGHT + NOTE_LINE * self.notes.len() as i32 + GAP
    }

    fn height(&self) -> i32 {
        self.top() + self.body.height()
    }

    fn draw(&self, area: &Area) -> Result<()> {
        pen::text(area, (MARGIN, MARGIN), Place::Below, TITLE, &self.title)?;
        for (line, note) in (0..).zip(&self.notes) {
            let top = TITLE_HEIGHT + NOTE_LINE * line;
            pen::text(area, (MARGIN, top), Place::Below, NOTE, note)?;
        }
        let size = (WIDTH, self.body.height().unsigned_abs());
        self.body.draw(&area.clone().shrink((0, self.top()), size))
    }
}

/// Figures that nobody measured.
#[cfg(test)]
pub mod invented {
    use std::collections::BTreeMap;

    use protocol::bench::{Shape, Side};
    use protocol::stats::Summary;

    use crate::bench::figures::{Better, Figures, Row};

    fn around(value: f64) -> Summary {
        Summary {
            median: value,
            min: value * 0.97,
            max: value * 1.04,
        }
    }

    /// With C at `c`, Rust by C at `ratio`, and a bar that this meets.
    pub fn row(of: &str, machine: &str, unit: &str, shape: Shape, c: f64, ratio: f64) -> Row {
        let more = unit.ends_with("/s");
        Row {
            of: of.into(),
            machine: machine.into(),
            unit: unit.into(),
            better: if more { Better::More } else { Better::Less },
            shape,
            sides: [(Side::C, around(c)), (Side::Rust, around(c * ratio))].into(),
            ratio: Some(around(ratio)),
            turns: 7,
            bar: Some(if more { ">= 1" } else { "<= 0.98" }.into()),
            ok: true,
        }
    }

    /// With the side that does nothing of its own.
    fn counted(of: &str, shape: Shape, c: f64, ratio: f64) -> Row {
        let mut row = row(of, "counted", "instructions", shape, c, ratio);
        row.sides.insert(Side::Empty, around(c * 0.6));
        row
    }

    /// At least one row for each plot.
    pub fn figures() -> Figures {
        let single = Shape::single(4096);
        let deep = Shape {
            depth: 32,
            ..single
        };
        let mut rows = vec![
            counted("blk.read", single, 9000.0, 0.95),
            counted("blk.read", deep, 5000.0, 0.96),
            counted("blk.read", Shape::single(65536), 12000.0, 0.97),
            row("blk.randread", "uml", "requests/s", deep, 20000.0, 1.03),
        ];
        for queues in [2, 4] {
            rows.push(counted(
                "blk.read",
                Shape { queues, ..single },
                9000.0,
                0.97,
            ));
        }
        let devices = 8;
        rows.push(counted(
            "blk.read",
            Shape { devices, ..single },
            9100.0,
            0.97,
        ));
        for size in [64, 4096] {
            rows.push(counted("rng.read", Shape::single(size), 3e6, 0.1));
        }
        for (unit, value) in [("us p50", 60.0), ("us p99", 110.0), ("us p99.9", 900.0)] {
            rows.push(row("blk.randread", "uml", unit, deep, value, 0.97));
        }
        let natures = [
            ("counted", "QEMU, which counts instructions"),
            ("uml", "user-mode Linux"),
        ];
        let natures = natures.map(|(name, nature)| (name.into(), nature.into()));
        Figures {
            kernel: "7.3.4-rust".into(),
            tree: "invented".into(),
            date: "2026-10-01".into(),
            machines: BTreeMap::from(natures),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::bench::Shape;

    use super::*;

    fn plot(figures: &Figures, title: &str) -> String {
        let plots = all(figures).unwrap();
        let mut plots = plots.iter().filter(|plot| plot.title == title);
        plots
            .next()
            .map(|plot| plot.svg.clone())
            .unwrap_or_default()
    }

    /// The texts of an SVG.
    fn texts(svg: &str) -> Vec<&str> {
        let texts = svg.split("<text").skip(1);
        let texts = texts.filter_map(|text| text.split(['<', '>']).nth(1));
        texts.map(str::trim).collect()
    }

    #[test]
    fn no_figures_make_no_plots() {
        let mut figures = invented::figures();
        figures.rows.clear();
        assert!(all(&figures).unwrap().is_empty());
        assert!(sheet(&figures).unwrap().contains("Linux 7.3.4-rust"));
    }

    #[test]
    fn each_kind_of_rows_has_its_plot() {
        let titles: Vec<_> = all(&invented::figures()).unwrap();
        let titles: Vec<_> = titles.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "Rust by C, where less is better",
                "Rust by C, where more is better",
                "Rust by C, where less is better: far from 1",
                "A read of 4 KiB at depth 1: where the instructions go",
                "A read of 4 KiB at depth 32: where the instructions go",
                "blk.read 4 KiB: instructions per request by queue depth",
                "blk.read: instructions per request by request size",
                "blk.read 4 KiB: instructions per request by number of queues",
                "blk.read 4 KiB: instructions per request by number of devices",
                "rng.read: instructions per request by request size",
                "Latency on uml",
            ]
        );
    }

    #[test]
    fn a_plot_says_what_it_is_of() {
        let figures = invented::figures();
        let title = "blk.read 4 KiB: instructions per request by queue depth";
        let svg = plot(&figures, title);
        let texts = texts(&svg);
        for text in [
            title,
            "Linux 7.3.4-rust, 2026-10-01",
            "counted: QEMU, which counts instructions",
            "Each at 4 KiB, 1 queue, 1 device.",
            "queue depth",
            "instructions per request",
            "C",
            "Rust",
            "Empty",
            "8.55k",
        ] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
        assert!(!svg.contains("uml"));
    }

    #[test]
    fn one_point_is_no_line() {
        let mut figures = invented::figures();
        figures.rows.truncate(1);
        let titles: Vec<_> = all(&figures).unwrap();
        let titles: Vec<_> = titles.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "Rust by C, where less is better",
                "A read of 4 KiB at depth 1: where the instructions go"
            ]
        );
    }

    #[test]
    fn a_missed_bar_is_shown_as_missed() {
        let title = "Rust by C, where more is better";
        let mut figures = invented::figures();
        let met = plot(&figures, title);
        assert!(texts(&met).contains(&"&gt;= 1"), "{met}");
        assert!(!met.contains("missed"));
        for row in &mut figures.rows {
            row.ok = false;
        }
        let missed = plot(&figures, title);
        assert!(texts(&missed).contains(&"&gt;= 1 missed"), "{missed}");
    }

    #[test]
    fn what_a_bar_says_more_is_in_a_note() {
        let mut figures = invented::figures();
        for row in &mut figures.rows {
            row.bar = Some(">= 1.00 in a quarter of the turns".into());
        }
        let svg = plot(&figures, "Rust by C, where more is better");
        let texts = texts(&svg);
        assert!(texts.contains(&"&gt;= 1.00*"), "{texts:?}");
        assert!(texts.contains(&"* in a quarter of the turns."), "{texts:?}");
    }

    #[test]
    fn of_very_many_rows_those_with_bars_and_one_of_each_kind_are_shown() {
        let mut figures = invented::figures();
        figures.rows.clear();
        for size in 1..=100 {
            let shape = Shape::single(size);
            let mut row = invented::row("blk.read", "qemu", "MB/s", shape, 100.0, 1.01);
            row.bar = row.bar.filter(|_| size % 10 == 7);
            figures.rows.push(row);
        }
        figures.rows[75].ok = false;
        let mut probe = figures.rows[99].clone();
        probe.of = "blk.probe".into();
        figures.rows.push(probe);
        let svg = plot(&figures, "Rust by C, where more is better");
        let texts = texts(&svg);
        let shown = texts.iter().filter(|text| text.starts_with("blk.")).count();
        assert_eq!(shown, 24);
        for text in [
            "24 of 101 comparisons; bench.html has all.",
            "blk.read 76 B",
            "blk.read 97 B",
            "blk.probe 100 B",
        ] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
        assert!(!texts.contains(&"blk.read 99 B"), "{texts:?}");
    }

    #[test]
    fn values_that_are_no_numbers_are_no_trouble() {
        let mut figures = invented::figures();
        for (index, row) in figures.rows.iter_mut().enumerate() {
            let value = [0.0, f64::NAN, f64::INFINITY, -1.0][index % 4];
            for summary in row.sides.values_mut().chain(&mut row.ratio) {
                (summary.median, summary.min, summary.max) = (value, value, value);
            }
        }
        for plot in all(&figures).unwrap() {
            assert!(!plot.svg.contains("NaN") && !plot.svg.contains("inf"));
        }
    }

    #[test]
    fn the_sheet_has_all_plots_and_is_the_same_each_time() {
        let figures = invented::figures();
        let svg = sheet(&figures).unwrap();
        for plot in all(&figures).unwrap() {
            assert!(texts(&svg).contains(&plot.title.as_str()), "{}", plot.title);
        }
        assert_eq!(svg, sheet(&figures).unwrap());
    }
}
