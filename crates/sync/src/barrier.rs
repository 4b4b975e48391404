//! A barrier: so many processes wait for each other, again and again.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever ends the generation or breaks the barrier owes a wake |
//! | `RESETTING` 1 | the generation will never trip; whoever sees this finishes the reset |
//! | 2..5 | state: 0 whole, why it is broken, or `ACTING`: all have arrived and the action runs |
//! | 5..32, 48..64 | generation: how often it tripped or was reset |
//! | 32..48 | how many have arrived in this generation; at an elastic barrier only their order |
//!
//! | other | meaning |
//! |---|---|
//! | `runner` | the lock of the one that runs the action |
//! | `joining` | the lock of those who join an elastic barrier or end its generation |
//! | places, one per party | owner `MEMBER` + a process: a place it has taken, so that its death is noticed |
//! | places, 64 and one per party | owner `WAITER` + a process: one of its threads waits, or has not left yet |
//!
//! The second word of a place is a generation and how it goes: `COMING`, `ARRIVED` (elastic), or failed and
//! why.
//!
//! # Who may change what
//! Arriving, breaking, resetting: anybody, by one CAS of the word. An arrival and the trip that it causes are
//! one CAS. Where there is an action, the last to arrive first takes `runner`, then arrives (`ACTING`), and
//! trips after the action.
//!
//! At an *elastic* barrier the places are the truth: an arrival is `COMING`, the word's count for the order,
//! `ARRIVED`. Whoever arrives, and everybody who waits whenever it looks, ends the generation if all members
//! have arrived. It looks and changes the word holding `joining`, and nobody joins without: so a generation
//! waits for all who joined before its end. Leaving needs no lock; the one that leaves wakes the others, who
//! look again.
//!
//! A place: free → owner by anybody for itself; back by its owner, or by anybody once the owner is dead; a
//! member's to its child-to-be, by itself. Its second word: by its owner; from `COMING` or `ARRIVED` to
//! failed by anybody, for a generation that is `RESETTING`.
//!
//! # How a waiter learns what became of its generation, however late
//! Its place says which it waits for before the word counts it. While the word shows that generation: from
//! the state. Later: it has passed, unless its place says failed. Only a reset lets a generation end that did
//! not trip (or a withdrawal), and in three steps: `RESETTING`, which forbids the trip; failed in every place
//! of that generation; the next generation. Nothing that happens after that changes what the place says, and
//! it is free for others only when the waiter has left, or is dead. If all places are taken by the living,
//! the next to arrive waits until one has left. (The generation has 43 bits: one trip per microsecond wraps
//! it in a hundred days, and then a waiter is misled only if it looks in that very generation.)
//!
//! # An arrival that is taken back
//! A waiter that is interrupted begins the generation anew, by the three steps of a reset, with a reason of
//! its own (`WITHDRAWN`). Those who see that reason arrive again instead of saying that the barrier is
//! broken. Nothing smaller will do: the count alone could be lowered, but the orders of arrival would then
//! not be 0, 1, 2, … any more, and nobody might have the 0 by which people choose one of the parties. While
//! an action runs nothing can be taken back.
//!
//! # Orderings
//! Edge `barrier.trip`: the AcqRel of each arrival continues those before it, and meets the Acquire of
//! everybody who leaves: what was written before any arrival, and in the action, is visible behind the
//! barrier. At an elastic barrier, the AcqRel of `ARRIVED` meets the Acquire of who looks at all of them,
//! whose AcqRel meets those who leave. Edge `barrier.fewer`: who leaves frees its place, fences, looks at
//! `WAITERS`; who waits sets `WAITERS`, fences, looks at the places. One of the two sees the other; so of two
//! who arrive last. Edge `barrier.place`: the AcqRel by which a place changes its owner meets the Acquire of
//! whoever looks at the owner before asking about it, or counts it. Edge `barrier.failed`: the Release that
//! makes a place failed meets the Acquire of the waiter that learns it there, however late; and the Release
//! of `COMING` that of whoever fails it.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | before it arrives, not a member | an absentee | nobody can tell: the others' timeout |
//! | after it took a place to wait at, before it arrived | the same, and the place | who finds all places taken |
//! | after it arrived, not a member | its arrival, which counts, and the place | – ; as above |
//! | a member, anywhere | a dead owner in its place | a waiter at the end of its slice: broken, `PeerDied`, then the place is freed; or, if the policy is `Remove`, only freed, and the others are enough |
//! | a member of an elastic barrier, counted but not `ARRIVED` | a number that nobody gets | – |
//! | joining, holding `joining` | a dead owner of the lock and maybe of a place | who wants the lock next; a waiter |
//! | all have arrived at an elastic barrier, before the trip | a full generation | any waiter, at the end of its slice |
//! | after breaking for a dead member, before freeing the place | the place | `reset`, or who wants a place |
//! | in the action | `ACTING`, and a dead runner | a waiter: broken, `PeerDied`, whatever the policy |
//! | after leaving an elastic barrier, before the wake | sleepers who could go on | the end of a sleeper's slice |
//! | taking its arrival back | `RESETTING`, `WITHDRAWN` | as when resetting; the others arrive again |
//! | resetting | `RESETTING` | whoever arrives, joins or resets next; those who waited are told already |
//! | after a trip, break or reset, before the wake | sleepers who were not told | the end of a sleeper's slice; it wakes all the others |
//! | after a member's place was made a child's that never comes | a dead owner in it | as a dead member: see `registry/starting.rs` in `shm` |
//!
//! # Not promised
//! That a barrier whose member is stopped goes on: it is alive. That the arrivals of a run whose processes
//! are all dead are forgotten by the next run on the same name: they count, until a reset. That an abort and
//! a reset at the same time end in this or that order.

