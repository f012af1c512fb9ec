// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU's machine protocol, of guests and of the storage daemon.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail, Context as _, Result};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self {
            reader: BufReader::new(stream),
        };
        qmp.message().context("QMP greets")?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command; events that come meanwhile are ignored.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.reader.get_mut(), "{line}").context("QMP")?;
        loop {
            let mut message = self.message().with_context(|| command.to_owned())?;
            if let Some(result) = message.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = message.get("error") {
                bail!("{command}: {}", error["desc"]);
            }
        }
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(anyhow!("QMP ended")),
            _ => serde_json::from_str(&line).with_context(|| line.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn results_come_through_and_events_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            for answer in [
                "{\"QMP\":{}}\n",
                "{\"return\":{}}\n",
                "{\"event\":\"RESUME\"}\n{\"return\":7}\n",
                "{\"error\":{\"desc\":\"no such thing\"}}\n",
            ] {
                stream.write_all(answer.as_bytes()).unwrap();
                reader.read_line(&mut line).unwrap();
            }
        });
        // The server answers one line late, as it greets without being asked.
        let mut qmp = Qmp::connect(&socket).unwrap();
        assert_eq!(qmp.execute("a", json!({})).unwrap(), json!(7));
        let error = qmp.execute("b", json!({})).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
        drop(qmp);
        server.join().unwrap();
    }
}
