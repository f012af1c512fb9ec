// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that send, receive and apply patches by mail. What the machine
//! lacks of them is unpacked in the cache: nothing that could send mail is
//! installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use super::{apt, apt_install, tools};
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::ui::Stage;

/// Debian's packages, and what shows that the machine has what is in them.
const SEND_EMAIL: &str = "git-email";
const AIOSMTPD: &str = "python3-aiosmtpd";
const B4: &str = "b4";
/// Debian's git needs it to send mail, but does not say so.
const MAIL_ADDRESS: &str = "libmailtools-perl";
/// What a trial sends.
const LETTER: &str = "Subject: x\nFrom: a@localhost\nTo: b@localhost\n\nx\n";
/// Debian's Python modules are of use to Debian's Python only.
const PYTHON: &str = "/usr/bin/python3";

/// Where these programs are.
#[derive(Clone, Debug)]
pub struct MailTools {
    pub python: PathBuf,
    /// Why it is not there, if it is not: what it checks can be done without.
    pub b4: std::result::Result<PathBuf, String>,
    /// PATH and, for modules that are not installed, PYTHONPATH.
    pub envs: Vec<(String, String)>,
}

impl MailTools {
    /// Finds or unpacks them.
    pub fn ensure(ctx: &Context, stage: &Stage) -> Result<Self> {
        let root = ctx.cache.join("toolchain/mail");
        let mut tools = Self::new(root.is_dir().then_some(&root))?;
        let missing = tools.missing()?;
        if !missing.is_empty() && apt::available() {
            unpack(ctx, stage, &missing, &root)?;
            tools = Self::new(Some(&root))?;
        }
        let missing = tools.missing()?;
        if missing.iter().any(|package| package != B4) {
            bail_help!(
                format!("what Debian has in {} is missing", missing.join(" and ")),
                "install git send-email and the Python module aiosmtpd"
            );
        }
        Ok(tools)
    }

    /// With what is unpacked in `root` behind what the machine has.
    fn new(root: Option<&PathBuf>) -> Result<Self> {
        let python = [PathBuf::from(PYTHON)]
            .into_iter()
            .chain(tools::find_program("python3"))
            .find(|path| path.is_file())
            .ok_or_else(|| anyhow!("there is no python3"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut tools = Self {
            python,
            b4: Err("b4 is not installed".into()),
            envs: vec![("PATH".into(), path.clone())],
        };
        let mut programs = tools::find_program("b4");
        if let Some(root) = root {
            let inside = |dir: &str| root.join(dir).display().to_string();
            let modules = inside("usr/lib/python3/dist-packages");
            tools.envs = vec![
                (
                    "PATH".into(),
                    format!("{path}:{}", inside("usr/lib/git-core")),
                ),
                ("PYTHONPATH".into(), modules),
                ("PERL5LIB".into(), inside("usr/share/perl5")),
            ];
            programs = programs.or_else(|| Some(root.join("usr/bin/b4")));
        }
        if let Some(b4) = programs {
            tools.b4 = match tools.works(&b4, &["--version"]) {
                true => Ok(b4),
                false => Err(format!("{} does not run", b4.display())),
            };
        }
        Ok(tools)
    }

    /// The packages of what does not work.
    fn missing(&self) -> Result<Vec<String>> {
        let receives = self.works(&self.python, &["-c", "import aiosmtpd.handlers"]);
        let works = [
            (SEND_EMAIL, self.sends()?),
            (AIOSMTPD, receives),
            (B4, self.b4.is_ok()),
        ];
        let missing = works.into_iter().filter(|(_, works)| !works);
        Ok(missing.map(|(package, _)| package.to_owned()).collect())
    }

    /// Only a trial shows whether all modules of Perl are there.
    fn sends(&self) -> Result<bool> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let letter = dir.path().join("letter");
        fs::write(&letter, LETTER).with_context(|| letter.display().to_string())?;
        let options = "send-email --dry-run --confirm=never --from=a@localhost \
                       --smtp-server=127.0.0.1";
        let git = Command::new("git")
            .args(options.split_whitespace())
            .arg(letter)
            .envs(&self.envs)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CEILING_DIRECTORIES", "/")
            .dir(dir.path());
        Ok(git.output().is_ok())
    }

    fn works(&self, program: &Path, args: &[&str]) -> bool {
        let command = Command::new(program).args(args).envs(&self.envs);
        command.output().is_ok()
    }
}

/// Unpacks `packages` and all that they need into `root`.
fn unpack(ctx: &Context, stage: &Stage, packages: &[String], root: &Path) -> Result<()> {
    let apt = apt_install::host_apt(ctx, stage, false)?;
    // What is unpacked already goes with the old root, so all is fetched anew.
    let mut wanted = match root.exists() {
        true => [SEND_EMAIL, AIOSMTPD, B4].map(str::to_owned).to_vec(),
        false => packages.to_vec(),
    };
    if wanted.iter().any(|package| package == SEND_EMAIL) {
        wanted.push(MAIL_ADDRESS.into());
    }
    let downloads = ctx.cache.join("downloads");
    let lacking = apt_install::lacking(&apt, &wanted)?;
    let files = apt.download_all(&lacking, &downloads, stage)?;
    apt::unpack_all(&files, root)?;
    for file in files {
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
