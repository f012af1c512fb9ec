// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packages that are downloaded and unpacked in the cache, never installed:
//! the kernel source, Rust's library source. They may come from another release
//! of Debian than this machine's, since nothing in them runs.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::{self, Apt, Packages};
use super::apt_sources::{self, Entry};
use super::os_release::OsRelease;
use crate::bail_help;
use crate::context::Context;
use crate::ui::Stage;

/// Where newer packages than the machine's own release has may be.
const SUITES: &[&str] = &["trixie-backports", "trixie", "forky", "sid"];
/// Names a mirror on machines that do not run Debian itself.
const MIRROR_ENV: &str = "DEBIAN_MIRROR";
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package that was found, and the apt that can download it.
pub struct Found {
    apt: Apt,
    package: String,
    pub version: String,
}

impl Found {
    pub fn download(&self, ctx: &Context, stage: &Stage) -> Result<PathBuf> {
        let wanted = format!("{}={}", self.package, self.version);
        let dir = ctx.cache.join("downloads");
        self.apt.download(&wanted, &dir, stage)
    }
}

/// Looks for a version of `package` that `accept` likes, suite after suite, so
/// that no more lists are fetched than needed. `Err` holds what was seen instead.
pub fn find(
    ctx: &Context,
    stage: &Stage,
    package: &str,
    accept: impl Fn(&str) -> bool,
) -> Result<std::result::Result<Found, Vec<String>>> {
    require_keyring()?;
    let entries = entries(&OsRelease::read())?;
    let mut seen = Vec::new();
    for count in 1..=entries.len() {
        stage.message(&format!(
            "looking for {package} in {}",
            entries[count - 1].suite
        ));
        let apt = Apt::new(ctx, "download", &entries[..count], Packages::Own)?;
        apt.update(stage)?;
        seen = apt.versions(package)?;
        if let Some(version) = seen.iter().find(|version| accept(version)) {
            return Ok(Ok(Found {
                version: version.clone(),
                package: package.to_owned(),
                apt,
            }));
        }
    }
    Ok(Err(seen))
}

/// An apt for one suite's packages for another architecture.
pub fn foreign(
    ctx: &Context,
    stage: &Stage,
    suite: &str,
    architecture: &'static str,
) -> Result<Apt> {
    require_keyring()?;
    let entry = Entry::new(&mirror()?, suite, Some(KEYRING));
    let apt = Apt::new(ctx, architecture, &[entry], Packages::Of(architecture))?;
    apt.update(stage)?;
    Ok(apt)
}

/// The mirror of Debian's archive: the user's choice, or the machine's own.
pub fn mirror() -> Result<String> {
    require_keyring()?;
    mirror_for(&OsRelease::read())
}

fn mirror_for(os: &OsRelease) -> Result<String> {
    let machine = apt_sources::of_machine(os);
    let mirror = apt_sources::mirror(&machine, "debian");
    let named = std::env::var(MIRROR_ENV)
        .ok()
        .filter(|name| !name.is_empty());
    match named.or(mirror) {
        Some(mirror) => Ok(mirror),
        None => bail_help!(
            "this machine has no mirror of Debian's archive among its apt sources",
            format!(
                "name one: make run {MIRROR_ENV}=http://...; or use a kernel source of your own, \
                 KERNEL_TREE=/path"
            )
        ),
    }
}

/// The fallback suites, with the machine's own after the likeliest one.
fn entries(os: &OsRelease) -> Result<Vec<Entry>> {
    let mirror = mirror_for(os)?;
    let mut suites = SUITES.to_vec();
    if os.is_debian() && !os.codename.is_empty() && !suites.contains(&os.codename.as_str()) {
        suites.insert(1, &os.codename);
    }
    Ok(suites
        .iter()
        .map(|suite| Entry::new(&mirror, suite, Some(KEYRING)))
        .collect())
}

fn require_keyring() -> Result<()> {
    if !apt::available() {
        bail_help!(
            "this machine has no apt to download Debian's packages with",
            "use a kernel source of your own, KERNEL_TREE=/path, and rustup's rust-src: \
             rustup component add rust-src"
        );
    }
    if !std::path::Path::new(KEYRING).exists() {
        bail_help!(
            format!("{KEYRING} is missing: packages cannot be verified"),
            "install the package debian-archive-keyring"
        );
    }
    Ok(())
}
