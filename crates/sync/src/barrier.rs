//! A barrier: so many processes wait for each other, again and again.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever ends the generation or breaks the barrier owes a wake |
//! | 1..4 | why the barrier is broken; 0 while it is whole |
//! | 4..32 | generation: how often it tripped or was reset |
//! | 32..48 | how many have arrived in this generation; as many as the parties while the action runs |
//! | 48..64 | the last 16 generations, the latest in the lowest bit: 1 if it was reset, 0 if it tripped |
//!
//! | other | meaning |
//! |---|---|
//! | `runner` | the lock of the one that runs the action |
//! | member cells | `MEMBER` + owner: a place that a process has taken, so that its death is noticed |
//!
//! # Who may change what
//! Arriving, breaking, resetting: anybody, by one CAS of the word. An arrival and the trip that it causes are one CAS.
//! Where there is an action, the last to arrive first takes `runner`, then arrives, and trips after the action. A
//! member cell: free → owner by anybody for itself, back by its owner, or by anybody once the owner is dead and the
//! barrier is broken or reset.
//!
//! # Orderings
//! Edge `barrier.trip`: the AcqRel of each arrival continues those before it, and meets the Acquire of everybody who
//! leaves: what was written before any arrival, and in the action, is visible behind the barrier.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | before it arrives, not a member | an absentee | nobody can tell: the others' timeout |
//! | after it arrived | its arrival, which counts | – |
//! | a member, anywhere | a dead owner in its cell | a waiter at the end of its slice: broken, `PeerDied`; then the cell is freed |
//! | after breaking for a dead member, before freeing the cell | the cell | `reset`, or who wants a place |
//! | in the action | a full generation whose runner is dead | a waiter: broken, `PeerDied` |
//! | after a trip, break or reset, before the wake | sleepers who were not told | the end of a sleeper's slice; it wakes all the others |

mod error;
#[cfg(test)]
mod tests;
mod waiter;

use self::error::Failed;
pub use self::error::{BarrierError, BreakCause};
use self::waiter::Waiter;
use crate::fault::SyncFault;
use crate::lock_word::{AcquireError, Claim, Hold, LockWord};
use procession_shm::{
    HEADER_LEN, Kind, Myself, Object, OpenError, OwnerId, Parameter, Placement, Shape, Shared,
};
use procession_sys::{Deadline, Mapping, crash_point, futex, shm_struct};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const WAITERS: u64 = 1;
const CAUSE: u64 = 0b1110;
const TIMED_OUT: u64 = 1 << 1;
const ABORTED: u64 = 2 << 1;
const ACTION_FAILED: u64 = 3 << 1;
const PEER_DIED: u64 = 4 << 1;
const GENERATION: u64 = 1 << 4;
const GENERATIONS: u64 = (1 << 28) - 1;
const ARRIVAL: u64 = 1 << 32;
const ARRIVALS: u64 = 0xffff;
const HISTORY_SHIFT: u32 = 48;
const REMEMBERED: u64 = 16;

/// In a member cell, beside the owner.
const MEMBER: u64 = 1 << 16;
/// The most parties a barrier can have.
const MOST: u32 = 1 << 15;

shm_struct! {
    #[doc(hidden)]
    pub struct BarrierBody {
        word: AtomicU64,
        /// When a waiter last asked: see [`Patience`](crate::Patience).
        asked: AtomicU32,
        /// The pid of the last member that died, for people.
        died: AtomicU32,
        runner: LockWord,
        /// To the end of the cache line.
        spare: [AtomicU64; 3],
    }
}

const CELLS_OFFSET: usize = HEADER_LEN + size_of::<BarrierBody>();

type Action = Arc<dyn Fn() -> Result<(), Failed> + Send + Sync>;

