// SPDX-License-Identifier: GPL-2.0

//! Queues on which a task sends a request and waits for the answer.

use super::{
    buffer::Buffer,
    queue::{
        Handler,
        VirtQueue, //
    },
    ring::{
        QueueError,
        Ring, //
    }, //
};
use crate::{
    prelude::*,
    time::Jiffies, //
};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request could not be sent, or the queue ended.
    Queue(QueueError),
    /// The time is over. The device keeps the request until it answers or is reset.
    TimedOut,
    /// The task that waited received a fatal signal.
    Killed,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Queue(reason) => reason.into(),
            Failure::TimedOut => ETIMEDOUT,
            Failure::Killed => ERESTARTSYS,
        }
    }
}

/// A request without an answer, and why.
pub struct RequestError<B> {
    /// The reason.
    pub failure: Failure,
    /// The request, if it came back: it was not sent, or the queue ended.
    pub request: Option<B>,
}

impl<B> From<RequestError<B>> for Error {
    fn from(e: RequestError<B>) -> Self {
        e.failure.into()
    }
}

/// The [`Handler`] of a queue on which tasks wait for answers, see [`VirtQueue::request`].
pub struct Replies<B: Buffer> {
    /// Which requests somebody waits for.
    wanted: KVec<usize>,
    /// What came back for them, used or not. Has the capacity of `wanted`.
    back: KVec<(B, bool)>,
}

impl<B: Buffer> Replies<B> {
    /// For at most `tasks` tasks that wait at the same time.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(tasks: usize) -> Result<Self> {
        Ok(Self {
            wanted: KVec::with_capacity(tasks, GFP_KERNEL)?,
            back: KVec::with_capacity(tasks, GFP_KERNEL)?,
        })
    }

    /// Keeps what somebody waits for, and drops the rest: the task that sent it gave up.
    fn returned(&mut self, request: B, used: bool) {
        if self.wanted.contains(&request.id()) {
            // There is room for one of each that is wanted; an id is not wanted twice.
            let _ = self.back.push_within_capacity((request, used));
        }
    }

    fn take(&mut self, id: usize) -> Option<(B, bool)> {
        let place = self
            .back
            .iter()
            .position(|(request, _)| request.id() == id)?;
        self.back.remove(place).ok()
    }

    fn forget(&mut self, id: usize) {
        self.wanted.retain(|wanted| *wanted != id);
    }
}

impl<B: Buffer + Unpin> Handler for Replies<B> {
    type Buffer = B;

    fn used(&mut self, request: B, _ring: &mut Ring<'_, B>) {
        self.returned(request, true);
    }

    fn unused(&mut self, request: B) {
        self.returned(request, false);
    }
}

impl<B: Buffer + Unpin> VirtQueue<Replies<B>> {
    /// Sends `request` and waits until the device answered it, at most for `timeout` jiffies.
    ///
    /// Several tasks may do so at the same time, and the device may answer in any order.
    ///
    /// Process context; may sleep. Only a fatal signal ends the wait early.
    ///
    /// # Errors
    ///
    /// [`RequestError`]. A request that the device still has is freed when it comes back.
    pub fn request(&self, request: B, timeout: Jiffies) -> Result<B, RequestError<B>> {
        let id = request.id();
        let sent = self.with(|replies, ring| {
            if replies.wanted.push_within_capacity(id).is_err() {
                return Err((QueueError::NoSpace, request));
            }
            ring.post(request).map_err(|e| {
                replies.forget(id);
                (e.reason, e.buffer)
            })
        });
        if let Err((reason, request)) = sent {
            return Err(RequestError {
                failure: Failure::Queue(reason),
                request: Some(request),
            });
        }

        let waited = self.wait_until(timeout, |replies, ring| match replies.take(id) {
            Some(back) => Some(Ok(back)),
            // A queue that broke gives the request back a little later, with no one to wait for it.
            None => ring.error().map(Err),
        });
        // It may come back between the end of the wait and here.
        let (back, error) = self.with(|replies, ring| {
            replies.forget(id);
            (replies.take(id), ring.error())
        });
        let (failure, back) = match waited {
            Ok(Some(Ok((request, true)))) => return Ok(request),
            Ok(Some(Ok((request, false)))) => (
                Failure::Queue(error.unwrap_or(QueueError::Dead)),
                Some((request, false)),
            ),
            Ok(Some(Err(reason))) => (Failure::Queue(reason), back),
            Ok(None) => (Failure::TimedOut, back),
            Err(_) => (Failure::Killed, back),
        };
        match back {
            Some((request, true)) => Ok(request),
            back => Err(RequestError {
                failure,
                request: back.map(|(request, _)| request),
            }),
        }
    }
}
