// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the host asks for: `guest.KEY=VALUE` on the kernel command line.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

#[derive(Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    pub fn from_kernel() -> Result<Self> {
        let path = "/proc/cmdline";
        let line = std::fs::read_to_string(path).context(path)?;
        Ok(Self::parse(&line))
    }

    fn parse(line: &str) -> Self {
        let pairs = line
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix("guest.")?.split_once('='));
        Self(pairs.map(|(k, v)| (k.into(), v.into())).collect())
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn scenario(&self) -> &str {
        self.get("scenario").unwrap_or("shell")
    }

    pub fn number(&self, key: &str, default: u64) -> Result<u64> {
        match self.get(key) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .with_context(|| format!("guest.{key}={text} is not a number")),
        }
    }

    /// The driver that is tested; the C driver in its place is the positive
    /// control of the tests themselves.
    pub fn driver(&self) -> &str {
        self.get("driver").unwrap_or(crate::bus::RUST_DRIVER)
    }

    /// The same of disks.
    pub fn disk_driver(&self) -> &str {
        match self.is_control() {
            true => crate::disk::C_DRIVER,
            false => crate::disk::RUST_DRIVER,
        }
    }

    /// Whether this is the control: a kernel for that needs none of our modules.
    pub fn is_control(&self) -> bool {
        self.driver() != crate::bus::RUST_DRIVER
    }

    /// How long the device side itself may hold up a message, on top of what a
    /// driver is allowed. A `vhost-device-rng` that is out of quota sleeps with
    /// its lock held, and the kernel waits for its answer.
    pub fn stall(&self) -> Result<Duration> {
        Ok(Duration::from_secs(self.number("stall", 0)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_words_count() {
        let params = Params::parse("console=ttyS0 guest.scenario=rng guest.cycles=7 guest.x y=1\n");
        assert_eq!(params.scenario(), "rng");
        assert_eq!(params.number("cycles", 200).unwrap(), 7);
        assert_eq!(params.number("pairs", 5).unwrap(), 5);
        assert_eq!(params.get("y"), None);
        assert_eq!(params.driver(), "virtio_rng_rust");
    }

    #[test]
    fn a_number_that_is_none_is_an_error() {
        assert!(Params::parse("guest.cycles=many")
            .number("cycles", 1)
            .is_err());
    }
}