/// A barrier between processes: `wait` waits until all parties do, then lets them all go on, again and again.
///
/// If one of the parties does not come in time, or says that it will not, the barrier is broken for everybody, until it
/// is [`reset`](Self::reset). A plain `wait` is anonymous: that one of the parties is dead shows only by a timeout. A
/// process that has [joined](Self::join) is known: if it dies, arrived or not, the others are told.
///
/// ```
/// use procession_sync::Barrier;
///
/// # let namespace = procession_shm::Namespace::private();
/// let start = Barrier::options().namespace(&namespace).parties(2).create("start")?;
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
    myself: Myself,
    parties: u32,
    timeout: Option<Duration>,
    action: Option<Action>,
}

/// How a [`Barrier`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct BarrierOptions {
    place: Placement,
    settings: BarrierSettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct BarrierSettings {
    parties: Option<u32>,
    timeout: Option<Duration>,
}

impl BarrierOptions {
    /// How many wait for each other, at most 32,768; 1 unless said.
    #[must_use]
    pub fn parties(mut self, parties: u32) -> Self {
        self.settings.parties = Some(parties);
        self
    }

    /// How long a plain `wait` waits, in every process; for ever unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }
}

procession_shm::object_builders!([] BarrierOptions => Barrier);

impl Object for Barrier {
    type Body = BarrierBody;
    type Settings = BarrierSettings;

    fn check(settings: &BarrierSettings) -> Result<(), &'static str> {
        match settings.parties {
            Some(0) => Err("a barrier without parties"),
            Some(parties) if parties > MOST => Err("a barrier can have at most 32768 parties"),
            _ => Ok(()),
        }
    }

    fn shape(settings: &BarrierSettings) -> Shape {
        let value = u64::from(settings.parties.unwrap_or(1));
        let parties = Parameter { name: "parties", value, asked: settings.parties.is_some() };
        let ns = |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        let asked = settings.timeout.is_some();
        let timeout = Parameter { name: "timeout_ns", value: settings.timeout.map_or(0, ns), asked };
        let parameters = [parties, timeout, Parameter::default(), Parameter::default()];
        let body_len = size_of::<BarrierBody>() as u64 + value * 8;
        Shape { kind: Kind::BARRIER, body_len, parameters, element: None, codec: 0 }
    }

    fn initialise(_: &BarrierBody, _: &BarrierSettings) {}

    fn forget_owners(body: &BarrierBody) {
        body.runner.forget_owner();
    }

    fn forget_owners_of_all(mapping: &Mapping) {
        for cell in (0..MOST).map_while(|index| cell(mapping, index)) {
            cell.store(0, Ordering::Relaxed);
        }
    }

    fn attach(body: Shared<BarrierBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [parties, timeout, ..] = segment.header().parameters;
        let fits = (1..=u64::from(MOST)).contains(&parties)
            && segment.header().size == CELLS_OFFSET as u64 + parties * 8;
        let parties = u32::try_from(parties).ok().filter(|_| fits);
        let parties = parties.ok_or_else(|| segment.corrupt("an impossible number of parties"))?;
        let timeout = (timeout != 0).then(|| Duration::from_nanos(timeout));
        let myself = segment.registration().myself();
        Ok(Self { body, myself, parties, timeout, action: None })
    }
}

fn cell(mapping: &Mapping, index: u32) -> Option<&AtomicU64> {
    mapping.at(CELLS_OFFSET + index as usize * 8)
}

fn generation(word: u64) -> u64 {
    (word / GENERATION) & GENERATIONS
}

fn arrived(word: u64) -> u64 {
    (word / ARRIVAL) & ARRIVALS
}

/// The word when the generation has ended: nobody has arrived, nobody waits.
fn ended(word: u64, by_reset: bool) -> u64 {
    let history = word >> HISTORY_SHIFT << (HISTORY_SHIFT + 1);
    let generation = ((generation(word) + 1) & GENERATIONS) * GENERATION;
    history | (u64::from(by_reset) << HISTORY_SHIFT) | generation
}

impl Barrier {
    /// An anonymous barrier for so many parties, to be handed on as an argument or in a message.
    ///
    /// # Errors
    /// As [`BarrierOptions::anonymous`].
    pub fn new(parties: u32) -> Result<Self, OpenError> {
        Self::options().parties(parties).anonymous()
    }

