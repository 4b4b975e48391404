//! Pipes: messages from one process to one other, one way or both ways.
//!
//! Each way is a [lane](crate::lane), a ring that one side writes and the other reads. What makes it a pipe are two
//! cells that say whose the two ends are, so that exactly one handle in one process uses each, and each side learns
//! what became of the other.
//!
//! | the cell of an end | who changes it | to |
//! |---|---|---|
//! | carried by P: nobody has used it | P, by giving it to its child C as an argument of `Process::spawn` | carried by C, which need not exist yet |
//! | | P, by sending it off in a message (`underway.rs`) | carried by P, the next time |
//! | | Q, which takes the message | carried by Q |
//! | | the other side, or P, when nobody can get the message any more | closed |
//! | | whoever has a handle and uses it first | claimed |
//! | | P, by dropping its handle, unless it sent it off | closed |
//! | | the other side, when P is dead | dead |
//! | claimed by a handle of P | that handle | closed |
//! | | the other side, when P is dead | dead |
//! | closed, dead | nobody | |
//!
//! Every change is one CAS from the exact word before. The word has the owner (bits 0..16 and 32..64), the state
//! (16..19), and which handle of the process claimed the end, or how often it was sent off and taken (19..32).
//!
//! There are no names to open a pipe by: an end that nobody carries could be neither closed nor dead. Who wants to meet by
//! name uses a queue, or sends an end through one.
//!
//! # Threads
//! The threads of a process use an end in turns (`sys::Turn`), a turn being one message, waiting included. It is private
//! memory: nothing in the segment is locked, and a stopped peer holds nobody but who needs its messages or its room.
//!
//! # Orderings
//! Edges `lane.data` and `lane.room`, see there. Edge `pipe.close`: the CAS that closes an end comes after all that was
//! written through it, and meets the Acquire load of the other side, which then looks at the ring once more. The
//! same for the death of an end's owner: it is asked for first, and the ring is looked at after.
//! Edge `eventcount.dekker`: between the store of `tail` (`head`) and the look at the sleepers lies the end of the turn, an
//! atomic read-modify-write, and a full fence.
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
//! A process that ends in whatever way without having closed an end has died, as far as that end is concerned.

mod end;
mod error;
mod home;
mod options;
mod taker;
#[cfg(test)]
mod tests;
mod transfer;
mod waitable;

use self::end::EndCell;
pub(crate) use self::end::{End, Passage};
pub use self::error::{PipeFault, RecvError, SendError};
use self::home::Home;
pub(crate) use self::home::Location;
pub use self::options::PipeOptions;
use self::options::{MAX_BYTES, MIN_BYTES, PipeSettings};
use self::taker::{Fill, Look, Take};
use self::transfer::{receive, send};
use crate::codec::{self, CODEC_ID};
use crate::lane::{Lane, LaneReader, LaneWriter};
use crate::messages::{After, Messages, Source, iterates};
use crate::queue::with_scratch;
use crate::underway::{self, Parcel};
use procession_shm::{HEADER_LEN, Kind, Object, OpenError, Parameter, Placement, Segment, Shape, Shared};
use procession_sys::{Deadline, Turn, shm_struct};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

shm_struct! {
    #[doc(hidden)]
    pub struct PipeBody {
        /// Each is written by the end of the same index; a one-way pipe uses the first alone.
        lanes: [Lane; 2],
        ends: [EndCell; 2],
        /// In which message the end of the same index travels.
        homes: [Home; 2],
    }
}

const RING_OFFSET: usize = size_of::<PipeBody>();
/// Which end of a one-way pipe is which.
const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// What both ends of a pipe are made of; never seen by users.
#[derive(Debug)]
pub(crate) struct Pipe {
    body: Shared<PipeBody>,
    both_ways: bool,
}

impl Object for Pipe {
    const KIND: Kind = Kind::PIPE;
    type Body = PipeBody;
    type Settings = PipeSettings;

    fn shape(settings: &PipeSettings) -> Shape {
        let [bytes, larger] = [settings.bytes, settings.larger].map(u64::from);
        let parameter = |name, value| Parameter { name, value, asked: false };
        let parameters = [
            parameter("bytes", bytes),
            parameter("both_ways", settings.both_ways.into()),
            parameter("larger", larger),
            Parameter::default(),
        ];
        Shape {
            kind: Kind::PIPE,
            body_len: RING_OFFSET as u64 + (bytes + larger) * settings.lanes(),
            parameters,
            element: Some(settings.messages.clone()),
            codec: CODEC_ID,
        }
    }

