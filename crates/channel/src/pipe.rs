//! Pipes: messages from one process to one other, one way or both ways.
//!
//! Each way is a [lane](crate::lane), a ring that one side writes and the other reads. What makes it a pipe
//! are two cells that say whose the two ends are (`pipe_end.rs`), so that exactly one handle in one process
//! uses each, and each side learns what became of the other.
//!
//! There are no names to open a pipe by: an end that nobody carries could be neither closed nor dead. Who
//! wants to meet by name uses a queue, or sends an end through one.
//!
//! # Threads
//! The threads of a process use an end in turns (`sys::Turn`), a turn being one message, waiting included. It
//! is private memory: nothing in the segment is locked, and a stopped peer holds nobody but who needs its
//! messages or its room.
//!
//! # Orderings
//! Edges `lane.data` and `lane.room` are those of `lane.rs`. Edge `pipe.close`: the CAS that closes an end
//! comes after all that was written through it, and meets the Acquire load of the other side, which then looks
//! at the ring once more. The same for the death of an end's owner: it is asked for first, and the ring is
//! looked at after. Edge `eventcount.dekker`: between the store of `tail` (`head`) and the look at the sleepers
//! lies the end of the turn, an atomic read-modify-write, and a full fence.
//!
//! # If a process dies
//! | killed | left behind | what the other side sees |
//! |---|---|---|
//! | making the pipe | nothing that anybody knows | – |
//! | carrying an end that it has not used, or has sent in a message that nobody has taken, or has taken in one | the end carried by a dead process | `PeerDied`, once all that is in the ring has been received |
//! | after it gave an end to its child, which never starts | the same: the child's id is dead | the same |
//! | after it gave an end to its child, which lives | nothing | – |
//! | having claimed an end | the end claimed by a dead process | the same |
//! | sending, before the store of `tail` | bytes beyond `tail` | the messages before, then the same |
//! | sending a long message, between two parts | parts of a message | the messages before, then the same: parts alone are nobody's |
//! | after the store of `tail` of the (last) record | the message | the message, then the same |
//! | receiving, anywhere | what it had not received | the writer: no room, or `PeerDied` at its next wait |
//! | closing, before the CAS | as having claimed it | as above |
//! | closing, after the CAS, before the wakes | a sleeper that was not told | the end of its slice, then the end of the pipe |
//! | before a wake | a sleeper that missed something | the end of its slice |
//! | noting the other's death | the pid, maybe the note | asks again |
//!
//! A process that ends in whatever way without having closed an end has died, as far as that end is
//! concerned.

mod error;
mod faces;
mod incoming;
mod options;
mod outgoing;
mod taker;
#[cfg(feature = "async")]
mod tasks;
#[cfg(test)]
mod tests;
mod transfer;
mod waitable;

pub use self::error::{RecvError, SendError};
use self::incoming::Incoming;
pub use self::options::PipeOptions;
use self::outgoing::Outgoing;
use crate::pipe_end::End;
use procession_shm::OpenError;
use serde::de::DeserializeOwned;

/// Which end of a one-way pipe is which.
const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// A pipe for messages one way: the end that sends, and the end that receives.
///
/// ```
/// let (sender, receiver) = procession::pipe::<(u32, String)>()?;
/// sender.send(&(7, "seven".to_owned()))?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, (7, "seven".to_owned()));
/// assert!(matches!(receiver.recv(), Err(procession::RecvError::Eof)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What creating an object can meet: [`OpenError::NoSpace`], …
pub fn pipe<T: DeserializeOwned>() -> Result<(Sender<T>, Receiver<T>), OpenError> {
    Pipe::options().pipe()
}

/// What pipes are made by when [`pipe`] and [`duplex`] say too little: see [`options`](Self::options).
#[derive(Debug)]
pub enum Pipe {}

impl Pipe {
    /// How a pipe is to be made; every setting has a default.
    #[must_use]
    pub fn options() -> PipeOptions {
        PipeOptions::default()
    }
}

/// A pipe for messages both ways: the first end sends `A` and receives `B`.
///
/// ```
/// let (asks, answers) = procession::duplex::<u64, String>()?;
/// asks.send(&12)?;
/// let asked = answers.recv()?;
/// answers.send(&format!("{asked} it is"))?;
/// assert_eq!(asks.recv()?, "12 it is");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`pipe`].
#[expect(clippy::type_complexity, reason = "two ends, each of which says what it sends and receives")]
pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>), OpenError>
where
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    Pipe::options().duplex()
}

/// The end of a pipe that sends.
///
/// It belongs to the first process that uses it, and in it to this handle, which any number of its threads
/// may use: they take turns, one message each. It can be sent to another process before it is used: as an
/// argument of `Process::spawn`, when it is the child's from before the child starts, or in a message. A
/// process that has a handle of an end that another uses, or used first, gets [`UnusableEnd::InUse`](crate::UnusableEnd::InUse); a forked
/// child [`Fault::Inherited`](procession_sync::Fault::Inherited).
///
/// Dropping it closes it, unless it was sent off (in a message that was sent, or in a batch): the other end
/// receives what was sent, and then [`RecvError::Eof`]. If the process that has it is killed, or ends without
/// dropping it, that is [`RecvError::PeerDied`], also if it has never used it; a message that it was sending
/// then is not received at all. So a message is received whole or not.
///
/// An end that is on its way in a message is its sender's until it arrives: the pipe, and what was sent
/// through it, is there as long as the sender lives, even if that has dropped the other end. If the sender
/// dies first, and nobody else has an end, the pipe is gone, and the message cannot be decoded.
///
/// `send` returns when the message is in the pipe: what becomes of the reader is another matter. To a reader
/// that was killed one can send until the pipe is full, or until somebody here has noticed.
///
/// ```
/// let (sender, receiver) = procession::pipe::<u64>()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| (0..1000).try_for_each(|n| sender.send(&n)));
///     let sum: u64 = receiver.iter().take(1000).map(Result::unwrap).sum();
///     assert_eq!(sum, 499_500);
/// });
/// # Ok::<(), procession::OpenError>(())
/// ```
pub struct Sender<T> {
    end: End,
    outgoing: Outgoing<T>,
}

/// The end of a pipe that receives. What is said of [`Sender`] is true of it, the other way round.
///
/// A message is the receiver's when `recv` has taken it out; what a killed receiver had not taken is lost
/// with it.
pub struct Receiver<T> {
    end: End,
    incoming: Incoming<T>,
}

/// One end of a pipe both ways: it sends `S` and receives `R`. What is said of [`Sender`] is true of it.
pub struct Connection<S, R> {
    end: End,
    outgoing: Outgoing<S>,
    incoming: Incoming<R>,
}

impl<T> Sender<T> {
    fn new(end: End) -> Self {
        Self { outgoing: Outgoing::new(&end), end }
    }
}

impl<T> Receiver<T> {
    fn new(end: End) -> Self {
        Self { incoming: Incoming::new(&end), end }
    }
}

impl<S, R> Connection<S, R> {
    fn new(end: End) -> Self {
        Self { outgoing: Outgoing::new(&end), incoming: Incoming::new(&end), end }
    }
}
