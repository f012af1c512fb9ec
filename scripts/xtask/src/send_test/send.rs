// SPDX-License-Identifier: MIT OR Apache-2.0

//! `git send-email`, to our own server.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::office::Ours;
use super::topic::Topic;
use crate::command::Command;

const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The headers in the files say who gets it and what it replies to; nothing asks.
const OPTIONS: &[&str] = &[
    "--smtp-server=127.0.0.1",
    "--smtp-auth=none",
    "--smtp-domain=localhost",
    "--no-thread",
    "--confirm=never",
    "--transfer-encoding=auto",
    "--8bit-encoding=UTF-8",
    "--suppress-cc=author",
    "--suppress-cc=self",
    "--suppress-cc=body",
    "--suppress-cc=cccmd",
];

/// Sends all files of `topic`; `on_mail` hears of each that was taken.
pub fn send(
    server: &Ours,
    topic: &Topic,
    dir: &Path,
    log: &Path,
    mut on_mail: impl FnMut(),
) -> Result<()> {
    command(server, topic)
        .dir(dir)
        .log(log)
        .limit(LIMIT)
        .lines(|line| {
            if line.starts_with("Result: 250") {
                on_mail();
            }
        })
}

fn command(server: &Ours, topic: &Topic) -> Command {
    server
        .cage
        .command("git")
        .arg("send-email")
        .args(OPTIONS)
        .arg(format!("--smtp-server-port={}", server.port))
        .arg(format!("--from={}", topic.sender().full()))
        .args(&topic.files)
}

#[cfg(test)]
mod tests {
    use super::super::cage::Cage;
    use super::super::topic::tests::topic;
    use super::*;

    #[test]
    fn the_only_server_is_ours() {
        let cage = Cage::new(Path::new("/nowhere"), &[]);
        let server = Ours {
            cage: &cage,
            port: 2525,
        };
        let line = command(&server, &topic()).shell_line();
        assert!(line.contains("--smtp-server=127.0.0.1 "), "{line}");
        assert!(line.contains("--smtp-server-port=2525 "), "{line}");
        assert!(line.contains("GIT_CONFIG_GLOBAL=/dev/null "), "{line}");
    }
}
