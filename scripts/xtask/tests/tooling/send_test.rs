// SPDX-License-Identifier: MIT OR Apache-2.0

//! `send-test` on a small series: mails that arrive whole, and a mail server
//! that loses them, changes them, or is another's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{check_error, fails, succeeds, Bench};

const FROM: &str = "Jörg Example <j@example.org>";
const BODY: &str = "Why, größer:\n\nFrom here on it differs.\n.\n..dots\n\nCc: X <x@example.org>\n\
                    Signed-off-by: Jörg Example <j@example.org>\n";

/// Changes what the server is, before it starts.
const LOSES_ONE: &str = "\
import mailbox
keep = mailbox.Maildir.add
def add(self, mail):
    return None if '[PATCH 2/2]' in mail['Subject'] else keep(self, mail)
mailbox.Maildir.add = add
";
const CHANGES_ONE: &str = "\
import mailbox
keep = mailbox.Maildir.add
def add(self, mail):
    mail._payload = mail._payload.replace('+int two;', '+int too;')
    return keep(self, mail)
mailbox.Maildir.add = add
";
const HAS_ANOTHER_TOKEN: &str = "import os\nos.environ['TOKEN'] = 'other'\n";
const DOES_NOT_START: &str = "\
import asyncio
def run(*args):
    raise OSError('no room')
asyncio.run = run
";

/// A series of two topics, its patches, and the tools, of which the server's
/// Python is changed by `lie`. Nothing where there are no tools to use.
fn bench(lie: &str) -> Option<Bench> {
    let cache = std::env::var_os("RUST_VIRTIO_CACHE").map(PathBuf::from);
    let tools = cache.map(|cache| cache.join("toolchain/mail"));
    let Some(tools) = tools.filter(|tools| tools.is_dir()) else {
        println!("skipped: the tools are unpacked by the first make send-test");
        return None;
    };
    let bench = Bench::new();
    let modules = bench.path("cache/toolchain/mail/usr/lib/python3/dist-packages");
    fs::create_dir_all(&modules).unwrap();
    link_all(&tools.join("usr/lib/python3/dist-packages"), &modules);
    fs::write(modules.join("sitecustomize.py"), lie).unwrap();
    let root = bench.path("cache/toolchain/mail/usr");
    for dir in ["bin", "lib/git-core"] {
        symlink(tools.join("usr").join(dir), root.join(dir)).unwrap();
    }
    make_series(&bench);
    Some(bench)
}

fn link_all(from: &Path, to: &Path) {
    for entry in from.read_dir().unwrap().flatten() {
        symlink(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn git(bench: &Bench) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(bench.path("series"));
    for (key, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Jörg Example"),
        ("GIT_AUTHOR_EMAIL", "j@example.org"),
        ("GIT_COMMITTER_NAME", "Jörg Example"),
        ("GIT_COMMITTER_EMAIL", "j@example.org"),
    ] {
        command.env(key, value);
    }
    command
}

fn make_series(bench: &Bench) {
    let series = bench.path("series");
    fs::create_dir(&series).unwrap();
    let run = |args: &[&str]| succeeds(git(bench).args(args));
    run(&["init", "-q", "-b", "base"]);
    fs::write(series.join("a.c"), "int one;\n").unwrap();
    fs::write(series.join("b.c"), "int b;\n").unwrap();
    run(&["add", "."]);
    run(&["commit", "-q", "-m", "base"]);
    run(&["checkout", "-q", "--detach"]);
    for (topic, files) in [("10-a", ["a.c", "new/c.c"]), ("20-b", ["a.c", "b.c"])] {
        fs::create_dir_all(series.join("new")).unwrap();
        for file in files {
            let old = fs::read_to_string(series.join(file)).unwrap_or_default();
            // A line that is too long for mail has to be wrapped for the way.
            let long = "x".repeat(if file == "new/c.c" { 1200 } else { 0 });
            let text = format!("{old}int two; // ü{long}\n");
            fs::write(series.join(file), text).unwrap();
            run(&["add", "."]);
            run(&["commit", "-q", "-m", &format!("{file}: {topic}\n\n{BODY}")]);
        }
        run(&["update-ref", &format!("refs/series/{topic}/v1"), "HEAD"]);
        let folder = bench.path("repo/out/patches").join(topic);
        let format = ["format-patch", "-q", "--thread", "--cover-letter", "-2"];
        succeeds(
            git(bench)
                .args(format)
                .arg(format!("--from={FROM}"))
                .args(["--to=List <l@example.org>", "--cc=Müller <m@example.org>"])
                .arg("-o")
                .arg(&folder),
        );
        finish_letters(&folder, topic);
    }
}

/// Fills the cover letter in. Git names those that it makes in one second alike.
fn finish_letters(folder: &Path, topic: &str) {
    for file in folder.read_dir().unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap();
        let text = text
            .replace("*** SUBJECT HERE ***", topic)
            .replace("*** BLURB HERE ***", "Größer.")
            .replace("<cover.", &format!("<{topic}."));
        fs::write(file.path(), text).unwrap();
    }
}

fn send_test(bench: &Bench) -> Command {
    let mut command = bench.xtask(&["send-test", "--no-build", "--series"]);
    command.arg(bench.path("series/.git"));
    command
}

/// Results that are not good come with exit code 1 and no error.
fn failed_results(bench: &Bench) -> String {
    let output = send_test(bench).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}{errors}");
    said
}

