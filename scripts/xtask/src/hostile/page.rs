// SPDX-License-Identifier: MIT OR Apache-2.0

//! The results as a page for who has never seen the lab: one file, nothing to load.

use std::time::Duration;

use hostile::case::{Case, Elsewhere, Outcome};
use hostile::model::Device;

use super::row::{Driver, Row};
use super::table::{self, Line};
use crate::html::{document, escape};
use crate::ui::duration;

/// What the results are of.
pub struct Head {
    /// Which part of all cases was run, if not all: as a person asked for it.
    pub part: Option<String>,
    pub kernel: String,
    pub date: String,
    pub machine: Vec<String>,
    pub took: Duration,
}

const TITLE: &str = "Virtio drivers and a device that lies";

const OUTCOMES: [Outcome; 9] = [
    Outcome::Clean,
    Outcome::RequestError,
    Outcome::ProbeError,
    Outcome::Broken,
    Outcome::Leak,
    Outcome::Lost,
    Outcome::Hang,
    Outcome::Splat,
    Outcome::Crash,
];

/// The text of `out/hostile.html`.
pub fn page(head: &Head, rows: &[Row], elsewhere: &[Elsewhere]) -> String {
    let lines = table::lines(rows);
    let mut body = intro(head, rows);
    body += &outcomes(rows);
    body += &results(&lines);
    body += &again();
    body += &not_here(elsewhere);
    document(TITLE, STYLE, &body)
}

/// That this is not all, if so.
pub fn only(head: &Head) -> String {
    let part = head.part.as_ref();
    part.map_or_else(String::new, |part| format!("; only {part}"))
}

fn intro(head: &Head, rows: &[Row]) -> String {
    let facts = format!(
        "Linux {}, {}: {} boots in {}, {}{}",
        head.kernel,
        head.date,
        rows.len(),
        duration(head.took),
        head.machine.join(", "),
        only(head)
    );
    format!(
        "<h1>{TITLE}</h1>\n\
         <p class=\"facts\">{}</p>\n\
         <p>The attacker is who provides the device, such as the host of a confidential guest: \
         it may write anything at any time to the rings, the shared buffers and the \
         configuration space. This page shows what that does to a guest with the C drivers that \
         Linux has, and with the Rust drivers of a patch series, on split and on packed rings. \
         Both run on one kernel, with the whole series applied, unless a line names \
         another.</p>\n\
         <p>A line is one lie of the device, a cell is what came of it in one fresh guest \
         (user-mode Linux with KASAN, UBSAN and lockdep; QEMU where the name of the case ends \
         in <code>-qemu</code>). <em>Demanded</em> is how a driver may fare that does not trust \
         the device. What ended otherwise is bold and has a <b>✗</b>, and the line below says \
         what was seen. Every cell leads to the console log of its guest. The C drivers, \
         and both on a kernel that lacks a patch of the series, are measured only: except with \
         the honest device, they cannot make the lab fail.</p>\n",
        escape(&facts)
    )
}

