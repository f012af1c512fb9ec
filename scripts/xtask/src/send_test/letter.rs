// SPDX-License-Identifier: MIT OR Apache-2.0

//! One mail, as a file that is to be sent or as it arrived.

use anyhow::{Context as _, Result};
use mailparse::{MailAddr, MailHeaderMap as _, ParsedMail, SingleInfo};

use crate::bail_help;

/// `Name <address>`; the name may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person {
    pub name: String,
    pub address: String,
}

impl Person {
    /// As a mailer takes it on its command line.
    pub fn full(&self) -> String {
        match self.name.is_empty() {
            true => self.address.clone(),
            false => format!("{} <{}>", self.name, self.address),
        }
    }
}

impl From<SingleInfo> for Person {
    fn from(info: SingleInfo) -> Self {
        Self {
            name: info.display_name.unwrap_or_default(),
            address: info.addr,
        }
    }
}

/// What counts of a mail.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// With its angle brackets, as are all of these.
    pub id: String,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub subject: String,
    pub from: Vec<Person>,
    pub to: Vec<Person>,
    pub cc: Vec<Person>,
    /// Whom the server was told to deliver it to; empty for a file.
    pub recipients: Vec<String>,
    /// The text, free of what it was wrapped in for the way.
    pub body: Vec<u8>,
    /// All of it, without the line that starts a file of `git format-patch`.
    pub raw: Vec<u8>,
}

impl Letter {
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let raw = without_from_line(bytes);
        let mail = mailparse::parse_mail(raw).context("this is no mail")?;
        let id = ids(&mail, "Message-ID");
        let [id] = &id[..] else {
            bail_help!(
                "it has no Message-ID of its own",
                "make the patches with git format-patch --thread"
            );
        };
        Ok(Self {
            id: id.clone(),
            in_reply_to: ids(&mail, "In-Reply-To"),
            references: ids(&mail, "References"),
            subject: header(&mail, "Subject"),
            from: people(&mail, "From")?,
            to: people(&mail, "To")?,
            cc: people(&mail, "Cc")?,
            recipients: addresses(&header(&mail, "X-RcptTo")),
            body: body(&mail)?,
            raw: raw.to_vec(),
        })
    }
}

/// A mailbox starts each mail with such a line; mails themselves have none.
fn without_from_line(bytes: &[u8]) -> &[u8] {
    match bytes.starts_with(b"From ") {
        true => match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => &bytes[end + 1..],
            None => &[],
        },
        false => bytes,
    }
}

/// The text byte by byte; the decoder ends lines as mail does on its way.
fn body(mail: &ParsedMail) -> Result<Vec<u8>> {
    let body = mail.get_body_raw().context("its text is not readable")?;
    let encoding = header(mail, "Content-Transfer-Encoding");
    if !encoding.eq_ignore_ascii_case("quoted-printable") {
        return Ok(body);
    }
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    let ended = |line: &[u8]| match line.strip_suffix(b"\r\n") {
        Some(text) => [text, b"\n"].concat(),
        None => line.to_vec(),
    };
    Ok(lines.flat_map(ended).collect())
}

/// On one line: where a long header is folded means nothing.
fn header(mail: &ParsedMail, name: &str) -> String {
    let value = mail.headers.get_first_value(name).unwrap_or_default();
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ids(mail: &ParsedMail, name: &str) -> Vec<String> {
    header(mail, name)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn addresses(list: &str) -> Vec<String> {
    list.split(", ")
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect()
}

fn people(mail: &ParsedMail, name: &str) -> Result<Vec<Person>> {
    let mut people = Vec::new();
    for value in mail.headers.get_all_headers(name) {
        let list = mailparse::addrparse_header(value)
            .with_context(|| format!("its {name}: is not a list of addresses"))?;
        for address in list.iter() {
            match address {
                MailAddr::Single(info) => people.push(info.clone().into()),
                MailAddr::Group(group) => {
                    people.extend(group.addrs.iter().cloned().map(Person::from));
                }
            }
        }
    }
    Ok(people)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "From 0123 Mon Sep 17 00:00:00 2001\n\
        Message-ID: <1.a@example.org>\n\
        In-Reply-To: <0.a@example.org>\n\
        References: <0.a@example.org>\n\
        From: =?UTF-8?q?J=C3=B6rg?= <j@example.org>\n\
        Subject: [PATCH v2 1/1] kernel: a subject that is\n folded\n\
        To: \"Last, First\" <l@example.org>,\n    Müller <m@example.org>\n\
        Cc: list@example.org\n\nText\n";

    #[test]
    fn a_file_of_format_patch_is_read() {
        let letter = Letter::parse(FILE.as_bytes()).unwrap();
        assert_eq!(letter.id, "<1.a@example.org>");
        assert_eq!(letter.in_reply_to, ["<0.a@example.org>"]);
        assert_eq!(
            letter.subject,
            "[PATCH v2 1/1] kernel: a subject that is folded"
        );
        assert_eq!(letter.from[0].full(), "Jörg <j@example.org>");
        assert_eq!(letter.to[0].name, "Last, First");
        assert_eq!(letter.to[1].name, "Müller");
        assert_eq!(letter.cc[0].full(), "list@example.org");
        assert_eq!(letter.body, b"Text\n");
        assert!(letter.raw.starts_with(b"Message-ID"));
    }

    #[test]
    fn names_read_the_same_however_they_are_written() {
        let sent = FILE.replace("Müller", "=?UTF-8?q?M=C3=BCller?=");
        let sent = Letter::parse(sent.as_bytes()).unwrap();
        assert_eq!(sent.to, Letter::parse(FILE.as_bytes()).unwrap().to);
    }

    #[test]
    fn text_comes_out_of_its_wrapping() {
        let wrapped = FILE.replace(
            "\n\nText",
            "\nContent-Transfer-Encoding: quoted-printable\n\nT=65xt",
        );
        assert_eq!(Letter::parse(wrapped.as_bytes()).unwrap().body, b"Text\n");
    }

    #[test]
    fn a_mail_without_a_name_is_refused() {
        let error = Letter::parse(b"Subject: x\n\ny\n").unwrap_err();
        assert!(error.to_string().contains("no Message-ID"), "{error}");
    }
}
