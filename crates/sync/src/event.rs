//! A manual-reset event: a [`Gate`] that is set, or that has been set since a waiter came.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever sets or clears it owes a wake |
//! | `SET` 1 | the event is set: nobody waits |
//! | `OWNED` 2 | it is set for as long as its owner lives |
//! | 3.. | generation: how often it was set or pulsed. A waiter is released when it has moved on |
//!
//! | other | meaning |
//! |---|---|
//! | `claim` | who sets it as its owner, or last did so; beside the owner (bits 16..32) the generation that this makes |
//!
//! # Who may change what
//! The word: anybody, everything, by one CAS. `set`: generation + 1, `SET`, without `WAITERS`. `pulse`: that
//! without `SET`. `clear`: `SET` off, the generation stays, so that whoever waited at the set is released
//! however soon it is cleared.
//!
//! `set_owned` is two CAS: the claim, for the generation after the word's; then the word, from the very one that was
//! looked at. The claim of a living process for the generation that is there, or for the one that comes next, is left
//! alone. So the claim of the word's generation is always that of the process that has set it. If the claim is of
//! another generation, somebody has taken the dead owner's place, and the event is as good as cleared.
//!
//! Whoever finds it set by an owner that is dead clears it: from the very word that was looked at, so that whoever has
//! set it meanwhile keeps it set.
//!
//! # Orderings
//! Those of the gate. Edge `event.claim`: the AcqRel of the word's CAS comes after the claim, and meets the Acquire of
//! whoever looks at the word, and then at the claim: it is that one, or a later one.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | in `set_owned`, after the claim | a claim of a generation that is not there | the next who claims: its owner is dead |
//! | after the word, or at any time later | `SET` and `OWNED` of a dead owner | whoever looks next |
//! | clearing it for a dead owner | nothing, or it is cleared | |
//!
//! What else a death leaves is said in `gate.rs`. `set`, `clear`, `pulse` and `is_set` may be called in a signal
//! handler, also in one that interrupts any of them, or a wait.
//!
//! # Not promised
//! Which of a `set` and a `clear` that happen at the same time comes last. A `wait` that begins while a
//! `pulse` happens may come after it. Of two processes that set it as owners in one moment, one is told that the other
//! is about to.

use crate::fault::Fault;
use crate::gate::{Gate, Shut, WAITERS};
use crate::holder::Holder;
use crate::patience::Whom;
use procession_shm::{Kind, Label, Object, OpenError, OwnerId, Parameter, Placement, Shape, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, crash_point, shm_struct};
use std::fmt;
use std::time::Duration;

const SET: u64 = 2;
const OWNED: u64 = 4;
const GENERATION: u64 = 8;

/// Where a claim has the generation.
const CLAIMED_SHIFT: u32 = 16;

shm_struct! {
    #[doc(hidden)]
    pub struct EventBody {
        gate: Gate,
        claim: AtomicU64,
        reserved: AtomicU64,
    }
}

/// An event between processes: unset at first; while it is set, nobody waits for it.
///
/// Whoever waits when it is set is released, also if it is cleared the next moment. Setting, clearing and
/// looking take no lock, cannot fail, and may be done in a signal handler. Handles are cheap to clone, may be
/// used by any number of threads, and can be sent to other processes. Nobody holds an event: a process that
/// dies leaves it as it is; unless it has set it by [`set_owned`](Self::set_owned), which lasts as long as that process
/// lives.
///
/// ```
/// use procession::{Event, EventError};
/// use std::time::Duration;
///
/// let ready = Event::create("ready")?;
/// assert!(matches!(ready.wait_timeout(Duration::from_millis(1)), Err(EventError::TimedOut { .. })));
/// ready.set();
/// ready.wait()?;
/// ready.clear();
/// assert!(!ready.is_set());
/// # ready.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Event {
    body: Shared<EventBody>,
}

/// How an [`Event`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct EventOptions {
    place: Placement,
    settings: (),
}

procession_shm::object_builders!([] EventOptions => Event);