/// What the words mean, and how many rows there were of each.
fn outcomes(rows: &[Row]) -> String {
    let line = |chip: &str, meaning: &str, count: &dyn Fn(&Row) -> bool| {
        let counts =
            Driver::ALL.map(|driver| number(of(rows, driver).filter(|r| count(r)).count()));
        format!(
            "<tr><th scope=\"row\">{chip}</th><td>{meaning}</td>{}</tr>\n",
            counts.concat()
        )
    };
    let mut text = "<h2 id=\"outcomes\">Outcomes</h2>\n\
                    <div class=\"scroll\"><table class=\"outcomes\">\n<thead><tr>\
                    <th scope=\"col\">Outcome</th><th scope=\"col\">The worst that was seen</th>\
                    <th scope=\"col\" class=\"number\">C</th>\
                    <th scope=\"col\" class=\"number\">Rust</th></tr></thead>\n<tbody>\n"
        .to_owned();
    for outcome in OUTCOMES {
        let chip = format!(
            "<span class=\"{}\">{}</span>",
            class(outcome),
            outcome.name()
        );
        text += &line(&chip, meaning(outcome), &|row| {
            table::outcome(row) == Some(outcome)
        });
    }
    text += &line(
        "<span class=\"chip void\">proves nothing</span>",
        "The lie was not told, or the driver does not even serve an honest device well. \
         Counts neither way.",
        &|row| table::outcome(row).is_none(),
    );
    let ratios = Driver::ALL.map(|driver| {
        let (demanded, proven) = as_demanded(rows, driver);
        format!("<td class=\"number\">{demanded} of {proven}</td>")
    });
    text += &format!(
        "</tbody>\n<tfoot><tr><th scope=\"row\">as demanded</th>\
         <td>Of the runs that prove something.</td>{}</tr></tfoot>\n</table></div>\n",
        ratios.concat()
    );
    text
}

fn of(rows: &[Row], driver: Driver) -> impl Iterator<Item = &Row> {
    rows.iter().filter(move |row| row.run.driver == driver)
}

/// How many rows ended so, and how many prove something.
fn as_demanded(rows: &[Row], driver: Driver) -> (usize, usize) {
    let proven: Vec<_> = of(rows, driver)
        .filter(|row| table::outcome(row).is_some())
        .collect();
    let demanded = proven.iter().filter(|row| row.as_demanded());
    (demanded.count(), proven.len())
}

fn number(number: usize) -> String {
    let zero = if number == 0 { " zero" } else { "" };
    format!("<td class=\"number{zero}\">{number}</td>")
}

fn class(outcome: Outcome) -> String {
    format!("chip {}", outcome.name().replace(' ', "-"))
}

fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "No request failed, nothing was noticed. With a ✗: it should have been.",
        Outcome::RequestError => "Some requests failed, others succeeded after them.",
        Outcome::ProbeError => "The driver refused the device.",
        Outcome::Broken => "From some request on, all failed: the driver gave the device up.",
        Outcome::Corrupt => {
            "A reader got what the device did not send, such as zeros, and no error."
        }
        Outcome::Leak => "Memory reached a reader that must never see it.",
        Outcome::Lost => "The device could not be used again, although it was honest by then.",
        Outcome::Hang => "Something did not end: a reader, an unbind, the guest.",
        Outcome::Splat => "The kernel complained: KASAN, UBSAN, lockdep, a warning.",
        Outcome::Crash => "The kernel died.",
    }
}

fn results(lines: &[Line]) -> String {
    let mut text = "<h2 id=\"results\">Results</h2>\n\
                    <p><label><input type=\"checkbox\" id=\"only\"> only lines with a cell that \
                    is not as demanded, or proves nothing</label></p>\n"
        .to_owned();
    for device in Device::ALL {
        let of_device = lines.iter().filter(|line| line.case().device() == device);
        let lines: String = of_device.map(line).collect();
        if !lines.is_empty() {
            text += &group(device, &lines);
        }
    }
    text
}

fn group(device: Device, lines: &str) -> String {
    let columns = table::COLUMNS.map(|column| {
        let label = table::label(column);
        format!("<th scope=\"col\" class=\"outcome\">{label}</th>")
    });
    format!(
        "<h3 id=\"{}\">{}</h3>\n<p class=\"facts\">{}</p>\n\
         <div class=\"scroll\"><table class=\"results\">\n<thead><tr>\
         <th scope=\"col\" class=\"name\">Case</th><th scope=\"col\">What the device does</th>\
         <th scope=\"col\" class=\"demand\">Demanded</th>{}</tr></thead>\n\
         <tbody>\n{lines}</tbody>\n</table></div>\n",
        device.name(),
        title(device),
        drivers(device),
        columns.concat()
    )
}

