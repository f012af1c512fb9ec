// SPDX-License-Identifier: MIT OR Apache-2.0

//! apt with lists, settings and archives of its own in the cache: what the
//! machine's apt knows is not changed by asking. Signatures are checked as ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use super::apt_sources::Entry;
use super::version::Version;
use crate::command::Command;
use crate::context::Context;
use crate::stamp;
use crate::ui::Stage;

const UPDATE_LIMIT: Duration = Duration::from_secs(10 * 60);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Lists that are downloaded by default on some machines and tell us nothing.
const USELESS_LISTS: &[&str] = &[
    "DEP-11",
    "DEP-11-icons",
    "DEP-11-icons-small",
    "DEP-11-icons-large",
    "DEP-11-icons-hidpi",
    "Contents-deb",
];

pub fn available() -> bool {
    which::which("apt-get").is_ok() && which::which("dpkg-deb").is_ok()
}

/// Whose packages an apt deals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packages {
    /// This machine's.
    Own,
    /// Another architecture's, of which nothing is installed here.
    Of(&'static str),
}

/// One private apt.
pub struct Apt {
    dir: PathBuf,
    log: PathBuf,
}

impl Apt {
    /// Prepares `<cache>/apt/<purpose>` for the archives in `entries`.
    pub fn new(
        ctx: &Context,
        purpose: &str,
        entries: &[Entry],
        packages: Packages,
    ) -> Result<Self> {
        let dir = ctx.cache.join("apt").join(purpose);
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let lines: Vec<_> = entries.iter().map(Entry::line).collect();
        let sources = lines.join("\n") + "\n";
        stamp::write_atomically(&dir.join("sources.list"), sources.as_bytes(), 0o644)?;
        let settings = settings(&dir, packages);
        stamp::write_atomically(&dir.join("apt.conf"), settings.as_bytes(), 0o644)?;
        stamp::write_atomically(&dir.join("nothing-installed"), b"", 0o644)?;
        Ok(Self {
            dir,
            log: ctx.log(&format!("apt-{purpose}")),
        })
    }

    /// Fetches the archives' lists.
    pub fn update(&self, stage: &Stage) -> Result<()> {
        stage.message("fetching package lists");
        let mut command =
            self.command("apt-get")
                .args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
        for list in USELESS_LISTS {
            let option = format!("Acquire::IndexTargets::deb::{list}::DefaultEnabled=false");
            command = command.args(["-o", &option]);
        }
        command
            .limit(UPDATE_LIMIT)
            .log(&self.log)
            .run()
            .context("cannot fetch the package lists")
    }

    /// The version that an installation would choose.
    pub fn candidate(&self, package: &str) -> Result<Option<Version>> {
        let said = self
            .command("apt-cache")
            .args(["policy", package])
            .output()?;
        let version = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.and_then(Version::of_package))
    }

    /// Every version that the archives offer, newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        // Fails for a package that is in no list, which is an answer, too.
        let said = self
            .command("apt-cache")
            .args(["madison", package])
            .output()
            .unwrap_or_default();
        Ok(madison(&said))
    }

    /// Downloads one package into `dir` and returns where it is.
    pub fn download(&self, package: &str, dir: &Path, stage: &Stage) -> Result<PathBuf> {
        let files = self.download_all(&[package.to_owned()], dir, stage)?;
        let first = files.into_iter().next();
        first.ok_or_else(|| anyhow!("apt-get download left no package of {package}"))
    }

    /// As [`Apt::download`], with several packages at once.
    pub fn download_all(
        &self,
        packages: &[String],
        dir: &Path,
        stage: &Stage,
    ) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let fresh = tempfile::tempdir_in(dir).with_context(|| dir.display().to_string())?;
        let get = |command: Command| command.arg("download").args(packages).dir(fresh.path());
        let uris = get(self.command("apt-get").arg("--print-uris")).output()?;
        let names = match packages {
            [package] => package.clone(),
            packages => format!("{} packages", packages.len()),
        };
        stage.message(&format!("downloading {names}"));
        stage.set_total(uri_size(&uris).map(|bytes| bytes >> 20));
        get(self.command("apt-get").arg("-q"))
            .limit(DOWNLOAD_LIMIT)
            .log(&self.log)
            .watch(|_| stage.set_pos(bytes_in(fresh.path()) >> 20))
            .with_context(|| format!("cannot download {names}"))?;
        stage.set_total(None);
        let mut kept = Vec::new();
        for found in find_packages(fresh.path())? {
            let to = dir.join(found.file_name().unwrap_or_default());
            fs::rename(&found, &to).with_context(|| to.display().to_string())?;
            kept.push(to);
        }
        Ok(kept)
    }

    /// A command of apt's that uses this private apt.
    pub fn command(&self, program: &str) -> Command {
        Command::new(program)
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("apt.conf")
    }

    pub fn log(&self) -> &Path {
        &self.log
    }
}

