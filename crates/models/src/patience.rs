//! As `procession_sync`'s module: slices that end only when somebody died.

use crate::atomic::AtomicU32;
use crate::kernel::{self, Deadline, Waited, Word};
use crate::{Segment, futex};

/// As there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nap {
    /// The word had changed.
    Changed,
    /// Woken.
    Woken,
    /// A slice ended.
    Ask {
        /// Never.
        survey: bool,
    },
    /// The deadline passed.
    TimedOut,
}

/// As there.
#[derive(Debug)]
pub struct Patience {
    deadline: Deadline,
    deaths: usize,
}

/// Nobody shows a wait.
#[derive(Debug)]
pub struct Shown;

impl Shown {
    /// Nobody looks.
    pub fn sees(&self, _: impl FnOnce() -> u64) {}
}

impl Patience {
    /// As there.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, deaths: 0 }
    }

    /// Nobody shows a wait.
    pub fn show(&mut self, _: &Segment) -> Option<&Shown> {
        None
    }

    /// Nobody shows a wait.
    pub fn hide(&mut self) {}

    /// As there.
    pub fn sleep(&mut self, word: impl Word, expected: u32, _: &AtomicU32) -> Nap {
        match kernel::sleep(word, expected, self.deadline, &mut self.deaths) {
            None => Nap::Ask { survey: false },
            Some(Waited::Changed) => Nap::Changed,
            Some(Waited::Woken) => Nap::Woken,
            Some(Waited::TimedOut) => Nap::TimedOut,
        }
    }
}
