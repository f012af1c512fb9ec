// SPDX-License-Identifier: MIT OR Apache-2.0

//! File systems with a journal, filled, emptied in part, read back and checked.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{symlink, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use protocol::disk::{fill, first_difference, Random, SCRATCH, SECTOR};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};

use crate::bounded::within;
use crate::bus::LIMIT;
use crate::disk::{drop_caches, Bound};
use crate::program::{self, Program};
use crate::report::Measured;

pub const AT: &str = "/tmp/disk";
const FILES: u64 = 120;
/// What is packed up, and unpacked on the disk: a shell, modules of the kernel, and
/// what is made for this.
const TREES: [&str; 3] = ["bin", "modules", "tmp/odd"];
const ARCHIVE: &str = "/tmp/tree.tar";
const PROGRAM_LIMIT: Duration = Duration::from_secs(300);
pub const MOUNT_LIMIT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Whether this kernel has it.
    pub fn is_known(self) -> bool {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        known.split_whitespace().any(|name| name == self.name())
    }

    pub fn make(self, disk: &Bound) -> Result<()> {
        match self {
            Self::Ext4 => program::run("mkfs.ext4", &["-q", "-F", &disk.path()], PROGRAM_LIMIT),
            Self::Xfs => {
                // It makes none as small as this disk, but for its own tests.
                let of_tests = ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"];
                let envs = of_tests.map(|name| (name, "1".to_owned()));
                let mut mkfs = Program::start("mkfs.xfs", &["-q", "-f", &disk.path()], &envs)?;
                mkfs.succeeds(PROGRAM_LIMIT)
            }
        }
    }

    pub fn mount(self, disk: &Bound) -> Result<()> {
        let path = disk.path();
        within(MOUNT_LIMIT, "mount", move || {
            let _ = fs::create_dir(AT);
            mount(&path, AT, self.name(), MountFlags::empty(), None).with_context(|| path)
        })
    }

    fn checker(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsck",
            Self::Xfs => "xfs_repair",
        }
    }

    /// Looks at everything, even if the file system says that it is clean.
    pub fn is_clean(self, disk: &Bound) -> Result<()> {
        let how: &[&str] = match self {
            Self::Ext4 => &["-f", "-n"],
            Self::Xfs => &["-n"],
        };
        let path = disk.path();
        let args: Vec<_> = how.iter().copied().chain([path.as_str()]).collect();
        program::run(self.checker(), &args, PROGRAM_LIMIT)
    }
}

pub fn run(driver: &str, kind: FileSystem) -> Result<Measured> {
    let disk = Bound::new(SCRATCH, driver)?;
    kind.make(&disk)?;
    let used = use_it(&disk, kind);
    if used.is_err() {
        // What is mounted could not be unbound for good.
        let _ = unmount_it();
    }
    let (kib, unpacked) = used?;
    disk.unbind(LIMIT)?;
    let checker = kind.checker();
    let detail = format!(
        "{kib} KiB in files, some of them removed, and {unpacked} that tar unpacked: all right, \
         {checker} content"
    );
    Ok(Measured::new(FILES as f64, "files", detail))
}

/// Returns how much was written, in KiB, and how many files were unpacked.
fn use_it(disk: &Bound, kind: FileSystem) -> Result<(usize, usize)> {
    kind.mount(disk)?;
    let kib = within(MOUNT_LIMIT, "filling the file system", fill_tree)?;
    unpack()?;
    drop_caches()?;
    within(MOUNT_LIMIT, "reading the file system", check_tree)?;
    within(MOUNT_LIMIT, "reading what was unpacked", check_unpacked)?;
    unmount_it()?;
    kind.is_clean(disk)?;
    kind.mount(disk)?;
    within(MOUNT_LIMIT, "reading the file system again", check_tree)?;
    let unpacked = within(MOUNT_LIMIT, "reading the rest again", check_unpacked)?;
    unmount_it()?;
    Ok((kib, unpacked))
}

