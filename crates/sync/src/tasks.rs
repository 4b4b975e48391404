//! The operations that wait, for tasks of an executor: each is its try, and what becomes ready when it is
//! worth another one.

use crate::event::{Event, EventError};
use crate::hold::Hold;
use crate::keeper::Panics;
use crate::latch::{Latch, LatchError};
use crate::lock::Lock;
use crate::lock_error::LockError;
use crate::lock_word::Claim;
use crate::ready::when_ready;
use crate::semaphore::{OwnedPermit, Permit, Semaphore, SemaphoreError};
use crate::waitable::{Waitable, Watch};
use std::fmt;

impl Event {
    /// Waits as [`wait`](Self::wait) does, as a task: until the event is set, or pulsed. It is cancel-safe.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_async(&self) -> Result<(), EventError> {
        let found = self.found();
        let passing = || Passing { event: self.clone(), found };
        when_ready(Some(self.segment()), passing, || self.has_let_pass(found).then_some(Ok(()))).await
    }
}

/// An event for one who came when its word was `found`: also a pulse lets it pass.
struct Passing {
    event: Event,
    found: u64,
}

impl Waitable for Passing {
    fn is_ready(&self) -> bool {
        self.event.has_let_pass(self.found)
    }

    fn watch(&self) -> Watch<'_> {
        Waitable::watch(&self.event)
    }

    fn unwatch(&self) {}
}

impl Latch {
    /// Waits as [`wait`](Self::wait) does, as a task, until the latch is open. It is cancel-safe.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_async(&self) -> Result<(), LatchError> {
        when_ready(Some(self.segment()), || self.clone(), || self.is_open().then_some(Ok(()))).await
    }
}

impl Semaphore {
    /// Acquires a permit as [`acquire_owned`](Self::acquire_owned) does, as a task. It is cancel-safe: a future
    /// that is dropped has no permit.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_async(&self) -> Result<OwnedPermit, SemaphoreError> {
        let attempt = || match self.try_acquire() {
            Err(SemaphoreError::WouldBlock(_)) => None,
            outcome => Some(outcome.map(Permit::into_owned)),
        };
        when_ready(Some(self.segment()), || self.clone(), attempt).await
    }
}

impl Lock {
    /// Acquires the lock for a task. It is cancel-safe: a future that is dropped does not hold it.
    ///
    /// The guard may move between threads, as tasks do, and lives as long as one likes. It is the process's
    /// hold, and not one of a thread: [`deadlocks`](crate::deadlocks) does not see it, and a task that acquires
    /// the lock which it holds already waits for itself.
    ///
    /// # If a process dies
    /// As with [`acquire`](Self::acquire): the next one is told. A task that is dropped releases the lock; a
    /// panic in it leaves the lock inconsistent.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), but for `Deadlock`.
    pub async fn acquire_async(&self) -> Result<TaskLockGuard, LockError> {
        self.claim_async(self.claim()).await
    }

    /// Acquires the lock for a task as [`acquire_async`](Self::acquire_async) does, also if its last holder
    /// died: what [`recover`](Self::recover) is for threads.
    ///
    /// # Errors
    /// As [`acquire_async`](Self::acquire_async), but for `OwnerDied`.
    pub async fn recover_async(&self) -> Result<TaskLockGuard, LockError> {
        self.claim_async(crate::owner_death::recovering(self.claim())).await
    }

    async fn claim_async(&self, claim: Claim) -> Result<TaskLockGuard, LockError> {
        let (word, segment) = self.word();
        let attempt = || match self.keeper().try_claim_for_process(word, segment, claim) {
            Err(LockError::WouldBlock(_)) => None,
            outcome => Some(outcome.map(|me| TaskLockGuard {
                recovers: claim == Claim::Recover && word.is_inconsistent(),
                lock: self.clone(),
                me,
                panics: Panics::now(),
            })),
        };
        when_ready(Some(segment), || Free(self.clone()), attempt).await
    }
}

/// A lock that is ready when nobody holds it.
struct Free(Lock);

impl Waitable for Free {
    fn is_ready(&self) -> bool {
        !self.0.word().0.is_owned()
    }

    fn watch(&self) -> Watch<'_> {
        let (word, expected) = self.0.word().0.watch();
        Watch::Futex(word, expected)
    }

    fn unwatch(&self) {
        self.0.word().0.hand_on();
    }
}

/// A [`Lock`], held by a task; dropping it releases the lock. It may move between threads.
///
/// In a forked child the copy of it does nothing. Dropping it in a panic that began while it was held leaves
/// the lock inconsistent, as a death does.
#[must_use = "dropping the guard releases the lock at once"]
pub struct TaskLockGuard {
    lock: Lock,
    me: Hold,
    recovers: bool,
    panics: Panics,
}

impl TaskLockGuard {
    /// The lock it is a guard of.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Whether the lock was inconsistent when it was acquired: its previous holder died.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.recovers
    }
}

impl Drop for TaskLockGuard {
    fn drop(&mut self) {
        let whole = !self.panics.has_begun() || self.lock.claim() == Claim::Ignore;
        self.lock.keeper().release_for_process(self.lock.word().0, self.me, whole);
    }
}

impl fmt::Debug for TaskLockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLockGuard")
            .field("lock", &self.lock.word().1.name())
            .field("recovers", &self.recovers)
            .finish()
    }
}