mod action;
mod error;
mod member;
mod options;
mod place;
#[cfg(test)]
mod tests;
mod waiter;
mod word;

use self::error::Failed;
pub use self::error::{BarrierError, BreakCause};
pub use self::member::Member;
use self::options::Rules;
pub use self::options::{BarrierOptions, MemberDeath};
use self::waiter::Waiter;
use self::word::{
    ABORTED, ACTING, RESET, RESETTING, WAITERS, WITHDRAWN, arrived, cause, ended, generation, is_whole,
    state, with_state,
};
use crate::fault::Fault;
use crate::keeper::Keeper;
use crate::lock_word::{Claim, LockWord};
use procession_shm::{Label, OpenError, OwnerId, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, crash_point, futex, interrupt, shm_struct};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

shm_struct! {
    #[doc(hidden)]
    pub struct BarrierBody {
        word: AtomicU64,
        /// When a waiter last asked, in milliseconds: see [`Patience`](crate::Patience).
        asked: AtomicU32,
        /// The pid of the last member that died, for people.
        died: AtomicU32,
        runner: LockWord,
        joining: LockWord,
        /// To the end of the cache line.
        spare: [AtomicU64; 6],
    }
}

type Action = Arc<dyn Fn() -> Result<(), Failed> + Send + Sync>;

/// A barrier between processes: `wait` waits until all parties do, then lets them all go on, again and again.
///
/// If one of the parties does not come in time, or says that it will not, the barrier is broken for
/// everybody, until it is [`reset`](Self::reset). A plain `wait` is anonymous: that one of the parties is
/// dead shows only by a timeout, and if it died after it had arrived, its arrival counts. A process that has
/// [joined](Self::join) is known: if it dies, arrived or not, the others are told. At an
/// [elastic](Self::elastic) barrier all are members, and there are as many parties as members.
///
/// Somebody who was stopped for however long while the others went on, or broke and reset the barrier, is
/// told what became of the generation it waited for, and of no other. (One thing is undecided for those who
/// have not returned from `wait` yet: if the barrier is [aborted](Self::abort) before anybody has arrived
/// again, they are told that it is broken, as in Python.)
///
/// ```
/// use procession::Barrier;
///
/// let start = Barrier::create("start", 2)?;
/// let other = start.clone();
/// let thread = std::thread::spawn(move || other.wait());
/// let mine = start.wait()?;
/// let theirs = thread.join().unwrap()?;
/// assert_eq!(mine + theirs, 0 + 1);
/// # start.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    body: Shared<BarrierBody>,
    keeper: Keeper,
    rules: Rules,
    action: Option<Action>,
}

