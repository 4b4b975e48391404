//! The word that a lock is: free, or owned by one process, recoverable when that process is killed.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | 0..16, 32..64 | slot and generation of the owner; zero while free |
//! | 16..27 | tag of the owner's thread, so that a thread never waits for itself; 0 for none |
//! | `OWNED` 29 | somebody holds it. Decides alone: with it clear, the lock is free |
//! | `WAITERS` 31 | somebody may sleep: whoever releases owes a wake |
//! | `WOKEN` 28 | a woken waiter is on its way: no second one is woken (a convoy would form) |
//! | `STARVED` 27 | a waiter has lost for 2 ms: newcomers let it go first |
//! | `INCONSISTENT` 30 | an owner died here, or panicked, and nobody has put right what the lock guards |
//!
//! The futex is the low half; bit 29 keeps it from ever looking like a thread id.
//!
//! # Who may change what
//! Free → owned: anybody, by CAS. Owned → free: the owner; or anybody, by CAS from the exact value, once the
//! owner is dead. The four hints: anybody, by CAS.
//!
//! # Orderings
//! Edge `lock.handover`: the Release of whoever frees the lock meets the Acquire of whoever takes it. Edge
//! `lock.owner`: the word is loaded with Acquire before anything is asked about its owner, so that the answer
//! is about the owner that was seen. The hints are Relaxed: the kernel compares the word again before a
//! waiter sleeps, and every sleep is bounded.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | before the acquiring CAS, or asleep | maybe `WAITERS` | the next release: one useless wake, then both bits cleared |
//! | after the acquiring CAS, before the release | a dead owner | any waiter: CAS to free and inconsistent, or to itself |
//! | after the release, before its wake | free, `WAITERS` and `WOKEN` set, sleepers | the end of a sleeper's slice; the next acquirer's release |
//! | woken, before acquiring | `WOKEN` set, nobody on the way | a sleeper's slice ends and it clears `WOKEN`; every 64th release wakes all the same |
//! | burying a dead owner, before the CAS | a death counted in `burials`, the dead owner | the next burier, who counts it again |
//! | after burying a dead owner | free and inconsistent | whoever recovers, as after any death |
//! | while recovering | a dead owner, `INCONSISTENT` kept | any waiter, as for every dead owner |
//!
//! A thread that ends without releasing is a dead owner as well, while its process lives: `thread_tag.rs`.
//!
//! # Not promised
//! Order among waiters. A waiter that sleeps is passed over at most for a few tens of milliseconds
//! (`STARVED`).

use crate::fault::Fault;
use crate::held_since::HeldSince;
use crate::hold::{Hold, OWNED, holder_in};
use crate::patience::{Nap, Patience};
use crate::thread_tag;
use procession_shm::{OwnerId, Segment};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, clock, crash_point, futex, shm_struct};
use std::ops::RangeInclusive;
use std::time::Duration;

const WAITERS: u64 = 1 << 31;
const INCONSISTENT: u64 = 1 << 30;
const WOKEN: u64 = 1 << 28;
const STARVED: u64 = 1 << 27;
/// What the low half never holds: no process has the last slot.
const NEVER_SAID: u32 = u32::MAX;
/// In `died`: that owner panicked. No pid has so many bits.
const PANICKED: u32 = 1 << 31;

/// Each look takes the cache line from the owner, who loses more by it than the waiter gains: measured in
/// docs/design/0001-lock.md.
const PAUSES: RangeInclusive<u32> = 16..=128;
/// A waiter that has slept and lost for this long is starved.
const STARVED_AFTER_NS: u64 = 2_000_000;
/// How long a newcomer lets a starved waiter go first.
const COURTESY: Duration = Duration::from_micros(100);
const COURTESIES: u32 = 8;
/// Of the releases that would trust `WOKEN`, every so many does not.
const TRUST: u32 = 64;

shm_struct! {
    /// A lock in shared memory; all zero is free.
    pub struct LockWord {
        word: AtomicU64,
        /// When a waiter last asked about the owner, in milliseconds: see [`Patience`].
        asked: AtomicU32,
        /// The pid of the last owner that died, for people; with `PANICKED`, of one that panicked.
        died: AtomicU32,
        /// Releases that trusted `WOKEN`; written by the owner.
        trusted: AtomicU32,
        /// How often an owner was found dead: counted before the lock is freed from it, and so maybe twice.
        burials: AtomicU32,
        /// For people.
        since: HeldSince,
    }
}

/// How a holder came to leave something half-done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HolderEnd {
    /// Its process was killed or ended, or its thread ended without releasing it.
    Died,
    /// A panic that began while it held it was under way when it released it.
    Panicked,
}

