//! A bounded queue of messages for many producers and many consumers.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `put_lock` | producers | one at a time writes beyond `tail` |
//! | `tail` | holder of `put_lock` | words and messages put since the beginning; **its store commits a put** |
//! | `head_seen` | holder of `put_lock` | a value `head` had: what was free then is free now |
//! | `starving` | anybody | hint: when a producer last said, in ms, that others always take the room that it needs; 0 for nobody |
//! | `get_lock` | consumers | one at a time reads at `head` |
//! | `head` | holder of `get_lock` | words and messages got since the beginning; **its store commits a get** |
//! | `tail_seen` | holder of `get_lock` | a value `tail` had |
//! | `closed` | holder of `put_lock` | 1: no put commits any more, until it is opened again |
//! | `items`, `space` | anybody | eventcounts: consumers sleep on the first, producers on the second |
//!
//! A large record needs much room at a time, and there never is if small ones take each bit at once. So a
//! producer that has waited for long says that it starves, and whoever comes meanwhile waits for a
//! millisecond before it puts: consumers are faster than that. It is a hint, and soon too old to count.
//!
//! Nobody sleeps holding a lock: who finds the ring empty or full lets go, sleeps on the eventcount, and
//! begins again. Serialization runs before the put lock is taken, and deserialization after the get lock is
//! released. Only a [slot](slots) keeps an end for as long as its user likes, who said so.
//!
//! A commit may be of many messages ([`batch`]). A message that is larger than the ring lies elsewhere, and
//! the ring has a reference to it ([`spill`]). The two ends are in [`tail`] and [`head`], what they have in
//! common in [`core`](self::core).
//!
//! # Orderings
//! Edge `queue.put`: the Release store of `tail` meets the Acquire load in a consumer, so that the record is
//! there. Edge `queue.get`: the Release store of `head` meets the Acquire load in a producer, so that the
//! record's place may be overwritten. Edge `eventcount.dekker`: between the store of `tail` (`head`) and the
//! look at the waiters lies the lock's release, an atomic read-modify-write, and a full fence.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | holding `put_lock`, before the store of `tail` | bytes beyond `tail` | nothing: the next producer writes over them |
//! | after the store of `tail` | the message is in the queue | – |
//! | holding `get_lock`, before the store of `head` | the message is still in the queue | – |
//! | after the store of `head` | the message went with its consumer (at most once) | – |
//! | before its wake | a sleeper that missed something | the end of the sleeper's slice |
//! | closing, after the store of `closed` | sleepers who were not told | the ends of their slices |
//! | opening it again, after the store of `closed` | an open queue | – |
//! | having said that it starves | a hint that holds others up for a millisecond each | it is a third of a second old |
//! | shutting down at once, before the store of `head` | a closed queue, all messages still in it | whoever gets them, or shuts down again |
//!
//! The locks are taken over from the dead without a word: at every instant the ring is whole.

mod batch;
mod bytes;
mod core;
mod ends;
mod error;
mod head;
mod options;
mod slices;
mod slots;
mod spill;
mod tail;
#[cfg(feature = "async")]
mod tasks;
mod waitable;

use self::core::Core;
use crate::codec::{Codec, with_scratch};
use crate::messages::{After, Messages, Source, iterates};
use crate::pipe_end::Decoding;
use crate::underway;
use options::{MAX_BYTES, MIN_BYTES, QueueSettings};
use procession_shm::{Kind, Object, OpenError, Parameter, Shape, Shared};
use procession_sync::{EventCount, LockWord};
use procession_sys::atomic::{AtomicU32, AtomicU64};
use procession_sys::{Deadline, shm_struct};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

pub(crate) use batch::Batch;
pub use batch::QueueBatch;
pub use bytes::QueueBytes;
pub use error::{
    CloseError, ClosedQueue, Fullness, GetError, GetManyError, PutError, PutManyError, SlotHeld,
};
pub use options::QueueOptions;
pub(crate) use options::{limit, typed_options};
pub use slots::{QueueSlots, ReadSlot, WriteSlot};

