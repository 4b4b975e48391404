//! What can go wrong with a semaphore.

use super::Semaphore;
use crate::fault::Fault;
use crate::holder::Holder;
use procession_shm::Label;
use std::fmt;

/// Too few permits: who holds them is looked up when this is shown, or when [`holders`](Self::holders) is
/// called, so that a try that fails is cheap. The semaphore is kept for that.
#[derive(Clone)]
pub struct Shortage {
    semaphore: Semaphore,
    asked: usize,
}

/// How many holders an error lists by name.
const NAMED: usize = 4;

impl Shortage {
    pub(super) fn new(semaphore: &Semaphore, asked: usize) -> Self {
        Self { semaphore: semaphore.clone(), asked }
    }

    /// Which semaphore.
    #[must_use]
    pub fn object(&self) -> Label {
        self.semaphore.segment().label()
    }

    /// How many permits were asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Who holds permits now, and how many.
    #[must_use]
    pub fn holders(&self) -> Vec<(Holder, usize)> {
        self.semaphore.holders()
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.object();
        match self.asked {
            0 | 1 => write!(f, "no permit of {object} is free")?,
            asked => write!(f, "{object} has no {asked} free permits")?,
        }
        let holders = self.holders();
        for (nth, (holder, count)) in holders.iter().take(NAMED).enumerate() {
            write!(f, "{} {holder} has {count}", if nth == 0 { ":" } else { "," })?;
        }
        match holders.len() {
            0 => f.write_str(": nobody holds one, and nobody has released any"),
            more if more > NAMED => write!(f, ", and {} more have some", more - NAMED),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why no permit was acquired.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// There are too few (`try_acquire`).
    #[error("{0}")]
    WouldBlock(Shortage),
    /// There were too few all the time (`acquire_timeout`).
    #[error("timed out: {0}")]
    TimedOut(Shortage),
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {object} was interrupted")]
    Interrupted {
        /// Which one.
        object: Label,
    },
    /// There can never be so many.
    #[error(
        "{asked} permits of {object} were asked for, which has {max} at most: create it with a larger .max()"
    )]
    TooMany {
        /// Which one.
        object: Label,
        /// How many were asked for.
        asked: usize,
        /// How many there can be.
        max: usize,
    },
    /// The semaphore itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why nothing was released.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It would be more than the maximum: a permit that is held by somebody comes back only from there.
    #[error(
        "released too often: {object} has {max} permits at most, and they are all there or held by somebody"
    )]
    Full {
        /// Which one.
        object: Label,
        /// How many there can be.
        max: usize,
    },
    /// The semaphore itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(SemaphoreError);
procession_shm::debug_as_text!(ReleaseError);
