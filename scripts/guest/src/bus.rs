// SPDX-License-Identifier: MIT OR Apache-2.0

//! The virtio bus in sysfs: devices, drivers, and who is bound to whom.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context as _, Result};

use crate::bounded::within;
use crate::uml;

pub const C_DRIVER: &str = "virtio_rng";
pub const RUST_DRIVER: &str = "virtio_rng_rust";

/// How long a bind or unbind may take that nothing slows down.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The number of the feature bit.
pub const RING_PACKED: usize = 34;

const BUS: &str = "/sys/bus/virtio";
/// `VIRTIO_ID_RNG` as the `device` attribute shows it.
const RNG: &str = "0x0004";
/// `VIRTIO_ID_BLOCK`, likewise.
const BLOCK: &str = "0x0002";

/// A device on the virtio bus, known by the transport that it sits on: its own
/// name changes when it is plugged again.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    slot: PathBuf,
}

impl Device {
    /// The entropy devices, in the order in which the host listed them.
    pub fn rngs() -> Result<Vec<Self>> {
        Self::of_kind(RNG)
    }

    /// The disks, likewise.
    pub fn disks() -> Result<Vec<Self>> {
        Self::of_kind(BLOCK)
    }

    fn of_kind(kind: &str) -> Result<Vec<Self>> {
        let path = format!("{BUS}/devices");
        let mut slots = Vec::new();
        for entry in fs::read_dir(&path).with_context(|| path.clone())? {
            let path = entry?.path();
            let id = fs::read_to_string(path.join("device")).unwrap_or_default();
            if id.trim() == kind {
                let device = path.canonicalize()?;
                slots.push(
                    device
                        .parent()
                        .context("a device without a parent")?
                        .to_owned(),
                );
            }
        }
        slots.sort_by_key(|slot| (slot.as_os_str().len(), slot.clone()));
        Ok(slots.into_iter().map(|slot| Self { slot }).collect())
    }

    /// The entropy device with this number.
    pub fn rng(index: usize) -> Result<Self> {
        let mut devices = Self::rngs()?;
        if index >= devices.len() {
            bail!(
                "no entropy device number {index}: the guest has {}",
                devices.len()
            );
        }
        Ok(devices.swap_remove(index))
    }

    /// The name on the bus, such as `virtio0`, while it is plugged in.
    fn on_bus(&self) -> Option<String> {
        let entries = fs::read_dir(&self.slot).ok()?;
        entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .find(|name| {
                let number = name.strip_prefix("virtio");
                number.is_some_and(|rest| rest.parse::<u32>().is_ok())
            })
    }

    /// A file of the device in sysfs, while it is plugged in.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.slot.join(self.on_bus()?).join(name))
    }

    /// The name of the slot, such as `0000:00:02.0`.
    pub fn name(&self) -> String {
        let name = self.slot.file_name().unwrap_or(self.slot.as_os_str());
        name.to_string_lossy().into_owned()
    }

    pub fn exists(&self) -> bool {
        self.on_bus().is_some()
    }

    /// Whether driver and device agreed on this feature bit.
    pub fn has_feature(&self, bit: usize) -> Result<bool> {
        let path = self.path("features").context("the device is gone")?;
        let bits = fs::read_to_string(&path).context("features")?;
        Ok(bits.as_bytes().get(bit) == Some(&b'1'))
    }

    /// Has the PCI function that the device is reset.
    pub fn reset_function(&self) -> Result<()> {
        let path = self.slot.join("reset");
        within(LIMIT, &format!("{}", path.display()), move || {
            fs::write(&path, "1").with_context(|| path.display().to_string())
        })
    }

    /// The driver that the device is bound to.
    pub fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.slot.join(self.on_bus()?).join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    pub fn bind(&self, driver: &str) -> Result<()> {
        if uml::is_slot(&self.name()) {
            uml::replug(&self.name())?;
        }
        self.tell(driver, "bind", LIMIT)?;
        match self.driver() {
            Some(bound) if bound == driver => Ok(()),
            bound => bail!("{} is bound to {bound:?}, not to {driver}", self.name()),
        }
    }

    pub fn unbind(&self, limit: Duration) -> Result<()> {
        match self.driver() {
            Some(driver) => self.tell(&driver, "unbind", limit),
            None => Ok(()),
        }
    }

    fn tell(&self, driver: &str, action: &'static str, limit: Duration) -> Result<()> {
        let name = self
            .on_bus()
            .with_context(|| format!("{} has no virtio device", self.name()))?;
        let path = format!("{BUS}/drivers/{driver}/{action}");
        let what = format!("{action} {driver} {name}");
        let context = what.clone();
        within(limit, &what, move || {
            fs::write(&path, &name).with_context(|| context)
        })
    }
}

/// Unbinds every device that a driver of ours can have.
pub fn release_all(limit: Duration) -> Result<()> {
    let devices = [Device::rngs()?, Device::disks()?];
    devices
        .iter()
        .flatten()
        .try_for_each(|device| device.unbind(limit))
}

/// Whether a driver that is loaded takes the devices that it finds.
pub fn set_autoprobe(on: bool) -> Result<()> {
    let path = format!("{BUS}/drivers_autoprobe");
    fs::write(&path, if on { "1" } else { "0" }).context(path)
}
