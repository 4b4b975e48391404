//! Why somebody did not pass a barrier.

use crate::fault::Fault;
use procession_shm::Label;
use std::error::Error;
use std::fmt;

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

impl fmt::Display for BreakCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("somebody's time was over"),
            Self::Aborted => f.write_str("somebody called abort()"),
            Self::Reset => f.write_str("somebody called reset() while this thread waited"),
            Self::ActionFailed => f.write_str("its action failed"),
            Self::PeerDied { pid: 0 } => f.write_str("one of its members died"),
            Self::PeerDied { pid } => write!(f, "one of its members died (pid {pid})"),
        }
    }
}

/// Why somebody did not pass the barrier.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken, for everybody and until it is reset.
    #[error("{object} is broken: {cause}{}", if *cause == BreakCause::Reset { "" } else { "; reset() makes it whole" })]
    Broken {
        /// Which one.
        object: Label,
        /// Why.
        cause: BreakCause,
    },
    /// The others did not come before the timeout, or their action was not over; now the barrier is broken.
    /// An action that runs is not stopped by that: it may end after a [`reset`](super::Barrier::reset).
    #[error(
        "timed out: {arrived} of {parties} had arrived at {object}, which is broken now; reset() makes it whole"
    )]
    TimedOut {
        /// Which one.
        object: Label,
        /// How many had arrived.
        arrived: usize,
        /// How many have to.
        parties: usize,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`): it is as if this thread had
    /// not come, and the others go on waiting.
    #[error("the wait at {object} was interrupted, and the others wait on")]
    Interrupted {
        /// Which one.
        object: Label,
    },
    /// The action failed, here; the others are told that the barrier is broken.
    #[error("the action of {object} failed")]
    Action {
        /// Which one.
        object: Label,
        /// What the action said.
        source: Failed,
    },
    /// All places are taken by live members (`join`).
    #[error(
        "all {parties} places of {object} are taken by live members: one of them has to leave (drop its Member) first"
    )]
    NoPlace {
        /// Which one.
        object: Label,
        /// How many there are.
        parties: usize,
    },
    /// Only members wait at an elastic barrier; or this member is in a forked child, or was handed to another
    /// process.
    #[error("whoever waits at {object} needs a place in this process, and has none: join() gives one")]
    NotAMember {
        /// Which one.
        object: Label,
    },
    /// This thread is running the barrier's action: it would wait for itself for ever.
    #[error("this thread is running the action of {object}, and would wait for itself for ever")]
    InAction {
        /// Which one.
        object: Label,
    },
    /// The barrier itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(BarrierError);