/// What to do about an owner that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Report it: [`AcquireError::OwnerDied`].
    Report,
    /// Take the lock as if it had been released.
    Ignore,
    /// Take the lock, inconsistent as it is, to put things right.
    Recover,
}

/// Why a lock was not acquired.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcquireError {
    /// The deadline passed.
    TimedOut,
    /// The last owner died.
    OwnerDied {
        /// Its pid, 0 if nobody knows any more.
        pid: u32,
        /// Whether it panicked instead.
        end: HolderEnd,
    },
    /// The owner waits, directly or through others, for what this thread holds.
    Deadlock,
    /// A hook of this thread wanted the wait to end.
    Interrupted,
    /// The object is unusable.
    Fault(Fault),
}

impl From<Fault> for AcquireError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl AcquireError {
    /// For a lock inside the segment's object, which is taken from the dead without a word: what is wrong
    /// with the object; `None` if it was merely too late.
    pub(crate) fn into_fault(self, segment: &Segment) -> Option<Fault> {
        match self {
            // None of these objects asks for deadlocks to be detected.
            Self::TimedOut | Self::Deadlock | Self::Interrupted => None,
            Self::OwnerDied { .. } => {
                Some(Fault::corrupt(segment, "one of its inner locks reports a death, which it never does"))
            }
            Self::Fault(fault) => Some(fault),
        }
    }
}

impl LockWord {
    /// Takes the lock if it is free and nobody has any business with it: one CAS.
    #[inline]
    pub fn try_acquire_clean(&self, me: Hold) -> bool {
        // SYNC: lock.handover.
        let taken = self.word.compare_exchange(0, me.to_bits(), Ordering::Acquire, Ordering::Relaxed).is_ok();
        crash_point("lock.acquired");
        if taken {
            thread_tag::took();
        }
        taken
    }

    /// Whether `me` stands in the word: this very thread, if it has a tag.
    #[must_use]
    pub fn is_held_as(&self, me: Hold) -> bool {
        // Relaxed: what this thread wrote it sees, and what others write is never its own hold.
        self.word.load(Ordering::Relaxed) & Hold::MASK == me.to_bits()
    }

    /// Takes the lock before `deadline`.
    ///
    /// # Errors
    /// [`AcquireError`]; with [`Deadline::PASSED`], `TimedOut` means that somebody holds it now.
    #[inline]
    pub fn acquire(&self, segment: &Segment, claim: Claim, deadline: Deadline) -> Result<Hold, AcquireError> {
        let me = match segment.registration().current_owner() {
            Some(me) => me,
            // A forked child that has done nothing yet registers by this.
            None => Fault::or_owner(segment)?,
        };
        let me = Hold::of_this_thread(me);
        if self.try_acquire_clean(me) {
            return Ok(me);
        }
        self.contend(segment, me, claim, deadline, &mut Patience::new(deadline)).map(|()| me)
    }

    /// Acquires as [`acquire`](Self::acquire) does, before `until`, in one of several attempts that make one
    /// wait with `patience`.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); `TimedOut` may come later than `until` by a slice.
    pub fn acquire_within(
        &self,
        segment: &Segment,
        claim: Claim,
        until: Deadline,
        patience: &mut Patience,
    ) -> Result<Hold, AcquireError> {
        let me = Hold::of_this_thread(Fault::or_owner(segment)?);
        self.contend(segment, me, claim, until, patience).map(|()| me)
    }

    /// Takes the lock as `me`, if nobody holds it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    #[cfg(feature = "async")]
    pub(crate) fn try_acquire_as(
        &self,
        segment: &Segment,
        me: Hold,
        claim: Claim,
    ) -> Result<(), AcquireError> {
        if self.try_acquire_clean(me) {
            return Ok(());
        }
        self.contend(segment, me, claim, Deadline::PASSED, &mut Patience::new(Deadline::PASSED))
    }

    #[cold]
    fn contend(
        &self,
        segment: &Segment,
        me: Hold,
        claim: Claim,
        until: Deadline,
        patience: &mut Patience,
    ) -> Result<(), AcquireError> {
        Contender { lock: self, segment, me, claim, slept_since_ns: 0 }.acquire(until, patience)
    }

    /// Releases the lock that `me` holds; `consistent` says whether what it guards is whole.
    #[inline]
    pub fn release(&self, me: Hold, consistent: bool) {
        if !(consistent && self.try_release_clean(me)) {
            self.release_contended(me, consistent);
        }
    }