fn title(device: Device) -> &'static str {
    match device {
        Device::Rng => "Entropy",
        Device::Blk => "Disks",
    }
}

fn drivers(device: Device) -> &'static str {
    match device {
        Device::Rng => {
            "C: <code>drivers/char/hw_random/virtio-rng.c</code>, \
             Rust: <code>drivers/char/hw_random/virtio_rng_rust.rs</code>"
        }
        Device::Blk => {
            "C: <code>drivers/block/virtio_blk.c</code>, \
             Rust: <code>drivers/block/virtio_blk_rust/</code>"
        }
    }
}

/// A line, and below it what is wrong with its cells.
fn line(line: &Line) -> String {
    let name = escape(&line.name);
    let why = why(line);
    let fine = if why.is_empty() { " fine" } else { "" };
    let cells = table::COLUMNS.iter().zip(line.cells());
    let cells: String = cells
        .map(|(column, row)| cell(&table::label(*column), row))
        .collect();
    format!(
        "<tr class=\"line{fine}\" id=\"{name}\"><th scope=\"row\" class=\"name\">\
         <a href=\"#{name}\">{name}</a></th><td class=\"lie\">{}{}</td>\
         <td class=\"demand\">{}</td>{cells}</tr>\n{why}",
        escape(table::lie(line.case())),
        notes(line.case()),
        escape(&line.demand())
    )
}

/// What is special about its guests.
fn notes(case: &Case) -> String {
    let kernel = case.kernel.iter().map(|name| format!("kernel: {name}"));
    let parameter = case.parameter.iter();
    let parameter = parameter.map(|parameter| format!("Rust driver with {parameter}"));
    let notes = kernel.chain(parameter);
    notes
        .map(|note| format!(" <span class=\"note\">({})</span>", escape(&note)))
        .collect()
}

fn cell(label: &str, row: Option<&Row>) -> String {
    let Some(row) = row else {
        return format!("<td class=\"outcome\" data-label=\"{label}\">–</td>");
    };
    let (class, text) = match table::outcome(row) {
        None => ("chip void".to_owned(), "proves nothing".to_owned()),
        Some(outcome) if table::differs(row) => (
            format!("{} differs", class(outcome)),
            format!(
                "<span role=\"img\" aria-label=\"not as demanded:\">✗</span> {}",
                outcome.name()
            ),
        ),
        Some(outcome) => (class(outcome), outcome.name().to_owned()),
    };
    format!(
        "<td class=\"outcome\" data-label=\"{label}\">\
         <a class=\"{class}\" href=\"{}\" title=\"{}\">{text}</a></td>",
        escape(&row.log),
        escape(table::detail(row))
    )
}

fn why(line: &Line) -> String {
    let mut reasons: Vec<(Vec<String>, String)> = Vec::new();
    for (column, row) in table::COLUMNS.iter().zip(line.cells()) {
        let Some(reason) = row.and_then(reason) else {
            continue;
        };
        let label = table::label(*column);
        match reasons.iter_mut().find(|(_, known)| *known == reason) {
            Some((labels, _)) => labels.push(label),
            None => reasons.push((vec![label], reason)),
        }
    }
    if reasons.is_empty() {
        return String::new();
    }
    let reasons: String = reasons
        .iter()
        .map(|(labels, reason)| format!("<li><b>{}</b>: {reason}</li>", labels.join(", ")))
        .collect();
    format!("<tr class=\"why\"><td colspan=\"7\"><ul>{reasons}</ul></td></tr>\n")
}

fn reason(row: &Row) -> Option<String> {
    let what = match table::outcome(row) {
        Some(_) if !table::differs(row) => return None,
        Some(outcome) => outcome.name(),
        None => "proves nothing",
    };
    Some(format!("<b>{what}</b> – {}", escape(table::detail(row))))
}

