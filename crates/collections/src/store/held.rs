//! The lock of a map or list, held by this thread.

use super::Store;
use super::space::Space;
use crate::collection_error::CollectionError;
use procession_sync::{Claim, Fault, Hold, LockError};
use procession_sys::Deadline;
use procession_sys::atomic::Ordering;
use std::marker::PhantomData;

/// The lock of a [`Store`], held.
pub(crate) struct Held<'s> {
    pub(super) store: &'s Store,
    me: Hold,
    not_send: PhantomData<*const ()>,
}

impl Store {
    /// Waits until nobody else changes it.
    #[inline]
    pub(crate) fn hold(&self) -> Result<Held<'_>, CollectionError> {
        self.hold_until(Deadline::NEVER)
    }

    #[inline]
    pub(crate) fn hold_until(&self, deadline: Deadline) -> Result<Held<'_>, CollectionError> {
        match self.keeper.try_claim(&self.body.lock) {
            Some(me) => Ok(Held { store: self, me, not_send: PhantomData }),
            None => Ok(self.hold_contended(deadline)?),
        }
    }

    #[cold]
    fn hold_contended(&self, deadline: Deadline) -> Result<Held<'_>, LockError> {
        let me = self.keeper.claim_contended(&self.body.lock, self.segment(), Claim::Ignore, deadline)?;
        Ok(Held { store: self, me, not_send: PhantomData })
    }
}

impl<'s> Held<'s> {
    /// Whether this process holds it, and not the one that it was forked from in the meantime.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.store.keeper.is_mine(self.me)
    }

    /// For who has called code of the user's since it took the lock: that may have forked, and then the lock is not
    /// the child's, which must not change anything.
    #[inline]
    pub(crate) fn must_be_mine(&self) -> Result<(), CollectionError> {
        if self.is_mine() { Ok(()) } else { Err(Fault::inherited(self.store.segment()).into()) }
    }

    /// The number of the current space.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.store.body.generation.load(Ordering::Relaxed)
    }

    /// The current space; `None` if its words are nonsense.
    #[inline]
    pub(super) fn space(&self) -> Option<Space<'s>> {
        self.store.space_of(self.generation())
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // A forked child's copy is inert.
        if self.is_mine() {
            self.store.keeper.release(&self.store.body.lock, self.me, true);
        }
    }
}