    /// Releases the lock that `me` holds if it is consistent and nobody waits for it: one CAS.
    #[inline]
    pub fn try_release_clean(&self, me: Hold) -> bool {
        // SYNC: lock.handover.
        let freed = self.word.compare_exchange(me.to_bits(), 0, Ordering::Release, Ordering::Relaxed).is_ok();
        if freed {
            crash_point("lock.released");
            thread_tag::gave();
        }
        freed
    }

    /// Releases the lock that `me` holds while a panic is under way that began meanwhile: what it guards may
    /// be half-changed, as after a death.
    #[cold]
    pub fn release_in_panic(&self, me: Hold) {
        self.count_panic();
        self.release_contended(me, false);
    }

    /// Counts a panic of the owner as a death: those who wait on a condition look again. Called by the owner.
    #[cold]
    pub fn count_panic(&self) {
        self.died.store(std::process::id() | PANICKED, Ordering::Relaxed);
        // Published by the release that follows, as a burial is.
        self.burials.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    fn release_contended(&self, me: Hold, consistent: bool) {
        let mut word = self.word.load(Ordering::Relaxed);
        let (freed, wakes) = loop {
            if word & Hold::MASK != me.to_bits() {
                return; // Not ours: nothing that this process may free.
            }
            // Before the lock is free: later it could be what a waiter noted about the next holder.
            self.since.clear();
            // A woken waiter on its way takes the lock, or hands the wake on: a second would collide with it.
            let wakes = word & WAITERS != 0 && (word & WOKEN == 0 || self.must_not_trust());
            let mut freed = word & (WAITERS | WOKEN | STARVED);
            if wakes {
                freed |= WOKEN;
            }
            // Told to the next holder by the step that lets it in.
            if !consistent {
                freed |= INCONSISTENT;
            }
            // SYNC: lock.handover.
            match self.word.compare_exchange_weak(word, freed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break (freed, wakes),
                Err(now) => word = now,
            }
        };
        crash_point("lock.released_contended");
        thread_tag::gave();
        if wakes {
            self.wake_one(freed);
        }
    }

    /// Wakes one sleeper of a lock that was free when it was `seen`; if there was none, takes the hints back.
    fn wake_one(&self, mut seen: u64) {
        while futex::wake(futex::low_half(&self.word), 1) == 0 {
            crash_point("lock.woke_nobody");
            // Free, nobody sleeps, so nobody is owed a wake; owned, nobody is on the way, so its owner owes
            // one.
            let hints = if seen & OWNED == 0 { WAITERS | WOKEN | STARVED } else { WOKEN };
            match self.word.compare_exchange(seen, seen & !hints, Ordering::Relaxed, Ordering::Relaxed) {
                // The lock may have been taken and released in between, and somebody gone to sleep meanwhile.
                Ok(_) if hints != WOKEN => drop(futex::wake_all(futex::low_half(&self.word))),
                Ok(_) => {}
                // A hint has changed, and `WOKEN` still stands for a waiter that does not exist.
                Err(now) if now & WOKEN != 0 => {
                    seen = now;
                    continue;
                }
                // Whoever cleared `WOKEN` has arrived, or sees to the next wake.
                Err(_) => {}
            }
            break;
        }
        crash_point("lock.woke");
    }

    /// Announces one who sleeps elsewhere than here, unless the lock is free: the futex on which it is told,
    /// while that says this.
    #[must_use]
    pub fn watch(&self) -> (&AtomicU32, u32) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & OWNED != 0 && word & WAITERS == 0 {
            let announced = word | WAITERS;
            match self.word.compare_exchange_weak(word, announced, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => word = announced,
                Err(now) => word = now,
            }
        }
        crash_point("lock.watched");
        // A free lock may be taken and freed before anybody sleeps here, and then says again what it says now.
        let expected = if word & OWNED == 0 { NEVER_SAID } else { word as u32 };
        (futex::low_half(&self.word), expected)
    }

    /// One who leaves without the lock, after [`watch`](Self::watch) too, hands on the wake that it may have
    /// been given.
    pub fn hand_on(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WOKEN != 0 {
            let without = word & !WOKEN;
            match self.word.compare_exchange_weak(word, without, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => word = without,
                Err(now) => word = now,
            }
        }
        crash_point("lock.gave_up");
        // The wake that it was given was for a free lock: nobody else would wake the next sleeper.
        if word & OWNED == 0 && word & WAITERS != 0 {
            self.wake_one(word);
        }
    }

