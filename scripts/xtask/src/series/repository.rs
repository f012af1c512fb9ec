// SPDX-License-Identifier: MIT OR Apache-2.0

//! The git repository in which the series lives: the pristine source as one
//! commit, and the patches on top of it. Nobody works in it.

use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{anyhow, Context as _, Result};

use super::cut::Step;
use super::declaration::{Kind, Topic};
use super::{Identity, Options};
use crate::assemble::{fingerprint as name_of, Listing};
use crate::bail_help;
use crate::command::Command;
use crate::context::Context;
use crate::process_group::check_interrupt;
use crate::source::Source;
use crate::stamp::{self, Fingerprint};
use crate::ui::Stage;

/// The source, with nothing of ours.
const BASE: &str = "refs/heads/base";
/// The same at every time and for everyone, so that commits have the same ids.
const BASE_IDENT: &str = "Linux <linux@example.invalid> 1767225600 +0000";

pub struct Repository {
    pub dir: PathBuf,
    /// The commit with the pristine source.
    pub base: String,
    /// Whether others know that commit, too.
    pub base_is_public: bool,
}

/// One patch as a commit.
#[derive(Debug)]
pub struct Commit {
    pub id: String,
    pub subject: String,
    pub kind: Kind,
}

/// One topic as commits.
#[derive(Debug)]
pub struct TopicCommits {
    pub name: String,
    /// What its first patch goes on.
    pub base: String,
    pub commits: Vec<Commit>,
}

impl TopicCommits {
    pub fn tip(&self) -> &str {
        self.commits.last().map_or(&self.base, |commit| &commit.id)
    }
}

impl Repository {
    /// The repository with the source in it, which takes a while the first time.
    pub fn ensure(
        ctx: &Context,
        source: &Source,
        listing: &Listing,
        stage: &Stage,
    ) -> Result<Self> {
        let mut repository = Self {
            dir: ctx.cache.join("series.git"),
            base: String::new(),
            base_is_public: source.own && source.dir.join(".git").exists(),
        };
        let stamp = repository.dir.join("base.json");
        let wanted = repository.base_stamp(source, listing)?;
        if stamp::read::<String>(&stamp).as_ref() != Some(&wanted) {
            stage.message("storing the pristine source in git, once");
            repository.create()?;
            match repository.base_is_public {
                true => repository.borrow_base(source)?,
                false => repository.import_base(source, listing, stage)?,
            }
            stamp::write(&stamp, &wanted)?;
        }
        repository.base = repository.git(&["rev-parse", BASE])?.trim().to_owned();
        Ok(repository)
    }

    /// Names what the base was made from.
    fn base_stamp(&self, source: &Source, listing: &Listing) -> Result<String> {
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(source.identity()).add(name_of(listing));
        if self.base_is_public {
            fingerprint.add(git_of(source, &["rev-parse", "HEAD"])?);
        }
        Ok(fingerprint.finish())
    }

    pub fn git(&self, args: &[&str]) -> Result<String> {
        self.command().args(args).output()
    }

    /// git in this repository, whatever the user's configuration says.
    pub fn command(&self) -> Command {
        isolated_git().arg("--git-dir").arg(&self.dir)
    }

