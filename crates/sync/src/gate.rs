//! A gate: a word on which many wait until it lets them pass. Events and latches are made of it.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever lets them pass takes it off, and owes a wake |
//! | 1.. | what the object says |
//!
//! # Who may change what
//! Anybody, by one CAS. A waiter: `WAITERS` on, in a word that does not let it pass.
//!
//! # Orderings
//! Edge `gate.passed`: the AcqRel of each change continues those before it, and meets the Acquire of whoever
//! looks: what was written before any of the changes that let it pass is visible to it. `WAITERS` is Relaxed:
//! it is in the word that the kernel compares before a waiter sleeps.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | waiting, asleep or woken | maybe `WAITERS` | the next change that takes it off: one useless wake |
//! | after the CAS of a change, before the wake | sleepers who were not told | the end of a sleeper's slice; it wakes all the others |
//!
//! Nothing is ever held. A change is a few atomic operations and at most one `FUTEX_WAKE`: it may be made in
//! a signal handler, also in one that interrupts any of this.

use crate::fault::Fault;
use crate::patience::{Nap, Patience, Whom};
use procession_shm::Segment;
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, crash_point, futex, shm_struct};
use std::ops::RangeInclusive;

/// Somebody may sleep.
pub(crate) const WAITERS: u64 = 1;

/// The pauses between two looks of a waiter that does not sleep yet: from the first number up to the second.
const PAUSES: RangeInclusive<u32> = 1..=16;

shm_struct! {
    /// A gate in shared memory; which words let whom pass is the object's affair.
    pub(crate) struct Gate {
        word: AtomicU64,
        /// When a waiter last asked, in milliseconds: see [`Patience`].
        asked: AtomicU32,
        reserved: AtomicU32,
        /// To the end of the cache line.
        spare: [AtomicU64; 6],
    }
}

/// Why a wait ended.
pub(crate) enum Shut {
    /// The deadline passed, when this was the word.
    TimedOut(u64),
    /// A hook of this thread wanted it to end.
    Interrupted,
    /// The object is unusable.
    Fault(Fault),
}

impl From<Fault> for Shut {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Gate {
    /// The word as it is now.
    #[inline]
    pub(crate) fn word(&self) -> u64 {
        // SYNC: gate.passed.
        self.word.load(Ordering::Acquire)
    }

    /// Changes the word in one step, and wakes everybody if that took `WAITERS` off; the word before.
    #[inline]
    pub(crate) fn change(&self, change: impl Fn(u64) -> u64) -> u64 {
        let mut before = self.word.load(Ordering::Relaxed);
        let after = loop {
            let after = change(before);
            // SYNC: gate.passed. Also when nothing changes: who looks at it is then after this call too.
            match self.word.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break after,
                Err(now) => before = now,
            }
        };
        crash_point("gate.changed");
        if before & !after & WAITERS != 0 {
            self.wake_all();
        }
        before
    }

    /// Changes the word to another one if it is `from`, and wakes everybody if that took `WAITERS` off; whether it was.
    pub(crate) fn change_from(&self, from: u64, to: u64) -> bool {
        // SYNC: gate.passed.
        let is_done = self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        crash_point("gate.changed");
        if is_done && from & !to & WAITERS != 0 {
            self.wake_all();
        }
        is_done
    }

    #[cold]
    fn wake_all(&self) {
        futex::wake_all(futex::low_half(&self.word));
    }

    /// Waits until `passes` says so of the word; `whom` says whose death could make it do so.
    #[cold]
    pub(crate) fn wait<W: Whom>(
        &self,
        segment: &Segment,
        deadline: Deadline,
        passes: impl Fn(u64) -> bool,
        whom: impl Fn(u64) -> W,
    ) -> Result<(), Shut> {
        let mut patience = Patience::new(deadline);
        let mut nap = Nap::Woken;
        loop {
            let word = self.word();
            if passes(word) {
                if nap == Nap::Ask {
                    // Nobody woke this one: who let it pass may have died before it woke anybody.
                    self.wake_all();
                }
                return Ok(());
            }
            if patience.is_over() {
                return Err(Shut::TimedOut(word));
            }
            // As long as nobody sleeps here, whoever lets this one pass owes no system call: it spins a
            // while.
            if word & WAITERS == 0 && patience.spins(PAUSES) {
                continue;
            }
            nap = self.sleep(segment, word, &mut patience, whom(word))?;
        }
    }

    /// Announces a sleeper, and sleeps one slice.
    fn sleep(
        &self,
        segment: &Segment,
        word: u64,
        patience: &mut Patience,
        whom: impl Whom,
    ) -> Result<Nap, Shut> {
        let announced = word | WAITERS;
        let taken = self.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_err() {
            // The word was changed since it was looked at: it may let this one pass now.
            return Ok(Nap::Changed);
        }
        crash_point("gate.waiting");
        let futex = futex::low_half(&self.word);
        let nap = patience.sleep(Some(segment), futex, announced as u32, &self.asked, whom);
        crash_point("gate.slept");
        nap.map_err(|stop| Fault::of_stop(segment, stop, |_| Shut::Interrupted))
    }

    /// Announces a waiter, unless it `passes`: the futex on which to sleep, while it says this.
    pub(crate) fn watch(&self, passes: impl Fn(u64) -> bool) -> (&AtomicU32, u32) {
        let word = loop {
            let word = self.word();
            let announced = word | WAITERS;
            let announce =
                || self.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed);
            if passes(word) || announce().is_ok() {
                break announced;
            }
        };
        (futex::low_half(&self.word), word as u32)
    }

    /// Any word, as a damaged file might hold it.
    #[cfg(test)]
    pub(crate) fn damage(&self, word: u64) {
        self.word.store(word, Ordering::Relaxed);
    }
}
