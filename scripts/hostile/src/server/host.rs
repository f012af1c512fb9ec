// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device side of one device: takes buffers, has them served, and returns
//! them, with the lies that are due.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::disk::MARKER;

use super::queue::{Kept, Queue};
use super::storm::{Running, Signal};
use crate::lie::{Kind, Len, Lie, Moment, Now, Status};
use crate::memory::Memory;
use crate::model::{Model, Wrong};
use crate::ring::Buffer;
use crate::teller::Teller;

/// How long buffers that are to be returned in another order wait for others.
const PATIENCE: Duration = Duration::from_millis(2);

pub struct Host {
    pub model: Box<dyn Model>,
    pub teller: Teller,
    /// What is offered, and what the driver took.
    pub offered: u64,
    pub features: u64,
    pub memory: Option<Memory>,
    pub queues: Vec<Queue>,
    /// For what the device has to say by itself.
    pub to_guest: Option<File>,
    /// How many drivers are still to be served honestly, and how many came and went
    /// after that.
    spared: u32,
    instance: u32,
    /// Whether the one that is there has done anything.
    pub used: bool,
    pub served: u64,
    pub storms: Vec<Running>,
    /// The device is to vanish.
    pub gone: bool,
}

impl Host {
    pub fn new(model: Box<dyn Model>, teller: Teller, offered: u64, spared: u32) -> Self {
        let queues = (0..model.queues()).map(|_| Queue::default()).collect();
        Self {
            model,
            teller,
            offered,
            features: 0,
            memory: None,
            queues,
            to_guest: None,
            spared,
            instance: 0,
            used: false,
            served: 0,
            storms: Vec::new(),
            gone: false,
        }
    }

    /// The driver is gone.
    pub fn detach(&mut self) {
        self.queues.iter_mut().for_each(Queue::stop);
        self.storms.clear();
        if std::mem::take(&mut self.used) {
            match self.spared.checked_sub(1) {
                Some(left) => self.spared = left,
                None => self.instance += 1,
            }
        }
    }

    /// So is its front end.
    pub fn hang_up(&mut self) {
        self.detach();
        self.queues.fill_with(Queue::default);
        self.to_guest = None;
    }

    fn lies(&self, now: &Now) -> Vec<Lie> {
        match self.spared {
            0 => self.teller.lies(now),
            _ => Vec::new(),
        }
    }

    /// The configuration space, as it is read up to `end`.
    pub fn config(&mut self, end: usize) -> Vec<u8> {
        let mut space = self.model.config();
        if self.spared == 0 {
            self.teller
                .configure(self.instance, &mut space, end, self.served);
        }
        space.resize(end.max(space.len()), 0);
        space
    }

    /// Tells what is due at this moment, which is not the return of a buffer.
    pub fn at(&mut self, at: Moment, queue: usize) {
        let now = Now {
            at,
            instance: self.instance,
            queue: queue as u16,
            kind: Kind::Other,
            of_kind: 0,
            of_all: 0,
        };
        for lie in self.lies(&now) {
            if self.tell_at(&lie, queue).unwrap_or(false) {
                self.teller.told(&lie, &now, self.served);
            }
        }
    }

    fn tell_at(&mut self, lie: &Lie, number: usize) -> Result<bool> {
        Ok(match lie {
            Lie::Interrupts(storm) if storm.millis == 0 => self.queues[number].interrupt(),
            Lie::Interrupts(storm) => self.start_storm(*storm, Signal::Queue(number)),
            Lie::ConfigChanges(storm) if storm.millis == 0 => self.config_change(),
            Lie::ConfigChanges(storm) => self.start_storm(*storm, Signal::Config),
            Lie::Early => self.early(number)?,
            Lie::Release => self.release(number)?,
            Lie::Scribble => self.scribble(number)?,
            Lie::Disconnect => {
                self.gone = true;
                true
            }
            _ => false,
        })
    }

