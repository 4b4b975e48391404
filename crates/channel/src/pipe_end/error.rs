//! Why an end cannot be used by whoever wanted to.

use procession_sync::Fault;

/// A process, for people.
pub(crate) fn owner(pid: u32) -> String {
    if pid == 0 { "a process that nobody remembers".to_owned() } else { format!("process {pid}") }
}

/// Why an end of a pipe is not this handle's to use.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum UnusableEnd {
    /// This end was closed, by this handle or another of this end.
    #[error("this end of the pipe is closed")]
    Closed,
    /// An end belongs to the first process that uses it, or was given to a child before. Both are this
    /// process if it has two handles of one end.
    #[error("this end of the pipe belongs to {}: this process ({here}) cannot use it too", owner(*by))]
    InUse {
        /// The process that has the end; 0 if that is not known, or it has not started yet.
        by: u32,
        /// This process.
        here: u32,
    },
    /// The end died with the process that carried it: the one that sent it, or the child that it was given
    /// to.
    #[error("this end of the pipe was lost with {}, which carried it", owner(*pid))]
    Lost {
        /// The process that died; 0 if that is not known.
        pid: u32,
    },
}

/// What an end answers that is about to be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unusable(#[from] UnusableEnd),
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(UnusableEnd);
