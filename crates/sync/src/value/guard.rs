//! A value that a thread holds.

use super::Value;
use crate::cells::Plain;
use crate::hold::Hold;
use crate::keeper::Panics;
use crate::lock_error::LockError;
use crate::lock_word::Claim;
use procession_sys::Deadline;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The value's lock, held.
pub(super) struct HeldValue<V: Borrow<Value<T>>, T> {
    value: V,
    me: Hold,
    not_send: PhantomData<(*const (), T)>,
}

impl<V: Borrow<Value<T>>, T: Plain> HeldValue<V, T> {
    #[inline]
    pub(super) fn claim(value: V, deadline: Deadline) -> Result<Self, LockError> {
        let Value { keeper, body, .. } = value.borrow();
        match keeper.try_claim(&body.lock) {
            Some(me) => Ok(Self { value, me, not_send: PhantomData }),
            None => Self::claim_contended(value, deadline),
        }
    }

    #[cold]
    fn claim_contended(value: V, deadline: Deadline) -> Result<Self, LockError> {
        let Value { keeper, body, .. } = value.borrow();
        let me = keeper.claim_contended(&body.lock, body.segment(), Claim::Ignore, deadline)?;
        Ok(Self { value, me, not_send: PhantomData })
    }
}

impl<V: Borrow<Value<T>>, T> HeldValue<V, T> {
    /// Whether it is this process's own: a forked child's copy is inert.
    #[inline]
    pub(super) fn is_mine(&self) -> bool {
        self.value.borrow().keeper.is_mine(self.me)
    }
}

impl<V: Borrow<Value<T>>, T> Drop for HeldValue<V, T> {
    #[inline]
    fn drop(&mut self) {
        let Value { keeper, body, .. } = self.value.borrow();
        keeper.release(&body.lock, self.me, true);
    }
}

/// A change on its way: dropped before it is finished, by a panic, it leaves the value as it was.
pub(super) struct Unfinished<'h, 'v, T: Plain> {
    held: &'h HeldValue<&'v Value<T>, T>,
    is_finished: bool,
}

impl<'h, 'v, T: Plain> Unfinished<'h, 'v, T> {
    /// A change of the held value, which was [taken](Value::take).
    #[inline]
    pub(super) fn new(held: &'h HeldValue<&'v Value<T>, T>) -> Self {
        Self { held, is_finished: false }
    }

    #[inline]
    pub(super) fn finish(mut self) {
        self.is_finished = true;
    }
}

impl<T: Plain> Drop for Unfinished<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_finished && self.held.is_mine() {
            discard(self.held.value);
        }
    }
}

/// What becomes of a change that a panic has stopped. The value is whole; but a notification that this thread
/// took up is lost.
#[cold]
fn discard<T: Plain>(value: &Value<T>) {
    value.body.lock.count_panic();
    put_back(value);
}

/// Makes the value what it was when it was taken.
#[inline]
fn put_back<T: Plain>(value: &Value<T>) {
    if Value::<T>::IS_WORD {
        let mut unchanged = T::zeroed();
        value.copy_kept(&mut unchanged);
        value.put(&unchanged);
    }
}

/// A value that nobody else changes meanwhile, as a copy: dropping the guard commits what was changed, all at
/// once.
///
/// Dropping it in a panic discards the changes, and so does death. It stays with the thread that acquired it.
/// In a forked child the copy of a guard commits nothing.
pub type ValueGuard<'a, T> = ValueGuardOf<&'a Value<T>, T>;

/// A value that nobody else changes meanwhile, with the value's handle itself: what [`ValueGuard`] is, for as
/// long as one likes.
pub type OwnedValueGuard<T> = ValueGuardOf<Value<T>, T>;

/// A hold of a value, with a reference to its handle ([`ValueGuard`]) or with the handle itself
/// ([`OwnedValueGuard`]).
#[must_use = "dropping the guard releases the value at once"]
pub struct ValueGuardOf<V: Borrow<Value<T>>, T: Plain> {
    copy: T,
    changed: bool,
    panics: Panics,
    /// Last, because fields are dropped in order: the lock is released after the commit.
    held: HeldValue<V, T>,
}

impl<V: Borrow<Value<T>>, T: Plain> ValueGuardOf<V, T> {
    #[inline]
    pub(super) fn new(held: HeldValue<V, T>) -> Self {
        let panics = Panics::now();
        // Filled where it lies: moving what was just written word by word costs more than writing it.
        let mut guard = Self { copy: T::zeroed(), changed: false, panics, held };
        guard.held.value.borrow().take(&mut guard.copy);
        guard
    }

    /// Acquires the value.
    #[inline]
    pub(crate) fn acquire(value: V, deadline: Deadline) -> Result<Self, LockError> {
        HeldValue::claim(value, deadline).map(Self::new)
    }

    /// The value it is a guard of.
    #[must_use]
    pub fn value(&self) -> &Value<T> {
        self.held.value.borrow()
    }

    /// Releases the value; what it was a guard of.
    pub(crate) fn into_value(self) -> V
    where
        V: Clone,
    {
        self.held.value.clone()
    }

    /// Gives the value up without committing anything.
    pub fn discard(mut self) {
        self.changed = false;
    }
}

impl<V: Borrow<Value<T>>, T: Plain> Deref for ValueGuardOf<V, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<V: Borrow<Value<T>>, T: Plain> DerefMut for ValueGuardOf<V, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.copy
    }
}

impl<V: Borrow<Value<T>>, T: Plain> Drop for ValueGuardOf<V, T> {
    #[inline]
    fn drop(&mut self) {
        let value = self.held.value.borrow();
        if !value.keeper.is_mine(self.held.me) {
            return;
        }
        if self.panics.has_begun() {
            discard(value);
        } else if self.changed {
            value.put(&self.copy);
        } else {
            put_back(value);
        }
    }
}

impl<V: Borrow<Value<T>>, T: Plain + fmt::Debug> fmt::Debug for ValueGuardOf<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueGuard")
            .field("value", &self.value().body.segment().name())
            .field("copy", &self.copy)
            .finish()
    }
}