impl Object for Event {
    const KIND: Kind = Kind::EVENT;
    const GROUP: Option<Kind> = Some(Kind::EVENT_GROUP);
    type Body = EventBody;
    type Settings = ();

    fn shape((): &()) -> Shape {
        let body_len = size_of::<EventBody>() as u64;
        let parameters = [Parameter::default(); 4];
        Shape { kind: Self::KIND, body_len, parameters, element: None, codec: 0 }
    }

    fn forget_owners(body: &EventBody) {
        body.gate.change(|word| if word & OWNED == 0 { word } else { cleared(word) });
        body.claim.store(0, Ordering::Relaxed);
    }

    fn attach(body: Shared<EventBody>) -> Result<Self, OpenError> {
        Ok(Self { body })
    }
}

/// Why a wait ended without the event.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The event was not set until the timeout (`wait_timeout`).
    #[error("timed out: nobody has set {object}")]
    TimedOut {
        /// Which one.
        object: Label,
    },
    /// The event was not cleared until the timeout (`wait_cleared_timeout`).
    #[error("timed out: nobody has cleared {object}")]
    StillSet {
        /// Which one.
        object: Label,
    },
    /// Another process that lives has set it, or does so now, for as long as that process lives (`set_owned`).
    #[error("{object} is set by {holder} for as long as that lives")]
    Owned {
        /// Which one.
        object: Label,
        /// That process.
        holder: Holder,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {object} was interrupted")]
    Interrupted {
        /// Which one.
        object: Label,
    },
    /// The event itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(EventError);

impl Event {
    /// Sets the event, and releases everybody who waits. Setting it again changes nothing.
    ///
    /// What this thread wrote before is visible to everybody who is released.
    pub fn set(&self) {
        self.body
            .gate
            .change(|word| if word & (SET | OWNED) == SET { word } else { next_generation(word) | SET });
    }

    /// Sets the event for as long as this process lives, and releases everybody who waits. However the process ends,
    /// the event is cleared then: at the latest when somebody looks. So it says that something is there, such as a
    /// server, and cannot go on saying so when that is gone. `set` makes it stay set; `clear` clears it.
    ///
    /// ```
    /// use procession::{Event, Process};
    ///
    /// fn serve(up: Event) {
    ///     up.set_owned().unwrap();
    ///     // It is killed one day.
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let up = Event::new()?;
    ///     let server = Process::spawn(serve, up.clone())?;
    ///     up.wait()?;
    ///     server.join()?;
    ///     up.wait_cleared()?;
    ///     assert!(!up.is_set());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`EventError::Owned`] when another process has done so and lives; [`EventError::Fault`].
    pub fn set_owned(&self) -> Result<(), EventError> {
        let me = Fault::or_owner(self.body.segment())?;
        loop {
            let word = self.body.gate.word();
            let set = next_generation(word) | SET | OWNED;
            let claim = self.body.claim.load(Ordering::Acquire);
            let owner = owner_in(claim);
            // One of another generation is over: its owner has set the event and it was cleared, or will fail to.
            let counts = word & OWNED != 0 && is_of(claim, word) || is_of(claim, set);
            if counts && owner != me && self.lives(owner) {
                let holder = Holder::of(self.body.segment(), owner);
                return Err(EventError::Owned { object: self.body.segment().label(), holder });
            }
            let mine = me.to_bits() | claimed(set);
            if self.body.claim.compare_exchange(claim, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            crash_point("event.claimed");
            // SYNC: event.claim.
            if self.body.gate.change_from(word, set) {
                return Ok(());
            }
        }
    }

    /// The process for which the event is set by [`set_owned`](Self::set_owned), if it is.
    #[must_use]
    pub fn owner(&self) -> Option<Holder> {
        let word = self.body.gate.word();
        let owner = self.owner_of(word).filter(|&owner| self.lives(owner))?;
        Some(Holder::of(self.body.segment(), owner))
    }

    /// Releases everybody who waits now, and leaves the event cleared: `set` and `clear` in one step.
    pub fn pulse(&self) {
        self.body.gate.change(next_generation);
    }

    /// Clears the event: from now on, whoever waits has to wait. Those who were released stay released.
    pub fn clear(&self) {
        // Who waits until it is cleared is told; while it is set nobody else sleeps.
        self.body.gate.change(|word| if word & SET == 0 { word } else { cleared(word) });
    }

    /// How often it was set or pulsed, modulo 2^61: for tools.
    #[doc(hidden)]
    #[must_use]
    pub fn n_times_set(&self) -> u64 {
        self.body.gate.word() / GENERATION
    }

    /// The word as it is now, for [`has_let_pass`](Self::has_let_pass).
    #[cfg(feature = "async")]
    pub(crate) fn found(&self) -> u64 {
        self.body.gate.word()
    }

    /// Whether one may go on who came when the word was `found`.
    #[cfg(feature = "async")]
    pub(crate) fn has_let_pass(&self, found: u64) -> bool {
        self.passes(self.body.gate.word(), found)
    }

    #[cfg(feature = "async")]
    pub(crate) fn segment(&self) -> &procession_shm::Segment {
        self.body.segment()
    }

    /// Announces a waiter: the futex on which to sleep, while it says this.
    pub(crate) fn watch(&self) -> (&AtomicU32, u32) {
        self.body.gate.watch(|word| self.stands(word))
    }

    /// Whether the event is set at this moment.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.stands(self.body.gate.word())
    }

    /// Waits until the event is set, or pulsed; not at all if it is set.
    ///
    /// # Errors
    /// [`EventError::Fault`] when the event's file was removed.
    #[inline]
    pub fn wait(&self) -> Result<(), EventError> {
        self.wait_until(Deadline::NEVER)
    }

    /// Waits at most `timeout` until it is set or pulsed.
    ///
    /// # Errors
    /// [`EventError::TimedOut`]; otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), EventError> {
        self.wait_until(Deadline::after(timeout))
    }

    #[inline]
    fn wait_until(&self, deadline: Deadline) -> Result<(), EventError> {
        let found = self.body.gate.word();
        if self.stands(found) {
            return Ok(());
        }
        // Nobody's death could bring it: anybody may set it.
        let late = |object| EventError::TimedOut { object };
        self.wait_at_gate(deadline, |word| self.passes(word, found), |_| (), late)
    }

    /// Waits until the event is cleared; not at all if it is not set.
    ///
    /// # Errors
    /// [`EventError::Fault`] when the event's file was removed.
    pub fn wait_cleared(&self) -> Result<(), EventError> {
        self.wait_cleared_until(Deadline::NEVER)
    }

    /// Waits at most `timeout` until it is cleared.
    ///
    /// # Errors
    /// [`EventError::StillSet`]; otherwise as [`wait_cleared`](Self::wait_cleared).
    pub fn wait_cleared_timeout(&self, timeout: Duration) -> Result<(), EventError> {
        self.wait_cleared_until(Deadline::after(timeout))
    }

    fn wait_cleared_until(&self, deadline: Deadline) -> Result<(), EventError> {
        let owner = |word| move || self.owner_of(word);
        let late = |object| EventError::StillSet { object };
        self.wait_at_gate(deadline, |word| !self.stands(word), owner, late)
    }

    fn wait_at_gate<W: Whom>(
        &self,
        deadline: Deadline,
        passes: impl Fn(u64) -> bool,
        whom: impl Fn(u64) -> W,
        late: impl FnOnce(Label) -> EventError,
    ) -> Result<(), EventError> {
        let segment = self.body.segment();
        self.body.gate.wait(segment, deadline, passes, whom).map_err(|shut| match shut {
            Shut::TimedOut(_) => late(segment.label()),
            Shut::Interrupted => EventError::Interrupted { object: segment.label() },
            Shut::Fault(fault) => fault.into(),
        })
    }

    /// Whether the word lets one go on who came when it was `found`: it is set, or was meanwhile.
    fn passes(&self, word: u64, found: u64) -> bool {
        self.stands(word) || word / GENERATION != found / GENERATION
    }

    /// Whether the event is set. If it was set by an owner that is dead, it is cleared.
    #[inline]
    fn stands(&self, word: u64) -> bool {
        word & SET != 0 && (word & OWNED == 0 || self.outlives(word))
    }

    #[cold]
    fn outlives(&self, word: u64) -> bool {
        let lives = self.owner_of(word).is_some_and(|owner| self.lives(owner));
        if !lives {
            // Another word is somebody's who has set or cleared it since.
            let _: bool = self.body.gate.change_from(word, cleared(word));
        }
        lives
    }

    /// The process that has set it as its owner, if that is what the word says.
    fn owner_of(&self, word: u64) -> Option<OwnerId> {
        // SYNC: event.claim.
        let claim = self.body.claim.load(Ordering::Acquire);
        (word & (SET | OWNED) == SET | OWNED && is_of(claim, word)).then(|| owner_in(claim))
    }

    /// Late, never false: an owner that nobody can be asked about counts as living.
    fn lives(&self, owner: OwnerId) -> bool {
        self.body.segment().registration().is_dead(owner) != Ok(true)
    }
}

