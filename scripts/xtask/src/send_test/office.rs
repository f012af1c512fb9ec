// SPDX-License-Identifier: MIT OR Apache-2.0

//! The mail server that this tool starts, and the proof that it is the one that
//! answers: only with that proof can anything be sent.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::cage::{Cage, Network};
use crate::bail_help;
use crate::command::{Event, Running};
use crate::doctor::MailTools;
use crate::process_group::check_interrupt;
use crate::stamp;

const SERVER: &str = include_str!("server.py");
const GREETING: &str = include_str!("greeting.py");
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running mail server.
pub struct Office {
    /// Runs programs where the server can be reached.
    pub cage: Cage,
    /// Interfaces that are up where the server is.
    pub up: Vec<String>,
    /// Why it is not in a network of its own, if it is not.
    pub shared: Option<String>,
    port: u16,
    token: String,
    python: PathBuf,
    maildir: PathBuf,
    /// The mails that were read already.
    seen: BTreeSet<PathBuf>,
    /// Ends with this.
    _server: Running,
}

/// What the server says once it listens.
#[derive(Deserialize)]
struct Hello {
    pid: u32,
    port: u16,
    up: Vec<String>,
}

/// Our own server answered at this port a moment ago.
pub struct Ours<'a> {
    pub cage: &'a Cage,
    pub port: u16,
}

impl Office {
    /// Starts it with a new Maildir in `dir`.
    pub fn open(dir: &Path, cage: &Cage, tools: &MailTools) -> Result<Self> {
        let script = dir.join("server.py");
        stamp::write_atomically(&script, SERVER.as_bytes(), 0o644)?;
        let maildir = dir.join("mail");
        let token = token()?;
        let python = |network: Network| {
            network
                .command(&tools.python)
                .arg(&script)
                .envs(&tools.envs)
                .env("PYTHONDONTWRITEBYTECODE", "1")
        };
        let works = |network| python(network).arg("probe").output().map(drop);
        let (network, shared) = Network::choose(works);
        check_interrupt()?;
        let mut server = python(network)
            .arg(if network.is_own() { "alone" } else { "shared" })
            .arg(&maildir)
            // Arguments can be seen by other users, the environment cannot.
            .env("TOKEN", &token)
            .spawn()?;
        let hello = wait(&mut server)?;
        Ok(Self {
            cage: cage.inside(network, hello.pid),
            up: hello.up,
            shared,
            port: hello.port,
            token,
            python: tools.python.clone(),
            maildir,
            seen: BTreeSet::new(),
            _server: server,
        })
    }

    /// Makes sure that the server that answers is this one.
    pub fn check(&self) -> Result<Ours<'_>> {
        check(&self.cage, &self.python, self.port, &self.token)
    }

    /// The mails that came since this was called last.
    pub fn new_mail(&mut self) -> Result<Vec<Vec<u8>>> {
        let dir = self.maildir.join("new");
        let mut mails = Vec::new();
        let entries = fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if self.seen.insert(path.clone()) {
                mails.push(fs::read(&path).with_context(|| path.display().to_string())?);
            }
        }
        Ok(mails)
    }
}

fn wait(server: &mut Running) -> Result<Hello> {
    let started = Instant::now();
    let mut said = Vec::new();
    while started.elapsed() < START_LIMIT {
        match server.next(Duration::from_millis(100))? {
            Event::Line(line) => match serde_json::from_str(&line) {
                Ok(hello) => return Ok(hello),
                Err(_) => said.push(line),
            },
            Event::Quiet => (),
            Event::End => break,
        }
    }
    bail_help!(
        format!("the mail server did not start:\n{}", said.join("\n")),
        "nothing was sent"
    );
}

fn check<'a>(cage: &'a Cage, python: &Path, port: u16, token: &str) -> Result<Ours<'a>> {
    let greeting = cage
        .command(python)
        .args(["-c", GREETING])
        .arg(port.to_string())
        .output();
    let greeting = match greeting {
        Ok(greeting) => greeting,
        Err(error) => {
            check_interrupt()?;
            let why = format!("{error:#}");
            let why = why.lines().last().unwrap_or_default();
            bail_help!(
                format!("our mail server does not answer on 127.0.0.1 port {port}: {why}"),
                "nothing is sent without it; run the command again"
            );
        }
    };
    if !is_ours(&greeting, token) {
        bail_help!(
            format!(
                "what answers on 127.0.0.1 port {port} is not our mail server: {:?}",
                greeting.trim_end()
            ),
            "nothing is sent to others; run the command again"
        );
    }
    Ok(Ours { cage, port })
}

/// `220 host token`, the token being a word of its own.
fn is_ours(greeting: &str, token: &str) -> bool {
    let mut words = greeting.split_whitespace();
    !token.is_empty() && words.next() == Some("220") && words.any(|word| word == token)
}

/// 128 bits that nobody else can know.
fn token() -> Result<String> {
    let mut bytes = [0; 16];
    let mut random = fs::File::open("/dev/urandom").context("/dev/urandom")?;
    random.read_exact(&mut bytes).context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;
    use crate::failure::render;

    fn checked(port: u16) -> Result<()> {
        let envs = [("PATH".to_owned(), std::env::var("PATH").unwrap())];
        let cage = Cage::new(Path::new("/nowhere"), &envs);
        check(&cage, Path::new("python3"), port, "0123456789abcdef").map(|_| ())
    }

    /// A server that greets once.
    fn greet_with(greeting: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(greeting.as_bytes()).unwrap();
        });
        port
    }

    #[test]
    fn a_server_with_the_token_is_ours() {
        checked(greet_with("220 localhost 0123456789abcdef\r\n")).unwrap();
    }

    #[test]
    fn without_a_server_nothing_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let said = render(&checked(port).unwrap_err());
        assert!(said.contains("does not answer"), "{said}");
        assert!(said.contains("help: nothing is sent"), "{said}");
    }

    #[test]
    fn a_server_of_others_is_refused() {
        for greeting in ["220 mail.example.org ESMTP\r\n", "220 localhost 0123\r\n"] {
            let said = render(&checked(greet_with(greeting)).unwrap_err());
            assert!(said.contains("is not our mail server"), "{said}");
            assert!(said.contains("help: nothing is sent"), "{said}");
        }
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(token().unwrap(), token().unwrap());
        assert_eq!(token().unwrap().len(), 32);
    }
}