    /// Called by the owner: whether it is time to doubt that the woken waiter is alive.
    fn must_not_trust(&self) -> bool {
        let trusted = self.trusted.load(Ordering::Relaxed).wrapping_add(1);
        self.trusted.store(trusted, Ordering::Relaxed);
        trusted.is_multiple_of(TRUST)
    }

    /// Whether somebody holds it now.
    #[inline]
    #[must_use]
    pub fn is_owned(&self) -> bool {
        // SYNC: lock.handover.
        self.word.load(Ordering::Acquire) & OWNED != 0
    }

    /// The process that holds it now.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerId> {
        // SYNC: lock.owner.
        let word = self.word.load(Ordering::Acquire);
        (word & OWNED != 0).then(|| OwnerId::from_bits(word))
    }

    /// The process and thread that hold it now, as they stand in the word.
    pub(crate) fn held_as(&self) -> Option<u64> {
        // SYNC: lock.owner.
        let word = self.word.load(Ordering::Acquire);
        (word & OWNED != 0).then_some(word & Hold::MASK)
    }

    /// How long `hold`, as it stands in the word, has held it, at least; `None` if nobody has waited for it.
    pub(crate) fn held_for(&self, hold: u64) -> Option<Duration> {
        self.since.duration(hold)
    }

    /// Whether an owner died and nobody has recovered the lock.
    #[must_use]
    pub fn is_inconsistent(&self) -> bool {
        // SYNC: lock.handover. Whoever is told so sees what the dead one left.
        self.word.load(Ordering::Acquire) & INCONSISTENT != 0
    }

    /// How many owners have died, at least; what a holder reads covers all that died before it.
    #[must_use]
    pub fn burials(&self) -> u32 {
        self.burials.load(Ordering::Relaxed)
    }

    /// Declares it consistent; called by the owner while it recovers.
    pub fn make_consistent(&self) {
        self.word.fetch_and(!INCONSISTENT, Ordering::Relaxed);
    }

    /// Frees it from an owner of another registry: nobody else is attached.
    pub fn forget_owner(&self) {
        self.since.clear();
        let word = self.word.load(Ordering::Relaxed);
        let kept = if word & OWNED != 0 { INCONSISTENT } else { word & INCONSISTENT };
        self.word.store(kept, Ordering::Relaxed);
    }
}

/// One thread that did not get the lock at once.
struct Contender<'a> {
    lock: &'a LockWord,
    segment: &'a Segment,
    me: Hold,
    claim: Claim,
    /// When it first slept, 0 if it has not.
    slept_since_ns: u64,
}