fn again() -> String {
    "<h2 id=\"again\">Run one again</h2>\n\
     <pre><code>make hostile CASE=&lt;name&gt; DRIVER=c|rust RING=split|packed</code></pre>\n\
     <p><code>DRIVER</code> and <code>RING</code> may be left out: both, then. The cases are in \
     <code>scripts/hostile/cases.toml</code>; a case more is an entry more.</p>\n"
        .to_owned()
}

fn not_here(elsewhere: &[Elsewhere]) -> String {
    if elsewhere.is_empty() {
        return String::new();
    }
    let items = elsewhere.iter().map(|case| {
        format!(
            "<dt>{}</dt><dd>Not here: {}.<br>Tested by: {}.</dd>\n",
            escape(&case.name),
            escape(&case.why),
            escape(&case.test)
        )
    });
    format!(
        "<h2 id=\"elsewhere\">What this lab cannot carry</h2>\n\
         <p>The devices here are vhost-user back ends. Some lies are not theirs to tell, and are \
         tested in another way.</p>\n<dl>\n{}</dl>\n",
        items.collect::<String>()
    )
}

/// Outcomes differ in lightness as well as in hue, for who does not see all colours;
/// the dark ones are those of a guest that is not safe.
const STYLE: &str = r#":root {
  --page: #ffffff; --text: #1c1e21; --soft: #5b616a; --rule: #d5d9de; --band: #f4f5f7;
  --clean: #d5efe3; --on-clean: #0b3d2b;
  --request-error: #e1edf8; --on-request-error: #0e3455;
  --probe-error: #c5dcf2; --on-probe-error: #0e3455;
  --broken: #a5c9ea; --on-broken: #092a47;
  --lost: #fbeaa9; --on-lost: #463500;
  --hang: #f2bf45; --on-hang: #352300;
  --wrong: #e3cbe0; --on-wrong: #43203c;
  --leak: #a53d7e; --on-leak: #ffffff;
  --splat: #bf4208; --on-splat: #ffffff;
  --crash: #33060c; --on-crash: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181b; --text: #e4e6e9; --soft: #a2a9b2; --rule: #3a3f46; --band: #1f2226;
    --clean: #123a2b; --on-clean: #c0ecda;
    --request-error: #16304a; --on-request-error: #cfe4f8;
    --probe-error: #1c4468; --on-probe-error: #d8eafa;
    --broken: #265a88; --on-broken: #eaf4fd;
    --lost: #4e3f0b; --on-lost: #fbeaa9;
    --hang: #7c5906; --on-hang: #fff3d0;
    --wrong: #e3cbe0; --on-wrong: #43203c;
  --leak: #a53d7e; --on-leak: #ffffff;
    --splat: #c94a10; --on-splat: #ffffff;
    --crash: #f5dfe1; --on-crash: #33060c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 36px 0 8px; }
