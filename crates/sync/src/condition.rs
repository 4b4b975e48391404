//! A place to wait, with a lock let go, until another process says that something has changed.
//!
//! | state of a cell | meaning |
//! |---|---|
//! | 0 | free |
//! | `CLAIMED` + owner | a waiter is writing its ticket |
//! | `WAITING` + owner | it waits; the lowest ticket has waited longest |
//! | `SIGNALED` + owner | it was told, and has not taken that up yet |
//!
//! A waiter claims a cell while it holds the lock, lets the lock go, sleeps on its own cell, acquires the
//! lock again, and only then frees the cell: until then its signal can be passed on. It passes it on itself
//! if it cannot get the lock back. A waiter that finds no free cell sleeps on the eventcount `overflow`,
//! which every notify wakes, and every signal that is passed on: it may return without having been meant.
//!
//! # Who may change what
//! Free → claimed → waiting: the waiter. Waiting → signaled: anybody. Waiting → free (timeout) and signaled →
//! free (taken up): the waiter. Anything of a dead owner → free: anybody, by CAS from the exact value; a
//! signal is first passed on, to the one that has waited longest.
//!
//! # Who dies with the lock
//! A signal that was taken up is spent, and whoever took it up may be killed before it has acted on it; so
//! may somebody who has changed what others wait for, before it has notified them. Both hold the lock then.
//! So a waiter notes how often holders of the lock have died (`burials` in `lock_word.rs`) before it lets it
//! go; sees after each sleep whether that has changed; and asks at the end of a slice whether the present
//! holder is dead. If so, it signals itself, and so goes on as if it had been notified: everyone who waits
//! looks again after every death of a holder.
//!
//! # Orderings
//! Edge `condition.signal`: the Release of the notifier's CAS meets the Acquire of the waiter. What people
//! have changed is handed over by the lock they hold. Edge `condition.cell`: the Release with which a cell
//! changes hands, from a waiter to nobody or from nobody to a waiter with its ticket, meets the Acquire of
//! whoever claims it, signals it, or asks whether its owner is dead. Edge `lock.handover` covers
//! `burials`: a waiter reads it as the holder, so deaths before that are in it, and those of later holders
//! are not.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | waiting, not signaled | a cell of a dead owner | the notifier that chooses it, or a waiter whose slice ends: freed, skipped |
//! | signaled, before it has taken that up | a signal of a dead owner | a waiter whose slice ends signals another, perhaps itself, then frees the cell |
//! | passing a signal on, in between | two signals for one | nobody: the second is a spurious return |
//! | after the signal was passed on to it | a signal of a dead owner | a waiter whose slice ends: it signals another |
//! | notifying, before its wake | a signaled sleeper | the end of its slice |
//! | holding the lock: about to wait; with a signal taken up; about to notify, or in the middle of it | a dead holder of the lock, or, once somebody has buried it, one burial more | each waiter whose slice ends: it signals itself |
//! | having signaled itself | a signal of a dead owner | as above: passed on, a spurious return |
//! | *without the lock*, between a change and its notify | sleepers that were not told | nobody, until the next notify: see [`Condition::notify`] |
//!
//! # Not promised
//! That there was a reason to return: look at what you wait for again, or use [`Condition::wait_for`]. That a
//! change is noticed which was made and notified without the lock: it can fall between a waiter's look and
//! the claim of its cell.

mod monitor;

pub use self::monitor::Monitor;