    fn create(&self) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir).with_context(|| self.dir.display().to_string())?;
        }
        isolated_git()
            .args(["init", "--quiet", "--bare", "--initial-branch=base"])
            .arg(&self.dir)
            .run()?;
        // The objects are read more often than they are sent anywhere.
        self.git(&["config", "core.compression", "1"])?;
        self.git(&["config", "gc.auto", "0"]).map(|_| ())
    }

    /// The user's own repository has the source: its HEAD, if that is all there is.
    fn borrow_base(&self, source: &Source) -> Result<()> {
        if !git_of(source, &["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            bail_help!(
                format!(
                    "{} has changes that are not committed",
                    source.dir.display()
                ),
                "patches need a base that others have: commit or stash the changes there"
            );
        }
        let objects = git_of(
            source,
            &[
                "rev-parse",
                "--path-format=absolute",
                "--git-path",
                "objects",
            ],
        )?;
        let alternates = self.dir.join("objects/info/alternates");
        fs::write(&alternates, objects).with_context(|| alternates.display().to_string())?;
        let head = git_of(source, &["rev-parse", "HEAD"])?;
        self.git(&["update-ref", BASE, head.trim()]).map(|_| ())
    }

    fn import_base(&self, source: &Source, listing: &Listing, stage: &Stage) -> Result<()> {
        stage.set_total(Some(listing.len() as u64));
        let message = format!("Linux {}, {}\n", source.kernel_version, source.package);
        self.import(|stream| {
            begin_commit(stream, BASE, BASE_IDENT, &message, None)?;
            for (number, (path, entry)) in (1..).zip(listing.iter()) {
                let bytes = match &entry.link {
                    Some(target) => target.as_os_str().as_bytes().to_vec(),
                    None => fs::read(source.dir.join(path))?,
                };
                let mode = match (&entry.link, entry.executable) {
                    (Some(_), _) => "120000",
                    (None, true) => "100755",
                    (None, false) => "100644",
                };
                add_file(stream, mode, path, &bytes)?;
                if number % 1000 == 0 {
                    stage.set_pos(number);
                    check_interrupt().map_err(std::io::Error::other)?;
                }
            }
            Ok(())
        })
    }

    /// Makes the commits of `steps`; each topic goes on top of the one before it.
    pub fn commit(
        &self,
        steps: &[Step],
        identity: &Identity,
        options: Options,
    ) -> Result<Vec<TopicCommits>> {
        // One after the other, so that they sort.
        let first = jiff::Timestamp::now().as_second() - steps.len() as i64;
        self.import(|stream| {
            let mut parent = self.base.clone();
            for (number, step) in (1_i64..).zip(steps) {
                let name = reference(step.topic, options);
                let ident = format!("{} {} +0000", identity.line(), first + number);
                begin_commit(
                    stream,
                    &name,
                    &ident,
                    &message(step, identity, options),
                    Some(&parent),
                )?;
                for (path, content) in &step.contents {
                    let mode = if content.mode & 0o100 == 0 {
                        "100644"
                    } else {
                        "100755"
                    };
                    add_file(stream, mode, path, &content.bytes)?;
                }
                parent = format!(":{number}");
                writeln!(stream)?;
            }
            Ok(())
        })?;
        self.topics(steps, options)
    }

    /// Finds the commits by their order.
    fn topics(&self, steps: &[Step], options: Options) -> Result<Vec<TopicCommits>> {
        let mut topics: Vec<TopicCommits> = Vec::new();
        let mut base = self.base.clone();
        for chunk in steps.chunk_by(|a, b| a.topic.name == b.topic.name) {
            let name = reference(chunk[0].topic, options);
            let range = format!("{base}..{name}");
            let ids = self.git(&["rev-list", "--reverse", &range])?;
            let commits: Vec<_> = ids
                .lines()
                .zip(chunk)
                .map(|(id, step)| Commit {
                    id: id.to_owned(),
                    subject: step.patch.subject.clone(),
                    kind: step.patch.kind,
                })
                .collect();
            if commits.len() != chunk.len() {
                return Err(anyhow!(
                    "git made {} commits of {}",
                    commits.len(),
                    chunk.len()
                ));
            }
            let topic = TopicCommits {
                name: chunk[0].topic.name.clone(),
                base,
                commits,
            };
            base = topic.tip().to_owned();
            topics.push(topic);
        }
        Ok(topics)
    }

    /// Feeds `git fast-import`.
    fn import(&self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let mut child = std::process::Command::new("git")
            .arg("--git-dir")
            .arg(&self.dir)
            .args(["fast-import", "--quiet", "--force", "--date-format=raw"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run git")?;
        let written = match child.stdin.take() {
            Some(stdin) => {
                let mut stream = BufWriter::new(stdin);
                write(&mut stream).and_then(|()| stream.flush())
            }
            None => Ok(()),
        };
        let status = child.wait()?;
        written.context("git fast-import")?;
        match status.success() {
            true => Ok(()),
            false => Err(anyhow!("git fast-import failed ({status})")),
        }
    }
}

/// git in the user's own repository, which may belong to another user.
fn git_of(source: &Source, args: &[&str]) -> Result<String> {
    let safe = format!("safe.directory={}", source.dir.display());
    Command::new("git")
        .args(["-c", &safe])
        .args(args)
        .dir(&source.dir)
        .output()
}

/// git that reads no configuration but the repository's.
pub fn isolated_git() -> Command {
    Command::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .without_envs(&["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
}

fn reference(topic: &Topic, options: Options) -> String {
    format!("refs/series/{}/v{}", topic.name, options.version)
}

/// The commit message with its trailers, as
/// `Documentation/process/coding-assistants.rst` asks: an assistant names itself
/// and never signs off.
fn message(step: &Step, identity: &Identity, options: Options) -> String {
    let patch = step.patch;
    let body = patch.message.trim();
    let has_trailers = body.lines().last().is_some_and(is_trailer);
    let gap = if has_trailers { "\n" } else { "\n\n" };
    let mut text = format!("{}\n\n{body}{gap}Assisted-by: LLM\n", patch.subject);
    if options.signoff {
        text += &format!("Signed-off-by: {}\n", identity.line());
    }
    text
}

fn is_trailer(line: &str) -> bool {
    let known = [
        "Fixes: ",
        "Link: ",
        "Closes: ",
        "Suggested-by: ",
        "Reported-by: ",
    ];
    known.iter().any(|trailer| line.starts_with(trailer))
}

fn begin_commit(
    stream: &mut dyn Write,
    name: &str,
    ident: &str,
    message: &str,
    parent: Option<&str>,
) -> std::io::Result<()> {
    match parent {
        // A topic begins anew on what the topic before it made.
        Some(parent) => {
            let mark = parent
                .strip_prefix(':')
                .and_then(|mark| mark.parse::<u64>().ok());
            writeln!(stream, "commit {name}\nmark :{}", mark.unwrap_or(0) + 1)?;
        }
        None => writeln!(stream, "commit {name}\nmark :1")?,
    }
    writeln!(
        stream,
        "author {ident}\ncommitter {ident}\ndata {}",
        message.len()
    )?;
    stream.write_all(message.as_bytes())?;
    match parent {
        Some(parent) => writeln!(stream, "from {parent}"),
        None => Ok(()),
    }
}

fn add_file(stream: &mut dyn Write, mode: &str, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write!(stream, "M {mode} inline ")?;
    stream.write_all(path.as_os_str().as_bytes())?;
    writeln!(stream, "\ndata {}", bytes.len())?;
    stream.write_all(bytes)?;
    writeln!(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::Contents;

    /// The commit message of a patch with this text.
    fn made(body: &str, signoff: bool) -> String {
        let declared = format!(
            "subject = 's'\ncover = 'c'\n[[patch]]\nsubject = 'a: b'\n\
             message = '''\n{body}\n'''\n"
        );
        let topic: Topic = toml::from_str(&declared).unwrap();
        let step = Step {
            topic: &topic,
            patch: &topic.patches[0],
            contents: Contents::new(),
        };
        let identity = Identity {
            name: "A. B".into(),
            email: "a@b".into(),
            is_placeholder: false,
        };
        let version = 1;
        message(&step, &identity, Options { version, signoff })
    }

    #[test]
    fn an_assistant_names_itself_and_does_not_sign_off() {
        let text = made("Why.", false);
        assert_eq!(text, "a: b\n\nWhy.\n\nAssisted-by: LLM\n");
    }

    #[test]
    fn the_submitter_signs_off_last_when_asked_to() {
        assert_eq!(
            made("Why.", true),
            "a: b\n\nWhy.\n\nAssisted-by: LLM\nSigned-off-by: A. B <a@b>\n"
        );
    }

    #[test]
    fn trailers_are_one_block() {
        let link = "Link: https://lore.kernel.org/all/x/";
        assert_eq!(
            made(&format!("Why.\n\n{link}"), false),
            format!("a: b\n\nWhy.\n\n{link}\nAssisted-by: LLM\n")
        );
        let text = made(&format!("Why.\n\nFixes: 12 (\"x\")\n{link}"), true);
        let trailers: Vec<_> = text.lines().skip(4).collect();
        let ours = ["Assisted-by: LLM", "Signed-off-by: A. B <a@b>"];
        assert_eq!(trailers, ["Fixes: 12 (\"x\")", link, ours[0], ours[1]]);
    }
}