    /// With something to be done by the last to arrive, in its process, before anybody goes on.
    ///
    /// It is done only if the last to arrive has a handle made by this: it does not travel to other processes.
    #[must_use]
    pub fn with_action(mut self, action: impl Fn() -> Result<(), Failed> + Send + Sync + 'static) -> Self {
        self.action = Some(Arc::new(action));
        self
    }

    /// Waits until all parties have arrived, or for as long as the barrier was created with; the order of this
    /// arrival, from 0: exactly one of the parties gets 0, and the last one the number of parties less one.
    ///
    /// # Errors
    /// [`BarrierError::Broken`], [`BarrierError::TimedOut`], [`BarrierError::Action`], [`BarrierError::Fault`]. One that
    /// sleeps while the barrier trips or is reset 16 times more, by others, is told that it is broken.
    ///
    /// # Panics
    /// When the action does; the barrier is then broken.
    pub fn wait(&self) -> Result<u32, BarrierError> {
        self.wait_until(self.timeout.map_or(Deadline::NEVER, Deadline::after))
    }

    /// As [`wait`](Self::wait), for at most `timeout`; when that is over the barrier is broken for everybody.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, BarrierError> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Takes one of the places in the name of this process: if it dies, the others are told.
    ///
    /// # Errors
    /// [`BarrierError::NoPlace`], [`BarrierError::Fault`].
    pub fn join(&self) -> Result<Member<'_>, BarrierError> {
        let me = self.body.segment().registration().owner().map_err(SyncFault::Unregistered)?;
        let found = match self.take_place(me) {
            None if self.find_dead_member()? => self.take_place(me),
            found => found,
        };
        let index = found.ok_or(BarrierError::NoPlace { parties: self.parties })?;
        Ok(Member { barrier: self, me, index })
    }

    /// Makes it whole again: those who wait now are told that it is broken. Nothing happens if it is whole and nobody
    /// waits.
    ///
    /// # Errors
    /// [`BarrierError::Fault`] when it cannot be found out which members are dead.
    pub fn reset(&self) -> Result<(), BarrierError> {
        self.free_dead_members()?;
        self.change(|word| (word & CAUSE != 0 || arrived(word) > 0).then(|| ended(word, true)));
        crash_point("barrier.reset");
        Ok(())
    }

    /// Breaks it, for everybody and until it is reset.
    pub fn abort(&self) {
        self.change(|word| (word & CAUSE == 0).then_some(word | ABORTED));
    }

    /// How many wait for each other.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many have arrived and wait for the others; 0 while it is broken.
    #[must_use]
    pub fn n_waiting(&self) -> u32 {
        let word = self.body.word.load(Ordering::Acquire);
        if word & CAUSE == 0 { u32::try_from(arrived(word)).unwrap_or(0).min(self.parties) } else { 0 }
    }

    /// Whether it is broken, and why.
    #[must_use]
    pub fn broken(&self) -> Option<BreakCause> {
        let word = self.body.word.load(Ordering::Acquire);
        (word & CAUSE != 0).then(|| self.cause(word))
    }

    fn cause(&self, word: u64) -> BreakCause {
        match word & CAUSE {
            TIMED_OUT => BreakCause::TimedOut,
            ACTION_FAILED => BreakCause::ActionFailed,
            PEER_DIED => BreakCause::PeerDied { pid: self.body.died.load(Ordering::Relaxed) },
            _ => BreakCause::Aborted,
        }
    }

    /// Changes the word unless `to` says that there is nothing to do, and wakes those who wait; whether it did.
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

    fn wait_until(&self, deadline: Deadline) -> Result<u32, BarrierError> {
        let parties = u64::from(self.parties);
        let mut waiter = Waiter::new(self, deadline);
        loop {
            // SYNC: barrier.trip.
            let word = self.body.word.load(Ordering::Acquire);
            if word & CAUSE != 0 {
                return Err(BarrierError::Broken { cause: self.cause(word) });
            }
            let index = arrived(word);
            if index > parties {
                return Err(SyncFault::corrupt(self.body.segment(), "more arrivals than parties").into());
            }
            if index == parties {
                // The action of this generation is running: ours begins when it has ended.
                waiter.sleep(word)?;
            } else if index + 1 == parties {
                let tripped = match &self.action {
                    None => self.change_from(word, ended(word, false)).is_ok(),
                    Some(action) => self.trip_with(action, word, deadline)?,
                };
                if tripped {
                    return Ok(self.parties - 1);
                }
            } else {
                let (done, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
                // SYNC: barrier.trip.
                if self.body.word.compare_exchange(word, word + ARRIVAL, done, otherwise).is_ok() {
                    crash_point("barrier.arrived");
                    waiter.wait_for_end(generation(word))?;
                    return Ok(u32::try_from(index).unwrap_or(0));
                }
            }
        }
    }

    /// Arrives as the last one, runs the action, and trips; `false` if somebody came between before that.
    fn trip_with(&self, action: &Action, word: u64, deadline: Deadline) -> Result<bool, BarrierError> {
        let (segment, lock) = (self.body.segment(), &self.body.runner);
        let hold = lock.acquire(segment, Claim::Ignore, deadline).map_err(|error| match error {
            AcquireError::Orphaned => SyncFault::orphaned(segment).into(),
            AcquireError::Unknowable(why) => SyncFault::unknowable(segment, why).into(),
            AcquireError::Unregistered(error) => SyncFault::Unregistered(error).into(),
            AcquireError::TimedOut | AcquireError::Deadlock => BarrierError::TimedOut,
            AcquireError::OwnerDied { .. } => SyncFault::corrupt(segment, "a lock not taken").into(),
        })?;
        let full = word + ARRIVAL;
        let mut runner = Runner { barrier: self, hold, generation: None };
        // SYNC: barrier.trip.
        if self.body.word.compare_exchange(word, full, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Ok(false);
        }
        crash_point("barrier.acting");
        runner.generation = Some(generation(full));
        action().map_err(BarrierError::Action)?;
        let is_mine = |word| generation(word) == generation(full) && word & CAUSE == 0;
        let tripped = self.change(|word| is_mine(word).then(|| ended(word, false)));
        runner.generation = None;
        if tripped {
            return Ok(true);
        }
        let word = self.body.word.load(Ordering::Acquire);
        let is_same = generation(word) == generation(full);
        Err(BarrierError::Broken { cause: if is_same { self.cause(word) } else { BreakCause::Reset } })
    }

    fn cells(&self) -> impl Iterator<Item = (u32, &AtomicU64)> {
        let mapping = self.body.segment().mapping();
        (0..self.parties).filter_map(|index| Some((index, cell(mapping, index)?)))
    }

    fn take_place(&self, me: OwnerId) -> Option<u32> {
        let mine = me.to_bits() | MEMBER;
        let take =
            |cell: &AtomicU64| cell.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let found = self.cells().find(|(_, cell)| take(cell)).map(|(index, _)| index);
        crash_point("barrier.joined");
        found
    }

    fn is_dead(&self, owner: OwnerId) -> Result<bool, SyncFault> {
        let segment = self.body.segment();
        segment.registration().is_dead(owner).map_err(|why| SyncFault::unknowable(segment, why))
    }

    /// Breaks the barrier if a member is dead, and frees its place; whether there was one.
    fn find_dead_member(&self) -> Result<bool, SyncFault> {
        loop {
            if let Some(found) = self.try_find_dead_member()? {
                return Ok(found);
            }
        }
    }

    /// The same; `None` if somebody arrived or reset it meanwhile.
    fn try_find_dead_member(&self) -> Result<Option<bool>, SyncFault> {
        // Before the cells: if it is reset meanwhile, the break fails.
        let word = self.body.word.load(Ordering::Acquire);
        for (_, cell) in self.cells() {
            let member = cell.load(Ordering::Acquire);
            if member == 0 || !self.is_dead(OwnerId::from_bits(member))? {
                continue;
            }
            crash_point("barrier.member_found_dead");
            self.note_dead(OwnerId::from_bits(member));
            if word & CAUSE == 0 && self.change_from(word, word | PEER_DIED).is_err() {
                return Ok(None);
            }
            crash_point("barrier.broken_for_the_dead");
            let _: Result<u64, u64> = cell.compare_exchange(member, 0, Ordering::AcqRel, Ordering::Relaxed);
            return Ok(Some(true));
        }
        Ok(Some(false))
    }

    fn free_dead_members(&self) -> Result<(), SyncFault> {
        for (_, cell) in self.cells() {
            let member = cell.load(Ordering::Acquire);
            if member != 0 && self.is_dead(OwnerId::from_bits(member))? {
                let _: Result<u64, u64> =
                    cell.compare_exchange(member, 0, Ordering::AcqRel, Ordering::Relaxed);
                crash_point("barrier.place_freed");
            }
        }
        Ok(())
    }

    /// Breaks the barrier if its action was being run by a process that is dead.
    fn find_dead_runner(&self, word: u64) -> Result<(), SyncFault> {
        let owner = self.body.runner.owner();
        if let Some(owner) = owner {
            if !self.is_dead(owner)? {
                return Ok(());
            }
            self.note_dead(owner);
        }
        // From the word that was seen before the owner: a runner that has ended meanwhile has changed it.
        let _: Result<(), u64> = self.change_from(word, word | PEER_DIED);
        Ok(())
    }

    fn note_dead(&self, owner: OwnerId) {
        let pid = self.body.segment().registration().pid_of(owner).unwrap_or(0);
        self.body.died.store(pid, Ordering::Relaxed);
    }
}

