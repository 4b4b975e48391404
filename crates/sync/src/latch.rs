//! A latch: closed until so many have arrived, open ever after.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | `WAITERS` 0 | somebody may sleep: whoever opens it owes a wake |
//! | 1.. | how many have arrived; the latch is open when they are enough |
//!
//! # Who may change what
//! Anybody, by one CAS. Arriving: the count + 1, and without `WAITERS` if that opens it. A waiter: `WAITERS` on, while
//! the latch is closed. The count never falls.
//!
//! # Orderings
//! Edge `latch.arrived`: the AcqRel of each arrival continues those before it, and meets the Acquire in `wait`: what was
//! written before any of the arrivals that opened it is visible behind it. `WAITERS` is Relaxed: it is in the word that
//! the kernel compares before a waiter sleeps.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | before it arrives | a latch that is one short | nobody: who was to come is unknown here; others can arrive instead |
//! | after it arrived | its arrival, which counts | – |
//! | after opening it, before the wake | sleepers who were not told | the end of a sleeper's slice; it wakes all the others |
//! | waiting | maybe `WAITERS` | the arrival that opens it: one useless wake |

use crate::fault::SyncFault;
use crate::patience::{Nap, Patience};
use procession_shm::{Kind, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::cpu::Spin;
use procession_sys::{Deadline, crash_point, futex, shm_struct};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const WAITERS: u64 = 1;
const ONE: u64 = 2;

/// How long a waiter looks again and again before it sleeps: a sleep and a wake cost this much.
const SPIN_NS: u64 = 20_000;
const SPIN_CAP: u32 = 16;

shm_struct! {
    #[doc(hidden)]
    pub struct LatchBody {
        word: AtomicU64,
        /// When a waiter last asked: see [`Patience`].
        asked: AtomicU32,
        reserved: AtomicU32,
        /// To the end of the cache line.
        spare: [AtomicU64; 6],
    }
}

/// A latch between processes: `wait` waits until so many have arrived; late ones pass at once.
///
/// It opens once and stays open; arrivals after that are counted too. An arrival counts whatever becomes of who made
/// it. Who dies before it arrives is not missed by anybody: use a timeout, or arrive in its place.
///
/// ```
/// use procession_sync::Latch;
///
/// # let namespace = procession_shm::Namespace::private();
/// let loaded = Latch::options().namespace(&namespace).count(2).create("loaded")?;
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
    count: u32,
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
    count: Option<u32>,
}

impl LatchOptions {
    /// How many have to arrive; 1 unless said. With 0 it is open from the beginning.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.settings.count = Some(count);
        self
    }
}

procession_shm::object_builders!([] LatchOptions => Latch);

impl Object for Latch {
    type Body = LatchBody;
    type Settings = LatchSettings;

    fn shape(settings: &LatchSettings) -> Shape {
        let value = u64::from(settings.count.unwrap_or(1));
        let count = Parameter { name: "count", value, asked: settings.count.is_some() };
        let parameters = [count, Parameter::default(), Parameter::default(), Parameter::default()];
        let body_len = size_of::<LatchBody>() as u64;
        Shape { kind: Kind::LATCH, body_len, parameters, element: None, codec: 0 }
    }

    fn initialise(_: &LatchBody, _: &LatchSettings) {}

    fn forget_owners(_: &LatchBody) {}

    fn attach(body: Shared<LatchBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let count = u32::try_from(segment.header().parameters[0]);
        let count = count.map_err(|_| segment.corrupt("an impossible count"))?;
        Ok(Self { body, count })
    }
}

/// Why a wait ended before the latch was open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatchError {
    /// Too few had arrived at the timeout (`wait_timeout`).
    #[error("{arrived} of {count} had arrived at the timeout")]
    TimedOut {
        /// How many had arrived.
        arrived: u64,
        /// How many have to.
        count: u32,
    },
    /// The latch itself is unusable.
    #[error(transparent)]
    Fault(#[from] SyncFault),
}

impl Latch {
    /// An anonymous latch for `count` arrivals, to be handed on as an argument or in a message.
    ///
    /// # Errors
    /// As [`LatchOptions::anonymous`].
    pub fn new(count: u32) -> Result<Self, OpenError> {
        Self::options().count(count).anonymous()
    }

    /// Arrives, without waiting; how many had arrived before. The last one needed releases everybody who waits.
    ///
    /// What this thread wrote before is visible to everybody whom the latch lets through.
    #[expect(clippy::must_use_candidate, reason = "the arrival is what it is for")]
    pub fn arrive(&self) -> u64 {
        let word = &self.body.word;
        let mut before = word.load(Ordering::Relaxed);
        let after = loop {
            let counted = before.saturating_add(ONE);
            let after = if self.opens(counted) { counted & !WAITERS } else { counted };
            // SYNC: latch.arrived.
            match word.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break after,
                Err(now) => before = now,
            }
        };
        crash_point("latch.arrived");
        if before & WAITERS != 0 && after & WAITERS == 0 {
            futex::wake_all(futex::low_half(word));
        }
        before / ONE
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

    /// Whether enough have arrived.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        // SYNC: latch.arrived.
        self.opens(self.body.word.load(Ordering::Acquire))
    }

    /// How many have arrived, also after it opened.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.body.word.load(Ordering::Acquire) / ONE
    }

    /// How many have to arrive.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    fn opens(&self, word: u64) -> bool {
        word / ONE >= u64::from(self.count)
    }

    fn wait_until(&self, deadline: Deadline) -> Result<(), LatchError> {
        if self.is_open() { Ok(()) } else { self.wait_closed(deadline) }
    }

    #[cold]
    fn wait_closed(&self, deadline: Deadline) -> Result<(), LatchError> {
        let mut patience = Patience::new(deadline);
        let mut spin = Spin::for_ns(SPIN_NS);
        let mut nap = Nap::Woken;
        loop {
            // SYNC: latch.arrived.
            let word = self.body.word.load(Ordering::Acquire);
            if self.opens(word) {
                if matches!(nap, Nap::Ask { .. }) {
                    // Nobody woke this one: who opened it may have died before it woke anybody.
                    futex::wake_all(futex::low_half(&self.body.word));
                }
                return Ok(());
            }
            if nap == Nap::TimedOut || deadline.has_passed() {
                return Err(LatchError::TimedOut { arrived: word / ONE, count: self.count });
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
        crash_point("latch.waiting");
        let nap = patience.sleep(futex::low_half(&self.body.word), announced as u32, &self.body.asked);
        crash_point("latch.slept");
        nap
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
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn latch(count: u32) -> Latch {
        Latch::options().namespace(&Namespace::private()).count(count).anonymous().unwrap()
    }

    #[test]
    fn it_opens_once_and_late_ones_pass() {
        let latch = latch(2);
        let short = Duration::from_millis(2);
        assert!(matches!(latch.wait_timeout(short), Err(LatchError::TimedOut { arrived: 0, count: 2 })));
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
    fn any_word_is_a_latch() {
        assert!(latch(0).wait().is_ok());
        let latch = latch(7);
        for word in [u64::MAX, 1, 13, 14, 1 << 63] {
            latch.body.word.store(word, Ordering::Relaxed);
            assert_eq!(latch.wait_timeout(Duration::ZERO).is_ok(), word / 2 >= 7);
            latch.arrive();
            assert!(latch.arrived() >= word / 2);
        }
    }
}