    fn later(settings: &PipeSettings) -> u64 {
        u64::from(settings.larger) * settings.lanes()
    }

    fn initialise(_: &PipeBody, _: &PipeSettings) {}

    fn forget_owners(body: &PipeBody) {
        end::forget_owners(body);
    }

    fn attach(body: Shared<PipeBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [bytes, both_ways, larger, _] = segment.header().parameters;
        let is_ring = |bytes: u64| {
            bytes.is_power_of_two() && (u64::from(MIN_BYTES)..=u64::from(MAX_BYTES)).contains(&bytes)
        };
        let fits = is_ring(bytes)
            && both_ways <= 1
            && (larger == 0 || is_ring(larger) && larger > bytes)
            && (HEADER_LEN + RING_OFFSET) as u64 + (bytes + larger) * (1 + both_ways)
                == segment.header().size;
        if !fits {
            return Err(segment.corrupt("an impossible number of bytes"));
        }
        Ok(Self { both_ways: both_ways != 0, body })
    }
}

impl AsRef<Segment> for Pipe {
    fn as_ref(&self) -> &Segment {
        self.body.segment()
    }
}

impl Pipe {
    fn create(settings: &PipeSettings, place: &Placement) -> Result<[End; 2], OpenError> {
        let pipe: Self = procession_shm::object::anonymous(settings, place)?;
        Ok([End::create(&pipe, 0)?, End::create(&pipe, 1)?])
    }
}

/// Where a ring lies, and how many bytes it has.
type Place = (usize, u32);

/// The ring that the end `side` writes, and the larger one if there is one: checked when the pipe was attached.
fn rings(end: &End, side: usize) -> (Place, Option<Place>) {
    let [bytes, both_ways, larger, _] =
        end.body.segment().header().parameters.map(|parameter| parameter as usize);
    let first = RING_OFFSET + side * bytes;
    let second = RING_OFFSET + (1 + both_ways) * bytes + side * larger;
    ((first, bytes as u32), (larger > 0).then_some((second, larger as u32)))
}

fn writer_of(end: &End) -> Turn<LaneWriter> {
    let ((offset, bytes), larger) = rings(end, end.side());
    Turn::new(LaneWriter::new(end.outgoing(), offset, bytes).with_larger(larger))
}

fn reader_of(end: &End) -> Turn<LaneReader> {
    let ((offset, bytes), larger) = rings(end, 1 - end.side());
    Turn::new(LaneReader::new(end.incoming(), offset, bytes).with_larger(larger))
}

/// A pipe for messages one way: the end that receives, and the end that sends.
///
/// ```
/// let (receiver, sender) = procession_channel::pipe::<(u32, String)>()?;
/// sender.send(&(7, "seven".to_owned()))?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, (7, "seven".to_owned()));
/// assert!(matches!(receiver.recv(), Err(procession_channel::RecvError::Eof)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What creating an object can meet: [`OpenError::NoSpace`], …
pub fn pipe<T>() -> Result<(Receiver<T>, Sender<T>), OpenError> {
    PipeOptions::new().pipe()
}

/// A pipe for messages both ways: the first end sends `A` and receives `B`.
///
/// ```
/// let (asks, answers) = procession_channel::duplex::<u64, String>()?;
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
pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>), OpenError> {
    PipeOptions::new().duplex()
}

/// The end of a pipe that sends.
///
/// It belongs to the first process that uses it, and in it to this handle, which any number of its threads may use: they
/// take turns, one message each. It can be sent to another process before it is used: as an argument of
/// `Process::spawn`, when it is the child's from before the child starts, or in a message. A process that has a handle of
/// an end that another uses, or used first, gets [`PipeFault::InUse`]; a forked child [`PipeFault::Inherited`].
///
/// Dropping it closes it, unless it was sent off (in a message that was sent, or in a batch): the other end receives what was
/// sent, and then [`RecvError::Eof`]. If the process that has it is killed, or ends without dropping it, that is
/// [`RecvError::PeerDied`], also if it has never used it; a message that it was sending then is not received at all. So a
/// message is received whole or not.
///
/// An end that is on its way in a message is its sender's until it arrives: the pipe, and what was sent through it, is there as
/// long as the sender lives, even if that has dropped the other end. If the sender dies first, and nobody else has an end, the
/// pipe is gone, and the message cannot be decoded.
///
/// `send` returns when the message is in the pipe: what becomes of the reader is another matter. To a reader that was
/// killed one can send until the pipe is full, or until somebody here has noticed.
///
/// ```
/// let (receiver, sender) = procession_channel::pipe::<u64>()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| (0..1000).try_for_each(|n| sender.send(&n)));
///     let sum: u64 = receiver.iter().take(1000).map(Result::unwrap).sum();
///     assert_eq!(sum, 499_500);
/// });
/// # Ok::<(), procession_shm::OpenError>(())
/// ```
pub struct Sender<T> {
    end: End,
    writer: Turn<LaneWriter>,
    messages: PhantomData<fn(T)>,
}