h3 { font-size: 16px; margin: 24px 0 2px; }
p, dl { max-width: 80ch; margin: 0 0 12px; }
.facts { color: var(--soft); }
h3 + .facts { font-size: 13px; margin-bottom: 6px; overflow-wrap: anywhere; }
h3 + .facts code { font-size: 12px; }
code, pre, .name a, dt { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; }
pre { background: var(--band); padding: 10px 12px; border-radius: 4px; overflow-x: auto; }
dt { font-weight: bold; }
dd { margin: 0 0 12px 20px; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 5px 8px; border-top: 1px solid var(--rule); }
thead th { border-top: 0; border-bottom: 2px solid var(--rule); font-size: 13px; color: var(--soft); }
tbody th { font-weight: normal; }
tfoot th, tfoot td { border-top: 2px solid var(--rule); font-weight: bold; }
tfoot td:nth-child(2) { font-weight: normal; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.zero { color: var(--soft); }
.chip {
  display: inline-block; padding: 1px 8px; border-radius: 4px; border: 1px solid transparent;
  font-size: 13px; white-space: nowrap; text-decoration: none;
}
a.chip:hover, a.chip:focus-visible { text-decoration: underline; }
.clean { background: var(--clean); color: var(--on-clean); }
.request-error { background: var(--request-error); color: var(--on-request-error); }
.probe-error { background: var(--probe-error); color: var(--on-probe-error); }
.broken { background: var(--broken); color: var(--on-broken); }
.wrong-data { background: var(--wrong); color: var(--on-wrong); }
.leak { background: var(--leak); color: var(--on-leak); }
.lost { background: var(--lost); color: var(--on-lost); }
.hang { background: var(--hang); color: var(--on-hang); }
.splat { background: var(--splat); color: var(--on-splat); }
.crash { background: var(--crash); color: var(--on-crash); }
.void { border: 1px dashed var(--soft); color: var(--soft); }
.differs { font-weight: bold; }
.results { width: 100%; min-width: 1060px; table-layout: fixed; font-size: 14px; }
.results thead th { position: sticky; top: 0; background: var(--page); z-index: 1; }
.results .outcome { width: 130px; padding-left: 4px; padding-right: 4px; }
.results .outcome .chip { display: block; text-align: center; padding: 1px 2px; font-size: 12.5px; }
.results td.outcome { color: var(--soft); text-align: center; }
.results thead .outcome { text-align: center; }
.results .name { width: 215px; overflow-wrap: anywhere; }
.results .demand { width: 130px; }
.name a { color: inherit; text-decoration: none; }
.name a:hover { text-decoration: underline; }
.line:target { background: var(--band); outline: 2px solid var(--soft); }
.note { color: var(--soft); font-size: 12px; }
.why td { border-top: 0; padding-top: 0; font-size: 12.5px; }
.why ul { margin: 0; padding: 4px 10px 4px 26px; background: var(--band); border-radius: 4px; overflow-wrap: anywhere; }
body:has(#only:checked) .fine { display: none; }
@media (max-width: 1110px) {
  .scroll { overflow-x: auto; }
}
@media (max-width: 760px) {
  main { padding: 16px 12px 48px; }
  .outcomes, .outcomes thead, .outcomes tbody, .outcomes tfoot { display: block; }
  .outcomes tr { display: grid; grid-template-columns: 1fr 84px 84px; column-gap: 8px; padding: 5px 0; border-top: 1px solid var(--rule); }
  .outcomes tr > * { border: 0; padding: 0 2px; }
  .outcomes tr > :nth-child(2) { order: 1; grid-column: 1 / -1; font-size: 13px; }
  .outcomes tfoot .number { font-size: 13px; }
  .results { min-width: 0; }
  .results, .results tbody, .results .why, .results .why td { display: block; }
  .results thead { display: none; }
  .results .line { display: grid; grid-template-columns: repeat(4, 1fr); border-top: 1px solid var(--rule); padding: 8px 0; }
  .results .fine { display: grid; }
  .results .line > * { border: 0; padding: 0 2px; width: auto; }
  .results .line .name, .results .line .lie, .results .line .demand { grid-column: 1 / -1; }
  .results .name { font-weight: bold; }
  .results .demand { color: var(--soft); margin-bottom: 6px; }
  .results .demand::before { content: "demanded: "; }
  .results td.outcome::before { content: attr(data-label); display: block; font-size: 11px; color: var(--soft); }
  .results .outcome .chip { white-space: normal; font-size: 12px; line-height: 1.25; padding: 3px 2px; }
  .why td { padding: 0 0 8px; }
}
"#;

#[cfg(test)]
mod tests {
    use hostile::case::Layout;

    use super::super::table::invented::{row, void};
    use super::*;

    const C: Driver = Driver::C;
    const RUST: Driver = Driver::Rust;

    fn text(rows: &[Row]) -> String {
        let head = Head {
            part: Some("CASE=<x>".into()),
            kernel: "7.3.4".into(),
            date: "2026-10-01T12:00:00Z".into(),
            machine: vec!["<machine>".into()],
            took: Duration::from_secs(200),
        };
        let elsewhere = Elsewhere {
            name: "a&b".into(),
            why: "x < y".into(),
            test: "\"z\"".into(),
        };
        page(&head, rows, &[elsewhere])
    }

    #[test]
    fn text_of_others_is_escaped_wherever_it_is() {
        let mut row = row("a", C, Layout::Split, Outcome::Splat);
        let evil = "\"'><script>&\x1b";
        row.run.case.name = evil.into();
        row.run.case.lie = evil.into();
        row.run.case.parameter = Some(evil.into());
        row.run.case.kernel = Some(evil.into());
        row.detail = evil.into();
        row.log = evil.into();
        let text = text(&[row]);
        assert!(
            !text.contains("<script>") && !text.contains('\x1b'),
            "{text}"
        );
        assert!(!text.contains("<machine>") && text.contains("&lt;machine&gt;"));
        assert!(text.contains("&quot;&#39;&gt;&lt;script&gt;&amp;\u{fffd}"));
        assert!(text.contains("a&amp;b") && text.contains("x &lt; y"));
    }

    #[test]
    fn a_void_row_proves_nothing() {
        let text = text(&[void(row("a", RUST, Layout::Split, Outcome::Clean))]);
        assert!(
            text.contains("title=\"the lie was not told\">proves nothing</a>"),
            "{text}"
        );
        assert!(text.contains("<b>Rust split</b>: <b>proves nothing</b> – the lie was not told"));
        assert!(text.contains("<td class=\"number\">0 of 0</td>"), "{text}");
        assert!(!text.contains("aria-label"));
    }

    #[test]
    fn the_summary_counts_by_driver() {
        let rows = [
            row("a", C, Layout::Split, Outcome::Splat),
            row("a", C, Layout::Packed, Outcome::Splat),
            row("a", RUST, Layout::Split, Outcome::Broken),
            void(row("a", RUST, Layout::Packed, Outcome::Broken)),
        ];
        let text = outcomes(&rows);
        let counts = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap();
            let cells = line.split("<td class=\"number").skip(1);
            let numbers = cells.map(|cell| cell.split(['>', '<']).nth(1).unwrap());
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(counts(">splat<"), ["2", "0"]);
        assert_eq!(counts(">broken<"), ["0", "1"]);
        assert_eq!(counts(">proves nothing<"), ["0", "1"]);
        assert_eq!(counts(">as demanded<"), ["0 of 2", "1 of 1"]);
    }

    #[test]
    fn only_what_is_not_as_demanded_is_explained() {
        let good = row("a", C, Layout::Split, Outcome::Broken);
        let bad = row("a", C, Layout::Packed, Outcome::Hang);
        let text = text(&[good, bad]);
        assert!(text.contains(">broken</a>"), "{text}");
        assert!(text.contains("✗</span> hang</a>"), "{text}");
        assert!(text.contains("<li><b>C packed</b>: <b>hang</b> – hang was seen</li>"));
        assert!(!text.contains("broken was seen</li>"));
    }

    #[test]
    fn cells_with_one_reason_share_it() {
        let bad = |layout| row("a", C, layout, Outcome::Hang);
        let text = text(&[bad(Layout::Split), bad(Layout::Packed)]);
        assert!(
            text.contains("<b>C split, C packed</b>: <b>hang</b> – "),
            "{text}"
        );
    }

    #[test]
    fn devices_have_tables_of_their_own() {
        let clean = |name| row(name, RUST, Layout::Split, Outcome::Clean);
        let text = text(&[clean("a-blk"), clean("a")]);
        let at = |what: &str| text.find(what).unwrap();
        assert!(at("id=\"rng\"") < at("id=\"a\""), "{text}");
        assert!(at("id=\"a\"") < at("id=\"blk\""), "{text}");
        assert!(at("id=\"blk\"") < at("id=\"a-blk\""), "{text}");
    }
}
