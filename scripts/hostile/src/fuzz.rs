// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lies by chance. Which ones are told when a buffer is returned follows from the
//! seed, the driver's number and the buffer's number, not from time: a seed tells
//! the same lies again, as far as the guest does the same again.

use protocol::disk::Random;

use crate::lie::{Amount, Field, Id, Kind, Len, Lie, Moment, Now, Scope, Status, Storm};
use crate::model::Device;

/// Of so many returns, one has a lie that ends the driver's work with the queue.
const FATAL: u64 = 400;
/// Of so many, one is late.
const LATE: u64 = 60;
/// Of so many drivers, one finds lies in the configuration space.
const CONFIGURED: u64 = 6;

#[derive(Clone, Debug)]
pub struct Fuzz {
    pub seed: u64,
    pub device: Device,
    pub packed: bool,
}

impl Fuzz {
    fn random(&self, now: &Now) -> Random {
        let at = now.at as u64;
        let place = (u64::from(now.instance) << 40) ^ (u64::from(now.queue) << 32) ^ (at << 56);
        // Whatever numbers follow each other are far apart.
        let number = now.of_all.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Random::new(self.seed.wrapping_mul(0xd134_2543_de82_ef95) ^ place ^ number)
    }

    pub fn lies(&self, now: &Now) -> Vec<Lie> {
        let mut random = self.random(now);
        match now.at {
            Moment::Return => self.on_return(now.kind, &mut random),
            Moment::Kick | Moment::Enable => match random.below(4) {
                0 => vec![interrupt()],
                1 if now.at == Moment::Enable => vec![Lie::Early],
                _ => Vec::new(),
            },
            Moment::Disable => match random.below(4) {
                0 => vec![Lie::Release],
                1 => vec![Lie::Release, Lie::Scribble],
                2 => vec![interrupt()],
                _ => Vec::new(),
            },
        }
    }

    fn on_return(&self, kind: Kind, random: &mut Random) -> Vec<Lie> {
        let mut lies = Vec::new();
        if random.below(FATAL) == 0 {
            lies.extend(self.fatal(random));
        }
        if random.below(LATE) == 0 {
            lies.push(Lie::Late(1 + random.below(20)));
        }
        // Most returns are honest in most ways, or nothing would ever work.
        for _ in 0..random.below(4) {
            let lie = match random.below(9) {
                0 => Lie::Len(length(random)),
                1 => Lie::Write(amount(random)),
                2 => Lie::NextFlag(Scope::All),
                3 => Lie::NextFlag(Scope::One),
                4 => Lie::Rewrite,
                5 => interrupt(),
                6 => Lie::Reverse(2 + random.below(6) as usize),
                7 => Lie::ConfigChanges(Storm { hz: 1, millis: 0 }),
                _ if self.device == Device::Blk => Lie::Status(status(random)),
                _ => Lie::Len(length(random)),
            };
            // A disk that fails most of its writes says little about reads.
            if kind != Kind::Write || random.below(3) == 0 {
                lies.push(lie);
            }
        }
        lies
    }

    fn fatal(&self, random: &mut Random) -> Option<Lie> {
        let lie = match random.below(7) {
            0 => Lie::Id(Id::RingSize),
            1 => Lie::Id(Id::Max),
            2 => Lie::Id(Id::Free),
            3 => Lie::Id(Id::MidChain),
            4 => Lie::Id(Id::Value(random.below(1 << 32) as u32)),
            5 => Lie::Repeat(2 + random.below(3) as u32),
            _ => Lie::Jump(random.below(1 << 16) as u16),
        };
        // In a packed ring, a device that returns too much has lost its place if the
        // driver does not mind: it falls silent, and who reads entropy waits for it, as
        // is right.
        let falls_silent = matches!(lie, Lie::Repeat(_) | Lie::Jump(_));
        let waits = self.packed && self.device == Device::Rng;
        (!(falls_silent && waits)).then_some(lie)
    }

    /// The fields of the configuration space that lie.
    pub fn fields(&self, instance: u32) -> Vec<Field> {
        let mut random = Random::new(self.seed ^ 0x000c_0ff1_61d5 ^ (u64::from(instance) << 20));
        if self.device != Device::Blk || random.below(CONFIGURED) != 0 {
            return Vec::new();
        }
        // Offsets and sizes of a disk's fields.
        const FIELDS: [(usize, usize); 14] = [
            (0, 8),
            (12, 4),
            (20, 4),
            (24, 1),
            (25, 1),
            (26, 2),
            (28, 4),
            (32, 1),
            (34, 2),
            (36, 4),
            (40, 4),
            (44, 4),
            (48, 4),
            (52, 4),
        ];
        (0..1 + random.below(3))
            .map(|_| {
                let (offset, size) = FIELDS[random.below(FIELDS.len() as u64) as usize];
                let count = 1 + random.below(2);
                let values = (0..count).map(|_| value(&mut random)).collect();
                Field {
                    offset,
                    size,
                    values,
                    after: 0,
                }
            })
            .collect()
    }
}

fn interrupt() -> Lie {
    Lie::Interrupts(Storm { hz: 1, millis: 0 })
}

fn length(random: &mut Random) -> Len {
    match random.below(6) {
        0 => Len::Value(0),
        1 => Len::Value(1),
        2 => Len::Value(u32::MAX),
        3 => Len::Value(1 << 31),
        4 => Len::PostedPlus(random.below(3) as u32),
        _ => Len::Value(random.below(1 << 17) as u32),
    }
}

fn amount(random: &mut Random) -> Amount {
    match random.below(4) {
        0 => Amount::Nothing,
        1 => Amount::Half,
        2 => Amount::AllButOne,
        _ => Amount::Bytes(random.below(1 << 13) as u32),
    }
}

fn status(random: &mut Random) -> Status {
    match random.below(4) {
        0 => Status::NotWritten,
        1 => Status::Value(1 + random.below(4) as u8),
        _ => Status::Value(random.below(256) as u8),
    }
}

fn value(random: &mut Random) -> i64 {
    match random.below(6) {
        0 => 0,
        1 => 1,
        2 => -1,
        3 => 1 << random.below(63),
        4 => 512,
        _ => random.below(1 << 20) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(of_all: u64) -> Now {
        Now {
            at: Moment::Return,
            instance: 3,
            queue: 0,
            kind: Kind::Read,
            of_kind: 0,
            of_all,
        }
    }

    #[test]
    fn a_seed_tells_the_same_again() {
        let told = |seed| {
            let fuzz = Fuzz {
                seed,
                device: Device::Blk,
                packed: false,
            };
            (0..500).map(|n| fuzz.lies(&now(n))).collect::<Vec<_>>()
        };
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
    }

    #[test]
    fn all_that_can_be_said_is_said() {
        let fuzz = Fuzz {
            seed: 5,
            device: Device::Blk,
            packed: false,
        };
        let lies: Vec<_> = (0..20_000).flat_map(|n| fuzz.lies(&now(n))).collect();
        let fatal = |lie: &&Lie| matches!(lie, Lie::Id(_) | Lie::Repeat(_) | Lie::Jump(_));
        let count = lies.iter().filter(fatal).count();
        assert!((20..100).contains(&count), "{count}");
        for lie in [
            Lie::Write(Amount::Nothing),
            Lie::NextFlag(Scope::All),
            Lie::Rewrite,
            Lie::Status(Status::NotWritten),
            Lie::Len(Len::Value(u32::MAX)),
        ] {
            assert!(lies.contains(&lie), "{lie:?}");
        }
        assert!((0..100).any(|instance| !fuzz.fields(instance).is_empty()));
    }
}
