//! A latch: a [`Gate`] that is closed until so many have arrived, and open ever after.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever opens it owes a wake |
//! | 1.. | how many have arrived; the latch is open when they are enough |
//!
//! # Who may change what
//! Anybody, by one CAS. Arriving: the count + 1, and without `WAITERS` if that opens it. The count never
//! falls.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | before it arrives | a latch that is one short | nobody: who was to come is unknown here; others can arrive instead |
//! | after it arrived | its arrival, which counts | – |
//! | after opening it before the wake, or waiting | as `gate.rs` says | the end of a sleeper's slice |

use crate::fault::Fault;
use crate::gate::{Gate, Shut, WAITERS};
use procession_shm::{Kind, Label, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::atomic::AtomicU32;
use procession_sys::{Deadline, shm_struct};
use std::fmt;
use std::time::Duration;

const ONE: u64 = 2;

shm_struct! {
    #[doc(hidden)]
    pub struct LatchBody {
        gate: Gate,
    }
}

/// A latch between processes: `wait` waits until so many have arrived; late ones pass at once.
///
/// It opens once and stays open; arrivals after that are counted too. An arrival counts whatever becomes of
/// who made it. Who dies before it arrives is not missed by anybody: use a timeout, or arrive in its place.
///
/// ```
/// use procession::Latch;
///
/// let loaded = Latch::create("loaded", 2)?;
/// assert_eq!(loaded.arrive(), 0);
/// assert!(!loaded.is_open());
/// assert_eq!(loaded.arrive(), 1);
/// loaded.wait()?;
/// # loaded.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Latch {
    body: Shared<LatchBody>,
    count: usize,
}

/// How a [`Latch`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct LatchOptions {
    place: Placement,
    settings: LatchSettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LatchSettings {
    count: Option<usize>,
}

impl LatchOptions {
    /// How many have to arrive; 1 unless said. With 0 it is open from the beginning.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.settings.count = Some(count);
        self
    }
}

procession_shm::object_builders!([] LatchOptions => Latch, (count: usize));

impl Object for Latch {
    const KIND: Kind = Kind::LATCH;
    type Body = LatchBody;
    type Settings = LatchSettings;

    fn shape(settings: &LatchSettings) -> Shape {
        let count = Parameter::said("count", settings.count.map(|count| count as u64), 1);
        let parameters = [count, Parameter::default(), Parameter::default(), Parameter::default()];
        let body_len = size_of::<LatchBody>() as u64;
        Shape { kind: Self::KIND, body_len, parameters, element: None, codec: 0 }
    }

    fn forget_owners(_: &LatchBody) {}

    fn attach(body: Shared<LatchBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let count = usize::try_from(segment.header().parameters[0]);
        let count = count.map_err(|_| segment.corrupt("it says an impossible count"))?;
        Ok(Self { body, count })
    }
}

/// Why a wait ended before the latch was open.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LatchError {
    /// Too few had arrived at the timeout (`wait_timeout`).
    #[error("timed out: {arrived} of {count} have arrived at {object}")]
    TimedOut {
        /// Which one.
        object: Label,
        /// How many had arrived.
        arrived: u64,
        /// How many have to.
        count: usize,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {object} was interrupted")]
    Interrupted {
        /// Which one.
        object: Label,
    },
    /// The latch itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(LatchError);

impl Latch {
    /// Arrives, without waiting; how many had arrived before. The last one needed releases everybody who
    /// waits.
    ///
    /// What this thread wrote before is visible to everybody whom the latch lets through.
    #[expect(clippy::must_use_candidate, reason = "the arrival is what it is for")]
    pub fn arrive(&self) -> u64 {
        let arrive = |word: u64| {
            let counted = word.saturating_add(ONE);
            if self.opens(counted) { counted & !WAITERS } else { counted }
        };
        self.body.gate.change(arrive) / ONE
    }

    /// Waits until enough have arrived; not at all if they have.
    ///
    /// # Errors
    /// [`LatchError::Fault`] when the latch's file was removed.
    #[inline]
    pub fn wait(&self) -> Result<(), LatchError> {
        self.wait_until(Deadline::NEVER)
    }

    /// Waits at most `timeout` until enough have arrived.
    ///
    /// # Errors
    /// [`LatchError::TimedOut`]; otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), LatchError> {
        self.wait_until(Deadline::after(timeout))
    }

    #[cfg(feature = "async")]
    pub(crate) fn segment(&self) -> &procession_shm::Segment {
        self.body.segment()
    }

    /// Announces a waiter: the futex on which to sleep, while it says this.
    pub(crate) fn watch(&self) -> (&AtomicU32, u32) {
        self.body.gate.watch(|word| self.opens(word))
    }

    /// Whether enough have arrived.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opens(self.body.gate.word())
    }

    /// How many have arrived, also after it opened.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.body.gate.word() / ONE
    }

    /// How many have to arrive.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    fn opens(&self, word: u64) -> bool {
        word / ONE >= self.count as u64
    }

    fn wait_until(&self, deadline: Deadline) -> Result<(), LatchError> {
        if self.is_open() {
            return Ok(());
        }
        let opens = |word| self.opens(word);
        self.body.gate.wait(self.body.segment(), deadline, opens, |_| ()).map_err(|shut| match shut {
            Shut::TimedOut(word) => LatchError::TimedOut {
                object: self.body.segment().label(),
                arrived: word / ONE,
                count: self.count,
            },
            Shut::Interrupted => LatchError::Interrupted { object: self.body.segment().label() },
            Shut::Fault(fault) => fault.into(),
        })
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("name", &self.body.segment().name())
            .field("arrived", &self.arrived())
            .field("count", &self.count)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Latch, LatchError};
    use procession_shm::Namespace;
    use std::time::Duration;

    fn latch(count: usize) -> Latch {
        Latch::options().namespace(&Namespace::private()).count(count).anonymous().unwrap()
    }

    #[test]
    fn a_latch_opens_once_and_lets_late_ones_pass() {
        let latch = latch(2);
        let short = Duration::from_millis(2);
        assert!(matches!(latch.wait_timeout(short), Err(LatchError::TimedOut { arrived: 0, count: 2, .. })));
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| latch.wait())).collect();
            assert_eq!(latch.arrive(), 0);
            assert!(!latch.is_open());
            assert_eq!(latch.arrive(), 1);
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap().is_ok()));
        });
        assert_eq!((latch.arrive(), latch.arrived(), latch.is_open()), (2, 3, true));
        assert!(latch.wait().is_ok());
    }

    #[test]
    fn a_latch_with_any_word_in_it_can_be_used() {
        assert!(latch(0).wait().is_ok());
        let latch = latch(7);
        for word in [u64::MAX, 1, 13, 14, 1 << 63] {
            latch.body.gate.damage(word);
            assert_eq!(latch.wait_timeout(Duration::ZERO).is_ok(), word / 2 >= 7);
            latch.arrive();
            assert!(latch.arrived() >= word / 2);
        }
    }
}