/// How many bytes of messages a queue holds unless said otherwise.
const DEFAULT_BYTES: u64 = 1 << 20;

shm_struct! {
    #[doc(hidden)]
    pub struct QueueBody {
        put_lock: LockWord,
        head_seen: AtomicU64,
        starving: AtomicU32,
        reserved: AtomicU32,
        put_spare: [AtomicU64; 2],
        tail: AtomicU64,
        tail_spare: [AtomicU64; 7],
        get_lock: LockWord,
        tail_seen: AtomicU64,
        get_spare: [AtomicU64; 3],
        head: AtomicU64,
        head_spare: [AtomicU64; 7],
        items: EventCount,
        items_spare: [AtomicU64; 6],
        space: EventCount,
        space_spare: [AtomicU64; 6],
        closed: AtomicU32,
        closed_spare: [AtomicU32; 15],
    }
}

const RING_OFFSET: usize = size_of::<QueueBody>();

/// A queue between processes: what was put is got once, in the order it was put, by whoever comes first.
///
/// It holds any serde type (but for those that
/// [cannot come back](crate::codec::EncodeError::CannotComeBack)), written by the [`Codec`] that it was
/// created with. It is bounded: by bytes (1 MiB unless said) and, if wanted, by a number of messages. A
/// message that is larger than that gets a file of its own; there are four such messages in the queue at the
/// most. Handles are cheap to clone, may be used by any number of threads, and can be sent to other
/// processes. A named queue keeps its messages until they are got or the queue is unlinked, also when every
/// process has ended.
///
/// [`put`](Self::put) and [`get`](Self::get) wait; beside each is one that begins with `try_`, which never
/// waits, and one that ends with `_timeout`, whose time is for everything it does. There are three other
/// views of the same messages, with the same three ways to wait:
///
/// | view | what it is for |
/// |---|---|
/// | [`batch`](Self::batch) | many messages by one lock and one commit |
/// | [`bytes`](Self::bytes) | bytes instead of values, in a queue of [`Bytes`](crate::Bytes) |
/// | [`slots`](Self::slots) | bytes where they lie, without a copy |
///
/// A message is in the queue when `put` has returned, whatever happens to its producer then. A message is the
/// consumer's when `get` has taken it out: if the consumer is killed after that, the message is lost with it
/// (at most once).
///
/// ```
/// use procession::{GetError, Queue};
///
/// let jobs: Queue<(u32, String)> = Queue::options().capacity(100).create("jobs")?;
/// jobs.put(&(1, "wash".to_owned()))?;
/// assert_eq!(jobs.len(), 1);
/// assert_eq!(jobs.get()?, (1, "wash".to_owned()));
/// jobs.close()?;
/// assert!(matches!(jobs.get(), Err(GetError::Closed(_))));
/// # jobs.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    body: Core,
    messages: PhantomData<fn(T) -> T>,
}

procession_shm::object_builders!([T: Serialize + DeserializeOwned] QueueOptions<T> => Queue<T>);

impl<T: Serialize + DeserializeOwned> Object for Queue<T> {
    const KIND: Kind = Kind::QUEUE;
    type Body = QueueBody;
    type Settings = QueueSettings;

    fn shape(settings: &QueueSettings) -> Shape {
        let capacity = Parameter::said("capacity", settings.capacity, 0);
        let bytes = Parameter::said("bytes", settings.bytes, DEFAULT_BYTES);
        Shape {
            kind: Kind::QUEUE,
            body_len: RING_OFFSET as u64 + bytes.value,
            parameters: [capacity, bytes, Parameter::default(), Parameter::default()],
            element: Some(settings.form.element::<T>()),
            codec: settings.form.codec::<T>().id(),
        }
    }

    fn asked(settings: &QueueSettings) -> Shape {
        Shape { codec: settings.form.asked_codec::<T>(), ..Self::shape(settings) }
    }

