//! An eventcount: sleep until something may have changed, without a lock around the something.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever changes the something owes a wake |
//! | `WOKEN` 1 | a woken waiter is on its way: no second one is woken until it has arrived |
//! | 2.. | changes with every wake, so that a waiter about to sleep notices one |
//!
//! A waiter: `listen`, then look at the something again, then `sleep`, `arrive`, look again. A notifier:
//! change the something, then a full fence, then `notify`. While one woken waiter is on its way nobody wakes
//! a second; so whoever has slept, and leaves something behind for another, notifies.
//!
//! # Orderings
//! Edge `eventcount.dekker`: the waiter sets `WAITERS`, fences, looks at the something; the notifier changes
//! the something, fences, looks at `WAITERS`. One of the two sees the other. The word itself carries no data:
//! Relaxed.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | waiter, listening or asleep | `WAITERS` | the next wake finds nobody and clears it |
//! | waiter, woken, before it arrived | `WOKEN` | another sleeper's slice ends and it arrives; every 64th notify wakes all the same |
//! | notifier, before its wake | a sleeper that missed something | the end of that sleeper's slice |

use crate::patience::{Nap, Patience, Stop, Whom};
use procession_shm::Segment;
use procession_sys::atomic::{AtomicU32, Ordering, fence};
use procession_sys::{crash_point, futex, shm_struct};

const WAITERS: u32 = 1;
const WOKEN: u32 = 2;
const STEP: u32 = 4;
/// Of so many notifies that find `WOKEN`, one wakes all the same: the woken waiter may have died on its way.
const TRUST: u32 = 64;

shm_struct! {
    /// An eventcount in shared memory; all zero is ready.
    pub struct EventCount {
        word: AtomicU32,
        /// When a waiter last asked, in milliseconds: see [`Patience`].
        asked: AtomicU32,
        /// Notifies that trusted `WOKEN`.
        trusted: AtomicU32,
        reserved: AtomicU32,
    }
}

impl EventCount {
    /// Announces a waiter; what [`sleep`](Self::sleep) is to be given. Look at the something again before
    /// sleeping.
    #[must_use]
    pub fn listen(&self) -> u32 {
        let before = self.word.fetch_or(WAITERS, Ordering::Relaxed);
        // SYNC: eventcount.dekker.
        fence(Ordering::SeqCst);
        crash_point("eventcount.listening");
        before | WAITERS
    }

    /// The futex on which [`sleep`](Self::sleep) sleeps while it says what [`listen`](Self::listen) said.
    #[must_use]
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps until notified since [`listen`](Self::listen), or for one slice, or until one of `whom` dies.
    ///
    /// # Errors
    /// As [`Patience::sleep`].
    pub fn sleep(
        &self,
        segment: Option<&Segment>,
        listened: u32,
        patience: &mut Patience,
        whom: impl Whom,
    ) -> Result<Nap, Stop> {
        let nap = patience.sleep(segment, &self.word, listened, &self.asked, whom);
        crash_point("eventcount.slept");
        nap
    }

    /// Sleeps until notified, or for one slice, or until one of `whom` dies, unless it `is_ready` already: then
    /// `Changed`.
    ///
    /// # Errors
    /// As [`Patience::sleep`].
    pub fn wait(
        &self,
        segment: Option<&Segment>,
        patience: &mut Patience,
        mut is_ready: impl FnMut() -> bool,
        whom: impl Whom,
    ) -> Result<Nap, Stop> {
        let listened = self.listen();
        if is_ready() {
            return Ok(Nap::Changed);
        }
        let nap = self.sleep(segment, listened, patience, whom)?;
        // After `Changed` it has not slept, and so was not the one that was woken.
        if nap != Nap::Changed {
            self.arrive();
        }
        Ok(nap)
    }

    /// A waiter that has slept goes on: the next notify may wake another.
    pub fn arrive(&self) {
        // Looked at first: a write would take the cache line from the notifiers each time.
        if self.word.load(Ordering::Relaxed) & WOKEN != 0 {
            self.word.fetch_and(!WOKEN, Ordering::Relaxed);
        }
        crash_point("eventcount.arrived");
    }

    /// Whether anybody may be asleep.
    #[inline]
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Whether somebody was to be woken since [`listen`](Self::listen) said this: for who sleeps elsewhere than
    /// here. The bits of waiters come and go.
    #[must_use]
    pub fn has_rung_since(&self, listened: u32) -> bool {
        (self.word.load(Ordering::Relaxed) ^ listened) / STEP != 0
    }

    /// Wakes one waiter, unless one is on its way. The caller has fenced between its change and this call.
    #[inline]
    pub fn notify_one(&self) {
        // SYNC: eventcount.dekker.
        if self.has_waiters() {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        let called = loop {
            if word & WAITERS == 0 {
                // Another notifier has woken everybody meanwhile.
                return;
            }
            // A woken waiter is on its way, and will see this change, too; unless it died.
            if word & WOKEN != 0
                && !self.trusted.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_multiple_of(TRUST)
            {
                return;
            }
            let called = word.wrapping_add(STEP) | WOKEN;
            match self.word.compare_exchange_weak(word, called, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break called,
                Err(now) => word = now,
            }
        };
        crash_point("eventcount.called");
        if futex::wake(&self.word, 1) == 0 {
            // Nobody sleeps. Failure means that another notified, and these are its bits.
            let quiet = called & !(WAITERS | WOKEN);
            if self.word.compare_exchange(called, quiet, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                // Who listened since the call may have gone to sleep on the bits that were just taken away.
                futex::wake_all(&self.word);
            }
        }
        crash_point("eventcount.woke");
    }

    /// Wakes every waiter. The caller has fenced between its change and this call.
    pub fn notify_all(&self) {
        // SYNC: eventcount.dekker.
        let mut word = self.word.load(Ordering::Relaxed);
        // Whoever announces itself after this load looks at the something again, and sees the change.
        while word & WAITERS != 0 {
            let called = word.wrapping_add(STEP) & !(WAITERS | WOKEN);
            match self.word.compare_exchange_weak(word, called, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    crash_point("eventcount.called_all");
                    futex::wake_all(&self.word);
                    return;
                }
                Err(now) => word = now,
            }
        }
    }
}
