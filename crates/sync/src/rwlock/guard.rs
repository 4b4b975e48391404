//! What readers and writers hold: the ends of the protocol in `rwlock.rs`.

use super::{PANICKED, RwLock, WAITERS};
use crate::LockError;
use crate::fault::Fault;
use crate::hold::Hold;
use crate::keeper::Panics;
use crate::lock_word::Claim;
use procession_shm::OwnerId;
use procession_sys::atomic::Ordering;
use procession_sys::crash_point;
use std::fmt;
use std::marker::PhantomData;

/// The lock, held to read. It stays with its thread; in a forked child its copy does nothing.
#[must_use = "dropping the guard releases the lock at once"]
pub struct ReadGuard<'a> {
    lock: &'a RwLock,
    me: Hold,
    cell: usize,
    not_send: PhantomData<*const ()>,
}

impl<'a> ReadGuard<'a> {
    #[inline]
    pub(super) fn new(lock: &'a RwLock, me: Hold, cell: usize) -> Self {
        Self { lock, me, cell, not_send: PhantomData }
    }
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let cell = &self.lock.body.cells[self.cell];
        let mine = cell.word.load(Ordering::Relaxed) & !WAITERS == self.me.to_bits();
        if !self.lock.keeper.is_mine(self.me) || !mine {
            return;
        }
        let is_plain = self.me.names_the_thread() && cell.deeper.load(Ordering::Relaxed) == 0;
        if is_plain || self.was_the_last() {
            self.lock.free_cell(self.cell);
        }
    }
}

impl ReadGuard<'_> {
    /// Whether this was the thread's only way in; if it had gone deeper, it is now one less deep.
    #[cold]
    fn was_the_last(&self) -> bool {
        let deeper = &self.lock.body.cells[self.cell].deeper;
        match deeper.load(Ordering::Relaxed) {
            0 => {
                self.me.forget(self.lock.keeper.key_of(self.cell));
                true
            }
            more => {
                deeper.store(more - 1, Ordering::Relaxed);
                crash_point("rwlock.shallower");
                false
            }
        }
    }
}

impl fmt::Debug for ReadGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("lock", &self.lock.body.segment().name()).finish_non_exhaustive()
    }
}

/// The lock, held to write. It stays with its thread; in a forked child its copy does nothing. Dropping it in
/// a panic that began while it was held leaves the lock inconsistent, as a death does.
#[must_use = "dropping the guard releases the lock at once"]
pub struct WriteGuard<'a> {
    lock: &'a RwLock,
    me: Hold,
    /// Whether it was taken inconsistent, to be put right.
    recovers: bool,
    panics: Panics,
    not_send: PhantomData<*const ()>,
}

impl<'a> WriteGuard<'a> {
    pub(super) fn new(lock: &'a RwLock, me: Hold, recovers: bool) -> Self {
        Self { lock, me, recovers, panics: Panics::now(), not_send: PhantomData }
    }

    /// Whether the lock was inconsistent when it was acquired: a writer died.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.recovers
    }

    /// Goes on reading: no other writer comes in between, and other readers may read from now on.
    ///
    /// # Errors
    /// [`LockError::Fault`]: then the lock is released. In a forked child that is [`Fault::Inherited`]: the guard is the
    /// parent's.
    pub fn downgrade(self) -> Result<ReadGuard<'a>, LockError> {
        let lock = self.lock;
        if !lock.keeper.is_mine(self.me) {
            return Err(Fault::inherited(lock.body.segment()).into());
        }
        loop {
            // Those in the cells came in vain, and are about to leave, or dead.
            if let Some(cell) = lock.claim_cell(self.me) {
                lock.reads(self.me, cell);
                let me = self.me;
                drop(self);
                return Ok(ReadGuard::new(lock, me, cell));
            }
            lock.bury_readers()?;
            std::thread::yield_now();
        }
    }
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.lock.keeper.is_mine(self.me) {
            return;
        }
        if self.panics.has_begun() && self.lock.claim != Claim::Ignore {
            // As if it had died here: whoever comes next is told.
            let writing = self.lock.body.writing.load(Ordering::Relaxed) & OwnerId::MASK;
            self.lock.body.writing.store(writing | PANICKED, Ordering::Relaxed);
        } else {
            self.lock.body.writing.store(0, Ordering::Relaxed);
            crash_point("rwlock.written");
        }
        self.lock.keeper.release(&self.lock.body.writer, self.me, true);
    }
}

impl fmt::Debug for WriteGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard")
            .field("lock", &self.lock.body.segment().name())
            .field("recovers", &self.recovers)
            .finish()
    }
}