    fn initialise(_: &QueueBody, _: &QueueSettings) {}

    fn forget_owners(body: &QueueBody) {
        body.put_lock.forget_owner();
        body.get_lock.forget_owner();
    }

    fn attach(body: Shared<QueueBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [capacity, bytes, ..] = segment.header().parameters;
        let capacity =
            u32::try_from(capacity).map_err(|_| segment.corrupt("it says an impossible capacity"))?;
        let fits = bytes.is_power_of_two()
            && (MIN_BYTES..=MAX_BYTES).contains(&bytes)
            && RING_OFFSET as u64 + bytes + procession_shm::HEADER_LEN as u64 == segment.header().size;
        let words = u32::try_from(bytes / 8).ok().filter(|_| fits);
        let words = words.ok_or_else(|| segment.corrupt("it says an impossible number of bytes"))?;
        let codec = Codec::of(segment)?;
        Ok(Self { body: Core::new(body, capacity, words, codec), messages: PhantomData })
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a message at the end, waiting for room. When it returns, the message survives every process. What
    /// a message borrows as can be put in its place: a `&str` into a queue of `String`s, a slice into one of
    /// `Vec`s.
    ///
    /// ```
    /// use procession::Queue;
    /// let words: Queue<String> = Queue::new()?;
    /// words.put("wash")?;
    /// assert_eq!(words.get()?, "wash");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::Encode`], [`PutError::Spill`], [`PutError::Fault`].
    ///
    /// # Panics
    /// When `T`'s `Serialize` does; the queue is untouched.
    pub fn put<Q>(&self, message: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.put_until(message, Deadline::NEVER)
    }

    /// Puts a message at the end if there is room now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`]; otherwise as [`put`](Self::put).
    pub fn try_put<Q>(&self, message: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.put_until(message, Deadline::PASSED).map_err(PutError::at_once)
    }

    /// Puts a message at the end, waiting for room at most `timeout`: for everything, inner locks included.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout<Q>(&self, message: &Q, timeout: Duration) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.put_until(message, Deadline::after(timeout))
    }

    /// Takes the first message out, waiting for one.
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and drained, [`GetError::Decode`], [`GetError::Spill`],
    /// [`GetError::Lost`], [`GetError::Fault`].
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does; the message is then gone.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(Deadline::NEVER)
    }

    /// Takes the first message out if there is one now.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_until(Deadline::PASSED).map_err(GetError::at_once)
    }

    /// Takes the first message out, waiting for one at most `timeout`: for everything, inner locks included.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_until(Deadline::after(timeout))
    }

    /// A copy of the first message, which stays, unless it is [lost](GetError::Lost). It never waits. Ends of
    /// pipes in the copy cannot be used: they are in the message still.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get`](Self::get).
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does.
    pub fn peek(&self) -> Result<T, GetError> {
        with_scratch(|scratch| {
            self.body.peek(scratch).map_err(GetError::at_once)?;
            underway::decoding(Decoding::Looks, || self.decode(scratch))
        })
    }

    /// Takes message after message out, waiting for each, until the queue is closed and drained; `for` does
    /// the same with a reference. [`GetError::Fault`] and [`GetError::Spill`] are the last item; other errors
    /// are about one message, which is taken out, and others follow.
    ///
    /// ```
    /// use procession::Queue;
    /// let numbers: Queue<u32> = Queue::new()?;
    /// numbers.batch().put(&[1, 2, 3])?;
    /// numbers.close()?;
    /// assert_eq!(numbers.iter().sum::<Result<u32, _>>()?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Messages<'_, Self> {
        Messages::of(self)
    }

    fn put_until<Q: Serialize + ?Sized>(&self, message: &Q, deadline: Deadline) -> Result<(), PutError> {
        let put = |bytes: &[u8]| self.body.put(bytes, deadline);
        underway::send::<T, Q, _>(
            self.body.codec.of_messages::<T>(),
            message,
            || self.body.as_location(),
            put,
        )
    }

    fn get_until(&self, deadline: Deadline) -> Result<T, GetError> {
        with_scratch(|scratch| {
            // Closed after it, where decoding made no handles.
            let _ends = self.body.get(scratch, deadline)?;
            self.decode(scratch)
        })
    }

    fn decode(&self, message: &mut Vec<u8>) -> Result<T, GetError> {
        let decoded = self.body.codec.of_messages::<T>().decode(message);
        decoded.map_err(|source| {
            let queue = self.body.segment().label();
            GetError::Decode { queue, bytes: std::mem::take(message), source }
        })
    }
}