    fn start_storm(&mut self, storm: crate::lie::Storm, signal: Signal) -> bool {
        let heard = self.signal(signal);
        if heard {
            self.storms.push(Running::new(storm, signal));
        }
        heard
    }

    fn signal(&mut self, signal: Signal) -> bool {
        match signal {
            Signal::Queue(number) => self.queues[number].interrupt(),
            Signal::Config => self.config_change(),
        }
    }

    /// Says that the configuration has changed.
    pub fn config_change(&mut self) -> bool {
        // VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, version 1, no payload.
        const MESSAGE: [u32; 3] = [2, 1, 0];
        let bytes = MESSAGE.map(u32::to_ne_bytes).concat();
        let pipe = self.to_guest.as_mut();
        pipe.is_some_and(|pipe| pipe.write(&bytes).is_ok_and(|count| count == bytes.len()))
    }

    fn early(&mut self, number: usize) -> Result<bool> {
        let queue = &mut self.queues[number];
        let Some(memory) = &self.memory else {
            return Ok(false);
        };
        queue.start(memory, self.features);
        let Some(ring) = &queue.ring else {
            return Ok(false);
        };
        ring.early(memory, true)?;
        queue.early = true;
        Ok(queue.interrupt())
    }

    /// Takes back what was said too early.
    pub fn no_longer_early(&mut self) {
        for queue in self.queues.iter_mut().filter(|queue| queue.early) {
            queue.early = false;
            if let (Some(memory), Some(ring)) = (&self.memory, &queue.ring) {
                if let Err(error) = ring.early(memory, false) {
                    eprintln!("{error:#}");
                }
            }
        }
    }

    fn release(&mut self, number: usize) -> Result<bool> {
        let held = std::mem::take(&mut self.queues[number].held);
        let any = !held.is_empty();
        for kept in held {
            self.push(number, &kept)?;
        }
        if any {
            self.queues[number].interrupt();
        }
        Ok(any)
    }

    fn scribble(&mut self, number: usize) -> Result<bool> {
        let queue = &mut self.queues[number];
        let (Some(memory), Some(ring)) = (&self.memory, &mut queue.ring) else {
            return Ok(false);
        };
        for kept in &queue.held {
            let rubbish = vec![0x5a; kept.buffer.writable() as usize];
            kept.buffer.write(memory, 0, &rubbish)?;
        }
        ring.scribble(memory)?;
        queue.interrupt();
        Ok(true)
    }

    /// Takes all buffers that are there.
    pub fn run(&mut self, number: usize) {
        let queue = &mut self.queues[number];
        if let Some(memory) = &self.memory {
            queue.start(memory, self.features);
        }
        let mut returned = false;
        while let Some(buffer) = self.next(number) {
            match self.one(number, buffer) {
                Ok(any) => returned |= any,
                Err(error) => eprintln!("{error:#}"),
            }
        }
        if returned {
            self.queues[number].interrupt();
        }
    }

    /// Takes all that is there before it hands out the first of it: what is overwritten
    /// later is to be the driver's to misread, not ours.
    fn next(&mut self, number: usize) -> Option<Buffer> {
        let queue = &mut self.queues[number];
        let (ring, memory) = (queue.ring.as_mut()?, self.memory.as_ref()?);
        loop {
            match ring.pop(memory) {
                Ok(Some(buffer)) => queue.taken.push_back(buffer),
                Ok(None) => break,
                Err(error) => {
                    eprintln!("{error:#}");
                    break;
                }
            }
        }
        queue.taken.pop_front()
    }