use self::monitor::Watched;
use crate::eventcount::EventCount;
use crate::fault::Fault;
use crate::lock_error::LockError;
use crate::patience::{Nap, Patience};
use procession_shm::{Kind, Object, OpenError, OwnerId, Parameter, Placement, Shape, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use procession_sys::{Deadline, crash_point, futex, interrupt, shm_struct};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How many waiters have a cell.
const CELLS: usize = 64;
/// How long a waiter pauses between two looks at its cell, before it sleeps.
const PAUSES: RangeInclusive<u32> = 1..=16;
const CLAIMED: u64 = 1 << 28;
const WAITING: u64 = 1 << 29;
const SIGNALED: u64 = 1 << 30;

shm_struct! {
    struct Cell {
        word: AtomicU64,
        ticket: AtomicU64,
        spare: [AtomicU64; 6],
    }
}

shm_struct! {
    #[doc(hidden)]
    pub struct ConditionBody {
        tickets: AtomicU64,
        /// When a waiter last asked about the others, in milliseconds: see [`Patience`].
        asked: AtomicU32,
        reserved: AtomicU32,
        overflow: EventCount,
        spare: [AtomicU64; 4],
        cells: [Cell; CELLS],
    }
}

/// Waits, with a lock let go, for a change that another process announces.
///
/// The lock is a [`Lock`](crate::Lock), an [`RLock`](crate::RLock) (let go over all levels) or a
/// [`Value`](crate::Value) (its changes are committed first). All who wait together should use the same one.
/// Those who notify never wait for the notified.
///
/// **Change what others wait for, and notify, while you hold that lock: drop the guard last.** Then nobody
/// sleeps through a change, whoever is killed when:
/// - a process that is killed while it holds the lock, before its change, after it, or having been notified
///   itself, makes everyone who waits return and look again, within a tenth of a second (in a crowd, a
///   second);
/// - one that is notified and killed before it holds the lock is replaced by another that waits.
///
/// With a [`Lock`](crate::Lock) or an [`RLock`](crate::RLock), those who return are told
/// [`OwnerDied`](LockError::OwnerDied) until somebody has recovered it. With a `Value` they see the change
/// whole or not at all. Those who notify without the lock are told at [`notify`](Self::notify) what they give
/// up.
///
/// ```
/// use procession::{Condition, Value};
///
/// let stock: Value<u32> = Value::create("stock", 0)?;
/// let changed = Condition::create("changed")?;
/// std::thread::scope(|scope| {
///     let buyer = scope.spawn(|| -> Result<u32, procession::LockError> {
///         let mut left = changed.wait_for(stock.acquire()?, |stock| *stock > 0)?;
///         *left -= 1;
///         Ok(*left)
///     });
///     let mut stock = stock.acquire().unwrap();
///     *stock = 3;
///     changed.notify(1);
///     drop(stock); // Commits.
///     assert_eq!(buyer.join().unwrap().unwrap(), 2);
/// });
/// # stock.unlink()?;
/// # changed.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Condition {
    body: Shared<ConditionBody>,
}

/// How a [`Condition`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct ConditionOptions {
    place: Placement,
    settings: ConditionSettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ConditionSettings {}

procession_shm::object_builders!([] ConditionOptions => Condition);

impl Object for Condition {
    const KIND: Kind = Kind::CONDITION;
    type Body = ConditionBody;
    type Settings = ConditionSettings;

    fn shape(_: &ConditionSettings) -> Shape {
        let parameters = [Parameter::default(); 4];
        let body_len = size_of::<ConditionBody>() as u64;
        Shape { kind: Self::KIND, body_len, parameters, element: None, codec: 0 }
    }

    fn forget_owners(body: &ConditionBody) {
        body.cells.iter().for_each(|cell| cell.word.store(0, Ordering::Relaxed));
    }

    fn attach(body: Shared<ConditionBody>) -> Result<Self, OpenError> {
        Ok(Self { body })
    }
}

