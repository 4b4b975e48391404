//! What can go wrong with a queue, and with a joinable queue.

use crate::codec::{DecodeError, EncodeError, NotBytes};
use crate::messages::After;
use crate::waiter::Stopped;
use procession_shm::{Label, OpenError, Segment};
use procession_sync::Fault;
use std::fmt;

/// A queue that had no room for a message, and how full it was.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fullness {
    /// Which queue.
    pub queue: Label,
    /// How many messages were in it; of a [`JoinableQueue`](crate::JoinableQueue), how many were there to be
    /// got.
    pub messages: usize,
    /// How many there can be, if that is limited.
    pub capacity: Option<usize>,
    /// How many bytes were taken.
    pub bytes_taken: u64,
    /// How many bytes there are.
    pub bytes: u64,
}

impl fmt::Display for Fullness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, messages, bytes_taken, bytes, .. } = self;
        match self.capacity {
            Some(capacity) if *messages >= capacity => {
                write!(f, "{queue} is full: {messages} of {capacity} messages")
            }
            _ => {
                write!(f, "{queue} has no room: its {messages} messages take {bytes_taken} of {bytes} bytes")
            }
        }
    }
}

impl fmt::Debug for Fullness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A queue that was closed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClosedQueue {
    queue: Label,
    /// Whether it lasts: a queue that goes with its users needs no advice.
    lasts: bool,
}

impl ClosedQueue {
    #[cold]
    pub(crate) fn new(segment: &Segment) -> Self {
        Self { queue: segment.label(), lasts: !segment.header().ephemeral }
    }

    /// Which queue.
    #[must_use]
    pub fn queue(&self) -> &Label {
        &self.queue
    }

    fn advice(&self) -> &'static str {
        if self.lasts { ". It stays closed until reopen() is called; unlink() removes it" } else { "" }
    }
}

impl fmt::Display for ClosedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.queue, f)
    }
}

impl fmt::Debug for ClosedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.queue, f)
    }
}

/// A thread that holds a slot of a queue ([`WriteSlot`](crate::WriteSlot), [`ReadSlot`](crate::ReadSlot), or what
/// [`try_get_as`](crate::QueueBytes::try_get_as) calls) used that end of the queue, and would have waited for itself.
#[derive(thiserror::Error)]
#[error("this thread holds a slot of {queue}: commit or drop it before it uses that end again")]
pub struct SlotHeld {
    /// Which queue.
    pub queue: Label,
}

