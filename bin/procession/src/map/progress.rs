//! `--progress`: how far the jobs are, on stderr.

use crate::duration::age;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use procession_sys::clock::now_ns;
use procession_terminal::output;
use serde::Serialize;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

const BAR_EVERY: u64 = 200_000_000;
const COUNTER_EVERY: u64 = 10_000_000_000;
const JSON_EVERY: u64 = 1_000_000_000;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Show {
    /// A bar if stderr is a terminal, and otherwise nothing.
    #[default]
    Auto,
    /// A bar with the time that is left, on a terminal.
    Bar,
    /// A line every ten seconds.
    Counter,
    /// A line of JSON every second, on stderr.
    Json,
    /// Nothing.
    None,
}

/// How far the jobs are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Done before, by the log.
    pub(crate) skipped: u64,
    pub(crate) running: u64,
    /// All jobs, if that is known.
    pub(crate) total: Option<u64>,
}

impl Counts {
    fn ended(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// How long the rest takes, if it goes on like that.
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        let rest = self.total?.checked_sub(self.ended() + self.skipped)?;
        let seconds = elapsed.as_secs_f64() / (self.ended() as f64).max(f64::EPSILON) * rest as f64;
        Duration::try_from_secs_f64(seconds).ok().filter(|_| self.ended() > 0)
    }
}

/// Shows it.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Shown,
    began: u64,
    next: u64,
}

#[derive(Debug)]
enum Shown {
    /// Whether it was drawn.
    Bar(ProgressBar, bool),
    Counter,
    Json,
    Nothing,
}

#[derive(Serialize)]
struct Record {
    v: u32,
    ts: f64,
    kind: &'static str,
    succeeded: u64,
    failed: u64,
    skipped: u64,
    running: u64,
    total: Option<u64>,
    left_seconds: Option<f64>,
}

impl Progress {
    pub(crate) fn new(show: Show) -> Self {
        let is_terminal = stderr().is_terminal();
        let (shown, every) = match show {
            Show::Auto | Show::Bar if is_terminal => (Shown::Bar(bar(), false), BAR_EVERY),
            Show::Counter => (Shown::Counter, COUNTER_EVERY),
            Show::Json => (Shown::Json, JSON_EVERY),
            Show::Auto | Show::Bar | Show::None => (Shown::Nothing, u64::MAX),
        };
        let began = now_ns();
        Self { shown, began, next: began.saturating_add(every) }
    }

    /// Whether it takes the number of all jobs, as early as possible.
    pub(crate) fn wants_total(&self) -> bool {
        !matches!(self.shown, Shown::Nothing)
    }

    /// When it is to be shown next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Shows it, if it is time.
    pub(crate) fn show(&mut self, counts: Counts) {
        let now = now_ns();
        if now < self.next {
            return;
        }
        let left = counts.left(Duration::from_nanos(now - self.began));
        let every = match &mut self.shown {
            Shown::Bar(bar, is_drawn) => {
                draw(bar, counts, left);
                *is_drawn = true;
                BAR_EVERY
            }
            Shown::Counter => {
                output::warn(&line(counts, left));
                COUNTER_EVERY
            }
            Shown::Json => {
                self.print(counts, left);
                JSON_EVERY
            }
            Shown::Nothing => u64::MAX,
        };
        self.next = now.saturating_add(every);
    }

    fn print(&self, counts: Counts, left: Option<Duration>) {
        let Counts { succeeded, failed, skipped, running, total } = counts;
        output::warn_in_json(&Record {
            v: 1,
            ts: super::record::now(),
            kind: "progress",
            succeeded,
            failed,
            skipped,
            running,
            total,
            left_seconds: left.map(|left| left.as_secs_f64()),
        });
    }

    /// Does something to the terminal, on which there is no bar meanwhile.
    pub(crate) fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.shown {
            Shown::Bar(bar, true) => bar.suspend(act),
            _ => act(),
        }
    }

    /// The last that is shown.
    pub(crate) fn end(&mut self, counts: Counts) {
        match &self.shown {
            Shown::Bar(bar, _) => bar.finish_and_clear(),
            Shown::Counter => output::warn(&line(counts, None)),
            Shown::Json => self.print(counts, None),
            Shown::Nothing => {}
        }
        self.shown = Shown::Nothing;
    }
}

/// `12 of 40 done, 1 failed, 2 running, 3m12s left`
pub(crate) fn line(counts: Counts, left: Option<Duration>) -> String {
    let mut text = (counts.ended() + counts.skipped).to_string();
    if let Some(total) = counts.total {
        text += &format!(" of {total}");
    }
    text += " done";
    let more = [(counts.failed, "failed"), (counts.skipped, "done before"), (counts.running, "running")];
    for (number, what) in more.into_iter().filter(|(number, _)| *number > 0) {
        text += &format!(", {number} {what}");
    }
    if let Some(left) = left {
        text += &format!(", {} left", age(left));
    }
    text
}

fn bar() -> ProgressBar {
    // No thread of its own draws it: signals would be delivered to that.
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

fn draw(bar: &ProgressBar, counts: Counts, left: Option<Duration>) {
    // Each of these may draw: the text first, and then what shows it.
    bar.set_message(line(counts, left));
    let template = if counts.total.is_some() { "{wide_bar} {msg}" } else { "{msg}" };
    if let Some(total) = counts.total {
        bar.set_length(total);
    }
    bar.set_position(counts.ended() + counts.skipped);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.tick();
}

#[cfg(test)]
mod tests {
    use super::{Counts, line};
    use std::time::Duration;

    #[test]
    fn progress_is_for_people() {
        let counts = Counts { succeeded: 9, failed: 1, skipped: 2, running: 3, total: Some(32) };
        let left = counts.left(Duration::from_secs(10));
        assert_eq!(left, Some(Duration::from_secs(20)));
        assert_eq!(line(counts, left), "12 of 32 done, 1 failed, 2 done before, 3 running, 20s left");
        let counts = Counts { succeeded: 0, failed: 0, skipped: 0, running: 0, total: None };
        assert_eq!(line(counts, counts.left(Duration::from_secs(1))), "0 done");
    }
}