/// The end of a pipe that receives. What is said of [`Sender`] is true of it, the other way round.
///
/// A message is the receiver's when `recv` has taken it out; what a killed receiver had not taken is lost with it.
pub struct Receiver<T> {
    end: End,
    reader: Turn<LaneReader>,
    messages: PhantomData<fn() -> T>,
}

/// One end of a pipe both ways: it sends `S` and receives `R`. What is said of [`Sender`] is true of it.
pub struct Connection<S, R> {
    end: End,
    writer: Turn<LaneWriter>,
    reader: Turn<LaneReader>,
    messages: PhantomData<fn(S) -> R>,
}

/// What every end that sends can do.
macro_rules! sends {
    ([$($generics:tt)*] $End:ty, $T:ident) => {
        impl<$($generics)*> $End {
            /// Sends bytes as one message, waiting for room. For anything but small messages this is much faster than
            /// a `Vec<u8>` by [`send`](Self::send).
            ///
            /// # Errors
            /// [`SendError::PeerClosed`], [`SendError::PeerDied`], [`SendError::Fault`].
            pub fn send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
                send(&self.end, &self.writer, message, Deadline::NEVER)
            }

            /// Sends bytes if there is room for all of them now.
            ///
            /// # Errors
            /// [`SendError::Full`], [`SendError::TooLarge`] for more than the pipe holds; otherwise as
            /// [`send_bytes`](Self::send_bytes).
            pub fn try_send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
                send(&self.end, &self.writer, message, Deadline::PASSED).map_err(full)
            }

            /// Sends bytes, waiting for room at most `timeout`. After a timeout nothing of them is received.
            ///
            /// # Errors
            /// [`SendError::TimedOut`]; otherwise as [`send_bytes`](Self::send_bytes).
            pub fn send_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendError> {
                send(&self.end, &self.writer, message, Deadline::after(timeout))
            }
        }

        impl<$($generics)*> $End
        where
            $T: Serialize + DeserializeOwned,
        {
            /// Sends a message, waiting for room. A message longer than the pipe goes through it in parts, as fast as
            /// the other side receives them, and is received as one.
            ///
            /// # Errors
            /// [`SendError::PeerClosed`], [`SendError::PeerDied`], [`SendError::Encode`], [`SendError::Fault`].
            ///
            /// # Panics
            /// When the message's `Serialize` does; nothing is sent.
            pub fn send(&self, message: &$T) -> Result<(), SendError> {
                self.send_until(message, Deadline::NEVER)
            }

            /// Sends a message if there is room for all of it now.
            ///
            /// # Errors
            /// [`SendError::Full`], [`SendError::TooLarge`] for one longer than the pipe; otherwise as
            /// [`send`](Self::send).
            ///
            /// # Panics
            /// As [`send`](Self::send).
            pub fn try_send(&self, message: &$T) -> Result<(), SendError> {
                self.send_until(message, Deadline::PASSED).map_err(full)
            }

            /// Sends a message, waiting for room at most `timeout`. After a timeout nothing of it is received.
            ///
            /// # Errors
            /// [`SendError::TimedOut`]; otherwise as [`send`](Self::send).
            ///
            /// # Panics
            /// As [`send`](Self::send).
            pub fn send_timeout(&self, message: &$T, timeout: Duration) -> Result<(), SendError> {
                self.send_until(message, Deadline::after(timeout))
            }

            fn send_until(&self, message: &$T, deadline: Deadline) -> Result<(), SendError> {
                // Before the turn: the user's code runs in no turn.
                underway::attempt(|| {
                    with_scratch(|scratch| {
                        scratch.clear();
                        codec::encode_message(message, scratch)?;
                        underway::seal(scratch, || self.end.as_location())?;
                        send(&self.end, &self.writer, scratch, deadline)
                    })
                })
            }
        }
    };
}

