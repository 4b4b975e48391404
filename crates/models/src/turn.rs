//! As `procession_sys::Turn`: a process of a model has one thread, so it always is its turn.

use crate::Deadline;
use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};

#[derive(Debug)]
pub struct Turn<T>(RefCell<T>);

#[derive(Debug)]
pub struct TurnGuard<'a, T>(RefMut<'a, T>);

/// As `procession_sys::NoTurn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// Another has it.
    TimedOut,
    /// Never.
    Interrupted,
}

impl<T> Turn<T> {
    pub fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// At once.
    pub fn lock_until(&self, _: Deadline) -> Result<TurnGuard<'_, T>, NoTurn> {
        self.0.try_borrow_mut().map(TurnGuard).map_err(|_| NoTurn::TimedOut)
    }
}

impl<T> TurnGuard<'_, T> {
    /// Nobody wants to know.
    pub fn rest(&self, _: bool) {}
}

impl<T> Deref for TurnGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for TurnGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
