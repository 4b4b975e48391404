//! What can go wrong with a queue.

use crate::codec::{DecodeError, EncodeError, NotBytes};
use crate::messages::After;
use procession_shm::OpenError;
use std::fmt;

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
    /// This thread holds a slot of the queue, and would wait for itself.
    #[error("this thread holds a slot of queue {queue}: commit or drop it before it uses that end again")]
    SlotHeld {
        /// Name and namespace.
        queue: String,
    },
    /// The slot belongs to the process that this one was forked from.
    #[error("the slot of queue {queue} belongs to the process that this one was forked from")]
    Inherited {
        /// Name and namespace.
        queue: String,
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
    /// The message would never fit into the [`JoinableQueue`](crate::JoinableQueue).
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
    /// The message is larger than the whole queue, and the file for it alone could not be made.
    #[error("a message of {len} bytes is larger than the queue, and a file of its own could not be made")]
    Spill {
        /// How long the encoded message is, in bytes.
        len: usize,
        /// Why: [`OpenError::NoSpace`], for instance.
        source: OpenError,
    },
    /// The message cannot be turned into bytes.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The queue carries values, and this was to be bytes (`bytes()`, `slots()`).
    #[error(transparent)]
    NotBytes(#[from] NotBytes),
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
    /// The message does not fit into the buffer (`get_bytes_into`); it is still in the queue.
    #[error("a message of {needed} bytes does not fit into a buffer of {len}")]
    BufferTooShort {
        /// How long the message is, in bytes.
        needed: usize,
        /// How long the buffer is.
        len: usize,
    },
    /// The message is larger than the whole queue, or has ends of pipes in it, and a file that belongs to it cannot be opened now;
    /// it is still in the queue.
    #[error("the message lies in a file of its own, or has a pipe in it, whose file cannot be opened now")]
    Spill {
        /// Why: too many open files, for instance.
        source: OpenError,
    },
    /// The message was larger than the whole queue, and somebody outside this library removed or spoilt the file in which it
    /// lay; it is not in the queue any more.
    #[error("a message is lost: the file in which it lay was removed or spoilt")]
    Lost {
        /// What is wrong with the file.
        source: OpenError,
    },
    /// A message was taken out, but it is no `T`; here it is. A [`JoinableQueue`](crate::JoinableQueue) has it back.
    #[error(
        "a message of {} bytes is not of the queue's type: it was put as another type, under the same .type_tag or in a codec \
         that says no types, or by another build of the program (give the queue of each build its own .type_tag)",
        bytes.len()
    )]
    Decode {
        /// The message, which is not in the queue any more, unless that is a `JoinableQueue`.
        bytes: Vec<u8>,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The queue carries values, and this was to be bytes (`bytes()`, `slots()`).
    #[error(transparent)]
    NotBytes(#[from] NotBytes),
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] QueueFault),
}

impl PutError {
    /// What a try answers instead of having waited.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut => Self::Full,
            other => other,
        }
    }
}

impl GetError {
    /// What a try answers instead of having waited.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut => Self::Empty,
            other => other,
        }
    }

    /// What becomes of an iteration.
    pub(crate) fn after(&self) -> After {
        match self {
            Self::Closed => After::End,
            Self::Fault(_) | Self::Spill { .. } => After::Last,
            _ => After::More,
        }
    }
}

/// Why not all messages were put.
#[derive(Debug, thiserror::Error)]
#[error("{put} messages were put, and no more")]
#[non_exhaustive]
pub struct PutManyError {
    /// How many were put: the first ones.
    pub put: usize,
    /// Why no more.
    #[source]
    pub error: PutError,
}

/// Why there are no messages, or not all that were taken out are messages.
#[derive(thiserror::Error)]
#[error("{} messages were got, and no more", got.len())]
#[non_exhaustive]
pub struct GetManyError<T> {
    /// The messages that were taken out before the one that is wrong.
    pub got: Vec<T>,
    /// What is wrong.
    #[source]
    pub error: GetError,
    /// What was taken out behind it, not decoded.
    pub rest: Box<[Vec<u8>]>,
}

impl<T> fmt::Debug for GetManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetManyError")
            .field("got", &self.got.len())
            .field("error", &self.error)
            .field("rest", &self.rest.len())
            .finish()
    }
}

impl<T> From<GetError> for GetManyError<T> {
    fn from(error: GetError) -> Self {
        Self { got: Vec::new(), error, rest: Box::default() }
    }
}

impl<T> From<QueueFault> for GetManyError<T> {
    fn from(fault: QueueFault) -> Self {
        GetError::from(fault).into()
    }
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
