//! As `procession_sync`'s module: slices that end only when somebody died.

use crate::Segment;
use crate::atomic::AtomicU32;
use crate::kernel::{self, Deadline, Waited, Word};
use std::ops::RangeInclusive;

/// As `procession_sync::Nap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nap {
    /// The word had changed.
    Changed,
    /// Woken.
    Woken,
    /// A slice ended.
    Ask,
    /// The deadline passed.
    TimedOut,
}

/// As `procession_sync::Stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model interrupted it.
    Interrupted,
    /// Never: no file of a model is removed.
    Orphaned,
}

/// As `procession_sync::Whom`: nobody asks, because each death ends every sleep.
pub trait Whom {}

impl<T> Whom for T {}

/// As `procession_sync::Patience`.
#[derive(Debug)]
pub struct Patience {
    deadline: Deadline,
    deaths: usize,
}

/// As `procession_shm::ShownWait`: nobody shows a wait.
#[derive(Debug)]
pub struct Shown;

/// Looks once.
pub fn spin_until(_: RangeInclusive<u32>, mut is_ready: impl FnMut() -> bool) -> bool {
    is_ready()
}

impl Patience {
    /// A patience that knows of no death.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, deaths: 0 }
    }

    /// Nobody knows: no clock runs in a model.
    pub fn slept_since(&self) -> Option<u64> {
        None
    }

    /// When the whole wait ends.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Whether the model let the deadline pass.
    pub fn is_over(&self) -> bool {
        self.deadline.has_passed()
    }

    /// Never.
    pub fn spins(&mut self, _: RangeInclusive<u32>) -> bool {
        false
    }

    /// Nobody shows a wait.
    pub fn hide(&mut self) {}

    /// Nobody looks for deadlocks.
    pub fn is_in_a_deadlock(&mut self, _: &Segment, _: impl FnOnce(&Shown) -> u64) -> bool {
        false
    }

    /// Until woken, or until somebody dies.
    pub fn sleep(
        &mut self,
        _: Option<&Segment>,
        word: impl Word,
        expected: u32,
        _: &AtomicU32,
        _: impl Whom,
    ) -> Result<Nap, Stop> {
        match kernel::sleep(word, expected, self.deadline, &mut self.deaths) {
            None => Ok(Nap::Ask),
            Some(Waited::Changed) => Ok(Nap::Changed),
            Some(Waited::Woken) => Ok(Nap::Woken),
            Some(Waited::Signaled) => Err(Stop::Interrupted),
            Some(Waited::TimedOut) => Ok(Nap::TimedOut),
        }
    }
}
