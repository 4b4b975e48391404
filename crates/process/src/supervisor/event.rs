//! What happens under a supervisor, in words.

use crate::label::ProcessLabel;
use crate::status::ExitStatus;
use procession_sys::signals;
use std::fmt;
use std::io;
use std::time::Duration;

/// Something that happened under a [`Supervisor`](crate::Supervisor).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SupervisorEvent {
    /// A worker was started.
    Started {
        /// Which worker, from 0.
        rank: usize,
        /// How often it has been started, this time included.
        attempt: u32,
        /// The process.
        process: ProcessLabel,
    },
    /// A worker is ready: it said so, or was not asked to.
    Ready {
        /// Which worker.
        rank: usize,
        /// The process.
        process: ProcessLabel,
    },
    /// A worker has ended.
    Ended {
        /// Which worker.
        rank: usize,
        /// The process.
        process: ProcessLabel,
        /// How it ended.
        status: ExitStatus,
        /// How long it had run.
        ran_for: Duration,
    },
    /// A worker could not be started.
    NotStarted {
        /// Which worker.
        rank: usize,
        /// Why, with its causes.
        reason: String,
    },
    /// A worker will be started again.
    Restarting {
        /// Which worker.
        rank: usize,
        /// In how long.
        after: Duration,
    },
    /// A signal came that stops the workers, or, if it is the second, kills them.
    Signal {
        /// Which.
        signal: i32,
    },
    /// The workers were told to end, by SIGTERM; none is started any more.
    Stopping,
    /// A worker did not end within the grace, and was killed.
    Killed {
        /// Which worker.
        rank: usize,
        /// The process.
        process: ProcessLabel,
    },
    /// All workers have ended for good.
    Stopped,
}

impl SupervisorEvent {
    /// Whether something went wrong.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Ended { status, .. } => !status.success(),
            Self::Killed { .. } | Self::NotStarted { .. } | Self::Restarting { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for SupervisorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { attempt: 1, process, .. } => write!(f, "{process} was started"),
            Self::Started { attempt, process, .. } => write!(f, "{process} was started (attempt {attempt})"),
            Self::Ready { process, .. } => write!(f, "{process} is ready"),
            Self::Ended { process, status, ran_for, .. } => {
                write!(f, "{process} ended after {:.1} s: {status}", ran_for.as_secs_f64())
            }
            Self::NotStarted { rank, reason } => write!(f, "worker {rank} could not be started: {reason}"),
            Self::Restarting { rank, after } => {
                write!(f, "worker {rank} is started again in {:.1} s", after.as_secs_f64())
            }
            Self::Signal { signal } => write!(f, "{} came", signals::words(*signal)),
            Self::Stopping => f.write_str("stopping"),
            Self::Killed { process, .. } => write!(f, "{process} did not end in time, and is killed"),
            Self::Stopped => f.write_str("all workers have ended"),
        }
    }
}

/// Why a [`Supervisor`](crate::Supervisor) did not bring its workers to their ends.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// A worker ended too often, and all others were stopped.
    #[error(
        "worker {rank} was to be started again more than {most} times within {:.1} s, and so all workers were stopped; the last \
         time: {reason}",
        within.as_secs_f64()
    )]
    GaveUp {
        /// Which worker.
        rank: usize,
        /// How often it may be started again.
        most: u32,
        /// Within which time.
        within: Duration,
        /// How it ended the last time, or why it could not be started.
        reason: String,
    },
    /// A worker could not be started, and is not to be started again; all others were stopped.
    #[error("worker {rank} could not be started, and so all workers were stopped: {reason}")]
    NotStarted {
        /// Which worker.
        rank: usize,
        /// Why, with its causes.
        reason: String,
    },
    /// This process cannot wait for its workers, or has a supervisor with signals already.
    #[error("this process cannot supervise workers now")]
    Os(#[from] io::Error),
}

procession_shm::debug_as_text!(SupervisorError);