fn failed(said: &str, name: &str) -> bool {
    let start = format!("FAILED send-test.{name}:");
    said.lines().any(|line| line.starts_with(&start))
}

#[test]
fn a_series_arrives_whole_and_applies() {
    let Some(bench) = bench("") else { return };
    let said = succeeds(&mut send_test(&bench));
    assert!(said.contains("2 threads, 6 mails"), "{said}");
    assert!(said.contains(" passed, 0 failed"), "{said}");
    let mbox = bench.path("repo/out/send-test/20-b.mbox");
    let mbox = fs::read_to_string(mbox).unwrap();
    assert!(mbox.contains("\n>From here on it differs.\n"), "{mbox}");
}

#[test]
fn settings_cannot_redirect_it() {
    let Some(bench) = bench("") else { return };
    let settings = bench.path("settings");
    let stolen = bench.path("stolen");
    let thief = bench.path("thief");
    let text = format!(
        "[sendemail]\n\tsmtpServer = {}\n\tcc = d@example.org\n\ttoCmd = echo e@example.org\n",
        thief.display()
    );
    fs::write(&settings, text).unwrap();
    fs::write(&thief, format!("#!/bin/sh\ntouch {}\n", stolen.display())).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&thief, mode).unwrap();
    let mut command = send_test(&bench);
    command
        .env("GIT_CONFIG_GLOBAL", &settings)
        .env("GIT_CONFIG_SYSTEM", &settings)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "sendemail.smtpserver")
        .env("GIT_CONFIG_VALUE_0", &thief);
    let said = succeeds(&mut command);
    assert!(said.contains(" passed, 0 failed"), "{said}");
    assert!(!stolen.exists());
}

#[test]
fn where_it_gets_no_network_of_its_own_it_says_so() {
    let Some(bench) = bench("") else { return };
    let path = bench.path_without(&["unshare"]);
    let said = succeeds(send_test(&bench).env("PATH", path));
    assert!(said.contains("skipped send-test.no-way-out"), "{said}");
    assert!(said.contains(" passed, 0 failed"), "{said}");
}

#[test]
fn a_mail_that_is_lost_fails() {
    let Some(bench) = bench(LOSES_ONE) else {
        return;
    };
    let said = failed_results(&bench);
    for name in ["10-a.arrived", "10-a.text", "10-a.git-am", "20-b.b4-am"] {
        assert!(failed(&said, name), "{name}: {said}");
    }
    assert!(!failed(&said, "10-a.sent"), "{said}");
}

#[test]
fn a_mail_that_is_changed_fails() {
    let Some(bench) = bench(CHANGES_ONE) else {
        return;
    };
    let said = failed_results(&bench);
    for name in ["10-a.text", "10-a.git-am", "10-a.commits", "10-a.b4-am"] {
        assert!(failed(&said, name), "{name}: {said}");
    }
    assert!(!failed(&said, "10-a.arrived"), "{said}");
}

#[test]
fn to_another_server_nothing_is_sent() {
    let Some(bench) = bench(HAS_ANOTHER_TOKEN) else {
        return;
    };
    let said = fails(&mut send_test(&bench));
    assert!(said.contains("is not our mail server"), "{said}");
    let mails = bench.path("cache/send-test/mail/new");
    assert_eq!(mails.read_dir().unwrap().count(), 0);
}

#[test]
fn without_a_server_nothing_is_sent() {
    let Some(bench) = bench(DOES_NOT_START) else {
        return;
    };
    let said = fails(&mut send_test(&bench));
    assert!(said.contains("the mail server did not start"), "{said}");
    assert!(said.contains("no room"), "{said}");
}

#[test]
fn threads_that_archives_would_mix_up_are_refused() {
    let bench = Bench::new();
    let mail = |id: &str| {
        format!("Message-ID: <{id}@x>\nFrom: A <a@example.org>\nSubject: [PATCH {id}/1] x\n\nx\n")
    };
    for topic in ["10-a", "20-b"] {
        for number in ["0", "1"] {
            let file = format!("out/patches/{topic}/000{number}-x.patch");
            bench.ours(&file, &mail(number));
        }
    }
    let said = bench.fails(&["send-test"]);
    assert!(said.contains("two mails are named <0@x>"), "{said}");
}

#[test]
fn without_patches_it_says_what_makes_them() {
    let bench = Bench::new();
    let said = fails(&mut bench.xtask(&["send-test"]));
    check_error(&said);
    assert!(said.contains("there are no patches in"), "{said}");
    assert!(said.contains("help: run make patches"), "{said}");
}
