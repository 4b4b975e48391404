//! How a waiter sleeps: in slices, so that a lost wake costs one slice, and so that somebody asks whether the
//! holder is still alive.
//!
//! A slice is 10 ms, doubling to 100 ms, shortened by up to a quarter so that waiters do not march in step. At the
//! end of each slice that timed out the waiter asks about the holder, unless another waiter on the same word did so
//! in the last millisecond. A waiter that finds again and again that somebody asked a moment ago is in a crowd, and lets
//! its slices grow to a second: the crowd still asks every other millisecond together, however large it is, and no
//! count of waiters has to be kept that a killed one would spoil.
//!
//! A wait that outlasts a slice is shown in the namespace's table of waits, for people and for the search
//! for deadlocks (`deadlock.rs`).

use crate::deadlock;
use crate::lock_word::Hold;
use procession_shm::{Segment, ShownWait, WaitNote, show_wait};
use procession_sys::futex::{self, Waited};
use procession_sys::{Deadline, clock};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST_NS: u64 = 10_000_000;
const CAP_NS: u64 = 100_000_000;
const CROWD_CAP_NS: u64 = 1_000_000_000;
/// How long ago somebody asked, on average, is a crowd's doing when it is less than this.
const CROWD_NS: u64 = 3_000_000;
/// How often a long wait is told to make the checks that cost more.
const SURVEY_NS: u64 = 1_000_000_000;

/// Why a [`Patience::sleep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Nap {
    /// Nobody slept: the word had changed.
    Changed,
    /// Woken, or it is another's turn to ask: look again.
    Woken,
    /// A slice ended: ask whether the holder is alive.
    Ask {
        /// About once a second: also ask whether the object still has its name.
        survey: bool,
    },
    /// The deadline passed.
    TimedOut,
}

/// One waiter's sleeps during one operation.
#[derive(Debug)]
pub struct Patience {
    deadline: Deadline,
    slice_ns: u64,
    /// How long ago somebody had asked, on average over the last slices.
    unasked_ns: u64,
    next_survey_ns: u64,
    /// When the first slice began that was slept to its end, 0 if none was.
    long_since_ns: u64,
    shown: Option<ShownWait>,
}

impl Patience {
    /// Until `deadline`, at most.
    #[must_use]
    pub fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            slice_ns: FIRST_NS,
            unasked_ns: CAP_NS,
            next_survey_ns: 0,
            long_since_ns: 0,
            shown: None,
        }
    }

    /// Shows that this thread waits for the segment's object, if the wait has outlasted a slice.
    pub fn show(&mut self, segment: &Segment) -> Option<&ShownWait> {
        if self.long_since_ns != 0 && self.shown.is_none() {
            self.shown = self.begin_showing(segment);
        }
        self.shown.as_ref()
    }

    /// Shows the wait no longer, until [`show`](Self::show) is called again: the thread does something else now, and may
    /// wait for that.
    pub fn hide(&mut self) {
        self.shown = None;
    }

    #[cold]
    fn begin_showing(&self, segment: &Segment) -> Option<ShownWait> {
        let me = Hold::of_this_thread(segment.registration().current_owner()?);
        let is_timed = self.deadline != Deadline::NEVER;
        let note =
            WaitNote { is_timed, backs_out: deadlock::is_asked_for(segment), since_ns: self.long_since_ns };
        if me.names_the_thread() { show_wait(segment, me.as_waiter(), note) } else { None }
    }

    /// Sleeps on `word` while it holds `expected`. `asked` is the shared note of when somebody last asked.
    pub fn sleep(&mut self, word: &AtomicU32, expected: u32, asked: &AtomicU32) -> Nap {
        let start = clock::now_ns();
        if self.next_survey_ns == 0 {
            self.next_survey_ns = start + SURVEY_NS;
        }
        let jitter = self.slice_ns / 4 * (start % 64) / 64;
        let slice_end = Deadline::at_ns(start + self.slice_ns - jitter);
        match futex::wait(word, expected, slice_end.min(self.deadline)) {
            Waited::Changed => return Nap::Changed,
            Waited::Woken => return Nap::Woken,
            Waited::TimedOut => {}
        }
        if self.long_since_ns == 0 {
            self.long_since_ns = start;
        }
        if slice_end > self.deadline {
            return Nap::TimedOut;
        }
        let now = clock::now_ns();
        let now_ms = clock::ms_of(now);
        // Relaxed: a hint that spares work; a wrong value costs a question or a slice.
        let unasked_ms = now_ms.wrapping_sub(asked.load(Ordering::Relaxed));
        self.lengthen(unasked_ms);
        if unasked_ms < 1 {
            return Nap::Woken;
        }
        asked.store(now_ms, Ordering::Relaxed);
        let survey = now >= self.next_survey_ns;
        if survey {
            self.next_survey_ns = now + SURVEY_NS;
        }
        Nap::Ask { survey }
    }

    /// The next slice, after one at whose end nobody had asked for so long.
    fn lengthen(&mut self, unasked_ms: u32) {
        self.unasked_ns = (self.unasked_ns + (u64::from(unasked_ms) * 1_000_000).min(CAP_NS)) / 2;
        let cap = if self.unasked_ns < CROWD_NS { CROWD_CAP_NS } else { CAP_NS };
        self.slice_ns = (self.slice_ns * 2).min(cap);
    }
}

#[cfg(test)]
mod tests {
    use super::{CAP_NS, CROWD_CAP_NS, Nap, Patience};
    use procession_sys::{Deadline, clock};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    #[test]
    fn a_slice_ends_with_a_question_unless_one_was_just_asked() {
        let (word, asked) = (AtomicU32::new(0), AtomicU32::new(0));
        let mut patience = Patience::new(Deadline::NEVER);
        assert_eq!(patience.sleep(&word, 1, &asked), Nap::Changed);
        assert_eq!(patience.sleep(&word, 0, &asked), Nap::Ask { survey: false });
        // As if others asked all the time.
        let ahead = clock::ms_of(clock::now_ns()).wrapping_add(60_000);
        asked.store(ahead, Ordering::Relaxed);
        assert_eq!(patience.sleep(&word, 0, &asked), Nap::Ask { survey: false });
    }

    #[test]
    fn slices_grow_beyond_the_cap_in_a_crowd_alone() {
        let mut patience = Patience::new(Deadline::NEVER);
        let mut slices = |unasked_ms: u32| {
            (0..12).for_each(|_| patience.lengthen(unasked_ms));
            patience.slice_ns
        };
        assert_eq!(slices(100), CAP_NS);
        assert_eq!(slices(50), CAP_NS);
        assert_eq!(slices(1), CROWD_CAP_NS);
        // The others are gone.
        assert_eq!(slices(u32::MAX), CAP_NS);
        assert_eq!(slices(0), CROWD_CAP_NS);
    }

    #[test]
    fn the_deadline_ends_it() {
        let (word, asked) = (AtomicU32::new(0), AtomicU32::new(0));
        let mut patience = Patience::new(Deadline::after(Duration::from_millis(3)));
        assert_eq!(patience.sleep(&word, 0, &asked), Nap::TimedOut);
    }
}
