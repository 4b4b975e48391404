//! The locks that a waiter can let go, and what it sees of one while it waits.

use crate::cells::Plain;
use crate::lock::{Lock, LockGuardOf};
use crate::lock_error::LockError;
use crate::lock_word::LockWord;
use crate::rlock::{RLock, RLockGuardOf};
use crate::value::{Value, ValueGuardOf};
use procession_shm::{OwnerId, Segment};
use procession_sys::Deadline;
use std::borrow::Borrow;

/// A guard that a [`Condition`](crate::Condition) can let go and get back.
pub trait Monitor: sealed::Monitor {
    /// The thing that a waiter looks at to know whether to go on: the value, or the guard where there is none.
    type Guarded;

    /// The value that the guard guards, or the guard itself.
    fn guarded(&self) -> &Self::Guarded;
}

pub(super) mod sealed {
    use crate::LockError;
    use crate::lock_word::LockWord;
    use procession_shm::Segment;

    pub trait Monitor: Sized {
        /// All that is needed to get the guard back.
        type Left;

        /// How many holders of the lock have died; asked while it is held.
        fn burials(&self) -> u32;
        fn leave(self) -> Self::Left;
        fn word(left: &Self::Left) -> (&LockWord, &Segment);
        fn enter(left: Self::Left) -> Result<Self, LockError>;
    }
}

impl<L: Borrow<Lock> + Clone> Monitor for LockGuardOf<L> {
    type Guarded = Self;

    fn guarded(&self) -> &Self {
        self
    }
}
impl<L: Borrow<Lock> + Clone> sealed::Monitor for LockGuardOf<L> {
    type Left = L;

    fn burials(&self) -> u32 {
        self.lock().word().0.burials()
    }

    fn word(lock: &L) -> (&LockWord, &Segment) {
        lock.borrow().word()
    }

    fn leave(self) -> L {
        self.into_lock()
    }

    fn enter(lock: L) -> Result<Self, LockError> {
        Self::acquire(lock)
    }
}

impl<L: Borrow<RLock> + Clone> Monitor for RLockGuardOf<L> {
    type Guarded = Self;

    fn guarded(&self) -> &Self {
        self
    }
}
impl<L: Borrow<RLock> + Clone> sealed::Monitor for RLockGuardOf<L> {
    type Left = (L, u32, u64);

    fn burials(&self) -> u32 {
        self.lock().word().0.burials()
    }

    fn word((lock, ..): &Self::Left) -> (&LockWord, &Segment) {
        lock.borrow().word()
    }

    fn leave(self) -> Self::Left {
        self.leave_all()
    }

    fn enter((lock, depth, entry): Self::Left) -> Result<Self, LockError> {
        Self::enter_again(lock, depth, entry)
    }
}

impl<V: Borrow<Value<T>> + Clone, T: Plain> Monitor for ValueGuardOf<V, T> {
    type Guarded = T;

    fn guarded(&self) -> &T {
        self
    }
}
impl<V: Borrow<Value<T>> + Clone, T: Plain> sealed::Monitor for ValueGuardOf<V, T> {
    type Left = V;

    fn burials(&self) -> u32 {
        self.value().lock_word().0.burials()
    }

    fn word(value: &V) -> (&LockWord, &Segment) {
        value.borrow().lock_word()
    }

    fn leave(self) -> V {
        self.into_value()
    }

    fn enter(value: V) -> Result<Self, LockError> {
        Self::acquire(value, Deadline::NEVER)
    }
}

/// The lock that a waiter has let go.
pub(super) struct Watched<'a> {
    lock: &'a LockWord,
    segment: &'a Segment,
    /// How many of its holders had died when it was let go.
    burials: u32,
}

impl<'a> Watched<'a> {
    pub(super) fn new<G: Monitor>(left: &'a G::Left, burials: u32) -> Self {
        let (lock, segment) = G::word(left);
        Self { lock, segment, burials }
    }

    /// The present holder, if the lock has it from the registry of this segment.
    pub(super) fn holder_in(&self, segment: &Segment) -> Option<OwnerId> {
        let is_known = std::ptr::eq(self.segment.registration(), segment.registration());
        self.lock.owner().filter(|_| is_known)
    }

    /// Whether a holder has died since: what it was about to do, somebody who waits may have to do instead.
    /// `asks` whether the present one lives.
    pub(super) fn has_lost_a_holder(&self, asks: bool) -> bool {
        // First the owner: if it is another than the dead one already, the burial was counted before. Whoever
        // cannot be asked about is left to the acquire, which reports it.
        let is_gone = |holder| self.segment.registration().is_gone(holder) != Ok(false);
        asks && self.lock.held_as().is_some_and(is_gone) || self.lock.burials() != self.burials
    }
}
