// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a build leaves to boot, and whether it is still what was left.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::kbuild::Kbuild;
use super::warnings::ByStep;
use super::Kernel;

/// Sizes and times: a kernel that somebody built by hand in the meantime is
/// another one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Products(BTreeMap<PathBuf, (u64, i64, i64)>);

impl Products {
    pub fn of(kernel: &Kernel) -> Result<Self> {
        let config = kernel.build_dir.join(".config");
        let files = kernel.modules.iter().chain([&kernel.image, &config]);
        let read = |path: &PathBuf| {
            let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
            Ok((path.clone(), (meta.size(), meta.mtime(), meta.mtime_nsec())))
        };
        files.map(read).collect::<Result<_>>().map(Self)
    }
}

/// The kernel in a build directory, whatever it was built from.
pub fn kernel(kbuild: &Kbuild) -> Result<Kernel> {
    let read = |name: &str| {
        let path = kbuild.dir.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let release = read("include/config/kernel.release")?;
    let modules = match kbuild.variant.is_bootable() {
        true => modules(&kbuild.dir, &read("modules.order")?),
        false => Vec::new(),
    };
    Ok(Kernel {
        variant: kbuild.variant,
        image: kbuild.dir.join(kbuild.variant.image()),
        modules,
        release: release.trim().to_owned(),
        build_dir: kbuild.dir.clone(),
        warnings: ByStep::new(),
    })
}

/// `modules.order` names the objects that modules are linked from.
fn modules(dir: &Path, order: &str) -> Vec<PathBuf> {
    order
        .lines()
        .map(|object| dir.join(object).with_extension("ko"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_after_their_objects() {
        let order = "drivers/char/hw_random/virtio-rng.o\nsamples/rust/rust_driver_virtio.o\n";
        assert_eq!(
            modules(Path::new("/b"), order),
            [
                Path::new("/b/drivers/char/hw_random/virtio-rng.ko"),
                Path::new("/b/samples/rust/rust_driver_virtio.ko")
            ]
        );
    }
}
