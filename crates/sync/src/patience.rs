//! How a waiter sleeps: in slices, so that a lost wake costs one slice, and so that somebody asks whether the
//! holder is still alive.
//!
//! A wait that outlasts a millisecond says whom it waits for, and is woken at once when one of them dies
//! (`death_watch.rs`): a wake that has changed nothing is a reason to ask. Where nobody can be watched, and for
//! all that a death is not, there are the ends of slices.
//!
//! A slice is 10 ms, doubling to 100 ms, shortened by up to a quarter so that waiters do not march in step.
//! At the end of each slice that timed out the waiter asks about the holder, unless another waiter on the
//! same word did so in the last millisecond. A waiter that finds again and again that somebody asked a moment
//! ago is in a crowd, and lets its slices grow to a second: the crowd still asks every ten milliseconds or so
//! together, however large it is, and no count of waiters has to be kept that a killed one would spoil. Threads
//! of one process that are told of deaths share that second: ten of them look every ten seconds each.
//!
//! A wait that outlasts a slice is shown in the namespace's table of waits, for people and for the search for
//! deadlocks (`deadlock.rs`). About once a second it is also asked whether the object's file is still there.
//!
//! Before it sleeps at all, a waiter may look again and again for as long as a sleep and a wake would take.
//! How long it pauses between two looks is measured for each object: each look takes the cache line from
//! those who work there.

use crate::deadlock;
use crate::death_watch::{self, Watching};
use crate::hold::Hold;
use procession_shm::{OwnerId, Segment, ShownWait, WaitNote, show_wait};
use procession_sys::cpu::Spin;
use procession_sys::futex::{self, Sleepers, Waited};
use procession_sys::{Deadline, clock, crash, interrupt};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

/// How long a thread looks again and again before it sleeps: a sleep and a wake cost this much.
const SPIN_NS: u64 = 20_000;

/// How long a wait lasts before it says whom it waits for: that costs more than a sleep and a wake.
const LONG_NS: u64 = 1_000_000;
const FIRST_NS: u64 = 10_000_000;
const CAP_NS: u64 = 100_000_000;
const CROWD_CAP_NS: u64 = 1_000_000_000;
/// How many threads of one process share the longest slice of a crowd: who is left of more of them may be told of
/// a wake that was lost as late as that.
const MOST_COMRADES: usize = 10;
/// How long ago somebody asked, on average, is a crowd's doing when it is less than this.
const CROWD_NS: u64 = 30_000_000;
/// How often a long wait asks whether the object's file is still there: that costs a system call.
const SURVEY_NS: u64 = 1_000_000_000;

/// Why a [`Patience::sleep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Nap {
    /// Nobody slept: the word had changed.
    Changed,
    /// Woken, or it is another's turn to ask: look again.
    Woken,
    /// A slice ended, or somebody died who is waited for: ask whether the holder is alive.
    Ask,
    /// The deadline passed.
    TimedOut,
}

/// Why a wait ends although nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A hook of this thread wanted it to end (`procession_sys::interrupt`).
    Interrupted,
    /// The object's file was removed by somebody else: nobody new can come, and maybe nobody is left who
    /// could end the wait.
    Orphaned,
}

/// Those whose death would concern a waiter: asked for when the wait has become a long one.
pub trait Whom {
    /// Whether there can be any.
    const ANY: bool;

    /// Their ids in the registry of the object that is waited for.
    fn owners(self) -> Vec<OwnerId>;
}

/// Nobody: what is waited for, anybody may bring.
impl Whom for () {
    const ANY: bool = false;

    fn owners(self) -> Vec<OwnerId> {
        Vec::new()
    }
}

impl<I: IntoIterator<Item = OwnerId>, F: FnOnce() -> I> Whom for F {
    const ANY: bool = true;

    fn owners(self) -> Vec<OwnerId> {
        self().into_iter().collect()
    }
}

/// One waiter's sleeps during one operation.
#[derive(Debug)]
pub struct Patience {
    deadline: Deadline,
    /// Begun at the first look.
    spin: Option<Spin>,
    slice_ns: u64,
    /// How long ago somebody had asked, on average over the last slices.
    unasked_ns: u64,
    next_survey_ns: u64,
    is_survey_due: bool,
    /// Whether a signal ended a sleep, or a slice has ended, and no hook of this thread has been asked since.
    is_interruption_due: bool,
    /// When the first slice began that was slept to its end, 0 if none was.
    long_since_ns: u64,
    /// When the last slice began, if it was slept to its end; otherwise 0.
    whole_since_ns: u64,
    shown: Option<ShownWait>,
    /// Whether it has slept for a millisecond.
    is_long: bool,
    watching: Option<Watching>,
    /// Whether it was told of a death instead of sleeping, and has not slept since.
    was_told: bool,
}

