//! What can go wrong with waiting for everything to be done.

use procession_shm::Label;
use procession_sync::Fault;

/// Why not everything was seen done.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Some items were not done until the timeout (`join_timeout`).
    #[error("timed out: {unfinished} items of {queue} are not done")]
    TimedOut {
        /// Which queue.
        queue: Label,
        /// How many items.
        unfinished: usize,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for the items of {queue} to be done was interrupted")]
    Interrupted {
        /// Which queue.
        queue: Label,
    },
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(JoinError);