fn settings(dir: &Path, packages: Packages) -> String {
    let dir = dir.display();
    let whose = match packages {
        Packages::Own => "Dir::State::status \"/var/lib/dpkg/status\";\n\
             // What apt installed only because something else wanted it stays known\n\
             // to the machine's own apt.\n\
             Dir::State::extended_states \"/var/lib/apt/extended_states\";\n"
            .to_owned(),
        Packages::Of(architecture) => format!(
            "Dir::State::status \"{dir}/nothing-installed\";\n\
             APT::Architecture \"{architecture}\";\n\
             APT::Architectures {{ \"{architecture}\"; }};\n"
        ),
    };
    format!(
        "Dir::State \"{dir}/state\";\n\
         {whose}\
         Dir::Cache \"{dir}/cache\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"-\";\n\
         // The unprivileged download user cannot enter a home directory.\n\
         APT::Sandbox::User \"root\";\n"
    )
}

/// Lines look like ` rust-src | 1.95.0+dfsg1-2 | http://... Packages`.
fn madison(text: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('|').map(str::trim);
        let (Some(version), Some(from)) = (columns.nth(1), columns.next()) else {
            continue;
        };
        if from.ends_with("Packages") && !versions.iter().any(|known| known == version) {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// Lines look like `'http://...' name_version_arch.deb 166780612 SHA256:...`.
fn uri_size(text: &str) -> Option<u64> {
    let lines = text.lines().filter(|line| line.starts_with('\''));
    let sizes: Option<Vec<u64>> = lines
        .map(|line| line.split_whitespace().nth(2)?.parse().ok())
        .collect();
    sizes
        .filter(|sizes| !sizes.is_empty())
        .map(|sizes| sizes.iter().sum())
}

fn bytes_in(dir: &Path) -> u64 {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum()
}

fn find_packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = dir.read_dir()?.flatten().map(|entry| entry.path());
    let is_package = |path: &PathBuf| path.extension().is_some_and(|it| it == "deb");
    Ok(entries.filter(is_package).collect())
}

/// Unpacks a package into a new directory `to`, in one step as seen from outside.
pub fn unpack(package: &Path, to: &Path) -> Result<()> {
    unpack_all(&[package.to_owned()], to)
}

/// As [`unpack`], with several packages on top of each other.
pub fn unpack_all(packages: &[PathBuf], to: &Path) -> Result<()> {
    let parent = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let fresh = tempfile::tempdir_in(parent).with_context(|| parent.display().to_string())?;
    for package in packages {
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(package)
            .arg(fresh.path())
            .run()
            .with_context(|| format!("cannot unpack {}", package.display()))?;
    }
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| to.display().to_string())?;
    }
    fs::rename(fresh.keep(), to).with_context(|| to.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_once_and_from_archives_only() {
        let text = " rust-src | 1.95.0+dfsg1-2 | http://m sid/main amd64 Packages\n \
                    rust-src | 1.95.0+dfsg1-2 | http://m forky/main amd64 Packages\n \
                    rust-src | 1.85.0+dfsg3-1 | http://m trixie/main amd64 Packages\n \
                    rustc | 1.85.0+dfsg3-1 | http://m trixie/main Sources\n";
        assert_eq!(madison(text), ["1.95.0+dfsg1-2", "1.85.0+dfsg3-1"]);
    }

    #[test]
    fn another_architecture_has_nothing_to_do_with_what_is_installed() {
        let own = settings(Path::new("/a"), Packages::Own);
        assert!(own.contains("/var/lib/dpkg/status") && !own.contains("Architecture"));
        let arm64 = settings(Path::new("/a"), Packages::Of("arm64"));
        assert!(!arm64.contains("/var/lib"), "{arm64}");
        assert!(
            arm64.contains("APT::Architectures { \"arm64\"; };"),
            "{arm64}"
        );
    }

    #[test]
    fn the_size_is_the_third_word() {
        let text = "'http://m/a.deb' a_1_all.deb 166780612 SHA256:00\n";
        assert_eq!(uri_size(text), Some(166_780_612));
        assert_eq!(uri_size(&text.repeat(2)), Some(333_561_224));
        assert_eq!(uri_size(""), None);
    }
}