impl Patience {
    /// Until `deadline`, at most.
    #[must_use]
    pub fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            spin: None,
            slice_ns: FIRST_NS,
            unasked_ns: CAP_NS,
            next_survey_ns: 0,
            is_survey_due: false,
            is_interruption_due: false,
            long_since_ns: 0,
            whole_since_ns: 0,
            shown: None,
            is_long: false,
            watching: None,
            was_told: false,
        }
    }

    /// When the whole wait ends.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// When the last slice began, if it was slept to its end: what is there since then is there for long.
    pub(crate) fn slept_since(&self) -> Option<u64> {
        (self.whole_since_ns != 0).then_some(self.whole_since_ns)
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.deadline.has_passed()
    }

    /// Pauses for a moment, `pauses` long, the least at first and twice as long each time; `false` when that
    /// has been done for long enough, and it is time to sleep.
    pub(crate) fn spins(&mut self, pauses: RangeInclusive<u32>) -> bool {
        let begin = || Spin::for_ns(SPIN_NS).starting_with(*pauses.start());
        self.spin.get_or_insert_with(begin).pause(*pauses.end())
    }

    /// Shows that this thread waits for the segment's object, if the wait has outlasted a slice.
    fn show(&mut self, segment: &Segment) -> Option<&ShownWait> {
        if self.long_since_ns != 0 && self.shown.is_none() {
            self.shown = self.begin_showing(segment);
        }
        self.shown.as_ref()
    }

    /// Shows the wait no longer, until the next [`sleep`](Self::sleep): the thread does something else now,
    /// and may wait for that.
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

    /// Shows whom a wait that has outlasted a slice waits for: `look` reads it, as it stands in a lock word.
    /// Whether this thread is in a deadlock, and the one that is to back out of it.
    #[must_use]
    pub(crate) fn is_in_a_deadlock(
        &mut self,
        segment: &Segment,
        look: impl FnOnce(&ShownWait) -> u64,
    ) -> bool {
        self.show(segment).is_some_and(|wait| {
            wait.sees(|| look(wait));
            deadlock::is_ours_to_break(segment, wait)
        })
    }

    /// Sleeps for a slice on `word` while it holds `expected`. `asked` is the shared note of when somebody
    /// last asked. `segment` is the object that the thread waits for, if it is one that people know. `whom`
    /// says whose deaths concern it: while the word says so.
    ///
    /// # Errors
    /// [`Stop::Orphaned`], before it sleeps: whoever calls this has looked since the slice at whose end that
    /// was found. [`Stop::Interrupted`], after it has slept, and then no wake was used up; never without a
    /// `segment`.
    pub fn sleep(
        &mut self,
        segment: Option<&Segment>,
        word: &AtomicU32,
        expected: u32,
        asked: &AtomicU32,
        whom: impl Whom,
    ) -> Result<Nap, Stop> {
        if let Some(segment) = segment {
            if std::mem::take(&mut self.is_survey_due) && segment.is_orphaned() {
                return Err(Stop::Orphaned);
            }
            self.show(segment);
        }
        let nap = self.slice(segment, word, expected, asked, whom);
        let asks = std::mem::take(&mut self.is_interruption_due) && segment.is_some();
        if asks && interrupt::is_wanted() { Err(Stop::Interrupted) } else { Ok(nap) }
    }

    fn slice<W: Whom>(
        &mut self,
        segment: Option<&Segment>,
        word: &AtomicU32,
        expected: u32,
        asked: &AtomicU32,
        whom: W,
    ) -> Nap {
        let start = clock::now_ns();
        self.whole_since_ns = 0;
        if self.next_survey_ns == 0 {
            self.next_survey_ns = start + SURVEY_NS;
        }
        let jitter = self.slice_ns / 4 * (start % 64) / 64;
        let slice_end = match crash::has_no_slices() {
            true => Deadline::NEVER,
            false => Deadline::at_ns(start + self.slice_ns - jitter),
        };
        let until = slice_end.min(self.deadline);
        let waited = match segment {
            Some(segment) if W::ANY => {
                let long_from = Deadline::at_ns(start + LONG_NS);
                self.sleep_watched(segment, word, expected, [long_from, until], whom)
            }
            _ => Some(futex::wait(word, expected, until)),
        };
        match waited {
            None => {
                asked.store(clock::ms_of(clock::now_ns()), Ordering::Relaxed);
                return Nap::Ask;
            }
            Some(Waited::Changed) => return Nap::Changed,
            Some(Waited::Woken) => return Nap::Woken,
            Some(Waited::Signaled) => {
                self.is_interruption_due = true;
                // The hook may do what it likes, and so this thread does not wait while it runs.
                self.hide();
                return Nap::Woken;
            }
            Some(Waited::TimedOut) => self.is_interruption_due = true,
        }
        self.whole_since_ns = start;
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
        if now >= self.next_survey_ns {
            self.next_survey_ns = now + SURVEY_NS;
            self.is_survey_due = true;
        }
        Nap::Ask
    }

    /// Sleeps until the last of these times; from the first on, whom it waits for is watched. `None` if one of
    /// them died.
    fn sleep_watched(
        &mut self,
        segment: &Segment,
        word: &AtomicU32,
        expected: u32,
        [long_from, until]: [Deadline; 2],
        whom: impl Whom,
    ) -> Option<Waited> {
        let kind = death_watch::kind_in(segment);
        if !self.is_long && long_from < until {
            match futex::wait_among(kind, word, expected, long_from) {
                Waited::TimedOut => self.is_long = true,
                other => return Some(other),
            }
        }
        if self.is_long && self.finds_one_dead(segment, word, kind, whom) {
            return None;
        }
        let waited = futex::wait_among(kind, word, expected, until);
        // Whoever changes something changes the word before the wake: only the watcher does not.
        let is_told =
            waited == Waited::Woken && self.watching.is_some() && word.load(Ordering::Relaxed) == expected;
        (!is_told).then_some(waited)
    }

    /// Sees to it that whom this thread waits for is watched; whether one of them is dead already, and it has not
    /// been told so before this sleep: what it does about it may be nothing.
    #[cold]
    fn finds_one_dead(
        &mut self,
        segment: &Segment,
        word: &AtomicU32,
        kind: Sleepers,
        whom: impl Whom,
    ) -> bool {
        let was_told = std::mem::take(&mut self.was_told);
        let owners = whom.owners();
        if self.watching.as_ref().is_some_and(|watching| watching.is_still(word, &owners)) {
            return false;
        }
        self.watching = None;
        let (watching, is_one_dead) = death_watch::watch(segment, word, kind, owners);
        self.watching = watching;
        self.was_told = is_one_dead && !was_told;
        self.was_told
    }

    /// How many threads of this process, up to a limit, sleep on the word and are told of deaths.
    fn comrades(&self) -> u64 {
        // A thread that can be interrupted has to ask for that itself.
        let sleepers = self.watching.as_ref().filter(|_| !interrupt::is_possible()).map(Watching::sleepers);
        sleepers.map_or(1, |sleepers| sleepers.clamp(1, MOST_COMRADES) as u64)
    }

    /// The next slice, after one at whose end nobody had asked for so long.
    fn lengthen(&mut self, unasked_ms: u32) {
        self.unasked_ns = (self.unasked_ns + (u64::from(unasked_ms) * 1_000_000).min(CAP_NS)) / 2;
        let cap = if self.unasked_ns < CROWD_NS { CROWD_CAP_NS * self.comrades() } else { CAP_NS };
        self.slice_ns = (self.slice_ns * 2).min(cap);
    }
}