/// What every end that receives can do.
macro_rules! receives {
    ([$($generics:tt)*] $End:ty, $T:ident) => {
        impl<$($generics)*> $End {
            /// Receives the next message as bytes, waiting for one.
            ///
            /// # Errors
            /// [`RecvError::Eof`], [`RecvError::PeerDied`], [`RecvError::Fault`].
            pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                self.recv_bytes_until(Deadline::NEVER)
            }

            /// Receives the next message as bytes, if there is one now.
            ///
            /// # Errors
            /// [`RecvError::Empty`]; otherwise as [`recv_bytes`](Self::recv_bytes).
            pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                self.recv_bytes_until(Deadline::PASSED).map_err(empty)
            }

            /// Receives the next message as bytes, waiting for all of it at most `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
                self.recv_bytes_until(Deadline::after(timeout))
            }

            fn recv_bytes_until(&self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
                let mut bytes = Vec::new();
                receive(&self.end, &self.reader, &mut Take(&mut bytes), deadline)?;
                // Ends of pipes in it are nobody's now.
                drop(Parcel::take_from(&mut bytes));
                Ok(bytes)
            }

            /// Receives the next message into `buffer`, waiting for one; how long it is. What is behind it in the
            /// buffer, and all of the buffer after an error, is undefined.
            ///
            /// # Errors
            /// [`RecvError::BufferTooShort`], and then the message is still to be received; otherwise as
            /// [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                self.recv_bytes_into_until(buffer, Deadline::NEVER)
            }

            /// As [`recv_bytes_into`](Self::recv_bytes_into), if there is a message now.
            ///
            /// # Errors
            /// [`RecvError::Empty`]; otherwise as [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                self.recv_bytes_into_until(buffer, Deadline::PASSED).map_err(empty)
            }

            /// As [`recv_bytes_into`](Self::recv_bytes_into), waiting for all of the message at most `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn recv_bytes_into_timeout(
                &self,
                buffer: &mut [u8],
                timeout: Duration,
            ) -> Result<usize, RecvError> {
                self.recv_bytes_into_until(buffer, Deadline::after(timeout))
            }

            fn recv_bytes_into_until(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
                let len = receive(&self.end, &self.reader, &mut Fill(buffer), deadline)?;
                // Ends of pipes in it are nobody's now.
                let (len, _ends) = Parcel::of_message(&buffer[..len]);
                Ok(len)
            }

            /// Waits at most `timeout` until [`recv`](Self::recv) would return at once: because there is a whole
            /// message, be it empty, or because the other side has closed its end or died. Whether that is so.
            ///
            /// # Errors
            /// [`RecvError::Fault`].
            pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
                let deadline = if timeout.is_zero() { Deadline::PASSED } else { Deadline::after(timeout) };
                match receive(&self.end, &self.reader, &mut Look, deadline) {
                    Ok(()) | Err(RecvError::Eof | RecvError::PeerDied { .. }) => Ok(true),
                    Err(RecvError::TimedOut) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }

        impl<$($generics)*> $End
        where
            $T: DeserializeOwned,
        {
            /// Receives the next message, waiting for one.
            ///
            /// # Errors
            /// [`RecvError::Eof`], [`RecvError::PeerDied`], [`RecvError::Decode`], [`RecvError::Fault`].
            ///
            /// # Panics
            /// When the message's `Deserialize` does; the message is then gone.
            pub fn recv(&self) -> Result<$T, RecvError> {
                self.recv_until(Deadline::NEVER)
            }

            /// Receives the next message, if there is one now.
            ///
            /// # Errors
            /// [`RecvError::Empty`]; otherwise as [`recv`](Self::recv).
            ///
            /// # Panics
            /// As [`recv`](Self::recv).
            pub fn try_recv(&self) -> Result<$T, RecvError> {
                self.recv_until(Deadline::PASSED).map_err(empty)
            }

            /// Receives the next message, waiting for all of it at most `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`recv`](Self::recv).
            ///
            /// # Panics
            /// As [`recv`](Self::recv).
            pub fn recv_timeout(&self, timeout: Duration) -> Result<$T, RecvError> {
                self.recv_until(Deadline::after(timeout))
            }

            /// Receives message after message, waiting for each, until the other side has closed its end; `for` does the same
            /// with a reference. [`RecvError::PeerDied`] and [`RecvError::Fault`] are the last item; a
            /// [`RecvError::Decode`] is about one message, and others follow.
            #[must_use]
            pub fn iter(&self) -> Messages<'_, Self> {
                Messages::of(self)
            }

            fn recv_until(&self, deadline: Deadline) -> Result<$T, RecvError> {
                // After the turn: the user's code runs in no turn.
                with_scratch(|scratch| {
                    receive(&self.end, &self.reader, &mut Take(scratch), deadline)?;
                    // Closed after it, where decoding made no handles.
                    let _ends = Parcel::take_from(scratch);
                    codec::decode(scratch)
                        .map_err(|source| RecvError::Decode { bytes: std::mem::take(scratch), source })
                })
            }
        }

        impl<$($generics)*> Source for $End
        where
            $T: DeserializeOwned,
        {
            type Message = $T;
            type Error = RecvError;

            fn take(&self) -> Result<$T, RecvError> {
                self.recv()
            }

            fn after(error: &RecvError) -> After {
                match error {
                    RecvError::Eof => After::End,
                    RecvError::Decode { .. } => After::More,
                    _ => After::Last,
                }
            }
        }
    };
}

