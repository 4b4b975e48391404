//! A manual-reset event in one shared word.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `SET` 0 | the event is set: nobody waits |
//! | `WAITERS` 1 | somebody may sleep: whoever sets it owes a wake |
//! | 2.. | generation: how often it was set or pulsed. A waiter is released when it has moved on |
//!
//! # Who may change what
//! Anybody, everything, by one CAS or atomic operation. `set`: generation + 1, `SET`, without `WAITERS`. `pulse`: the
//! same without `SET`. `clear`: `SET` off, the generation stays, so that whoever waited at the set is released however
//! soon it is cleared. A waiter: `WAITERS` on, in a word that is not set and whose generation is the one it found.
//!
//! # Orderings
//! Edge `event.set`: the Release in `set` and `pulse` meets the Acquire in `wait` and `is_set`, so what the setter
//! wrote is visible to the released. `clear` is AcqRel: it keeps the edge, and what is read after it is not older than
//! the set that it cleared. `WAITERS` is Relaxed: it is in the word that the kernel compares before a waiter sleeps.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | waiting, asleep or woken | maybe `WAITERS` | the next set: one useless wake |
//! | after the CAS of a set or pulse, before the wake | sleepers who were not told | the end of a sleeper's slice; it wakes all the others |
//!
//! Nothing is ever held. `set`, `clear`, `pulse` and `is_set` are a few atomic operations and at most one `FUTEX_WAKE`:
//! they may be called in a signal handler, also in one that interrupts any of them.
//!
//! # Not promised
//! Which of a `set` and a `clear` that happen at the same time comes last.

use crate::fault::SyncFault;
use crate::patience::{Nap, Patience};
use procession_shm::{Kind, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::cpu::Spin;
use procession_sys::{Deadline, crash_point, futex, shm_struct};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const SET: u64 = 1;
const WAITERS: u64 = 2;
const GENERATION: u64 = 4;

/// How long a waiter looks again and again before it sleeps: a sleep and a wake cost this much.
const SPIN_NS: u64 = 20_000;
const SPIN_CAP: u32 = 16;

shm_struct! {
    #[doc(hidden)]
    pub struct EventBody {
        word: AtomicU64,
        /// When a waiter last asked: see [`Patience`].
        asked: AtomicU32,
        reserved: AtomicU32,
        /// To the end of the cache line.
        spare: [AtomicU64; 6],
    }
}

/// An event between processes: unset at first; while it is set, nobody waits for it.
///
/// Whoever waits when it is set is released, also if it is cleared the next moment. Setting, clearing and looking take
/// no lock, cannot fail, and may be done in a signal handler. Handles are cheap to clone, may be used by any number of
/// threads, and can be sent to other processes. Nobody holds an event: a process that dies leaves it as it is.
///
/// ```
/// use procession_sync::{Event, EventError};
/// use std::time::Duration;
///
/// # let namespace = procession_shm::Namespace::private();
/// let ready = Event::options().namespace(&namespace).create("ready")?;
/// assert!(matches!(ready.wait_timeout(Duration::from_millis(1)), Err(EventError::TimedOut)));
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
    type Body = EventBody;
    type Settings = ();

    fn shape((): &()) -> Shape {
        let body_len = size_of::<EventBody>() as u64;
        let parameters = [Parameter::default(); 4];
        Shape { kind: Kind::EVENT, body_len, parameters, element: None, codec: 0 }
    }

    fn initialise(_: &EventBody, (): &()) {}

    fn forget_owners(_: &EventBody) {}

    fn attach(body: Shared<EventBody>) -> Result<Self, OpenError> {
        Ok(Self { body })
    }
}

/// Why a wait ended without the event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// It was not set until the timeout (`wait_timeout`).
    #[error("the event was not set until the timeout")]
    TimedOut,
    /// The event itself is unusable.
    #[error(transparent)]
    Fault(#[from] SyncFault),
}

impl Event {
    /// Sets it, and releases everybody who waits. Setting it again changes nothing.
    ///
    /// What this thread wrote before is visible to everybody who is released.
    pub fn set(&self) {
        // A set event is written again all the same: a reader of it is then after this set too.
        self.release_all(|word| if word & SET != 0 { word } else { next_generation(word) | SET });
    }