/// The one that runs the action, until it is dropped.
struct Runner<'a> {
    barrier: &'a Barrier,
    hold: Hold,
    /// The generation that is broken if this is dropped before it has ended.
    generation: Option<u64>,
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        // A forked child is another owner: it does nothing.
        if self.barrier.myself.owner() != Some(self.hold.owner()) {
            return;
        }
        if let Some(mine) = self.generation {
            let is_mine = |word| generation(word) == mine && word & CAUSE == 0;
            self.barrier.change(|word| is_mine(word).then_some(word | ACTION_FAILED));
        }
        self.barrier.body.runner.release(self.hold, true);
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners = self.cells().map(|(_, cell)| cell.load(Ordering::Acquire)).filter(|&word| word != 0);
        let segment = self.body.segment();
        let members: Vec<_> =
            owners.map(|word| crate::lock::Holder::of(segment, OwnerId::from_bits(word))).collect();
        f.debug_struct("Barrier")
            .field("name", &segment.name())
            .field("parties", &self.parties)
            .field("n_waiting", &self.n_waiting())
            .field("broken", &self.broken())
            .field("members", &members)
            .finish()
    }
}

/// A place at a barrier; dropping it leaves the place to others, and dying breaks the barrier for them.
///
/// In a forked child the copy of it does nothing: the parent has the place.
#[must_use = "dropping the member leaves its place at once"]
pub struct Member<'a> {
    barrier: &'a Barrier,
    me: OwnerId,
    index: u32,
}

impl Member<'_> {
    /// As [`Barrier::wait`].
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait(&self) -> Result<u32, BarrierError> {
        self.barrier.wait()
    }

    /// As [`Barrier::wait_timeout`].
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, BarrierError> {
        self.barrier.wait_timeout(timeout)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if self.barrier.myself.owner() != Some(self.me) {
            return;
        }
        if let Some(cell) = cell(self.barrier.body.segment().mapping(), self.index) {
            let mine = self.me.to_bits() | MEMBER;
            let _: Result<u64, u64> = cell.compare_exchange(mine, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
        crash_point("barrier.left");
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("barrier", &self.barrier.body.segment().name())
            .field("place", &self.index)
            .finish()
    }
}
