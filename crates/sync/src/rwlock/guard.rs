//! The guards of readers and writers, and how each lets go; the protocol is described in `rwlock.rs`.

use super::{PANICKED, RwLock, WAITERS};
use crate::fault::Fault;
use crate::fencing::gives_fencing_tokens;
use crate::hold::Hold;
use crate::keeper::Panics;
use crate::lock_error::LockError;
use crate::lock_word::Claim;
use procession_shm::OwnerId;
use procession_sys::atomic::Ordering;
use procession_sys::crash_point;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// The lock, held to read. It stays with its thread; in a forked child its copy does nothing.
pub type ReadGuard<'a> = ReadGuardOf<&'a RwLock>;

/// The lock, held to read, with the lock itself: what [`ReadGuard`] is, for as long as one likes.
pub type OwnedReadGuard = ReadGuardOf<RwLock>;

/// A reader's hold, with a reference to the lock ([`ReadGuard`]) or with the lock itself
/// ([`OwnedReadGuard`]).
#[must_use = "dropping the guard releases the lock at once"]
pub struct ReadGuardOf<L: Borrow<RwLock>> {
    lock: L,
    me: Hold,
    cell: usize,
    not_send: PhantomData<*const ()>,
}

impl<L: Borrow<RwLock>> ReadGuardOf<L> {
    #[inline]
    pub(super) fn new(lock: L, me: Hold, cell: usize) -> Self {
        Self { lock, me, cell, not_send: PhantomData }
    }

    /// The lock it is a guard of.
    #[must_use]
    pub fn lock(&self) -> &RwLock {
        self.lock.borrow()
    }

    gives_fencing_tokens!(lock.borrow().body.tokens);
}

impl ReadGuard<'_> {
    /// This hold, with a guard that keeps the lock: see [`RwLock::read_owned`].
    pub fn into_owned(self) -> OwnedReadGuard {
        let guard = ManuallyDrop::new(self);
        OwnedReadGuard::new(guard.lock.clone(), guard.me, guard.cell)
    }
}

impl<L: Borrow<RwLock>> Drop for ReadGuardOf<L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.borrow().stop_reading(self.me, self.cell);
    }
}

impl<L: Borrow<RwLock>> fmt::Debug for ReadGuardOf<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("lock", &self.lock().body.segment().name()).finish_non_exhaustive()
    }
}

/// The lock, held to write. It stays with its thread; in a forked child its copy does nothing. Dropping it in
/// a panic that began while it was held leaves the lock inconsistent, as a death does.
pub type WriteGuard<'a> = WriteGuardOf<&'a RwLock>;

/// The lock, held to write, with the lock itself: what [`WriteGuard`] is, for as long as one likes.
pub type OwnedWriteGuard = WriteGuardOf<RwLock>;

/// A writer's hold, with a reference to the lock ([`WriteGuard`]) or with the lock itself
/// ([`OwnedWriteGuard`]).
#[must_use = "dropping the guard releases the lock at once"]
pub struct WriteGuardOf<L: Borrow<RwLock>> {
    lock: L,
    me: Hold,
    /// Whether it was taken inconsistent, to be put right.
    recovers: bool,
    panics: Panics,
    not_send: PhantomData<*const ()>,
}

impl<L: Borrow<RwLock>> WriteGuardOf<L> {
    pub(super) fn new(lock: L, me: Hold, recovers: bool) -> Self {
        Self { lock, me, recovers, panics: Panics::now(), not_send: PhantomData }
    }

    /// The lock it is a guard of.
    #[must_use]
    pub fn lock(&self) -> &RwLock {
        self.lock.borrow()
    }

    gives_fencing_tokens!(lock.borrow().body.tokens);

    /// Whether the lock was inconsistent when it was acquired: a writer died.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.recovers
    }

    /// Goes on reading: no other writer comes in between, and other readers may read from now on.
    ///
    /// # Errors
    /// [`LockError::Fault`]: then the lock is released. In a forked child that is [`Fault::Inherited`]: the
    /// guard is the parent's. [`LockError::NotHeld`] after [`RwLock::release`]: then nothing changes.
    pub fn downgrade(self) -> Result<ReadGuardOf<L>, LockError>
    where
        L: Clone,
    {
        let lock = self.lock();
        if !lock.keeper.is_mine(self.me) {
            return Err(Fault::inherited(lock.body.segment()).into());
        }
        lock.keeper.must_hold(&lock.body.writer, lock.body.segment())?;
        loop {
            // Those in the cells came in vain, and are about to leave, or dead.
            if let Some(cell) = lock.claim_cell(self.me) {
                lock.reads(self.me, cell);
                return Ok(ReadGuardOf::new(self.lock.clone(), self.me, cell));
            }
            lock.bury_readers()?;
            std::thread::yield_now();
        }
    }
}

impl WriteGuard<'_> {
    /// This hold, with a guard that keeps the lock: see [`RwLock::write_owned`].
    pub fn into_owned(self) -> OwnedWriteGuard {
        let guard = ManuallyDrop::new(self);
        let (me, recovers, panics) = (guard.me, guard.recovers, guard.panics);
        OwnedWriteGuard { lock: guard.lock.clone(), me, recovers, panics, not_send: PhantomData }
    }
}

impl<L: Borrow<RwLock>> Drop for WriteGuardOf<L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.borrow().stop_writing(self.me, !self.panics.has_begun());
    }
}

impl<L: Borrow<RwLock>> fmt::Debug for WriteGuardOf<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard")
            .field("lock", &self.lock().body.segment().name())
            .field("recovers", &self.recovers)
            .finish()
    }
}

impl RwLock {
    /// Ends a read guard of `me` in `cell`; whether there was one. A forked child's copy is none.
    #[inline]
    pub(super) fn stop_reading(&self, me: Hold, cell: usize) -> bool {
        let place = &self.body.cells[cell];
        let is_here = place.word.load(Ordering::Relaxed) & !WAITERS == me.to_bits();
        if !self.keeper.is_mine(me) || !is_here {
            return false;
        }
        let is_plain = me.names_the_thread() && place.deeper.load(Ordering::Relaxed) == 0;
        if is_plain || self.was_the_last(me, cell) {
            self.free_cell(cell);
        }
        true
    }

    /// Whether this was the thread's only way in; if it had gone deeper, it is now one less deep.
    #[cold]
    fn was_the_last(&self, me: Hold, cell: usize) -> bool {
        let deeper = &self.body.cells[cell].deeper;
        match deeper.load(Ordering::Relaxed) {
            0 => {
                me.forget(self.keeper.key_of(cell));
                true
            }
            more => {
                deeper.store(more - 1, Ordering::Relaxed);
                crash_point("rwlock.shallower");
                false
            }
        }
    }

    /// Ends what `me` writes; `whole` says whether what the lock guards is. A forked child's copy of a guard
    /// ends nothing, nor does one whose lock was released without it: somebody else may write by now.
    pub(super) fn stop_writing(&self, me: Hold, whole: bool) {
        if !self.keeper.is_mine(me) || !self.keeper.holds(&self.body.writer, me) {
            return;
        }
        if whole || self.claim == Claim::Ignore {
            self.body.writing.store(0, Ordering::Relaxed);
            crash_point("rwlock.written");
        } else {
            // As if it had died here: whoever comes next is told.
            let writing = self.body.writing.load(Ordering::Relaxed) & OwnerId::MASK;
            self.body.writing.store(writing | PANICKED, Ordering::Relaxed);
        }
        self.keeper.release(&self.body.writer, me, true);
    }
}
