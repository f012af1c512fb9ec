// SPDX-License-Identifier: MIT OR Apache-2.0

//! Errors as the user sees them: one line that says what broke, one that says what to do.

use std::fmt;
use std::io;

/// An error with advice. Anything else that fails is an `anyhow` error without.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: String,
}

impl Failure {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Returns early with a [`Failure`]: `bail_help!("what broke", "what to do")`.
#[macro_export]
macro_rules! bail_help {
    ($message:expr, $help:expr $(,)?) => {
        return Err($crate::failure::Failure::new($message, $help).into())
    };
}

/// What main prints on standard error for `error`.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error:#}");
    if let Some(help) = help_for(error) {
        text.push_str("\nhelp: ");
        text.push_str(&help);
    }
    text
}

/// The advice of the innermost failure that has one; a full disk has the same
/// advice wherever it was met.
fn help_for(error: &anyhow::Error) -> Option<String> {
    if is_disk_full(error) {
        return Some(
            "free some space, or choose a cache on another disk with --cache DIR \
             (RUST_VIRTIO_CACHE=DIR); what is complete stays usable"
                .into(),
        );
    }
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>())
        .last()
        .map(|failure| failure.help.clone())
}

/// Our own writes carry the error code; a child's only its text.
fn is_disk_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::StorageFull)
            || cause.to_string().contains("No space left on device")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn failure_prints_error_and_help() {
        let error = anyhow::Error::from(Failure::new("flex is missing", "install flex"));
        assert_eq!(render(&error), "error: flex is missing\nhelp: install flex");
    }

    #[test]
    fn context_is_joined_in_front_of_the_cause() {
        let inner: Result<(), _> = Err(Failure::new("inner", "advice"));
        let error = inner.context("outer").unwrap_err();
        assert_eq!(render(&error), "error: outer: inner\nhelp: advice");
    }

    #[test]
    fn full_disk_is_recognised_by_code_and_by_text() {
        let by_code = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        let by_text = anyhow::anyhow!("tar: write error: No space left on device");
        assert!(render(&by_code).contains("help: free some space"));
        assert!(render(&by_text).contains("help: free some space"));
    }
}
