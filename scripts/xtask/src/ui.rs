// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress: one live line per running stage on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal a stage reports at most this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where all output goes while stages run. Progress is written to standard
/// error, so that standard output holds results only.
pub struct Ui {
    bars: Option<MultiProgress>,
}

impl Ui {
    pub fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        Self {
            bars: live
                .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8))),
        }
    }

    /// Starts a stage; it counts as failed unless [`Stage::finish`] is called.
    pub fn stage(&self, name: impl Into<String>) -> Stage {
        let name = name.into();
        match &self.bars {
            Some(bars) => Stage::live(name, bars),
            None => Stage::plain(name),
        }
    }

    /// Prints a result to standard output without tearing the live lines.
    pub fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Prints a remark that belongs to no stage to standard error.
    pub fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Runs `f` with the live lines cleared, for a child that owns the terminal.
    pub fn suspend<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.bars {
            Some(bars) => bars.suspend(f),
            None => f(),
        }
    }
}

/// One step of a command, such as `source` or `build x86_64`.
pub struct Stage {
    name: String,
    started: Instant,
    state: Mutex<State>,
    bar: Option<(ProgressBar, MultiProgress)>,
}

struct State {
    pos: u64,
    total: Option<u64>,
    /// When counting began, and where: what came before says nothing about the
    /// time that one step takes.
    counting: Option<(Instant, u64)>,
    message: String,
    reported: Instant,
    finished: bool,
}

impl Stage {
    fn live(name: String, bars: &MultiProgress) -> Self {
        let bar = bars.add(ProgressBar::new_spinner());
        bar.set_style(spinner_style());
        bar.set_prefix(name.clone());
        bar.enable_steady_tick(Duration::from_millis(125));
        Self::with_bar(name, Some((bar, bars.clone())))
    }

    fn plain(name: String) -> Self {
        eprintln!("{name}: started");
        Self::with_bar(name, None)
    }

    fn with_bar(name: String, bar: Option<(ProgressBar, MultiProgress)>) -> Self {
        let now = Instant::now();
        Self {
            name,
            started: now,
            state: Mutex::new(State {
                pos: 0,
                total: None,
                counting: None,
                message: String::new(),
                reported: now,
                finished: false,
            }),
            bar,
        }
    }

    /// Says how many steps there are, once known (an estimate will do).
    pub fn set_total(&self, total: Option<u64>) {
        let mut state = self.lock();
        state.total = total;
        state.counting = None;
        if let Some((bar, _)) = &self.bar {
            bar.set_style(if total.is_some() {
                bar_style()
            } else {
                spinner_style()
            });
            bar.set_length(total.unwrap_or(0));
        }
    }

    /// Says how many steps are done.
    pub fn set_pos(&self, pos: u64) {
        let mut state = self.lock();
        state.pos = pos;
        state.counting.get_or_insert((Instant::now(), pos));
        if let Some((bar, _)) = &self.bar {
            // An estimate that was too low grows instead of showing 110 %.
            if state.total.is_some_and(|total| pos > total) {
                bar.set_length(pos);
            }
            bar.set_position(pos);
        }
        self.show(&mut state);
    }

    /// Replaces the short text that says what is being done.
    pub fn message(&self, text: &str) {
        let mut state = self.lock();
        text.clone_into(&mut state.message);
        self.show(&mut state);
    }

    /// Prints a line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some((_, bars)) => bars.suspend(|| eprintln!("  {text}")),
            None => eprintln!("{}: {text}", self.name),
        }
    }

    /// Marks the stage as done and leaves one line that says what came of it.
    pub fn finish(self, summary: &str) {
        self.lock().finished = true;
        self.leave("✓", summary);
    }

    fn leave(&self, mark: &str, summary: &str) {
        let took = duration(self.started.elapsed());
        match &self.bar {
            Some((bar, bars)) => {
                bar.finish_and_clear();
                bars.suspend(|| eprintln!("{mark} {:<14} {summary} ({took})", self.name));
            }
            None => eprintln!("{}: {summary} ({took})", self.name),
        }
    }

    fn show(&self, state: &mut State) {
        if let Some((bar, _)) = &self.bar {
            bar.set_message(state.text());
        } else if state.reported.elapsed() >= PLAIN_INTERVAL {
            state.reported = Instant::now();
            eprintln!("{}: {}", self.name, state.plain());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A poisoned lock only means that another thread panicked while it
        // set a number; the numbers are still good enough to show.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.lock().finished {
            self.leave("✗", "failed");
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:<14} {elapsed:>4} {wide_msg}")
        .expect("the template is a constant")
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner} {prefix:<14} {elapsed:>4} [{bar:24}] {pos}/{len} {wide_msg}",
    )
    .expect("the template is a constant")
    .progress_chars("=> ")
}

impl State {
    /// The time left, if there is a guess, and what is being done.
    fn text(&self) -> String {
        let left = self.counting.and_then(|(since, base)| {
            let done = self.pos - base.min(self.pos);
            time_left(since.elapsed(), done, self.total?.checked_sub(self.pos)?)
        });
        let message = (!self.message.is_empty()).then(|| self.message.clone());
        let parts: Vec<_> = left.into_iter().chain(message).collect();
        parts.join(", ")
    }

    fn plain(&self) -> String {
        match self.total {
            Some(total) => format!("{}/{}, {}", self.pos, total.max(self.pos), self.text()),
            None => self.text(),
        }
    }
}

/// Assumes that the steps to come take as long as those that are done.
fn time_left(elapsed: Duration, done: u64, to_do: u64) -> Option<String> {
    if done == 0 || to_do == 0 || elapsed < Duration::from_secs(2) {
        return None;
    }
    let left = elapsed.mul_f64(to_do as f64 / done as f64);
    Some(format!("{} left", duration(left)))
}

/// A duration as people say it: `0.4 s`, `12 s`, `3 min 20 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(440)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(42)), "42 s");
        assert_eq!(duration(Duration::from_secs(200)), "3 min 20 s");
    }

    #[test]
    fn time_left_is_proportional() {
        let left = time_left(Duration::from_secs(10), 25, 75);
        assert_eq!(left.as_deref(), Some("30 s left"));
        assert_eq!(time_left(Duration::from_secs(10), 0, 100), None);
        assert_eq!(time_left(Duration::from_secs(10), 120, 0), None);
    }
}
