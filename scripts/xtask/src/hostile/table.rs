// SPDX-License-Identifier: MIT OR Apache-2.0

//! Results side by side: a line for each case, a cell for each driver and ring.

use hostile::case::{Case, Layout, Outcome};

use super::row::{Driver, Row};

/// The cells of a line, in their order.
pub const COLUMNS: [(Driver, Layout); 4] = [
    (Driver::C, Layout::Split),
    (Driver::C, Layout::Packed),
    (Driver::Rust, Layout::Split),
    (Driver::Rust, Layout::Packed),
];

/// What came of one case on one transport.
pub struct Line<'a> {
    /// Of the case, as its runs are called.
    pub name: String,
    pub rows: Vec<&'a Row>,
}

impl<'a> Line<'a> {
    pub fn case(&self) -> &'a Case {
        &self.rows[0].run.case
    }

    pub fn demand(&self) -> String {
        self.rows[0].demand()
    }

    /// One for each of the columns.
    pub fn cells(&self) -> [Option<&'a Row>; 4] {
        COLUMNS.map(|(driver, layout)| {
            let mut rows = self.rows.iter().copied();
            rows.find(|row| (row.run.driver, row.run.layout) == (driver, layout))
        })
    }
}

/// The lines in the order in which their cases first appear.
pub fn lines(rows: &[Row]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let name = row.run.case_name();
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.rows.push(row),
            None => lines.push(Line {
                name,
                rows: vec![row],
            }),
        }
    }
    lines
}

/// What is above a column.
pub fn label((driver, layout): (Driver, Layout)) -> String {
    format!("{} {}", title(driver), layout.name())
}

fn title(driver: Driver) -> &'static str {
    match driver {
        Driver::C => "C",
        Driver::Rust => "Rust",
    }
}

/// The outcome, of a row that proves something.
pub fn outcome(row: &Row) -> Option<Outcome> {
    row.outcome.filter(|_| row.void.is_none())
}

/// Whether it proves something, and not what is demanded.
pub fn differs(row: &Row) -> bool {
    outcome(row).is_some() && !(row.as_demanded() && row.unsaid.is_none())
}

/// In a sentence: what was seen, or why that proves nothing.
pub fn detail(row: &Row) -> &str {
    match (&row.void, row.outcome) {
        (Some(why), _) => why,
        (None, None) => "no outcome was seen",
        (None, Some(_)) => &row.detail,
    }
}

/// What the device does.
pub fn lie(case: &Case) -> &str {
    match case.is_honest() {
        true => "nothing wrong: it is honest, and this shows that the driver serves it",
        false => &case.lie,
    }
}

/// The table for the terminal, its heading first.
pub fn table_rows(rows: &[Row]) -> Vec<Vec<String>> {
    let mut heading = vec!["case".to_owned()];
    heading.extend(COLUMNS.map(label));
    heading.push("demanded".to_owned());
    let mut table = vec![heading];
    for line in lines(rows) {
        let mut cells = vec![line.name.clone()];
        cells.extend(line.cells().map(cell));
        cells.push(line.demand());
        table.push(cells);
    }
    table
}

fn cell(row: Option<&Row>) -> String {
    let Some(row) = row else {
        return "-".to_owned();
    };
    match outcome(row) {
        None => "void".to_owned(),
        Some(outcome) if differs(row) => format!("{} !", outcome.name()),
        Some(outcome) => outcome.name().to_owned(),
    }
}

/// Rows for the tests of all that shows them.
#[cfg(test)]
pub mod invented {
    use std::time::Duration;

    use hostile::case::Transport;
    use hostile::model::Device;

    use super::super::row::Run;
    use super::*;

    /// Of which `broken` is demanded; a disk's if that is what the name ends in.
    fn case(name: &str) -> Case {
        let known = hostile::case::all().unwrap();
        let lies = |case: &&Case| !case.is_honest();
        let device = match name.ends_with("-blk") {
            true => Device::Blk,
            false => Device::Rng,
        };
        Case {
            name: name.into(),
            lie: format!("the lie of {name}"),
            devices: vec![device],
            must: vec![Outcome::Broken],
            parameter: None,
            kernel: None,
            about_c: None,
            ..known.iter().find(lies).unwrap().clone()
        }
    }

    pub fn row(name: &str, driver: Driver, layout: Layout, outcome: Outcome) -> Row {
        let run = Run {
            case: case(name),
            driver,
            layout,
            transport: Transport::Uml,
        };
        Row {
            log: format!("hostile/{}.log", run.name()),
            run,
            outcome: Some(outcome),
            detail: format!("{} was seen", outcome.name()),
            void: None,
            unsaid: None,
            told: 1,
            took: Duration::from_secs(4),
            excerpt: Vec::new(),
        }
    }

    pub fn void(row: Row) -> Row {
        Row {
            outcome: None,
            void: Some("the lie was not told".into()),
            ..row
        }
    }
}

#[cfg(test)]
mod tests {
    use hostile::case::Transport;

    use super::invented::{row, void};
    use super::*;

    #[test]
    fn cases_are_lines_in_their_order() {
        let (c, rust) = (Driver::C, Driver::Rust);
        let (split, packed) = (Layout::Split, Layout::Packed);
        let mut qemu = row("a", rust, split, Outcome::Broken);
        qemu.run.transport = Transport::Qemu;
        qemu.run.case.must.push(Outcome::Clean);
        let rows = [
            row("b", rust, packed, Outcome::Broken),
            row("a", c, split, Outcome::RequestError),
            row("b", c, split, Outcome::Splat),
            void(row("b", c, packed, Outcome::Hang)),
            qemu,
        ];
        let expected = [
            "case|C split|C packed|Rust split|Rust packed|demanded",
            "b|splat !|void|-|broken|broken",
            "a|request error !|-|-|-|broken",
            "a-qemu|-|-|broken|-|broken or clean",
        ];
        let table = table_rows(&rows);
        let table: Vec<_> = table.iter().map(|cells| cells.join("|")).collect();
        assert_eq!(table, expected);
    }

    #[test]
    fn what_the_log_should_say_is_demanded() {
        let good = row("a", Driver::Rust, Layout::Split, Outcome::Broken);
        let silent = Row {
            unsaid: Some("seg_max is 0".into()),
            ..good.clone()
        };
        assert!(good.entry().ok && !differs(&good));
        assert!(!silent.entry().ok && differs(&silent));
        assert!(silent
            .entry()
            .detail
            .contains("does not say \"seg_max is 0\""));
    }

    #[test]
    fn a_void_row_is_neither_as_demanded_nor_not() {
        let demanded = row("a", Driver::C, Layout::Split, Outcome::Broken);
        let other = row("a", Driver::C, Layout::Split, Outcome::Crash);
        assert!(!differs(&demanded) && differs(&other));
        let other = Row {
            void: Some("why".into()),
            ..other
        };
        assert!(!differs(&other) && outcome(&other).is_none());
        assert_eq!(detail(&other), "why");
    }
}