/// What every end can do.
macro_rules! ends {
    ([$($generics:tt)*] $End:ty, $name:literal, $both_ways:literal, $side:pat, |$this:ident| $quiesce:expr) => {
        impl<$($generics)*> $End {
            /// Closes this end, for all threads of this process: the other side receives what was sent, and then the
            /// end of the pipe; threads that wait here get [`PipeFault::Closed`]. Closing twice is the same as once.
            /// Nothing happens to an end that another process uses, or that was given away.
            pub fn close(&self) {
                let $this = self;
                self.end.close(|_| $quiesce);
            }

            /// Whether this end was closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.end.is_closed()
            }
        }

        impl<$($generics)*> Drop for $End {
            fn drop(&mut self) {
                // No other thread has it.
                self.end.close(|_| ());
            }
        }

        impl<$($generics)*> fmt::Debug for $End {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("pipe", &self.end.body.segment().name())
                    .field("closed", &self.is_closed())
                    .finish_non_exhaustive()
            }
        }

        impl<$($generics)*> Serialize for $End {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.end.depart().map_err(serde::ser::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de, $($generics)*> Deserialize<'de> for $End {
            fn deserialize<Z: Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                use serde::de::Error;
                let passage = Passage::deserialize(deserializer)?;
                let (pipe, end) = End::arrive(&passage).map_err(Error::custom)?;
                match (pipe.both_ways, end.side()) {
                    ($both_ways, $side) => Ok(Self::new(end)),
                    _ => Err(Error::custom(concat!("another end of a pipe than a ", $name))),
                }
            }
        }
    };
}

sends!([T] Sender<T>, T);
receives!([T] Receiver<T>, T);
iterates!([T: DeserializeOwned] Receiver<T>);
sends!([S, R] Connection<S, R>, S);
receives!([S, R] Connection<S, R>, R);
iterates!([S, R: DeserializeOwned] Connection<S, R>);
ends!([T] Sender<T>, "Sender", false, SENDER, |this| this.writer.lock_until(Deadline::NEVER));
ends!([T] Receiver<T>, "Receiver", false, RECEIVER, |this| this.reader.lock_until(Deadline::NEVER));
ends!([S, R] Connection<S, R>, "Connection", true, _, |this| this.writer.lock_until(Deadline::NEVER));

impl<T> Sender<T> {
    fn new(end: End) -> Self {
        Self { writer: writer_of(&end), end, messages: PhantomData }
    }
}

impl<T> Receiver<T> {
    fn new(end: End) -> Self {
        Self { reader: reader_of(&end), end, messages: PhantomData }
    }
}

impl<S, R> Connection<S, R> {
    fn new(end: End) -> Self {
        Self { writer: writer_of(&end), reader: reader_of(&end), end, messages: PhantomData }
    }
}

/// What a try answers instead of having waited.
fn full(error: SendError) -> SendError {
    match error {
        SendError::TimedOut => SendError::Full,
        other => other,
    }
}

/// What a try answers instead of having waited.
fn empty(error: RecvError) -> RecvError {
    match error {
        RecvError::TimedOut => RecvError::Empty,
        other => other,
    }
}
