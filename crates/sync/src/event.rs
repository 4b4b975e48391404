//! A manual-reset event: a [`Gate`] that is set, or that has been set since a waiter came.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever sets it owes a wake |
//! | `SET` 1 | the event is set: nobody waits |
//! | 2.. | generation: how often it was set or pulsed. A waiter is released when it has moved on |
//!
//! # Who may change what
//! Anybody, everything, by one CAS. `set`: generation + 1, `SET`, without `WAITERS`. `pulse`: the same
//! without `SET`. `clear`: `SET` off, the generation stays, so that whoever waited at the set is released
//! however soon it is cleared.
//!
//! # If a process dies
//! Nothing is ever held, and what a death leaves at each step is said in `gate.rs`. `set`, `clear`, `pulse`
//! and `is_set` may be called in a signal handler, also in one that interrupts any of them, or a wait.
//!
//! # Not promised
//! Which of a `set` and a `clear` that happen at the same time comes last. A `wait` that begins while a
//! `pulse` happens may come after it.

use crate::fault::Fault;
use crate::gate::{Gate, Shut, WAITERS};
use procession_shm::{Kind, Label, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::atomic::AtomicU32;
use procession_sys::{Deadline, shm_struct};
use std::fmt;
use std::time::Duration;

const SET: u64 = 2;
const GENERATION: u64 = 4;

shm_struct! {
    #[doc(hidden)]
    pub struct EventBody {
        gate: Gate,
    }
}

/// An event between processes: unset at first; while it is set, nobody waits for it.
///
/// Whoever waits when it is set is released, also if it is cleared the next moment. Setting, clearing and
/// looking take no lock, cannot fail, and may be done in a signal handler. Handles are cheap to clone, may be
/// used by any number of threads, and can be sent to other processes. Nobody holds an event: a process that
/// dies leaves it as it is.
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
    type Body = EventBody;
    type Settings = ();

    fn shape((): &()) -> Shape {
        let body_len = size_of::<EventBody>() as u64;
        let parameters = [Parameter::default(); 4];
        Shape { kind: Self::KIND, body_len, parameters, element: None, codec: 0 }
    }

    fn forget_owners(_: &EventBody) {}

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
        self.body.gate.change(|word| if word & SET != 0 { word } else { next_generation(word) | SET });
    }

    /// Releases everybody who waits now, and leaves the event cleared: `set` and `clear` in one step.
    pub fn pulse(&self) {
        self.body.gate.change(next_generation);
    }

    /// Clears the event: from now on, whoever waits has to wait. Those who were released stay released.
    pub fn clear(&self) {
        self.body.gate.change(|word| word & !SET);
    }

    /// The word as it is now, for [`has_let_pass`](Self::has_let_pass).
    #[cfg(feature = "async")]
    pub(crate) fn found(&self) -> u64 {
        self.body.gate.word()
    }

    /// Whether one may go on who came when the word was `found`.
    #[cfg(feature = "async")]
    pub(crate) fn has_let_pass(&self, found: u64) -> bool {
        passes(self.body.gate.word(), found)
    }

    #[cfg(feature = "async")]
    pub(crate) fn segment(&self) -> &procession_shm::Segment {
        self.body.segment()
    }

    /// Announces a waiter: the futex on which to sleep, while it says this.
    pub(crate) fn watch(&self) -> (&AtomicU32, u32) {
        self.body.gate.watch(|word| word & SET != 0)
    }

    /// Whether the event is set at this moment.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.body.gate.word() & SET != 0
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
        if found & SET != 0 {
            return Ok(());
        }
        self.body.gate.wait(self.body.segment(), deadline, |word| passes(word, found)).map_err(|shut| {
            match shut {
                Shut::TimedOut(_) => EventError::TimedOut { object: self.body.segment().label() },
                Shut::Interrupted => EventError::Interrupted { object: self.body.segment().label() },
                Shut::Fault(fault) => fault.into(),
            }
        })
    }
}

/// Whether the word lets one go on who came when it was `found`: it is set, or was meanwhile.
fn passes(word: u64, found: u64) -> bool {
    word & SET != 0 || word / GENERATION != found / GENERATION
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
    use super::{Event, EventError, SET, WAITERS};
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
            assert_eq!(event.wait_timeout(Duration::ZERO).is_ok(), word & SET != 0);
            event.set();
            assert!(event.wait().is_ok());
            event.clear();
            assert!(event.wait_timeout(Duration::from_millis(1)).is_err());
        }
    }
}
