// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures as a page for who has never seen the lab: one file, nothing to load.

use protocol::bench::Side;
use protocol::stats::Summary;

use super::figures::{Figures, Row};
use super::plot::{verdict, words, Plot, Verdict};
use super::profile::Profile;
use crate::html::{document, escape};

const TITLE: &str = "Virtio drivers: Rust by C";

const SIDES: [Side; 4] = [Side::C, Side::Rust, Side::Scrub, Side::Empty];

/// The text of `out/bench.html`.
pub fn html(figures: &Figures, plots: &[Plot], profiles: &[Profile]) -> String {
    let mut body = intro(figures);
    body += &bars(&figures.rows);
    body += &pictures(plots);
    body += &table(&figures.rows);
    body += &functions(profiles);
    body += &taken(figures);
    body += NOT_SAID;
    document(TITLE, STYLE, &body)
}

fn intro(figures: &Figures) -> String {
    format!(
        "<h1>{TITLE}</h1>\n\
         <p class=\"facts\">Linux {}, {}</p>\n\
         <p>The virtio drivers in C that Linux has, and those in Rust of a patch series, on the \
         same device, in the same boot, by turns. A ratio is Rust by C.</p>\n",
        escape(&figures.kernel),
        escape(&figures.date)
    )
}

/// How many bars are met, and which are not.
fn bars(rows: &[Row]) -> String {
    let count = |wanted| rows.iter().filter(|row| verdict(row) == wanted).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    if met + missed == 0 {
        return "<p>No row has a bar.</p>\n".into();
    }
    let names = rows.iter().filter(|row| verdict(row) == Verdict::Missed);
    let names = names.map(|row| format!("<li>{}</li>\n", escape(&name(row))));
    let names = match missed {
        0 => String::new(),
        _ => format!(
            "<ul class=\"missed\">\n{}</ul>\n",
            names.collect::<String>()
        ),
    };
    let of = met + missed;
    let missed = match missed {
        0 => String::new(),
        _ => format!(" <b class=\"missed\">✗ Missed: {missed}.</b>"),
    };
    format!("<p>{met} of {of} bars are met.{missed}</p>\n{names}")
}

fn name(row: &Row) -> String {
    let (what, unit) = (words::what(row), words::unit(&row.unit));
    format!("{what}, {unit} on {}", row.machine)
}

fn pictures(plots: &[Plot]) -> String {
    let plots = plots.iter().map(|plot| {
        format!(
            "<div class=\"plot\" id=\"{}\" role=\"img\" aria-label=\"{}\">\n{}</div>\n",
            escape(&plot.id),
            escape(&plot.title),
            plot.svg
        )
    });
    let plots: String = plots.collect();
    if plots.is_empty() {
        return plots;
    }
    format!("<h2 id=\"plots\">Plots</h2>\n<div class=\"plots\">\n{plots}</div>\n")
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "<p>Nothing was measured.</p>\n".into();
    }
    let sides: Vec<_> = SIDES
        .into_iter()
        .filter(|side| rows.iter().any(|row| row.sides.contains_key(side)))
        .collect();
    let heads = sides.iter().map(|side| words::side(*side));
    let heads = heads.chain(["Ratio"]);
    let heads = heads.map(|head| format!("<th scope=\"col\" class=\"number\">{head}</th>"));
    let lines: String = rows.iter().map(|row| line(row, &sides)).collect();
    format!(
        "<h2 id=\"figures\">All figures</h2>\n\
         <p>Medians; below them the smallest and the largest.</p>\n\
         <div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">What</th>\
         <th scope=\"col\">Machine</th><th scope=\"col\">Unit</th>{}\
         <th scope=\"col\">Bar</th></tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n",
        heads.collect::<String>()
    )
}

fn line(row: &Row, sides: &[Side]) -> String {
    let sides = sides.iter().map(|side| cell(row.sides.get(side)));
    let bar = row.bar.as_deref().unwrap_or_default();
    let bar = match verdict(row) {
        Verdict::Met => format!("✓ {}", escape(bar)),
        Verdict::Missed => format!("<b class=\"missed\">✗ {} missed</b>", escape(bar)),
        Verdict::NoBar => String::new(),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>{}{}<td class=\"bar\">{bar}</td></tr>\n",
        escape(&words::what(row)),
        escape(&row.machine),
        escape(&words::unit(&row.unit)),
        sides.collect::<String>(),
        cell(row.ratio.as_ref())
    )
}

fn cell(summary: Option<&Summary>) -> String {
    let Some(summary) = summary else {
        return "<td class=\"number\"></td>".into();
    };
    let [median, min, max] = [summary.median, summary.min, summary.max].map(words::number);
    format!("<td class=\"number\">{median}<br><small>{min} – {max}</small></td>")
}

/// Where the instructions are, if somebody wanted to know.
fn functions(profiles: &[Profile]) -> String {
    if profiles.is_empty() {
        return String::new();
    }
    let tables = profiles
        .iter()
        .map(|profile| format!("<pre class=\"scroll\">{}</pre>\n", escape(&profile.table())));
    format!(
        "<h2 id=\"functions\">In which functions</h2>\n\
         <p>Each instruction of the kernel was counted while a guest did little and while it did \
         much; this is the difference, for one operation. What is generic in the abstractions \
         counts as the driver, into which it is compiled.</p>\n{}",
        tables.collect::<String>()
    )
}