/// Looks again and again, with `pauses` between, for as long as a sleep and a wake would take; whether it
/// `is_ready`.
pub fn spin_until(pauses: RangeInclusive<u32>, mut is_ready: impl FnMut() -> bool) -> bool {
    let mut spin = Spin::for_ns(SPIN_NS).starting_with(*pauses.start());
    loop {
        if is_ready() {
            return true;
        }
        if !spin.pause(*pauses.end()) {
            return false;
        }
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
        assert_eq!(patience.slice(None, &word, 1, &asked, ()), Nap::Changed);
        assert_eq!(patience.slice(None, &word, 0, &asked, ()), Nap::Ask);
        // As if others asked all the time.
        let ahead = clock::ms_of(clock::now_ns()).wrapping_add(60_000);
        asked.store(ahead, Ordering::Relaxed);
        assert_eq!(patience.slice(None, &word, 0, &asked, ()), Nap::Ask);
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
        assert_eq!(slices(10), CROWD_CAP_NS);
        // The others are gone.
        assert_eq!(slices(u32::MAX), CAP_NS);
        assert_eq!(slices(0), CROWD_CAP_NS);
    }

    #[test]
    fn a_sleep_ends_at_the_deadline() {
        let (word, asked) = (AtomicU32::new(0), AtomicU32::new(0));
        let mut patience = Patience::new(Deadline::after(Duration::from_millis(3)));
        assert_eq!(patience.slice(None, &word, 0, &asked, ()), Nap::TimedOut);
    }
}