impl<T: Serialize + DeserializeOwned> Source for Queue<T> {
    type Message = T;
    type Error = GetError;

    fn take(&self) -> Result<T, GetError> {
        self.get()
    }

    fn after(error: &GetError) -> After {
        error.after()
    }
}

iterates!([T: Serialize + DeserializeOwned] Queue<T>);

impl<T> Queue<T> {
    /// How many messages are in the queue: exact at one instant during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// How many messages were put, and how many got, both modulo 2^32: for tools, which look at the differences.
    #[doc(hidden)]
    #[must_use]
    pub fn n_put_and_got(&self) -> (u32, u32) {
        self.body.n_put_and_got()
    }

    /// Whether there was no message at one instant during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Whether there was no room for even an empty message at one instant during the call.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.body.is_full()
    }

    /// Most messages at a time, if that was limited when the queue was created.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        (self.body.capacity != u32::MAX).then_some(self.body.capacity as usize)
    }

    /// How its messages are written.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.body.codec
    }

    /// Whether [`close`](Self::close) was called, by any process, and [`reopen`](Self::reopen) was not since.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.body.is_closed()
    }

    /// Closes the queue for everybody: nothing can be put any more; what is in it can be got, and then `get`
    /// answers [`GetError::Closed`]. Closing twice is the same as once. It waits for whoever holds a slot of
    /// [`reserve`](QueueSlots::reserve).
    ///
    /// # Errors
    /// [`CloseError`].
    pub fn close(&self) -> Result<(), CloseError> {
        self.body.close()
    }

    /// Opens a closed queue again, for everybody: messages can be put, and `get` waits for them. Those who
    /// were told meanwhile that it is closed are not told of this. An open queue stays open. It waits for
    /// whoever holds a slot of [`reserve`](QueueSlots::reserve).
    ///
    /// ```
    /// use procession::Queue;
    /// let jobs: Queue<u32> = Queue::create("jobs")?;
    /// jobs.close()?;
    /// // A named queue stays closed, also when it is opened by name the next day.
    /// jobs.reopen()?;
    /// jobs.put(&1)?;
    /// # jobs.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CloseError`].
    pub fn reopen(&self) -> Result<(), CloseError> {
        self.body.reopen()
    }

    /// [Closes](Self::close) the queue; at once if `immediate`, and then what is in it is thrown away. How
    /// many messages that were.
    ///
    /// If the process is killed in the middle, the queue may be closed, and all messages still in it. It
    /// waits for whoever holds a slot of [`reserve`](QueueSlots::reserve) and, to throw away what is there,
    /// of [`read`](QueueSlots::read).
    ///
    /// ```
    /// use procession::{GetError, Queue};
    /// let jobs: Queue<u32> = Queue::new()?;
    /// jobs.batch().put(&[1, 2, 3])?;
    /// assert_eq!(jobs.shutdown(true)?, 3);
    /// assert!(matches!(jobs.get(), Err(GetError::Closed(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CloseError`].
    pub fn shutdown(&self, immediate: bool) -> Result<usize, CloseError> {
        self.body.close()?;
        if immediate { self.body.discard() } else { Ok(0) }
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), messages: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("name", &self.body.segment().name())
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}

#[cfg(test)]
mod tests;