    /// Releases everybody who waits now, and leaves the event cleared: `set` and `clear` in one step.
    pub fn pulse(&self) {
        self.release_all(next_generation);
    }

    /// Clears it: from now on, whoever waits has to wait. Those who were released stay released.
    pub fn clear(&self) {
        // SYNC: event.set.
        self.body.word.fetch_and(!SET, Ordering::AcqRel);
        crash_point("event.cleared");
    }

    /// Whether it is set at this moment.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        // SYNC: event.set.
        self.body.word.load(Ordering::Acquire) & SET != 0
    }

    /// Waits until it is set, or pulsed; not at all if it is set.
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

    fn release_all(&self, change: impl Fn(u64) -> u64) {
        let mut word = self.body.word.load(Ordering::Relaxed);
        loop {
            let changed = change(word);
            // SYNC: event.set.
            match self.body.word.compare_exchange_weak(word, changed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) if word & WAITERS != 0 && changed & WAITERS == 0 => break,
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        crash_point("event.released");
        futex::wake_all(futex::low_half(&self.body.word));
    }

    #[inline]
    fn wait_until(&self, deadline: Deadline) -> Result<(), EventError> {
        // SYNC: event.set.
        let found = self.body.word.load(Ordering::Acquire);
        if found & SET != 0 { Ok(()) } else { self.wait_past(found, deadline) }
    }

    /// Waits until the event is set or its generation is no longer that of `found`.
    #[cold]
    fn wait_past(&self, found: u64, deadline: Deadline) -> Result<(), EventError> {
        let mut patience = Patience::new(deadline);
        let mut spin = Spin::for_ns(SPIN_NS);
        let mut nap = Nap::Woken;
        loop {
            // SYNC: event.set.
            let word = self.body.word.load(Ordering::Acquire);
            if word & SET != 0 || word / GENERATION != found / GENERATION {
                if matches!(nap, Nap::Ask { .. }) {
                    // Nobody woke this one: the setter may have died before it woke anybody.
                    futex::wake_all(futex::low_half(&self.body.word));
                }
                return Ok(());
            }
            if nap == Nap::TimedOut || deadline.has_passed() {
                return Err(EventError::TimedOut);
            }
            let segment = self.body.segment();
            if nap == (Nap::Ask { survey: true }) && segment.is_orphaned() {
                return Err(SyncFault::orphaned(segment).into());
            }
            if word & WAITERS == 0 && spin.pause(SPIN_CAP) {
                continue;
            }
            nap = self.sleep(word, &mut patience);
        }
    }

    /// Announces a sleeper, and sleeps one slice.
    fn sleep(&self, word: u64, patience: &mut Patience) -> Nap {
        let announced = word | WAITERS;
        let taken = self.body.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_err() {
            return Nap::Changed;
        }
        crash_point("event.waiting");
        let nap = patience.sleep(futex::low_half(&self.body.word), announced as u32, &self.body.asked);
        crash_point("event.slept");
        nap
    }
}

/// The word after everybody was released.
fn next_generation(word: u64) -> u64 {
    (word & !(SET | WAITERS)).wrapping_add(GENERATION)
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
    use super::{Event, EventError, WAITERS};
    use procession_shm::Namespace;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn event() -> Event {
        Event::options().namespace(&Namespace::private()).anonymous().unwrap()
    }

    /// Returns once somebody sleeps, or is about to.
    fn somebody_waits(event: &Event) {
        while event.body.word.load(Ordering::Relaxed) & WAITERS == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_is_unset_at_first_and_what_is_set_stays_set() {
        let event = event();
        assert!(!event.is_set());
        assert!(matches!(event.wait_timeout(Duration::from_millis(2)), Err(EventError::TimedOut)));
        assert!(matches!(event.wait_timeout(Duration::ZERO), Err(EventError::TimedOut)));
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
    fn any_word_is_an_event() {
        let event = event();
        for word in [u64::MAX, u64::MAX - 1, 1 << 63, 0x5555_5555_5555_5555, 2, 3] {
            event.body.word.store(word, Ordering::Relaxed);
            assert_eq!(event.wait_timeout(Duration::ZERO).is_ok(), word & 1 != 0);
            event.set();
            assert!(event.wait().is_ok());
            event.clear();
            assert!(event.wait_timeout(Duration::from_millis(1)).is_err());
        }
    }
}
