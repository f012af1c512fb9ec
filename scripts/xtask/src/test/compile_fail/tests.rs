// SPDX-License-Identifier: MIT OR Apache-2.0

use super::case::Expected;
use super::*;

const FILE: &str = "/t/case.rs";

fn case() -> Case {
    Case {
        what: "A buffer is used twice".into(),
        expected: Expected::Code("E0382".into()),
    }
}

fn span(file: &str) -> String {
    format!(r#"{{"file_name":"{file}","is_primary":true,"expansion":null}}"#)
}

fn error(code: &str, spans: &str) -> String {
    format!(
        r#"{{"message":"no","code":{{"code":"{code}"}},"level":"error","spans":[{spans}],"rendered":"error\n  --> here\n"}}"#
    )
}

const ABORTING: &str = r#"{"message":"aborting due to 1 previous error","code":null,"level":"error","spans":[],"rendered":null}"#;

fn said(lines: &[String]) -> Said {
    let lines: Vec<_> = lines.iter().cloned().chain([ABORTING.into()]).collect();
    Said::parse(false, &lines)
}

fn judged(broken: &Said) -> Entry {
    let fixed = Said::parse(true, &[]);
    judge(
        Entry::new("compile-fail.x"),
        &case(),
        Path::new(FILE),
        &fixed,
        broken,
    )
}

#[test]
fn what_is_refused_for_its_reason_is_good() {
    let entry = judged(&said(&[error("E0382", &span(FILE))]));
    assert!(entry.ok, "{}", entry.detail);
    assert_eq!(entry.detail, "A buffer is used twice: E0382");
    let list = listing(&[entry]).unwrap();
    assert!(
        list.contains("x             A buffer is used twice  E0382"),
        "{list}"
    );
}

#[test]
fn a_macro_that_the_file_uses_is_the_file() {
    let inner = format!(
        r#"{{"file_name":"/t/macros.rs","is_primary":true,"expansion":{{"span":{}}}}}"#,
        span(FILE)
    );
    assert!(judged(&said(&[error("E0382", &inner)])).ok);
}

#[test]
fn what_is_refused_for_another_reason_is_not() {
    let other_code = [error("E0277", &span(FILE)), error("E0382", &span(FILE))];
    let elsewhere = [
        error("E0382", &span(FILE)),
        error("E0433", &span("/t/a.rs")),
    ];
    let nowhere = [error("E0382", "")];
    for lines in [&other_code[..], &elsewhere, &nowhere, &[]] {
        let entry = judged(&said(lines));
        assert!(!entry.ok, "{lines:?}");
    }
}

#[test]
fn what_compiles_either_way_or_never_is_not() {
    let path = Path::new(FILE);
    let good = Said::parse(true, &[]);
    let bad = said(&[error("E0382", &span(FILE))]);
    let entry = || Entry::new("compile-fail.x");
    assert!(!judge(entry(), &case(), path, &good, &good).ok);
    let never = judge(entry(), &case(), path, &bad, &bad);
    assert!(!never.ok);
    assert_eq!(never.excerpt, ["error", "  --> here"]);
    assert_eq!(listing(&[never]), None);
}

#[test]
fn a_rustc_that_breaks_shows_what_it_said() {
    let entry = judged(&Said::parse(false, &["thread panicked".into()]));
    assert!(entry.detail.ends_with("rustc failed without an error"));
    assert_eq!(entry.excerpt, ["thread panicked"]);
}
