// SPDX-License-Identifier: GPL-2.0

//! Calls of a driver that can go away.

use crate::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
    },
    types::ScopeGuard, //
};

/// Calls of functions of the driver for who has the disk open.
#[pin_data]
pub(super) struct Calls {
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
}

struct State {
    /// How many there are.
    count: usize,
    /// Whether there can be no more.
    ended: bool,
}

impl Calls {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(
                State {
                    count: 0,
                    ended: false,
                },
                "block_calls"
            ),
            changed <- new_condvar!("block_calls"),
        })
    }

    /// Calls `f` unless there can be no more calls. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there can be none, or what `f` returns.
    pub(super) fn call<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        self.enter()?;
        let _leave = ScopeGuard::new(|| self.leave());
        f()
    }

    fn enter(&self) -> Result {
        let mut state = self.state.lock();
        if state.ended {
            return Err(ENODEV);
        }
        state.count += 1;
        Ok(())
    }

    fn leave(&self) {
        self.state.lock().count -= 1;
        self.changed.notify_all();
    }

    /// Lets no more calls in, and waits for those that there are. Process context; may sleep.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        while state.count > 0 {
            self.changed.wait(&mut state);
        }
    }
}