impl Barrier {
    /// An anonymous barrier with as many parties as it has members: none at first.
    ///
    /// A member that [joins](Self::join) is waited for from then on; one that leaves, by being dropped, is
    /// not, and if all the others have arrived they go on. A member that is killed breaks it, or is removed
    /// if it was created with [`MemberDeath::Remove`].
    ///
    /// ```
    /// use procession::{Barrier, BarrierError, MemberDeath};
    ///
    /// let options = Barrier::options().elastic().on_member_death(MemberDeath::Remove);
    /// let phase = options.create("phase")?;
    /// assert!(matches!(phase.wait(), Err(BarrierError::NotAMember { .. })));
    /// let mut one = phase.join()?;
    /// one.wait()?;
    /// let mut two = phase.join()?;
    /// let thread = std::thread::spawn(move || two.wait());
    /// one.wait()?;
    /// // The other has left: its thread has ended.
    /// thread.join().unwrap()?;
    /// one.wait()?;
    /// assert_eq!(phase.parties(), 1);
    /// # phase.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`BarrierOptions::anonymous`].
    pub fn elastic() -> Result<Self, OpenError> {
        Self::options().elastic().anonymous()
    }

    /// Adds an action: the last to arrive runs it, in its process, before anybody goes on.
    ///
    /// The action belongs to this handle, to its clones, and to the members that join by them; it is code,
    /// and does not travel to other processes. The last to arrive does that of the handle by which it
    /// arrived, if that has one. So, for what is to be done in each generation, whoever comes last, give it
    /// to the handle of every process: exactly one of them does it. At an elastic barrier the last to arrive
    /// is whichever member finds that all are there: when one has left or died, one that waited.
    ///
    /// If it fails, panics, or its process dies, the barrier is broken. It must not wait at the barrier
    /// itself ([`BarrierError::InAction`]). Timeouts of the others go on while it runs.
    ///
    /// ```
    /// use procession::Barrier;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let barrier = Barrier::new(1)?;
    /// let rounds = Arc::new(AtomicU32::new(0));
    /// let counted = Arc::clone(&rounds);
    /// let counting = barrier.clone().with_action(move || {
    ///     counted.fetch_add(1, Ordering::Relaxed);
    ///     Ok(())
    /// });
    /// counting.wait()?;
    /// barrier.wait()?;
    /// assert_eq!(rounds.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_action(mut self, action: impl Fn() -> Result<(), Failed> + Send + Sync + 'static) -> Self {
        self.action = Some(Arc::new(action));
        self
    }

    /// Waits until all parties have arrived, or for as long as the barrier was created with; the order of
    /// this arrival, from 0: exactly one of the parties gets 0, and the last one the number of parties less
    /// one.
    ///
    /// More threads may use it than it has parties. While 64 and as many as it has parties have arrived and
    /// not left yet, because they are stopped, the next one waits for them.
    ///
    /// # Errors
    /// [`BarrierError::Broken`], [`BarrierError::TimedOut`], [`BarrierError::Action`],
    /// [`BarrierError::InAction`], [`BarrierError::Fault`]; [`BarrierError::NotAMember`] if it is elastic.
    ///
    /// # Panics
    /// When the action does; the barrier is then broken.
    pub fn wait(&self) -> Result<u32, BarrierError> {
        Waiter::new(self, None, self.usual_deadline())?.pass()
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`; when that is over the barrier is broken for
    /// everybody.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, BarrierError> {
        Waiter::new(self, None, Deadline::after(timeout))?.pass()
    }

    fn usual_deadline(&self) -> Deadline {
        self.rules.timeout.map_or(Deadline::NEVER, Deadline::after)
    }

    /// Takes one of the places in the name of this process: if it dies, the others are told. At an elastic
    /// barrier there is then one party more, and no generation ends without it; while an action runs, this
    /// waits for its end.
    ///
    /// # Errors
    /// [`BarrierError::NoPlace`], [`BarrierError::InAction`], [`BarrierError::Fault`].
    pub fn join(&self) -> Result<Member, BarrierError> {
        let me = Fault::or_owner(self.body.segment())?;
        let take = || if self.rules.elastic { self.take_place_elastic(me) } else { Ok(self.take_place(me)) };
        let found = match take()? {
            None if self.bury_dead_members()? => take()?,
            found => found,
        };
        crash_point("barrier.joined");
        let index = found
            .ok_or(BarrierError::NoPlace { object: self.label(), parties: self.rules.parties as usize })?;
        Ok(Member::new(self.clone(), me, index))
    }

    /// Takes a place, so that no generation ends without it from now on.
    fn take_place_elastic(&self, me: OwnerId) -> Result<Option<usize>, BarrierError> {
        let (segment, lock) = (self.body.segment(), &self.body.joining);
        let mut waiter = Waiter::new(self, None, Deadline::NEVER)?;
        self.must_not_be_in_action(me)?;
        loop {
            let deferred = interrupt::defer();
            let hold = lock
                .acquire(segment, Claim::Ignore, Deadline::NEVER)
                .map_err(|error| self.lock_fault(error))?;
            let word = self.body.word.load(Ordering::Acquire);
            let found = (state(word) != ACTING).then(|| self.take_place(me));
            lock.release(hold, true);
            drop(deferred);
            match found {
                Some(found) => return Ok(found),
                // That generation ends without it: not before it has.
                None => waiter.sleep(word)?,
            }
        }
    }

    /// Makes it whole again: those who wait now are told that it is broken. Nothing happens if it is whole
    /// and nobody waits. An action that runs is not stopped, and may end when others wait again.
    ///
    /// # Errors
    /// [`BarrierError::Fault`] when it cannot be found out which members are dead.
    pub fn reset(&self) -> Result<(), BarrierError> {
        self.free_dead(self.member_places())?;
        let mut word = self.body.word.load(Ordering::Acquire);
        while !is_whole(word) || arrived(word) > 0 {
            let why = if is_whole(word) { RESET } else { state(word) };
            let resetting = with_state(word, why) | RESETTING;
            if word & RESETTING != 0 || self.change_from(word, resetting).is_ok() {
                crash_point("barrier.resetting");
                self.finish_reset(resetting);
                // A withdrawal tells nobody that the barrier is broken: whoever has arrived again by now is
                // told.
                if why != WITHDRAWN {
                    break;
                }
            }
            word = self.body.word.load(Ordering::Acquire);
        }
        crash_point("barrier.reset");
        Ok(())
    }

    /// Takes back the arrival of a waiter that was interrupted, if the generation of `word` still goes on: it
    /// begins anew, and the others arrive again. Whether it did; if not, the word has changed.
    fn withdraw(&self, word: u64) -> bool {
        let withdrawn = with_state(word, WITHDRAWN) | RESETTING;
        let is_possible = is_whole(word) && state(word) == 0;
        if !is_possible || self.change_from(word, withdrawn).is_err() {
            return false;
        }
        crash_point("barrier.withdrawn");
        self.finish_reset(withdrawn);
        crash_point("barrier.taken_back");
        true
    }

    /// The second and third step of a reset, and of a withdrawal.
    fn finish_reset(&self, resetting: u64) {
        self.fail_places(resetting);
        let is_same = |word| generation(word) == generation(resetting) && word & RESETTING != 0;
        self.change(|word| is_same(word).then(|| ended(word)));
    }

    /// Breaks it, for everybody and until it is reset. Those who were let go just now and have not returned
    /// from `wait` are told so too, if nobody has arrived since.
    pub fn abort(&self) {
        loop {
            if self.change(|word| is_whole(word).then(|| with_state(word, ABORTED))) {
                return;
            }
            let word = self.body.word.load(Ordering::Acquire);
            if word & RESETTING != 0 {
                // Who began that may be dead: unfinished, it would undo this.
                self.finish_reset(word);
            } else if !is_whole(word) {
                // Broken already, for whatever reason: that one is kept.
                return;
            }
        }
    }

    /// How many wait for each other; how many members there are now if it is elastic. A member that died is
    /// counted until somebody who waits, joins or resets it notices.
    #[must_use]
    pub fn parties(&self) -> usize {
        if self.rules.elastic {
            return self.count_members();
        }
        self.rules.parties as usize
    }

    /// How many have arrived and wait for the others; 0 while it is broken.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        let word = self.body.word.load(Ordering::Acquire);
        if !is_whole(word) {
            return 0;
        }
        self.count_who_came(word).min(self.rules.parties as usize)
    }

    /// Whether it is broken, and why.
    #[must_use]
    pub fn broken(&self) -> Option<BreakCause> {
        let word = self.body.word.load(Ordering::Acquire);
        // While it is being reset, whoever comes next makes it whole.
        let is_broken = !is_whole(word) && word & RESETTING == 0;
        is_broken.then(|| cause(state(word), self.body.died.load(Ordering::Relaxed)))
    }

    fn label(&self) -> Label {
        self.body.segment().label()
    }

    /// How many have arrived in the generation of `word`.
    fn count_who_came(&self, word: u64) -> usize {
        if self.rules.elastic {
            return self.count_arrived(generation(word));
        }
        usize::try_from(arrived(word)).unwrap_or(usize::MAX)
    }

    /// The error of the one that found its time over when the barrier's word was `word`.
    fn timed_out(&self, word: u64) -> BarrierError {
        let arrived = self.count_who_came(word);
        BarrierError::TimedOut { object: self.label(), arrived, parties: self.parties() }
    }

    fn broken_by(&self, state: u64) -> BarrierError {
        BarrierError::Broken {
            object: self.label(),
            cause: cause(state, self.body.died.load(Ordering::Relaxed)),
        }
    }

    /// Changes the word unless `to` says that there is nothing to do, and wakes those who wait; whether it
    /// did.
    fn change(&self, to: impl Fn(u64) -> Option<u64>) -> bool {
        let mut word = self.body.word.load(Ordering::Acquire);
        while let Some(changed) = to(word) {
            match self.change_from(word, changed) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    fn change_from(&self, word: u64, changed: u64) -> Result<(), u64> {
        // SYNC: barrier.trip.
        let (done, otherwise) = (Ordering::AcqRel, Ordering::Acquire);
        self.body.word.compare_exchange(word, changed & !WAITERS, done, otherwise)?;
        crash_point("barrier.ended");
        if word & WAITERS != 0 {
            futex::wake_all(futex::low_half(&self.body.word));
        }
        Ok(())
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = generation(self.body.word.load(Ordering::Acquire));
        f.debug_struct("Barrier")
            .field("name", &self.body.segment().name())
            .field("parties", &self.parties())
            .field("n_waiting", &self.n_waiting())
            .field("broken", &self.broken())
            .field("members", &self.owners(self.member_places(), |_| true))
            .field("waiting", &self.owners(self.places(), |place| place.waits_for(now)))
            .finish()
    }
}
