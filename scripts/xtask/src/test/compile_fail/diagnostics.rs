// SPDX-License-Identifier: MIT OR Apache-2.0

//! What rustc says with `--error-format=json`.

use std::path::Path;

use serde::Deserialize;

use super::case::Expected;

/// How many lines of it a report shows.
const SHOWN: usize = 40;

#[derive(Clone, Debug, Deserialize)]
struct Diagnostic {
    message: String,
    code: Option<Code>,
    level: String,
    spans: Vec<Span>,
    rendered: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Code {
    code: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Span {
    file_name: String,
    is_primary: bool,
    expansion: Option<Box<Expansion>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Expansion {
    span: Span,
}

impl Span {
    /// Whether it is in `file`, or in a macro that `file` uses.
    fn leads_to(&self, file: &Path) -> bool {
        let used_in = self.expansion.as_ref();
        Path::new(&self.file_name) == file
            || used_in.is_some_and(|expansion| expansion.span.leads_to(file))
    }
}

impl Diagnostic {
    /// The last word, `aborting due to 2 previous errors`, is no error of its own.
    fn is_error(&self) -> bool {
        let is_summary = self.spans.is_empty() && self.message.starts_with("aborting due to");
        self.level.starts_with("error") && !is_summary
    }

    fn code(&self) -> Option<&str> {
        self.code.as_ref().map(|code| code.code.as_str())
    }

    /// Code and message.
    fn brief(&self) -> String {
        match self.code() {
            Some(code) => format!("{code}, {}", self.message),
            None => self.message.clone(),
        }
    }

    fn is_in(&self, file: &Path) -> bool {
        let mut primary = self.spans.iter().filter(|span| span.is_primary).peekable();
        primary.peek().is_some() && primary.all(|span| span.leads_to(file))
    }
}

/// All that one run of rustc said.
#[derive(Debug)]
pub struct Said {
    pub succeeded: bool,
    errors: Vec<Diagnostic>,
    /// Lines that are no diagnostics: rustc itself went wrong.
    other: Vec<String>,
}

impl Said {
    pub fn parse(succeeded: bool, lines: &[String]) -> Self {
        let mut said = Self {
            succeeded,
            errors: Vec::new(),
            other: Vec::new(),
        };
        for line in lines {
            match serde_json::from_str::<Diagnostic>(line) {
                Ok(diagnostic) if diagnostic.is_error() => said.errors.push(diagnostic),
                Ok(_) => (),
                Err(_) => said.other.push(line.clone()),
            }
        }
        said
    }

    /// Why this is not the refusal that was expected, if it is not.
    pub fn problem(&self, expected: &Expected, file: &Path) -> Option<String> {
        let Some(first) = self.errors.first() else {
            return Some("rustc failed without an error".into());
        };
        if !expected.fits(first.code(), &first.message) {
            return Some(format!("expected {expected}, got {}", first.brief()));
        }
        let stranger = self.errors.iter().find(|error| match expected {
            // The panic is where the assertion stands, and what led to it is
            // not told for a function that has no parameters of its own.
            Expected::Const => !expected.fits(error.code(), &error.message),
            Expected::Code(_) | Expected::Words(_) => !error.is_in(file),
        });
        let stranger = stranger.map(Diagnostic::brief);
        stranger.map(|brief| format!("there is an error elsewhere, too: {brief}"))
    }

    /// The errors as a person sees them.
    pub fn excerpt(&self) -> Vec<String> {
        let rendered = self.errors.iter().filter_map(|e| e.rendered.as_deref());
        let lines = rendered.flat_map(str::lines);
        let other = self.other.iter().map(String::as_str);
        lines.chain(other).take(SHOWN).map(str::to_owned).collect()
    }
}