impl Contender<'_> {
    fn acquire(&mut self, deadline: Deadline, patience: &mut Patience) -> Result<(), AcquireError> {
        let mut courtesies = COURTESIES;
        let outcome = loop {
            // SYNC: lock.owner.
            let word = self.lock.word.load(Ordering::Acquire);
            if word & OWNED == 0 {
                if word & INCONSISTENT != 0 && self.claim == Claim::Report {
                    // The lock stays free and inconsistent, and the next to come is told as well: whoever is
                    // told may know nothing of what the lock guards.
                    break Err(self.owner_died());
                }
                if word & STARVED != 0 && self.slept_since_ns == 0 && courtesies > 0 && !deadline.has_passed()
                {
                    // A newcomer that has not slept lets the starved waiter go first, but not for ever: that
                    // one may be dead.
                    courtesies -= 1;
                    clock::nap(COURTESY);
                } else if self.take(word) {
                    thread_tag::took();
                    return Ok(());
                }
                // Another was quicker, or a hint has changed.
                continue;
            }
            if deadline.has_passed() {
                // The last question is free of waiting: a try finds a dead owner too.
                match self.bury_if_dead(word) {
                    Ok(true) => continue,
                    Ok(false) => break Err(AcquireError::TimedOut),
                    Err(error) => break Err(error),
                }
            }
            // Not behind sleepers: they have waited longer, and the release wakes one of them.
            if self.slept_since_ns == 0 && word & WAITERS == 0 && patience.spins(PAUSES) {
                continue;
            }
            if let Err(error) = self.sleep(word, patience) {
                break Err(error);
            }
        };
        self.give_up();
        outcome
    }

    /// Tries to take a free lock.
    fn take(&self, free: u64) -> bool {
        let mut taken = self.me.to_bits() | (free & (WAITERS | WOKEN | STARVED));
        if self.slept_since_ns != 0 {
            // Whoever was woken or starved has now arrived, or is taken for it.
            taken &= !(WOKEN | STARVED);
        }
        // Kept until the recovery is done: killed before, this one leaves it to be recovered still.
        if self.claim == Claim::Recover {
            taken |= free & INCONSISTENT;
        }
        // SYNC: lock.handover.
        let won = self.lock.word.compare_exchange(free, taken, Ordering::Acquire, Ordering::Relaxed).is_ok();
        crash_point("lock.acquired_contended");
        won
    }

    /// Announces a sleeper, sleeps one slice, and asks about the owner if it is time.
    fn sleep(&mut self, word: u64, patience: &mut Patience) -> Result<(), AcquireError> {
        let mut announced = word | WAITERS;
        if self.slept_since_ns != 0 {
            announced &= !WOKEN; // It was us, or somebody who may be dead.
            if clock::now_ns().saturating_sub(self.slept_since_ns) > STARVED_AFTER_NS {
                announced |= STARVED;
            }
        }
        let lock = self.lock;
        if announced != word
            && lock.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            // The lock may be free now.
            return Ok(());
        }
        crash_point("lock.waiting");
        let nap = patience
            .sleep(Some(self.segment), futex::low_half(&lock.word), announced as u32, &lock.asked, || {
                lock.owner()
            })
            .map_err(|stop| Fault::of_stop(self.segment, stop, |_| AcquireError::Interrupted))?;
        crash_point("lock.slept");
        // After `Changed` it has not slept: the word was another before the kernel looked.
        if nap != Nap::Changed && self.slept_since_ns == 0 {
            self.slept_since_ns = clock::now_ns().max(1);
        }
        // A holder that was there before the sleep and is there after it has held the lock all that time.
        if let Some(since_ns) = patience.slept_since() {
            let is_there = || (lock.word.load(Ordering::Relaxed) ^ word) & Hold::MASK == 0;
            if is_there() {
                lock.since.note(word, since_ns, is_there);
            }
        }
        // SYNC: lock.owner.
        let holder = |_: &_| holder_in(lock.word.load(Ordering::Acquire));
        if patience.is_in_a_deadlock(self.segment, holder) {
            return Err(AcquireError::Deadlock);
        }
        // Only a slice that ended without a wake is a reason to doubt that the owner is alive.
        if nap != Nap::Ask {
            return Ok(());
        }
        loop {
            // SYNC: lock.owner.
            let word = lock.word.load(Ordering::Acquire);
            // Again if it has changed meanwhile: perhaps by hints alone, and a dead owner would stay for
            // another slice.
            if word & OWNED == 0 || !self.bury_if_dead(word)? {
                return Ok(());
            }
        }
    }

    /// Frees the lock from a dead owner; whether the word has changed, by us or by another.
    fn bury_if_dead(&self, word: u64) -> Result<bool, AcquireError> {
        let registration = self.segment.registration();
        if !registration.is_gone(word).map_err(|why| Fault::unknowable(self.segment, why))? {
            return Ok(false);
        }
        crash_point("lock.owner_found_dead");
        self.lock.died.store(registration.pid_of(OwnerId::from_bits(word)).unwrap_or(0), Ordering::Relaxed);
        // Before the lock is free: whoever holds it next knows of this death, and whoever let it go before
        // this owner took it sees that the count has moved. The CAS below publishes it.
        self.lock.burials.fetch_add(1, Ordering::Relaxed);
        self.lock.since.clear();
        crash_point("lock.burial_counted");
        // Where deaths are ignored this one leaves nothing to put right; what was inconsistent stays so.
        let kept = if self.claim == Claim::Ignore { word & INCONSISTENT } else { INCONSISTENT };
        let freed = (word & (WAITERS | STARVED)) | kept;
        // SYNC: lock.handover. From the exact dead value: a second burier, or one that was killed here, does
        // no harm. AcqRel: what the dead wrote is visible to whoever takes it next.
        if self.lock.word.compare_exchange(word, freed, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            crash_point("lock.buried");
            if freed & WAITERS != 0 {
                // Everybody: each of them has something to report, or one of them takes it.
                futex::wake_all(futex::low_half(&self.lock.word));
            }
        }
        // If the CAS failed, another was quicker: the word has changed all the same.
        Ok(true)
    }

    fn owner_died(&self) -> AcquireError {
        let died = self.lock.died.load(Ordering::Relaxed);
        let end = if died & PANICKED == 0 { HolderEnd::Died } else { HolderEnd::Panicked };
        AcquireError::OwnerDied { pid: died & !PANICKED, end }
    }

    /// Leaves without the lock.
    fn give_up(&self) {
        // Nobody wakes who has not slept.
        if self.slept_since_ns != 0 {
            self.lock.hand_on();
        }
    }
}