/// Whether a wait on a [`Condition`] ended because its time was over, as std's type of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over: nobody had notified this thread, or what it waits for did not hold.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condition {
    /// Lets the guard's lock go, waits to be notified, and gets the lock back. It may return without a
    /// reason, and does when a holder of the lock has died.
    ///
    /// The lock goes as it does when the guard is dropped: a lock that was being recovered is consistent from
    /// then on, and a value is committed.
    ///
    /// # Errors
    /// Those of acquiring the lock again, above all [`LockError::OwnerDied`]. Then the lock is not held,
    /// other guards of a recursive lock do nothing any more, and another that waits is notified instead.
    /// `Orphaned`, `RegistryChanged` and `Corrupt` also about the condition, `Unregistered` in a forked
    /// child.
    ///
    /// [`LockError::Interrupted`] when a hook of this thread wants the wait to end (`procession::interrupt`):
    /// then this thread is not notified, and a notification that came at that moment has gone to it or to
    /// another. Before the error is returned the lock is acquired again, which nothing interrupts, and the
    /// guard is dropped: a recursive lock is held as before by the guards further out.
    pub fn wait<G: Monitor>(&self, guard: G) -> Result<G, LockError> {
        self.wait_until(guard, Deadline::NEVER).map(|(guard, _)| guard)
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`, and as long as the lock takes. As std's, it
    /// gives the guard back also when the time is over, and says beside it whether it is.
    ///
    /// A notification that comes while the time runs out is not lost: either this waiter has it, and says so,
    /// or another.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<G: Monitor>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        let (guard, notified) = self.wait_until(guard, Deadline::after(timeout))?;
        Ok((guard, WaitTimeoutResult(!notified)))
    }

    /// Waits until `holds` says so, asking with the lock held: now, and after each notification. It is shown
    /// what the guard guards: the value of a [`Value`](crate::Value)'s guard; otherwise the guard.
    ///
    /// ```
    /// use procession::bytemuck::{Pod, Zeroable};
    /// use procession::{Condition, Value};
    ///
    /// #[derive(Clone, Copy, Pod, Zeroable)]
    /// #[bytemuck(crate = "procession::bytemuck")]
    /// #[repr(C)]
    /// struct Buffer {
    ///     used: u32,
    ///     size: u32,
    /// }
    ///
    /// impl Buffer {
    ///     fn has_room(&self) -> bool {
    ///         self.used < self.size
    ///     }
    /// }
    ///
    /// let buffer = Value::new(Buffer { used: 0, size: 1 })?;
    /// let changed = Condition::new()?;
    /// let mut filling = changed.wait_for(buffer.acquire()?, Buffer::has_room)?;
    /// filling.used += 1;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_for<G: Monitor>(
        &self,
        mut guard: G,
        mut holds: impl FnMut(&G::Guarded) -> bool,
    ) -> Result<G, LockError> {
        while !holds(guard.guarded()) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits as [`wait_for`](Self::wait_for) does, for at most `timeout`. As std's, it gives the guard back
    /// also when the time is over and `holds` has not said so.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_for_timeout<G: Monitor>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut holds: impl FnMut(&G::Guarded) -> bool,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        let deadline = Deadline::after(timeout);
        loop {
            if holds(guard.guarded()) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.has_passed() {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            (guard, _) = self.wait_until(guard, deadline)?;
        }
    }

    /// Notifies the `n` that have waited longest, or all if there are fewer. Waits for nobody.
    ///
    /// Call it while you hold the lock that they use, after the change that they wait for, and before you
    /// drop the guard. It may be called without the lock, at the price of two promises. A process that is
    /// killed between the change and this call leaves those who wait asleep until somebody notifies again.
    /// And a change that is no change of what the lock guards (as in `event.set()`, then `notify_all()`) can
    /// fall between the look of somebody who is about to wait and its sleep: that one sleeps through it.
    /// (`fetch_add` and `set` of the `Value` that they wait with cannot: they wait while somebody has its
    /// guard.) Who cannot hold the lock lets those who wait use a timeout.
    pub fn notify(&self, n: usize) {
        // Acquire: the cells are looked at after this, so that none with a lower ticket is seen as it was
        // before.
        let limit = self.body.tickets.load(Ordering::Acquire);
        for _ in 0..n.min(CELLS) {
            if !self.signal_oldest(limit) {
                break;
            }
        }
        if n > 0 {
            // SYNC: eventcount.dekker: of the change before and the sleeper, one is seen by the other side.
            fence(Ordering::SeqCst);
            self.body.overflow.notify_all();
        }
    }

    /// Notifies all that wait. Waits for nobody. As [`notify`](Self::notify), best called with the lock held.
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }

    /// How many wait, or were notified and have not gone on yet, up to the 64 that have a place of their own;
    /// for people to read.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.body.cells.iter().filter(|cell| cell.word.load(Ordering::Relaxed) != 0).count()
    }

    fn wait_until<G: Monitor>(&self, guard: G, deadline: Deadline) -> Result<(G, bool), LockError> {
        let segment = self.body.segment();
        let me = Fault::or_owner(segment)?;
        let Some(cell) = self.claim_cell(me) else {
            return self.wait_without_a_cell(guard, deadline);
        };
        let burials = guard.burials();
        let left = guard.leave();
        crash_point("condition.left");
        let watched = Watched::new::<G>(&left, burials);
        let signaled = self.sleep_in(cell, me.to_bits() | WAITING, &watched, deadline);
        let guard = enter_again(left);
        if matches!(signaled, Ok(true)) {
            crash_point("condition.entered");
            if guard.is_err() {
                // It cannot act on the signal.
                self.notify(1);
            }
            // Only now: if this process dies before, another gets the signal. If it dies later, it holds the
            // lock, and so all others look.
            // SYNC: condition.cell.
            cell.word.store(0, Ordering::Release);
            crash_point("condition.taken_up");
        }
        Ok((guard?, signaled?))
    }

    /// A cell in which `me` waits, unless all are taken.
    fn claim_cell(&self, me: OwnerId) -> Option<&Cell> {
        let claimed = me.to_bits() | CLAIMED;
        let free = |cell: &&Cell| {
            // SYNC: condition.cell.
            cell.word.load(Ordering::Relaxed) == 0
                && cell.word.compare_exchange(0, claimed, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let cell = self.body.cells.iter().find(free)?;
        crash_point("condition.claimed");
        let ticket = self.body.tickets.fetch_add(1, Ordering::Relaxed);
        cell.ticket.store(ticket, Ordering::Relaxed);
        // SYNC: condition.cell: with the ticket.
        cell.word.store(me.to_bits() | WAITING, Ordering::Release);
        crash_point("condition.waiting");
        Some(cell)
    }

    /// Sleeps until the cell is signaled, or gives it back; whether it was signaled.
    fn sleep_in(
        &self,
        cell: &Cell,
        waiting: u64,
        watched: &Watched<'_>,
        deadline: Deadline,
    ) -> Result<bool, LockError> {
        let segment = self.body.segment();
        let signaled = waiting & !WAITING | SIGNALED;
        let corrupt = || Fault::corrupt(segment, "a waiter's cell is in an impossible state");
        let stopped = |stop| Fault::of_stop(segment, stop, |object| LockError::Interrupted { object });
        // In a copy of this process, which a hook has made, the cell is its parent's.
        let is_ours = || segment.registration().current_owner() == Some(OwnerId::from_bits(waiting));
        let free = || cell.word.compare_exchange(waiting, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let give_up = || !is_ours() || free();
        let mut patience = Patience::new(deadline);
        loop {
            // SYNC: condition.signal.
            let word = cell.word.load(Ordering::Acquire);
            if word == signaled {
                return Ok(true);
            }
            if word != waiting {
                return Err(corrupt().into());
            }
            if patience.is_over() {
                if give_up() {
                    crash_point("condition.gave_up");
                    return Ok(false);
                }
                // Signaled at the last moment: then it has the signal, and says so.
                continue;
            }
            // Two that take turns are back before a sleep and a wake would be over. Nobody else looks at this cell.
            if patience.spins(PAUSES) {
                continue;
            }
            let futex = futex::low_half(&cell.word);
            let whom = || self.concerned(watched);
            let nap = patience.sleep(Some(segment), futex, word as u32, &self.body.asked, whom);
            crash_point("condition.slept");
            if watched.has_lost_a_holder(nap == Ok(Nap::Ask)) {
                // SYNC: condition.signal. By the cell, so that this signal is not lost either. A failure
                // means that another was quicker.
                let _: Result<u64, u64> =
                    cell.word.compare_exchange(waiting, signaled, Ordering::AcqRel, Ordering::Relaxed);
                crash_point("condition.signaled_itself");
                continue;
            }
            let looked = match nap {
                Ok(Nap::Ask) => self.look_around(),
                other => other.map(drop).map_err(stopped),
            };
            // If it cannot be given back, it was signaled meanwhile: that counts, and not the error.
            if let Err(error) = looked
                && give_up()
            {
                return Err(error);
            }
        }
    }

    /// Passes on the signals of dead waiters, and frees their cells; called at the end of a slice.
    fn look_around(&self) -> Result<(), LockError> {
        let segment = self.body.segment();
        for cell in &self.body.cells {
            // SYNC: condition.cell: what is asked about is the owner that was seen.
            let word = cell.word.load(Ordering::Acquire);
            if word == 0 {
                continue;
            }
            let dead = segment.registration().is_dead(OwnerId::from_bits(word));
            if !dead.map_err(|why| Fault::unknowable(segment, why))? {
                continue;
            }
            // What it was told it can tell nobody any more: another is told.
            if word & SIGNALED != 0 {
                self.notify(1);
                crash_point("condition.passed_on");
            }
            // SYNC: condition.cell. From the exact dead value: a failure means that another was quicker.
            let _: Result<u64, u64> =
                cell.word.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
            crash_point("condition.buried");
        }
        Ok(())
    }

    /// Those whose death is a reason to look around: all who wait, and who holds the lock.
    fn concerned(&self, watched: &Watched<'_>) -> Vec<OwnerId> {
        // SYNC: condition.cell.
        let words = self.body.cells.iter().map(|cell| cell.word.load(Ordering::Acquire));
        let waiters = words.filter(|&word| word != 0).map(OwnerId::from_bits);
        watched.holder_in(self.body.segment()).into_iter().chain(waiters).collect()
    }

    /// Signals the one that has waited longest of those with a ticket before `limit`; whether there was one.
    fn signal_oldest(&self, limit: u64) -> bool {
        let registration = self.body.segment().registration();
        // A cell whose owner turned out to be dead: freed when its signal has gone to another.
        let mut dead: Option<(&Cell, u64)> = None;
        loop {
            let waiters = self.body.cells.iter().filter_map(|cell| {
                // SYNC: condition.cell.
                let word = cell.word.load(Ordering::Acquire);
                let age = limit.wrapping_sub(cell.ticket.load(Ordering::Relaxed)).cast_signed();
                (word & WAITING != 0 && age > 0).then_some((age, cell, word))
            });
            let Some((_, cell, word)) = waiters.max_by_key(|&(age, ..)| age) else {
                skip(dead);
                return false;
            };
            let signaled = word & !WAITING | SIGNALED;
            // SYNC: condition.signal.
            if cell.word.compare_exchange(word, signaled, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // It gave up, or another has signaled it: look for the next.
                continue;
            }
            crash_point("condition.signaled");
            skip(dead.take());
            // Who was asleep is alive; who was not is taken for alive unless the registry says that it is dead.
            if futex::wake(futex::low_half(&cell.word), 1) > 0
                || registration.is_dead(OwnerId::from_bits(word)) != Ok(true)
            {
                crash_point("condition.notified");
                return true;
            }
            dead = Some((cell, signaled));
        }
    }

    /// All cells are taken: waits for any notification at all.
    #[cold]
    fn wait_without_a_cell<G: Monitor>(&self, guard: G, deadline: Deadline) -> Result<(G, bool), LockError> {
        let listened = self.body.overflow.listen();
        let burials = guard.burials();
        let left = guard.leave();
        let watched = Watched::new::<G>(&left, burials);
        let segment = self.body.segment();
        let mut patience = Patience::new(deadline);
        let notified = loop {
            let whom = || self.concerned(&watched);
            let nap = self.body.overflow.sleep(Some(segment), listened, &mut patience, whom);
            if watched.has_lost_a_holder(nap == Ok(Nap::Ask)) {
                break Ok(true);
            }
            match nap {
                Ok(Nap::TimedOut) => break Ok(false),
                // Nobody but a notifier changes the word.
                Ok(Nap::Changed) => break Ok(true),
                // Woken for nothing: the word is as it was.
                Ok(Nap::Woken) => {}
                Ok(Nap::Ask) => {
                    if let Err(error) = self.look_around() {
                        break Err(error);
                    }
                }
                Err(stop) => {
                    break Err(Fault::of_stop(segment, stop, |object| LockError::Interrupted { object }));
                }
            }
        };
        Ok((enter_again(left)?, notified?))
    }
}

/// Acquires the lock again, whatever ended the wait: also when it was interrupted, and then the guard is
/// dropped. Those further out, of a recursive lock, hold it as before. As with std's, nothing interrupts
/// this.
fn enter_again<G: Monitor>(left: G::Left) -> Result<G, LockError> {
    let _deferred = interrupt::defer();
    G::enter(left)
}

/// Frees the cell of a dead waiter, unless another was quicker, and has inherited the signal.
fn skip(dead: Option<(&Cell, u64)>) {
    if let Some((cell, signaled)) = dead {
        // SYNC: condition.cell.
        let _: Result<u64, u64> =
            cell.word.compare_exchange(signaled, 0, Ordering::AcqRel, Ordering::Relaxed);
        crash_point("condition.skipped");
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("name", &self.body.segment().name())
            .field("waiters", &self.waiters())
            .finish()
    }
}

#[cfg(test)]
mod tests;
