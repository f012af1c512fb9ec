// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether what arrived is what was sent.

use std::collections::BTreeSet;

use super::letter::{Letter, Person};
use super::topic::Topic;
use crate::report::Entry;

/// What is compared of each mail: the name, and what is wrong if it is.
type Check = (&'static str, fn(&Topic, usize, &Letter) -> Option<String>);

const CHECKS: &[Check] = &[
    ("recipients", recipients),
    ("envelope", envelope),
    ("thread", thread),
    ("numbering", numbering),
    ("text", text),
];

/// The mails in the order of the files, and a result for each check.
pub fn compare(topic: &Topic, arrived: &[Letter]) -> (Vec<Letter>, Vec<Entry>) {
    let of = |letter: &Letter| arrived.iter().find(|mail| mail.id == letter.id).cloned();
    let found: Vec<_> = topic.letters.iter().map(of).collect();
    let mut entries = vec![count(topic, arrived, &found)];
    for (name, check) in CHECKS {
        let wrong = |(number, mail): (usize, &Option<Letter>)| {
            let Some(mail) = mail else {
                return Some(format!("mail {number} is missing"));
            };
            let why = check(topic, number, mail)?;
            Some(format!("mail {number}: {why}"))
        };
        let wrong = found.iter().enumerate().filter_map(wrong).collect();
        entries.push(entry(topic, name, wrong));
    }
    (found.into_iter().flatten().collect(), entries)
}

fn entry(topic: &Topic, name: &str, wrong: Vec<String>) -> Entry {
    let entry = Entry::new(format!("send-test.{}.{name}", topic.name));
    match wrong.first() {
        None => entry.pass(topic.letters.len() as f64, "mails", "as in the files"),
        Some(first) => {
            let more = match wrong.len() {
                1 => return entry.fail(first),
                count => count - 1,
            };
            entry
                .fail(format!("{first} (and {more} more)"))
                .excerpt(wrong)
        }
    }
}

/// Each file arrived once, and nothing else did.
fn count(topic: &Topic, arrived: &[Letter], found: &[Option<Letter>]) -> Entry {
    let mut wrong = Vec::new();
    for (number, (letter, mail)) in topic.letters.iter().zip(found).enumerate() {
        if mail.is_none() {
            wrong.push(format!("mail {number} {} did not arrive", letter.id));
        }
    }
    let known: BTreeSet<_> = topic.letters.iter().map(|letter| &letter.id).collect();
    let strangers = arrived.iter().filter(|mail| !known.contains(&mail.id));
    wrong.extend(strangers.map(|mail| format!("{} was not sent by us", mail.id)));
    let present = found.iter().flatten().count();
    if wrong.is_empty() && (arrived.len(), known.len()) != (present, present) {
        wrong.push(format!(
            "{} mails arrived of {present} files with {} Message-IDs",
            arrived.len(),
            known.len()
        ));
    }
    entry(topic, "arrived", wrong)
}

/// Whom the file says, but for a copy to the sender.
fn recipients(topic: &Topic, number: usize, mail: &Letter) -> Option<String> {
    let sent = &topic.letters[number];
    if mail.from != sent.from {
        return Some(differs("From", &sent.from, &mail.from));
    }
    if sorted(&mail.to) != sorted(&sent.to) {
        return Some(differs("To", &sent.to, &mail.to));
    }
    let cc = copies(topic, sent);
    (sorted(&mail.cc) != sorted(&cc)).then(|| differs("Cc", &cc, &mail.cc))
}

/// What the server was told is what the headers say.
fn envelope(topic: &Topic, number: usize, mail: &Letter) -> Option<String> {
    let sent = &topic.letters[number];
    let copies = copies(topic, sent);
    let expected = sent.to.iter().chain(&copies);
    let expected: BTreeSet<_> = expected.map(|person| person.address.as_str()).collect();
    let actual: BTreeSet<_> = mail.recipients.iter().map(String::as_str).collect();
    let different: Vec<_> = expected.symmetric_difference(&actual).copied().collect();
    (!different.is_empty() || actual.is_empty())
        .then(|| format!("the envelope differs in {}", different.join(", ")))
}

/// Patches reply to the cover letter, which replies to what its file says.
fn thread(topic: &Topic, number: usize, mail: &Letter) -> Option<String> {
    let sent = &topic.letters[number];
    if (&mail.in_reply_to, &mail.references) != (&sent.in_reply_to, &sent.references) {
        return Some("the headers that make it a thread were changed".into());
    }
    let cover = &topic.cover().id;
    let is_reply = mail.in_reply_to == [cover.as_str()] && mail.references.contains(cover);
    (number > 0 && !is_reply).then(|| "it is no reply to the cover letter".to_owned())
}

/// `[PATCH n/m]`, with the version from the second on.
fn numbering(topic: &Topic, number: usize, mail: &Letter) -> Option<String> {
    let sent = &topic.letters[number].subject;
    if mail.subject != *sent {
        return Some(format!(
            "its subject {sent:?} arrived as {:?}",
            mail.subject
        ));
    }
    let prefix = mail.subject.strip_prefix('[').unwrap_or_default();
    let (prefix, _) = prefix.split_once(']').unwrap_or_default();
    let mut words = prefix.split_whitespace().rev();
    let total = topic.patches().len();
    let width = total.to_string().len();
    let expected = format!("{number:0width$}/{total}");
    let version = (topic.version > 1).then(|| format!("v{}", topic.version));
    let right = words.next() == Some(expected.as_str())
        && version.is_none_or(|version| words.next() == Some(version.as_str()))
        && prefix.contains("PATCH");
    (!right).then(|| format!("its subject is {:?}, not of {expected}", mail.subject))
}

/// Byte by byte.
fn text(topic: &Topic, number: usize, mail: &Letter) -> Option<String> {
    let sent = &topic.letters[number].body;
    if *sent == mail.body {
        return None;
    }
    let mut pairs = sent
        .split(|b| *b == b'\n')
        .zip(mail.body.split(|b| *b == b'\n'));
    let line = pairs.position(|(sent, arrived)| sent != arrived);
    let lines = sent.split(|b| *b == b'\n').count();
    let line = line.unwrap_or(lines.min(mail.body.split(|b| *b == b'\n').count()));
    Some(format!("its text differs from line {} on", line + 1))
}

fn copies(topic: &Topic, sent: &Letter) -> Vec<Person> {
    let sender = &topic.sender().address;
    let others = sent.cc.iter().filter(|person| person.address != *sender);
    others.cloned().collect()
}

fn sorted(people: &[Person]) -> BTreeSet<&Person> {
    people.iter().collect()
}

fn differs(header: &str, expected: &[Person], actual: &[Person]) -> String {
    let names = |people: &[Person]| {
        let names: Vec<_> = people.iter().map(Person::full).collect();
        names.join(", ")
    };
    format!(
        "{header} is {} instead of {}",
        names(actual),
        names(expected)
    )
}

#[cfg(test)]
mod tests {
    use super::super::topic::tests::topic;
    use super::*;

    /// What arrives when nothing goes wrong, in another order.
    fn arrived() -> Vec<Letter> {
        let mut mails = topic().letters;
        for mail in &mut mails {
            mail.cc.pop();
            mail.recipients = ["b@example.org", "c@example.org"]
                .map(str::to_owned)
                .to_vec();
        }
        mails.reverse();
        mails
    }

    fn failed(mails: &[Letter]) -> Vec<String> {
        let (_, entries) = compare(&topic(), mails);
        let failed = entries.into_iter().filter(|entry| !entry.ok);
        failed
            .map(|entry| entry.name.rsplit('.').next().unwrap().to_owned())
            .collect()
    }

    fn failed_after(change: impl Fn(&mut Letter)) -> Vec<String> {
        let mut mails = arrived();
        change(&mut mails[0]);
        failed(&mails)
    }

    #[test]
    fn what_arrives_whole_passes_in_the_order_of_the_files() {
        assert!(failed(&arrived()).is_empty());
        let (mails, _) = compare(&topic(), &arrived());
        let ids: Vec<_> = mails.iter().map(|mail| mail.id.as_str()).collect();
        assert_eq!(ids, ["<0@x>", "<1@x>", "<2@x>"]);
    }

    #[test]
    fn a_lost_mail_fails_everything() {
        let names = failed(&arrived()[1..]);
        assert_eq!(names.len(), 1 + CHECKS.len());
    }

    #[test]
    fn a_mail_that_comes_twice_or_from_elsewhere_fails() {
        let mut mails = arrived();
        mails.push(mails[0].clone());
        assert_eq!(failed(&mails), ["arrived"]);
        mails[3].id = "<other@x>".into();
        assert_eq!(failed(&mails), ["arrived"]);
    }

    #[test]
    fn a_change_on_the_way_fails() {
        assert_eq!(failed_after(|mail| mail.body[8] = b'-'), ["text"]);
        assert_eq!(failed_after(|mail| mail.body.push(b'\n')), ["text"]);
        assert_eq!(
            failed_after(|mail| mail.subject.insert_str(0, "Re: ")),
            ["numbering"]
        );
        assert_eq!(failed_after(|mail| mail.in_reply_to.clear()), ["thread"]);
        assert_eq!(failed_after(|mail| mail.references.clear()), ["thread"]);
        assert_eq!(failed_after(|mail| mail.cc.clear()), ["recipients"]);
        assert_eq!(failed_after(|mail| mail.to[0].name.clear()), ["recipients"]);
    }

    #[test]
    fn nobody_else_gets_it() {
        let more = |mail: &mut Letter| mail.recipients.push("d@example.org".into());
        assert_eq!(failed_after(more), ["envelope"]);
        assert_eq!(failed_after(|mail| mail.recipients.clear()), ["envelope"]);
    }

    #[test]
    fn a_wrong_number_in_the_files_fails_too() {
        let judged = |subject: &str| {
            let mut topic = topic();
            topic.letters[2].subject = subject.into();
            let mail = topic.letters[2].clone();
            numbering(&topic, 2, &mail)
        };
        for wrong in [
            "[PATCH v2 2/3] two",
            "[PATCH 2/2] two",
            "[RFC v2 2/2] two",
            "two",
        ] {
            assert!(judged(wrong).is_some(), "{wrong}");
        }
        assert_eq!(judged("[RFC PATCH v2 2/2] two"), None);
        assert_eq!(judged("[PATCH net v2 2/2] two"), None);
    }
}