/// The word after everybody was released.
fn next_generation(word: u64) -> u64 {
    (word & !(SET | OWNED | WAITERS)).wrapping_add(GENERATION)
}

/// The word of the event when it is cleared.
fn cleared(word: u64) -> u64 {
    word & !(SET | OWNED | WAITERS)
}

/// What a claim says of a word's generation.
fn claimed(word: u64) -> u64 {
    ((word / GENERATION) & 0xffff) << CLAIMED_SHIFT
}

/// Whether the claim is of the word's generation.
fn is_of(claim: u64, word: u64) -> bool {
    claim & !OwnerId::MASK == claimed(word)
}

fn owner_in(claim: u64) -> OwnerId {
    OwnerId::from_bits(claim)
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("name", &self.body.segment().name())
            .field("set", &self.is_set())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, EventError, OWNED, SET, WAITERS};
    use procession_shm::Namespace;
    use std::time::Duration;

    fn event() -> Event {
        Event::options().namespace(&Namespace::private()).anonymous().unwrap()
    }

    /// Returns once somebody sleeps, or is about to.
    fn somebody_waits(event: &Event) {
        while event.body.gate.word() & WAITERS == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_event_is_unset_at_first_and_stays_set_until_it_is_cleared() {
        let event = event();
        assert!(!event.is_set());
        assert!(matches!(event.wait_timeout(Duration::from_millis(2)), Err(EventError::TimedOut { .. })));
        assert!(matches!(event.wait_timeout(Duration::ZERO), Err(EventError::TimedOut { .. })));
        event.set();
        event.set();
        assert!(event.is_set() && event.wait().is_ok() && event.wait_timeout(Duration::ZERO).is_ok());
        event.clear();
        event.clear();
        assert!(!event.is_set() && event.wait_timeout(Duration::ZERO).is_err());
        assert!(format!("{event:?}").ends_with("set: false }"), "{event:?}");
    }

    #[test]
    fn whoever_waits_is_released_by_set_and_clear_and_by_pulse_and_late_ones_are_not() {
        let event = event();
        for round in 0..200 {
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| event.wait());
                somebody_waits(&event);
                if round % 2 == 0 {
                    event.set();
                    event.clear();
                } else {
                    event.pulse();
                }
                waiter.join().unwrap().unwrap();
            });
            assert!(!event.is_set());
        }
        assert!(event.wait_timeout(Duration::from_millis(1)).is_err());
        event.set();
        event.pulse();
        assert!(!event.is_set());
    }

    #[test]
    fn an_event_with_any_word_in_it_can_be_used() {
        let event = event();
        for word in [u64::MAX, u64::MAX - 1, 1 << 63, 0x5555_5555_5555_5555, 2, 3] {
            event.body.gate.damage(word);
            // Set by an owner that nobody claims to be is cleared.
            assert_eq!(event.wait_timeout(Duration::ZERO).is_ok(), word & (SET | OWNED) == SET);
            event.set();
            assert!(event.wait().is_ok());
            event.clear();
            assert!(event.wait_timeout(Duration::from_millis(1)).is_err());
        }
    }
}
