// SPDX-License-Identifier: MIT OR Apache-2.0

//! What every command needs to know: where things are and how to report.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};
use clap::builder::{OsStringValueParser, TypedValueParser};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::bail_help;
use crate::failure::Failure;
use crate::process_group::check_interrupt;
use crate::ui::Ui;

/// The options that all commands share.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Where sources, kernels and tools are kept [default: $XDG_CACHE_HOME/rust-virtio]
    #[arg(long, global = true, env = "RUST_VIRTIO_CACHE", value_name = "DIR", value_parser = any_path())]
    pub cache: Option<PathBuf>,

    /// A Linux source tree of your own (7.3 or later) to use instead of Debian's
    #[arg(long, global = true, env = "KERNEL_TREE", value_name = "DIR", value_parser = any_path())]
    pub kernel_tree: Option<PathBuf>,

    /// How many compilers to run at once [default: number of cores + 1]
    #[arg(short, long, global = true, value_name = "N")]
    pub jobs: Option<usize>,

    /// The checkout to take the series from, for tests of this tool
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub repo: Option<PathBuf>,
}

/// Takes an empty path, too: a variable that is set to nothing is not set.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Where things are, how to report, and the right to change the cache.
pub struct Context {
    /// The checkout.
    pub repo: PathBuf,
    /// Everything that can be made again lives here.
    pub cache: PathBuf,
    /// Results, inside the checkout and ignored by git.
    pub out: PathBuf,
    pub jobs: usize,
    pub ui: Ui,
    pub kernel_tree: Option<PathBuf>,
    /// Held as long as the command runs, so that two never mix their stages.
    _lock: Flock<File>,
}

impl Context {
    /// Of a repository in `dir`, with its cache, for tests.
    #[cfg(test)]
    pub fn in_dir(dir: &std::path::Path) -> Self {
        let options = Options {
            cache: Some(dir.join("cache")),
            kernel_tree: None,
            jobs: None,
            repo: Some(dir.to_owned()),
        };
        Self::new(&options).unwrap()
    }

    pub fn new(options: &Options) -> Result<Self> {
        let ui = Ui::new();
        let repo = match &options.repo {
            Some(repo) => existing_dir(repo, "--repo")?,
            None => find_repo()?,
        };
        let kernel_tree = match &options.kernel_tree {
            Some(tree) if tree.as_os_str().is_empty() => None,
            Some(tree) => Some(existing_dir(tree, "KERNEL_TREE")?),
            None => None,
        };
        let cache = cache_dir(options.cache.as_deref())?;
        let lock = lock(&cache, &ui)?;
        Ok(Self {
            out: repo.join("out"),
            repo,
            cache,
            jobs: options.jobs.unwrap_or_else(default_jobs).max(1),
            ui,
            kernel_tree,
            _lock: lock,
        })
    }

    /// Logs of what runs on the host; those of guests are in `out/logs`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.cache.join("logs").join(format!("{name}.log"))
    }

    /// Where cargo puts what it builds for us, outside the checkout.
    pub fn cargo_target(&self) -> PathBuf {
        self.cache.join("cargo-target")
    }
}

fn default_jobs() -> usize {
    // One more than cores, so that one can wait for the disk.
    std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1)
}

fn existing_dir(path: &Path, what: &str) -> Result<PathBuf> {
    match path.canonicalize() {
        Ok(dir) if dir.is_dir() => Ok(dir),
        _ => bail_help!(
            format!("{what}: there is no directory {}", path.display()),
            format!("set {what} to a directory that exists, or leave it out")
        ),
    }
}

/// `cargo run` tells where the package lies now; a binary that is run by hand
/// remembers where it was built.
fn find_repo() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let repo = package
        .ancestors()
        .nth(2)
        .ok_or_else(|| anyhow!("{} is not inside a checkout", package.display()))?;
    existing_dir(repo, "--repo")
}

fn cache_dir(chosen: Option<&Path>) -> Result<PathBuf> {
    let dir = match chosen {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => default_cache()?,
    };
    fs::create_dir_all(&dir)
        .with_context(|| format!("cannot create the cache {}", dir.display()))?;
    dir.canonicalize()
        .with_context(|| format!("cannot open the cache {}", dir.display()))
}

fn default_cache() -> Result<PathBuf> {
    let absolute = |key: &str| {
        let path = PathBuf::from(std::env::var_os(key)?);
        path.is_absolute().then_some(path)
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    match base {
        Some(base) => Ok(base.join("rust-virtio")),
        None => Err(Failure::new(
            "neither HOME nor XDG_CACHE_HOME says where a cache may be kept",
            "choose a directory with --cache DIR",
        )
        .into()),
    }
}

fn lock(cache: &Path, ui: &Ui) -> Result<Flock<File>> {
    let path = cache.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut told = false;
    loop {
        // Asks again and again instead of blocking, so that Ctrl-C is heard.
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, error)) => return Err(error).with_context(|| path.display().to_string()),
        };
        if !std::mem::replace(&mut told, true) {
            ui.note(&format!(
                "waiting for another run that uses the cache {}",
                cache.display()
            ));
        }
        check_interrupt()?;
        std::thread::sleep(Duration::from_millis(100));
    }
}
