//! Why something that a thread holds alone was not acquired.

use crate::fault::Fault;
use crate::held_by::HeldBy;
use crate::holder::Holder;
use crate::lock_word::HolderEnd;
use procession_shm::Label;

/// Why a [`Lock`](crate::Lock), or whatever else a thread holds alone, was not acquired.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody holds it (`try_acquire`).
    #[error("{0}")]
    WouldBlock(HeldBy),
    /// Somebody held it all the time (`acquire_timeout`).
    #[error("timed out: {0}")]
    TimedOut(HeldBy),
    /// Its last holder was killed, or was a thread that ended without releasing it, or dropped the guard in a
    /// panic that began under it; and nobody has recovered the lock.
    #[error(
        "{} {object} (pid {pid}){}: put right what it guards, then call recover()",
        match end {
            HolderEnd::Died => "the holder of",
            HolderEnd::Panicked => "a panic struck the holder of",
        },
        match end {
            HolderEnd::Died => " died, or its thread ended without releasing it",
            HolderEnd::Panicked => "",
        }
    )]
    OwnerDied {
        /// Which one.
        object: Label,
        /// Whose it was, in its own pid namespace; 0 if nobody remembers.
        pid: u32,
        /// Whether it died or panicked.
        end: HolderEnd,
    },
    /// Waiting would never end. Either this thread holds the object already, and would wait for itself: that
    /// is told at once, with every kind of lock. Or the object was created with `detect_deadlock`
    /// ([`Lock`](crate::Lock), [`RLock`](crate::RLock), [`RwLock`](crate::RwLock)), and its holder waits,
    /// directly or through others, for what this thread holds: of the threads in that circle one is told then,
    /// after a tenth of a second or so. [`deadlocks_in`](crate::deadlocks_in) says which circles are found.
    #[error(
        "waiting for {object} would never end: {}",
        if *is_own { "this thread holds it already" } else { "its holder waits for what this thread holds" }
    )]
    Deadlock {
        /// Which one.
        object: Label,
        /// Whether this thread itself holds it.
        is_own: bool,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {object} was interrupted")]
    Interrupted {
        /// Which one.
        object: Label,
    },
    /// This thread does not hold it (`release`).
    #[error("this thread does not hold {object}")]
    NotHeld {
        /// Which one.
        object: Label,
    },
    /// The object itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl LockError {
    /// Who holds the object, where that is why it was not acquired.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        match self {
            Self::WouldBlock(held) | Self::TimedOut(held) => held.holder(),
            _ => None,
        }
    }
}

procession_shm::debug_as_text!(LockError);
