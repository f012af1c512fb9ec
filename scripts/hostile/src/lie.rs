// SPDX-License-Identifier: MIT OR Apache-2.0

//! The lies that a device can tell, and when it tells them. A case is made of
//! these, and so is what the fuzzer does: both are data.

use serde::{Deserialize, Serialize};

/// One lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Lie {
    /// The buffer is returned under another id.
    Id(Id),
    /// The buffer is returned with another length.
    Len(Len),
    /// The buffer is returned so many times.
    Repeat(u32),
    /// So many more buffers are said to be returned than there are.
    Jump(u16),
    /// Only so much of what was asked for is written; the length is honest.
    Write(Amount),
    /// The status byte of a disk.
    Status(Status),
    /// The buffer is never returned.
    Hold,
    /// The buffer is returned so many milliseconds later.
    Late(u64),
    /// Buffers are returned once there are so many, the newest first.
    Reverse(usize),
    /// The descriptors of this buffer, or all, say that another one follows.
    NextFlag(Scope),
    /// The descriptors that are in flight are overwritten.
    Rewrite,
    /// The device looks at what it is to overwrite, and tells if the marker is there.
    Look,
    /// The device is gone.
    Disconnect,
    /// Interrupts of the queue, with nothing returned.
    Interrupts(Storm),
    /// Interrupts that say that the configuration has changed.
    ConfigChanges(Storm),
    /// A field of the configuration space.
    Config(Field),
    /// A buffer that was never posted is said to be returned, with an interrupt; that is
    /// taken back when the front end speaks next.
    Early,
    /// All buffers that were held are returned.
    Release,
    /// Rubbish in the used ring, and in all buffers that were held.
    Scribble,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Id {
    RingSize,
    /// The largest number that the field can hold.
    Max,
    /// A descriptor that is not in flight.
    Free,
    /// The second descriptor of the buffer.
    MidChain,
    Value(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Len {
    Value(u32),
    /// All that was posted, and so much more.
    PostedPlus(u32),
}

/// A part of what was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Amount {
    Nothing,
    Bytes(u32),
    Half,
    AllButOne,
}

impl Amount {
    pub fn of(self, all: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Bytes(bytes) => u64::from(bytes).min(all),
            Self::Half => all / 2,
            Self::AllButOne => all.saturating_sub(1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Status {
    NotWritten,
    Value(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scope {
    One,
    All,
}

/// Signals at an even pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    pub hz: u64,
    /// How long; 0: one signal.
    pub millis: u64,
}

/// What a field of the configuration space reads as: one value after the other,
/// and again from the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub offset: usize,
    /// In bytes.
    pub size: usize,
    /// Larger numbers than TOML has are negative ones.
    pub values: Vec<i64>,
    /// Only once so many buffers were returned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: u64,
}

/// What a driver can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Entropy,
    Read,
    Write,
    Flush,
    /// All else.
    Other,
}

/// When a lie is told that is not about the return of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// A buffer is returned.
    #[default]
    Return,
    /// The driver hands over the doorbell of a queue; it has not been told yet that
    /// the device knows.
    Kick,
    /// Likewise of a queue that is enabled.
    Enable,
    /// Likewise of one that is disabled, as is done when a driver is removed.
    Disable,
}

/// A lie and when it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    pub lie: Lie,
    #[serde(default, skip_serializing_if = "is_default")]
    pub at: Moment,
    /// To which driver: they are counted as they come and go, from 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub instance: u32,
    /// To all drivers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub always: bool,
    /// Which return, counted from 0 among those of the same queue, and of the same
    /// kind if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// This one and all that follow.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u16>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a lie may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub at: Moment,
    pub instance: u32,
    pub queue: u16,
    pub kind: Kind,
    /// How many were returned before in this queue, of this kind and of all kinds.
    pub of_kind: u64,
    pub of_all: u64,
}

impl Rule {
    pub fn applies(&self, now: &Now) -> bool {
        let count = match self.kind {
            Some(_) => now.of_kind,
            None => now.of_all,
        };
        self.at == now.at
            && self.to(now.instance)
            && self.queue.is_none_or(|queue| queue == now.queue)
            && (now.at != Moment::Return
                || (self.kind.is_none_or(|kind| kind == now.kind)
                    && self.nth.is_none_or(|nth| nth == count)
                    && count >= self.from))
    }

    pub fn to(&self, instance: u32) -> bool {
        self.always || self.instance == instance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        toml::from_str(text).unwrap()
    }

    const NOW: Now = Now {
        at: Moment::Return,
        instance: 0,
        queue: 0,
        kind: Kind::Read,
        of_kind: 3,
        of_all: 5,
    };

    #[test]
    fn rules_choose_their_moment() {
        assert!(rule("lie = 'hold'").applies(&NOW));
        assert!(rule("lie = 'hold'\nnth = 5").applies(&NOW));
        assert!(!rule("lie = 'hold'\nnth = 3").applies(&NOW));
        assert!(rule("lie = 'hold'\nnth = 3\nkind = 'read'").applies(&NOW));
        assert!(!rule("lie = 'hold'\nkind = 'write'").applies(&NOW));
        assert!(!rule("lie = 'hold'\ninstance = 1").applies(&NOW));
        assert!(rule("lie = 'hold'\nalways = true").applies(&Now { instance: 7, ..NOW }));
        assert!(!rule("lie = 'hold'\nfrom = 6").applies(&NOW));
        assert!(!rule("lie = 'release'\nat = 'disable'").applies(&NOW));
        let disable = Now {
            at: Moment::Disable,
            ..NOW
        };
        assert!(rule("lie = 'release'\nat = 'disable'").applies(&disable));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        assert!(toml::from_str::<Rule>("lie = 'hold'\nnht = 5").is_err());
        assert!(toml::from_str::<Rule>("lie = { len = { vlaue = 5 } }").is_err());
    }

    #[test]
    fn amounts() {
        assert_eq!(Amount::Half.of(9), 4);
        assert_eq!(Amount::AllButOne.of(0), 0);
        assert_eq!(Amount::Bytes(7).of(3), 3);
    }
}