fn taken(figures: &Figures) -> String {
    let machines = figures
        .machines
        .iter()
        .map(|(name, nature)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(nature)));
    format!(
        "<h2 id=\"taken\">How they were taken</h2>\n\
         <p>Each side was measured {}, by turns. A ratio is taken of each pair, and \
         then summed up; it need not be the ratio of the medians.</p>\n\
         <dl>\n<dt>Scrub</dt><dd>The driver in Rust, which clears the memory of reads. Where C \
         has no such thing, the ratio is that of clearing by not clearing.</dd>\n\
         <dt>Empty</dt><dd>A driver in C that does only what the virtqueue asks for, request by \
         request, with the same features: what the virtqueue costs. It is of no other use, and who \
         reads ahead can cost less.</dd>\n{}</dl>\n",
        words::times(figures.rows.iter()),
        machines.collect::<String>()
    )
}

const NOT_SAID: &str = "<h2 id=\"not-said\">What these figures do not say</h2>\n\
<ul>\n\
<li>How fast a disk or a server is. All machines here are virtual ones, on a host that does other \
things too. Compare the two sides of a row, not a row with a data sheet.</li>\n\
<li>How long an instruction takes. A cache miss, a barrier and an addition count the same.</li>\n\
<li>That a small difference is one. Where the range of a ratio has 1 in it, the drivers are equal as \
far as this can tell.</li>\n\
<li>Much about the slowest requests. Only a few are slower than p99.9, and one busy moment of the \
host can make all of them.</li>\n\
<li>Anything about other processors, other kernels or other configurations of this one.</li>\n\
</ul>\n";

const STYLE: &str = r#":root {
  --page: #ffffff; --text: #1c1e21; --soft: #5b616a; --rule: #d5d9de; --bad: #b2182b;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --text: #e4e6e9; --soft: #a2a9b2; --rule: #3a3f46; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 1590px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 36px 0 8px; }
p, ul, dl { max-width: 80ch; margin: 0 0 12px; }
li { margin-bottom: 4px; }
dt { font-weight: bold; }
dd { margin: 0 0 12px 20px; }
.facts, small { color: var(--soft); }
.missed { color: var(--bad); }
.plots {
  display: grid; gap: 16px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 680px), 1fr));
}
.plot { background: #ffffff; border: 1px solid var(--rule); border-radius: 4px; overflow-x: auto; }
.plot svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 4px 10px; border-top: 1px solid var(--rule); }
thead th { border-top: 0; border-bottom: 2px solid var(--rule); font-size: 13px; color: var(--soft); }
tbody th { font-weight: normal; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { white-space: nowrap; }
"#;

#[cfg(test)]
mod tests {
    use super::super::plot::{self, invented};
    use super::*;

    fn page(figures: &Figures) -> String {
        html(figures, &plot::all(figures).unwrap(), &[])
    }

    #[test]
    fn text_of_others_is_escaped_wherever_it_is() {
        let evil = "\"'><script>&\x1b";
        let mut figures = invented::figures();
        figures.kernel = evil.into();
        figures.date = evil.into();
        figures.machines = [(evil.into(), evil.into())].into();
        for row in &mut figures.rows {
            row.of = evil.into();
            row.machine = evil.into();
            row.bar = Some(evil.into());
        }
        figures.rows[0].unit = evil.into();
        let text = page(&figures);
        assert!(
            !text.contains("<script>") && !text.contains('\x1b'),
            "{text}"
        );
        assert!(text.contains("&quot;&#39;&gt;&lt;script&gt;&amp;\u{fffd}"));
    }

    #[test]
    fn nothing_is_loaded() {
        let text = page(&invented::figures());
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for word in ["http", "src=", "href=", "url(", "<script", "@import"] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn the_page_has_all_rows_and_all_plots() {
        let figures = invented::figures();
        let text = page(&figures);
        let rows = text.matches("<tr><th scope=\"row\">").count();
        assert_eq!(rows, figures.rows.len());
        for plot in plot::all(&figures).unwrap() {
            let id = format!("id=\"{}\"", plot.id);
            assert_eq!(text.matches(&id).count(), 1, "{id}");
        }
    }

    #[test]
    fn a_missed_bar_is_shown_as_missed() {
        let mut figures = invented::figures();
        figures.rows.truncate(1);
        assert!(page(&figures).contains("1 of 1 bars are met.</p>"));
        figures.rows[0].ok = false;
        let text = page(&figures);
        assert!(text.contains("0 of 1 bars are met. <b class=\"missed\">✗ Missed: 1.</b>"));
        assert!(text.contains("✗ &lt;= 0.98 missed</b>"), "{text}");
        assert!(text.contains("<li>blk.read 4 KiB, instructions on counted</li>"));
    }

    #[test]
    fn no_figures_make_a_page_as_well() {
        let mut figures = invented::figures();
        figures.rows.clear();
        let text = page(&figures);
        assert!(text.contains("Nothing was measured.") && !text.contains("<svg"));
    }
}