/// Why a message was not put; then it is not in the queue.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// There is no room (`try_put`).
    #[error("{0}")]
    WouldBlock(Fullness),
    /// There was no room until the timeout (`put_timeout`).
    #[error("timed out: {0}")]
    TimedOut(Fullness),
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {0} was interrupted")]
    Interrupted(Label),
    /// The queue was closed.
    #[error("{0} is closed: nothing can be put any more{advice}", advice = .0.advice())]
    Closed(ClosedQueue),
    /// The queue carries values, and this was to be bytes (`bytes()`, `slots()`).
    #[error(transparent)]
    NotBytes(#[from] NotBytes),
    /// This thread would wait for itself.
    #[error(transparent)]
    SlotHeld(#[from] SlotHeld),
    /// The message would never fit into the [`JoinableQueue`](crate::JoinableQueue).
    #[error(
        "a message of {len} bytes can never fit into {queue}, whose messages have {most} bytes at the most: create it with \
         .bytes({needed})"
    )]
    TooLarge {
        /// Which queue.
        queue: Label,
        /// How long the encoded message is, in bytes.
        len: usize,
        /// How long a message may be.
        most: usize,
        /// What the queue would have to be created with.
        needed: u64,
    },
    /// The message is larger than the whole queue, and the file for it alone could not be made.
    #[error("a message of {len} bytes is larger than {queue}, and a file of its own could not be made")]
    Spill {
        /// Which queue.
        queue: Label,
        /// How long the encoded message is, in bytes.
        len: usize,
        /// Why: [`OpenError::NoSpace`], for instance.
        source: OpenError,
    },
    /// The message cannot be turned into bytes.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why no message was got.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is no message (`try_get`).
    #[error("{0} is empty")]
    WouldBlock(Label),
    /// There was no message until the timeout (`get_timeout`).
    #[error("timed out: {0} is empty")]
    TimedOut(Label),
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {0} was interrupted")]
    Interrupted(Label),
    /// The queue was closed, and everything in it has been got.
    #[error("{0} is closed, and everything in it was got{advice}", advice = .0.advice())]
    Closed(ClosedQueue),
    /// The message does not fit into the buffer (`bytes().get_into`); it is still in the queue.
    #[error(
        "a message of {needed} bytes of {queue} does not fit into a buffer of {len}: it is still in the queue"
    )]
    BufferTooShort {
        /// Which queue.
        queue: Label,
        /// How long the message is, in bytes.
        needed: usize,
        /// How long the buffer is.
        len: usize,
    },
    /// The message is larger than the whole queue, or has ends of pipes in it, and a file that belongs to it
    /// cannot be opened now; it is still in the queue.
    #[error(
        "a message of {queue} lies in a file of its own, or has a pipe in it, whose file cannot be opened now"
    )]
    Spill {
        /// Which queue.
        queue: Label,
        /// Why: too many open files, for instance.
        source: OpenError,
    },
    /// The message was larger than the whole queue, and somebody outside this library removed or spoilt the
    /// file in which it lay; it is not in the queue any more.
    #[error("a message of {queue} is lost: the file in which it lay was removed or spoilt")]
    Lost {
        /// Which queue.
        queue: Label,
        /// What is wrong with the file.
        source: OpenError,
    },
    /// A message was taken out, but it is no `T`; here it is. A [`JoinableQueue`](crate::JoinableQueue) has
    /// it back.
    #[error(
        "a message of {} bytes of {queue} is not of its type: it was put as another type, under the same .type_tag or in a \
         codec that says no types, or by another build of the program (give the queue of each build its own .type_tag)",
        bytes.len()
    )]
    Decode {
        /// Which queue.
        queue: Label,
        /// The message, which is not in the queue any more, unless that is a `JoinableQueue`.
        bytes: Vec<u8>,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The queue carries values, and this was to be bytes (`bytes()`, `slots()`).
    #[error(transparent)]
    NotBytes(#[from] NotBytes),
    /// This thread would wait for itself.
    #[error(transparent)]
    SlotHeld(#[from] SlotHeld),
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a queue was neither closed nor opened again.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// This thread would wait for itself.
    #[error(transparent)]
    SlotHeld(#[from] SlotHeld),
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(SlotHeld);
procession_shm::debug_as_text!(PutError);
procession_shm::debug_as_text!(GetError);
procession_shm::debug_as_text!(CloseError);

impl PutError {
    /// What a try answers instead of having waited.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut(fullness) => Self::WouldBlock(fullness),
            other => other,
        }
    }

    /// What a try had to say, unless there was no room.
    #[cfg(feature = "async")]
    pub(crate) fn unless_full(tried: Result<(), Self>) -> Option<Result<(), Self>> {
        if matches!(tried, Err(Self::WouldBlock(_))) { None } else { Some(tried) }
    }
}

impl GetError {
    /// What a try answers instead of having waited.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut(queue) => Self::WouldBlock(queue),
            other => other,
        }
    }

    /// What a try had to say, unless there was nothing.
    #[cfg(feature = "async")]
    pub(crate) fn unless_empty<T>(tried: Result<T, Self>) -> Option<Result<T, Self>> {
        if matches!(tried, Err(Self::WouldBlock(_))) { None } else { Some(tried) }
    }

    /// What becomes of an iteration.
    pub(crate) fn after(&self) -> After {
        match self {
            Self::Closed(_) => After::End,
            Self::Fault(_) | Self::SlotHeld(_) | Self::NotBytes(_) | Self::Spill { .. } => After::Last,
            _ => After::More,
        }
    }
}

/// Why not all messages were put.
#[derive(thiserror::Error)]
#[error("{put} messages were put, and no more")]
#[non_exhaustive]
pub struct PutManyError {
    /// How many were put: the first ones.
    pub put: usize,
    /// Why no more.
    #[source]
    pub error: PutError,
}

procession_shm::debug_as_text!(PutManyError);

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
        write!(f, "{} messages were got, and no more: {:?}", self.got.len(), self.error)
    }
}

impl<T> From<GetError> for GetManyError<T> {
    fn from(error: GetError) -> Self {
        Self { got: Vec::new(), error, rest: Box::default() }
    }
}

impl<T> From<Fault> for GetManyError<T> {
    fn from(fault: Fault) -> Self {
        GetError::from(fault).into()
    }
}

/// Why a thread could not go on.
pub(super) enum QueueBlocked {
    TimedOut,
    Interrupted,
    SlotHeld(SlotHeld),
    Fault(Fault),
}

impl From<Stopped> for QueueBlocked {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::TimedOut => Self::TimedOut,
            Stopped::Interrupted => Self::Interrupted,
            Stopped::Fault(fault) => Self::Fault(fault),
        }
    }
}
