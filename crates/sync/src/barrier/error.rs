//! Why somebody did not pass a barrier.

use crate::fault::Fault;
use std::error::Error;

/// What an action fails with.
pub(super) type Failed = Box<dyn Error + Send + Sync>;

/// Why a barrier is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakCause {
    /// One of those who waited had waited for as long as it wanted.
    TimedOut,
    /// Somebody called [`Barrier::abort`](super::Barrier::abort).
    Aborted,
    /// Somebody called [`Barrier::reset`](super::Barrier::reset) while this thread waited.
    Reset,
    /// The action failed or panicked.
    ActionFailed,
    /// A member died, or the one that ran the action.
    PeerDied {
        /// Its pid, in its own pid namespace; 0 if nobody remembers.
        pid: u32,
    },
}

/// Why somebody did not pass the barrier.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken, for everybody and until it is reset.
    #[error("the barrier is broken: {cause:?}")]
    Broken {
        /// Why.
        cause: BreakCause,
    },
    /// The others did not come before the timeout, or their action was not over; now the barrier is broken. An action that
    /// runs is not stopped by that: it may end after a [`reset`](super::Barrier::reset).
    #[error("the others did not come before the timeout, and the barrier is broken")]
    TimedOut,
    /// The action failed, here; the others are told that the barrier is broken.
    #[error("the barrier's action failed")]
    Action(#[source] Failed),
    /// All places are taken by live members (`join`).
    #[error("all {parties} places of the barrier are taken")]
    NoPlace {
        /// How many there are.
        parties: u32,
    },
    /// Only members wait at an elastic barrier; or this member is in a forked child, or was handed to another process.
    #[error("this has no place at the barrier: only a member that is here can wait")]
    NotAMember,
    /// This thread is running the barrier's action: it would wait for itself for ever.
    #[error("this thread is running the barrier's action and would wait for itself for ever")]
    InAction,
    /// The barrier itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(BarrierError);
