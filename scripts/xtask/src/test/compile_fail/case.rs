// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a case says of itself in its comments.

use std::fmt;

use anyhow::Result;

use crate::bail_help;

/// The code that rustc gives to a constant that cannot be evaluated.
const CONST_CODE: &str = "E0080";

/// The error that has to come first.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Such as `E0382`.
    Code(String),
    /// A constant panics when a driver's code is generated for its parameters.
    Const,
    /// Some errors have no code, only words.
    Words(String),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => f.write_str(code),
            Self::Const => f.write_str(CONST_CODE),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl Expected {
    fn parse(text: &str) -> Self {
        let quoted = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        match (quoted, text) {
            (Some(words), _) => Self::Words(words.into()),
            (None, "const" | CONST_CODE) => Self::Const,
            (None, code) => Self::Code(code.into()),
        }
    }

    pub fn fits(&self, code: Option<&str>, message: &str) -> bool {
        match self {
            Self::Code(expected) => code == Some(expected),
            Self::Const => code == Some(CONST_CODE),
            Self::Words(words) => code.is_none() && message.contains(words),
        }
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What must not compile: the first paragraph of the file's documentation.
    pub what: String,
    pub expected: Expected,
}

impl Case {
    /// # Errors
    /// When a line is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = || text.lines().map(str::trim);
        let what: Vec<_> = lines()
            .skip_while(|line| !line.starts_with("//! "))
            .map_while(|line| line.strip_prefix("//! "))
            .collect();
        let expected = lines().find_map(|line| line.strip_prefix("// error: "));
        let (false, Some(expected)) = (what.is_empty(), expected) else {
            bail_help!(
                "the case does not say what must not compile, or why",
                "it needs a line `//! What must not compile.` and a line `// error: E0382`, \
                 `// error: const` or `// error: \"words\"`"
            );
        };
        let what = what.join(" ");
        Ok(Self {
            what: what.trim_end_matches('.').to_owned(),
            expected: Expected::parse(expected.trim()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_what_and_why() {
        let text = "// SPDX\n\n//! A buffer is\n//! not used twice.\n//!\n//! More.\n\n\
                    // error: E0382\n\nfn f() {}\n";
        let case = Case::parse(text).unwrap();
        assert_eq!(case.what, "A buffer is not used twice");
        assert_eq!(case.expected, Expected::Code("E0382".into()));
        assert!(Case::parse("//! What.\n").is_err());
        assert!(Case::parse("// error: E0382\n").is_err());
    }

    #[test]
    fn errors_are_known_by_code_or_by_words() {
        assert_eq!(Expected::parse("const"), Expected::Const);
        assert_eq!(Expected::parse("E0080"), Expected::Const);
        assert!(Expected::Const.fits(Some("E0080"), ""));
        let code = Expected::parse("E0382");
        assert!(code.fits(Some("E0382"), "") && !code.fits(Some("E0499"), ""));
        let words = Expected::parse("\"may not live long enough\"");
        assert!(words.fits(None, "lifetime may not live long enough"));
        assert!(!words.fits(None, "mismatched"));
        assert!(!words.fits(Some("E0382"), "lifetime may not live long enough"));
    }
}