    /// Serves a buffer; says whether one was returned.
    fn one(&mut self, number: usize, buffer: Buffer) -> Result<bool> {
        let Some(memory) = &self.memory else {
            return Ok(false);
        };
        let queue = &mut self.queues[number];
        let kind = self.model.kind(memory, &buffer);
        let of_kind = queue.of_kind.entry(kind).or_default();
        let now = Now {
            at: Moment::Return,
            instance: self.instance,
            queue: number as u16,
            kind,
            of_kind: *of_kind,
            of_all: queue.of_all,
        };
        *of_kind += 1;
        queue.of_all += 1;
        let lies = self.lies(&now);
        let mut wrong = Wrong::default();
        for lie in &lies {
            match lie {
                Lie::Write(amount) => wrong.write = Some(*amount),
                Lie::Status(status) => wrong.status = Some(*status),
                _ => (),
            }
        }
        // Before it is overwritten.
        let looks = lies.contains(&Lie::Look) && buffer.holds(memory, &MARKER)?;
        let honest = self.model.serve(memory, &buffer, wrong)? as u32;
        if looks {
            self.teller.told(&Lie::Look, &now, self.served);
        }
        self.served += 1;
        self.tell_on_return(number, buffer, honest, &lies, &now)
    }

    fn tell_on_return(
        &mut self,
        number: usize,
        buffer: Buffer,
        honest: u32,
        lies: &[Lie],
        now: &Now,
    ) -> Result<bool> {
        let mut kept = Kept {
            len: honest,
            buffer,
        };
        let mut end = End::default();
        let is_kept = |lie: &Lie| matches!(lie, Lie::Hold | Lie::Late(_) | Lie::Reverse(_));
        let is_kept = lies.iter().any(is_kept);
        for lie in lies {
            // What is not returned now is not returned as something else.
            if is_kept && matches!(lie, Lie::Id(_) | Lie::Repeat(_) | Lie::Jump(_)) {
                continue;
            }
            if !has_effect(lie, now.kind) {
                continue;
            }
            if self.tell_one(number, &mut kept, &mut end, lie)? {
                self.teller.told(lie, now, self.served);
            }
        }
        let queue = &mut self.queues[number];
        match end {
            End { held: true, .. } => queue.held.push(kept),
            End {
                late: Some(millis), ..
            } => {
                let at = Instant::now() + Duration::from_millis(millis);
                queue.late.push((at, kept));
            }
            End {
                reversed: Some(count),
                ..
            } => {
                queue.reversed.push((*now, kept));
                queue
                    .reverse
                    .get_or_insert((count, Instant::now() + PATIENCE));
                if queue.reversed.len() >= count {
                    self.return_reversed(number)?;
                    return Ok(true);
                }
            }
            End { id, times, .. } => {
                let id = id.unwrap_or(kept.buffer.id.into());
                for _ in 0..times.max(1) {
                    self.push_as(number, id, &kept)?;
                }
                if let Some(by) = end.jump {
                    if let (Some(memory), Some(ring)) =
                        (&self.memory, &mut self.queues[number].ring)
                    {
                        ring.jump(memory, by)?;
                    }
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Prepares one lie; says whether it is told now.
    fn tell_one(
        &mut self,
        number: usize,
        kept: &mut Kept,
        end: &mut End,
        lie: &Lie,
    ) -> Result<bool> {
        let queue = &mut self.queues[number];
        let mut in_flight = queue.in_flight();
        let (Some(memory), Some(ring)) = (&self.memory, &mut queue.ring) else {
            return Ok(false);
        };
        match lie {
            Lie::Id(id) => {
                // What was posted and not taken yet is not known here.
                in_flight.retain(|other| other.id != kept.buffer.id);
                end.id = ring.lied_id(*id, &kept.buffer, &in_flight);
                return Ok(end.id.is_some());
            }
            Lie::Len(len) => {
                let posted = kept.buffer.writable() as u32;
                let honest = kept.len;
                kept.len = match len {
                    Len::Value(value) => *value,
                    Len::PostedPlus(more) => posted.wrapping_add(*more),
                };
                return Ok(kept.len != honest);
            }
            Lie::Repeat(times) => end.times = *times,
            Lie::Jump(by) => end.jump = Some(*by),
            // The device served it so.
            Lie::Write(_) | Lie::Status(_) => (),
            Lie::Hold => end.held = true,
            Lie::Late(millis) => end.late = Some(*millis),
            Lie::Reverse(count) => {
                end.reversed = Some(*count);
                // Told once there is another one.
                return Ok(false);
            }
            Lie::NextFlag(scope) => ring.set_next(memory, &kept.buffer, *scope)?,
            Lie::Rewrite => {
                in_flight.push(kept.buffer.clone());
                ring.rewrite(memory, &in_flight)?;
            }
            // What is in flight then never comes back.
            Lie::Disconnect => {
                end.held = true;
                return self.tell_at(lie, number);
            }
            Lie::Config(_) | Lie::Look => return Ok(false),
            other => return self.tell_at(other, number),
        }
        Ok(true)
    }

    fn return_reversed(&mut self, number: usize) -> Result<usize> {
        let queue = &mut self.queues[number];
        queue.reverse = None;
        let reversed = std::mem::take(&mut queue.reversed);
        for (now, kept) in reversed.iter().rev() {
            self.push(number, kept)?;
            if reversed.len() > 1 {
                let lie = Lie::Reverse(reversed.len());
                self.teller.told(&lie, now, self.served);
            }
        }
        Ok(reversed.len())
    }

    fn push(&mut self, number: usize, kept: &Kept) -> Result<()> {
        self.push_as(number, kept.buffer.id.into(), kept)
    }

    fn push_as(&mut self, number: usize, id: u32, kept: &Kept) -> Result<()> {
        let (Some(memory), Some(ring)) = (&self.memory, &mut self.queues[number].ring) else {
            return Ok(());
        };
        ring.push(memory, id, kept.len, kept.buffer.slots.len())
    }

    /// Does what is due; says when there is more to do.
    pub fn tick(&mut self) -> Option<Instant> {
        let now = Instant::now();
        for number in 0..self.queues.len() {
            if let Err(error) = self.return_due(number, now) {
                eprintln!("{error:#}");
            }
        }
        self.blow(now);
        let of_queue = |queue: &Queue| {
            let late = queue.late.iter().map(|(at, _)| *at);
            late.chain(queue.reverse.map(|(_, at)| at)).min()
        };
        let of_queues = self.queues.iter().filter_map(of_queue);
        let of_storms = self.storms.iter().map(|storm| storm.next);
        of_queues.chain(of_storms).min()
    }

    fn return_due(&mut self, number: usize, now: Instant) -> Result<()> {
        let queue = &mut self.queues[number];
        let late = std::mem::take(&mut queue.late);
        let (due, late): (Vec<_>, Vec<_>) = late.into_iter().partition(|(at, _)| *at <= now);
        queue.late = late;
        let mut returned = !due.is_empty();
        let reverse = queue.reverse.is_some_and(|(_, at)| at <= now);
        for (_, kept) in due {
            self.push(number, &kept)?;
        }
        if reverse {
            returned |= self.return_reversed(number)? > 0;
        }
        if returned {
            self.queues[number].interrupt();
        }
        Ok(())
    }

    fn blow(&mut self, now: Instant) {
        let mut storms = std::mem::take(&mut self.storms);
        for storm in &mut storms {
            for _ in 0..storm.due(now) {
                self.signal(storm.signal);
            }
        }
        storms.retain(|storm| storm.until > now);
        self.storms = storms;
    }
}

/// Whether a lie about a request of this kind is one.
fn has_effect(lie: &Lie, kind: Kind) -> bool {
    match lie {
        Lie::Write(_) => matches!(kind, Kind::Entropy | Kind::Read),
        Lie::Status(status) => kind != Kind::Entropy && *status != Status::Value(0),
        _ => true,
    }
}

/// How the service of a buffer ends.
#[derive(Default)]
struct End {
    held: bool,
    late: Option<u64>,
    reversed: Option<usize>,
    id: Option<u32>,
    times: u32,
    jump: Option<u16>,
}
