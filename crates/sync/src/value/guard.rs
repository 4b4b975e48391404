//! A value that a thread holds.

use super::Value;
use crate::cells::Plain;
use crate::hold::Hold;
use crate::keeper::Panics;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The value's lock, held.
pub(super) struct Held<'a, T> {
    value: &'a Value<T>,
    me: Hold,
    not_send: PhantomData<*const ()>,
}

impl<'a, T> Held<'a, T> {
    #[inline]
    pub(super) fn new(value: &'a Value<T>, me: Hold) -> Self {
        Self { value, me, not_send: PhantomData }
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A forked child's copy is inert.
        if self.value.keeper.is_mine(self.me) {
            self.value.keeper.release(&self.value.body.lock, self.me, true);
        }
    }
}

/// A value that nobody else changes meanwhile, as a copy: dropping the guard commits what was changed, all at
/// once.
///
/// Dropping it in a panic discards the changes, and so does death. It stays with the thread that acquired it.
/// In a forked child the copy of a guard commits nothing.
#[must_use = "dropping the guard releases the value at once"]
pub struct ValueGuard<'a, T: Plain> {
    copy: T,
    changed: bool,
    panics: Panics,
    /// Last, because fields are dropped in order: the lock is released after the commit.
    held: Held<'a, T>,
}

impl<'a, T: Plain> ValueGuard<'a, T> {
    #[inline]
    pub(super) fn new(held: Held<'a, T>) -> Self {
        let panics = Panics::now();
        // Filled where it lies: moving what was just written word by word costs more than writing it.
        let mut guard = Self { copy: T::zeroed(), changed: false, panics, held };
        guard.held.value.take(&mut guard.copy);
        guard
    }

    /// The value it is a guard of.
    pub(crate) fn value(&self) -> &'a Value<T> {
        self.held.value
    }

    /// Gives the value up without committing anything.
    pub fn discard(mut self) {
        self.changed = false;
    }
}

impl<T: Plain> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Plain> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.copy
    }
}

impl<T: Plain> Drop for ValueGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Held { value, me, .. } = self.held;
        if !value.keeper.is_mine(me) {
            return;
        }
        let discards = self.panics.has_begun();
        if discards {
            // The value is whole; but a notification that this thread took up is lost.
            value.body.lock.count_panic();
        }
        if self.changed && !discards {
            value.put(&self.copy);
        } else if Value::<T>::IS_WORD {
            let mut unchanged = T::zeroed();
            value.copy_kept(&mut unchanged);
            value.put(&unchanged);
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueGuard")
            .field("value", &self.held.value.body.segment().name())
            .field("copy", &self.copy)
            .finish()
    }
}
