//! What can go wrong with a semaphore.

use crate::fault::Fault;

/// Why no permit was acquired.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// There are too few (`try_acquire`).
    #[error("there are not enough permits")]
    WouldBlock,
    /// There were too few all the time (`acquire_timeout`).
    #[error("there were not enough permits until the timeout")]
    TimedOut,
    /// There can never be so many.
    #[error("{asked} permits were asked for, of a semaphore that can have {max}")]
    TooMany {
        /// How many were asked for.
        asked: u32,
        /// How many there can be.
        max: u32,
    },
    /// The semaphore itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(SemaphoreError);

/// Why nothing was released.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It would be more than the maximum: a permit that is held by somebody comes back only from there.
    #[error(
        "released too often: the semaphore can have {max} permits, and they are all there or held by somebody"
    )]
    Full {
        /// How many there can be.
        max: u32,
    },
    /// The semaphore itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(ReleaseError);

/// What a try answers instead of having waited.
pub(super) fn would_block(error: SemaphoreError) -> SemaphoreError {
    match error {
        SemaphoreError::TimedOut => SemaphoreError::WouldBlock,
        other => other,
    }
}