/// Lets tar write a tree to the disk.
fn unpack() -> Result<()> {
    make_odd(&Path::new("/").join(TREES[2]))?;
    let pack: Vec<_> = ["-c", "-f", ARCHIVE, "-C", "/"]
        .into_iter()
        .chain(TREES)
        .collect();
    Program::small("tar", &pack)?.succeeds(PROGRAM_LIMIT)?;
    Program::small("tar", &["-x", "-f", ARCHIVE, "-C", AT])?.succeeds(PROGRAM_LIMIT)?;
    fs::remove_file(ARCHIVE).context(ARCHIVE)?;
    Program::small("sync", &[])?.succeeds(PROGRAM_LIMIT)
}

/// Directories in directories, links, and files that are not like others.
fn make_odd(root: &Path) -> Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => (),
    }
    let deep: PathBuf = (0..40).fold(root.into(), |path: PathBuf, number| {
        path.join(format!("directory{number}"))
    });
    fs::create_dir_all(&deep)?;
    let secret = deep.join("secret");
    fs::write(&secret, "deep")?;
    fs::set_permissions(&secret, Permissions::from_mode(0o600))?;
    fs::write(root.join("empty"), "")?;
    fs::hard_link(&secret, root.join("twice"))?;
    symlink("directory0/directory1", root.join("link"))?;
    symlink("nowhere", root.join("dangling"))?;
    Ok(())
}

fn check_unpacked() -> Result<usize> {
    let all = TREES.map(|tree| same(&Path::new("/").join(tree), &Path::new(AT).join(tree)));
    all.into_iter().sum()
}

/// Fails unless both are the same; counts what there is.
fn same(from: &Path, to: &Path) -> Result<usize> {
    let name = || to.display().to_string();
    let (old, new) = (
        from.symlink_metadata()?,
        to.symlink_metadata().with_context(name)?,
    );
    ensure!(old.mode() == new.mode(), "{} has another mode", name());
    if old.is_dir() {
        let entries = from.read_dir()?.map(|entry| {
            let entry = entry?.file_name();
            same(&from.join(&entry), &to.join(&entry))
        });
        return entries.sum::<Result<usize>>().map(|count| count + 1);
    }
    let is_same = match old.is_symlink() {
        true => from.read_link()? == to.read_link()?,
        false => {
            old.nlink() == new.nlink() && fs::read(from)? == fs::read(to).with_context(name)?
        }
    };
    ensure!(is_same, "{} is not what was packed up", name());
    Ok(1)
}

pub fn unmount_it() -> Result<()> {
    within(MOUNT_LIMIT, "umount", || {
        unmount(AT, UnmountFlags::empty()).context(AT)
    })
}

fn path(number: u64) -> PathBuf {
    Path::new(AT).join(format!("dir{}/file{number}", number % 7))
}

/// Of the file with this number, in bytes.
fn len(number: u64) -> usize {
    let most = 1 << Random::new(number).below(9);
    (1 + Random::new(number + 1).below(most)) as usize * SECTOR
}

/// Those that are removed again.
fn is_removed(number: u64) -> bool {
    number % 5 == 0
}

fn fill_tree() -> Result<usize> {
    let mut total = 0;
    for number in 0..FILES {
        let (path, len) = (path(number), len(number));
        let new = path.with_extension("new");
        fs::create_dir_all(path.parent().unwrap_or(Path::new(AT)))?;
        let mut bytes = vec![0; len];
        fill(number, 0, &mut bytes);
        let mut file = File::create(&new).with_context(|| new.display().to_string())?;
        file.write_all(&bytes)?;
        if number % 3 == 0 {
            file.sync_all().context("fsync")?;
        }
        fs::rename(&new, &path)?;
        total += len;
    }
    for number in (0..FILES).filter(|number| is_removed(*number)) {
        fs::remove_file(path(number))?;
    }
    Ok(total >> 10)
}

fn check_tree() -> Result<()> {
    for number in 0..FILES {
        let path = path(number);
        if is_removed(number) {
            ensure!(!path.exists(), "{} is there again", path.display());
            continue;
        }
        let mut bytes = Vec::new();
        let mut file = File::open(&path).with_context(|| path.display().to_string())?;
        file.read_to_end(&mut bytes)?;
        let good = bytes.len() == len(number) && first_difference(number, 0, &bytes).is_none();
        ensure!(good, "{} is not what was written", path.display());
    }
    Ok(())
}
