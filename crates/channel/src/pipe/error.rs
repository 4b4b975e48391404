//! What can go wrong with a pipe.

use crate::codec::{DecodeError, EncodeError, NotBytes};
use crate::pipe_end::{Refusal, UnusableEnd, owner};
use procession_sync::Fault;
use procession_sys::NoTurn;

macro_rules! from_refusal {
    ($($Error:ident)*) => {
        $(
            impl From<Refusal> for $Error {
                fn from(refusal: Refusal) -> Self {
                    match refusal {
                        Refusal::Unusable(unusable) => Self::Unusable(unusable),
                        Refusal::Fault(fault) => Self::Fault(fault),
                    }
                }
            }

            impl From<NoTurn> for $Error {
                fn from(why: NoTurn) -> Self {
                    match why {
                        NoTurn::TimedOut => Self::TimedOut,
                        NoTurn::Interrupted => Self::Interrupted,
                    }
                }
            }

            procession_shm::debug_as_text!($Error);
        )*
    };
}

from_refusal!(SendError RecvError);

/// Why a message was not sent; then the peer never sees any of it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now (`try_send`).
    #[error("the pipe is full")]
    WouldBlock,
    /// There was no room for all of it until the timeout (`send_timeout`).
    #[error("timed out: the pipe is full")]
    TimedOut,
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for room in the pipe was interrupted")]
    Interrupted,
    /// The peer has closed its end: nobody will read the message.
    #[error("the other end of the pipe is closed")]
    PeerClosed,
    /// The peer died without closing its end.
    #[error("{} died, which had the other end of the pipe", owner(*pid))]
    PeerDied {
        /// Its pid; 0 if it is not known any more, or the peer never started.
        pid: u32,
    },
    /// It can only be sent in parts, by who waits (`try_send`).
    #[error(
        "a message of {len} bytes can be sent only by one who waits (send): at once the pipe takes {most} at most"
    )]
    TooLarge {
        /// How long the message is, in bytes.
        len: usize,
        /// How long a message of `try_send` may be.
        most: usize,
    },
    /// The message cannot be turned into bytes.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The pipe carries values, and this was to be bytes (`send_bytes`).
    #[error(transparent)]
    NotBytes(#[from] NotBytes),
    /// The end is not this handle's to use.
    #[error(transparent)]
    Unusable(#[from] UnusableEnd),
    /// The pipe itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why no message was received.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There is no message now (`try_recv`).
    #[error("the pipe is empty")]
    WouldBlock,
    /// There was no message until the timeout (`recv_timeout`).
    #[error("timed out: the pipe is empty")]
    TimedOut,
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for a message of the pipe was interrupted")]
    Interrupted,
    /// The peer has closed its end, and everything that it sent has been received.
    #[error("the other end of the pipe is closed, and everything was received")]
    Eof,
    /// The peer died without closing its end, and everything that it had sent has been received.
    #[error("{} died, which had the other end of the pipe; everything it had sent was received", owner(*pid))]
    PeerDied {
        /// Its pid; 0 if it is not known any more, or the peer never started.
        pid: u32,
    },
    /// The next message is longer than the buffer (`recv_bytes_into`); it is still to be received.
    #[error(
        "the next message of the pipe has {needed} bytes and does not fit into a buffer of {len}: it is still to be received"
    )]
    BufferTooShort {
        /// How long the message is, in bytes.
        needed: usize,
        /// How long the buffer is, in bytes.
        len: usize,
    },
    /// A message was received, but it is no `T`; here it is.
    #[error(
        "a message of {} bytes is not of the pipe's type: it was sent by another build of the program",
        bytes.len()
    )]
    Decode {
        /// The message, which is not in the pipe any more.
        bytes: Vec<u8>,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The pipe carries values, and this was to be bytes (`recv_bytes`).
    #[error(transparent)]
    NotBytes(#[from] NotBytes),
    /// The end is not this handle's to use.
    #[error(transparent)]
    Unusable(#[from] UnusableEnd),
    /// The pipe itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}
