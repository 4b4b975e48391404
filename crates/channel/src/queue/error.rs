//! What can go wrong with a queue.

use crate::codec::{DecodeError, EncodeError};
use procession_shm::OpenError;

/// What is wrong with a queue, rather than with one message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueFault {
    /// The queue's file was removed while this thread waited.
    #[error("the file of queue {queue} was removed from /dev/shm while this process waited for it")]
    Orphaned {
        /// Name and namespace.
        queue: String,
    },
    /// The registry of the queue's namespace was removed: whether the holder of an inner lock lives cannot be found
    /// out.
    #[error("the registry of the namespace of queue {queue} was removed or replaced while in use")]
    RegistryChanged {
        /// Name and namespace.
        queue: String,
    },
    /// The queue's words say something impossible.
    #[error("queue {queue} is corrupt: {what}")]
    Corrupt {
        /// Name and namespace.
        queue: String,
        /// What is impossible.
        what: &'static str,
    },
    /// This process was forked, and could not register under its own name.
    #[error("this forked process could not register in the queue's namespace")]
    Unregistered(#[source] OpenError),
}

/// Why a message was not put; then it is not in the queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// There is no room (`try_put`).
    #[error("the queue is full")]
    Full,
    /// There was no room until the timeout (`put_timeout`).
    #[error("the queue was full until the timeout")]
    TimedOut,
    /// The queue was closed.
    #[error("the queue is closed: nothing can be put any more")]
    Closed,
    /// The message would never fit.
    #[error(
        "a message of {len} bytes can never fit into a queue of {most}: create the queue with .bytes({needed})"
    )]
    TooLarge {
        /// How long the encoded message is, in bytes.
        len: usize,
        /// How long a message may be.
        most: usize,
        /// What the queue would have to be created with.
        needed: u64,
    },
    /// The message cannot be turned into bytes.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] QueueFault),
}

/// Why no message was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is no message (`try_get`).
    #[error("the queue is empty")]
    Empty,
    /// There was no message until the timeout (`get_timeout`).
    #[error("the queue was empty until the timeout")]
    TimedOut,
    /// The queue was closed, and everything in it has been got.
    #[error("the queue is closed and drained")]
    Closed,
    /// A message was taken out, but it is no `T`; here it is.
    #[error("a message of {} bytes is not of the queue's type", bytes.len())]
    Decode {
        /// The message, which is not in the queue any more.
        bytes: Vec<u8>,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] QueueFault),
}

/// Why a thread could not go on.
pub(super) enum Blocked {
    TimedOut,
    Fault(QueueFault),
}

impl From<Blocked> for PutError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::TimedOut => Self::TimedOut,
            Blocked::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<Blocked> for GetError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::TimedOut => Self::TimedOut,
            Blocked::Fault(fault) => Self::Fault(fault),
        }
    }
}
