//! A bounded queue of messages for many producers and many consumers.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `put_lock` | producers | one at a time writes beyond `tail` |
//! | `tail` | holder of `put_lock` | words and messages put since the beginning; **its store commits a put** |
//! | `head_seen` | holder of `put_lock` | a value `head` had: what was free then is free now |
//! | `get_lock` | consumers | one at a time reads at `head` |
//! | `head` | holder of `get_lock` | words and messages got since the beginning; **its store commits a get** |
//! | `tail_seen` | holder of `get_lock` | a value `tail` had |
//! | `closed` | holder of `put_lock` | 1: no put commits any more |
//! | `items`, `space` | anybody | eventcounts: consumers sleep on the first, producers on the second |
//!
//! Nobody sleeps holding a lock: who finds the ring empty or full lets go, sleeps on the eventcount, and begins
//! again. Serialization runs before the put lock is taken, and deserialization after the get lock is released.
//!
//! # Orderings
//! Edge `queue.put`: the Release store of `tail` meets the Acquire load in a consumer, so that the record is there.
//! Edge `queue.get`: the Release store of `head` meets the Acquire load in a producer, so that the record's place may
//! be overwritten. Edge `eventcount.dekker`: between the store of `tail` (`head`) and the look at the waiters lies
//! the lock's release, an atomic read-modify-write, and a full fence.
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
//!
//! The locks are taken over from the dead without a word: at every instant the ring is whole.

mod error;
mod options;
mod waiter;

use crate::codec::{self, CODEC_ID};
use crate::ring::{Bytes, Head, Mark, record_words};
use error::Blocked;
use options::{MAX_BYTES, MIN_BYTES, QueueSettings};
use procession_shm::{Kind, Object, OpenError, Parameter, Shape, Shared, Unknowable};
use procession_sync::{AcquireError, Claim, EventCount, Hold, LockWord};
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, crash_point, shm_struct};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use waiter::Waiter;

pub use error::{GetError, PutError, QueueFault};
pub use options::QueueOptions;

/// How many bytes of messages a queue holds unless said otherwise.
const DEFAULT_BYTES: u64 = 1 << 20;
/// How long `try_put` and `try_get` wait for an inner lock, which is held for the time of one copy.
const LOCK_PATIENCE: Duration = Duration::from_millis(20);
/// A scratch buffer that grew beyond this is given back.
const KEEP_SCRATCH: usize = 1 << 20;

shm_struct! {
    #[doc(hidden)]
    pub struct QueueBody {
        put_lock: LockWord,
        head_seen: AtomicU64,
        put_spare: [AtomicU64; 4],
        tail: AtomicU64,
        tail_spare: [AtomicU64; 7],
        get_lock: LockWord,
        tail_seen: AtomicU64,
        get_spare: [AtomicU64; 4],
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
/// It holds any serde type, and is bounded: by bytes (1 MiB unless said) and, if wanted, by a number of messages.
/// Handles are cheap to clone, may be used by any number of threads, and can be sent to other processes. A named queue
/// keeps its messages until they are got or the queue is unlinked, also when every process has ended.
///
/// A message is in the queue when `put` has returned, whatever happens to its producer then. A message is the
/// consumer's when `get` has taken it out: if the consumer is killed after that, the message is lost with it (at most
/// once).
///
/// ```
/// use procession_channel::{GetError, Queue};
///
/// # let namespace = procession_shm::Namespace::private();
/// let jobs: Queue<(u32, String)> = Queue::options().namespace(&namespace).capacity(100).create("jobs")?;
/// jobs.put(&(1, "wash".to_owned()))?;
/// assert_eq!(jobs.len(), 1);
/// assert_eq!(jobs.get()?, (1, "wash".to_owned()));
/// jobs.close()?;
/// assert!(matches!(jobs.get(), Err(GetError::Closed)));
/// # jobs.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    body: Shared<QueueBody>,
    ring: Bytes,
    /// Most messages at a time; `u32::MAX` for no limit.
    capacity: u32,
    messages: PhantomData<fn(T) -> T>,
}

procession_shm::object_builders!([T: Serialize + DeserializeOwned] QueueOptions<T> => Queue<T>);

impl<T: Serialize + DeserializeOwned> Object for Queue<T> {
    type Body = QueueBody;
    type Settings = QueueSettings;

    fn shape(settings: &QueueSettings) -> Shape {
        let parameter = |name, said: Option<u64>, default| Parameter {
            name,
            value: said.unwrap_or(default),
            asked: said.is_some(),
        };
        let capacity = parameter("capacity", settings.capacity, 0);
        let bytes = parameter("bytes", settings.bytes, DEFAULT_BYTES);
        let tag = settings.type_tag.clone().unwrap_or_else(procession_shm::element_tag::<T>);
        Shape {
            kind: Kind::QUEUE,
            body_len: RING_OFFSET as u64 + bytes.value,
            parameters: [capacity, bytes, Parameter::default(), Parameter::default()],
            element: Some(tag),
            codec: CODEC_ID,
        }
    }

    fn initialise(_: &QueueBody, _: &QueueSettings) {}

    fn forget_owners(body: &QueueBody) {
        body.put_lock.forget_owner();
        body.get_lock.forget_owner();
    }

    fn attach(body: Shared<QueueBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [capacity, bytes, ..] = segment.header().parameters;
        let capacity = u32::try_from(capacity).map_err(|_| segment.corrupt("an impossible capacity"))?;
        let fits = bytes.is_power_of_two()
            && (MIN_BYTES..=MAX_BYTES).contains(&bytes)
            && RING_OFFSET as u64 + bytes + procession_shm::HEADER_LEN as u64 == segment.header().size;
        let words = u32::try_from(bytes / 8).ok().filter(|_| fits);
        let words = words.ok_or_else(|| segment.corrupt("an impossible number of bytes"))?;
        let capacity = if capacity == 0 { u32::MAX } else { capacity };
        Ok(Self { ring: Bytes::new(RING_OFFSET, words), capacity, body, messages: PhantomData })
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a message at the end, waiting for room. When it returns, the message survives every process.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Fault`].
    ///
    /// # Panics
    /// When `T`'s `Serialize` does; the queue is untouched.
    pub fn put(&self, message: &T) -> Result<(), PutError> {
        self.put_until(message, Deadline::NEVER)
    }

    /// Puts a message at the end if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put`](Self::put).
    pub fn try_put(&self, message: &T) -> Result<(), PutError> {
        self.put_until(message, Deadline::PASSED).map_err(|error| match error {
            PutError::TimedOut => PutError::Full,
            other => other,
        })
    }

    /// Puts a message at the end, waiting for room at most `timeout`: for everything, inner locks included.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout(&self, message: &T, timeout: Duration) -> Result<(), PutError> {
        self.put_until(message, Deadline::after(timeout))
    }

    /// Takes the first message out, waiting for one.
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and drained, [`GetError::Decode`], [`GetError::Fault`].
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does; the message is then gone.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(Deadline::NEVER)
    }

    /// Takes the first message out if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_until(Deadline::PASSED).map_err(|error| match error {
            GetError::TimedOut => GetError::Empty,
            other => other,
        })
    }

    /// Takes the first message out, waiting for one at most `timeout`: for everything, inner locks included.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_until(Deadline::after(timeout))
    }

    fn put_until(&self, message: &T, deadline: Deadline) -> Result<(), PutError> {
        with_scratch(|scratch| {
            codec::encode(message, scratch)?;
            self.put_record(scratch, deadline)
        })
    }

    fn get_until(&self, deadline: Deadline) -> Result<T, GetError> {
        with_scratch(|scratch| {
            self.get_record(scratch, deadline)?;
            codec::decode(scratch)
                .map_err(|source| GetError::Decode { bytes: std::mem::take(scratch), source })
        })
    }
}

impl<T> Queue<T> {
    /// How many messages are in the queue: exact at one instant during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        let used = self.used();
        (used.items as usize).min(used.words as usize)
    }

    /// Whether there was no message at one instant during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there was no room for even the smallest message at one instant during the call.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let used = self.used();
        used.items >= self.capacity || self.ring.words().saturating_sub(used.words) < 2
    }

    /// Most messages at a time, if that was limited when the queue was created.
    #[must_use]
    pub fn capacity(&self) -> Option<u32> {
        (self.capacity != u32::MAX).then_some(self.capacity)
    }

    /// Whether [`close`](Self::close) was called, by any process.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.body.closed.load(Ordering::Acquire) != 0
    }

    /// Where consumers sleep.
    pub(crate) fn items(&self) -> &EventCount {
        &self.body.items
    }

    /// Closes the queue for everybody: nothing can be put any more; what is in it can be got, and then `get` answers
    /// [`GetError::Closed`]. Closing twice is the same as once.
    ///
    /// # Errors
    /// [`QueueFault`].
    pub fn close(&self) -> Result<(), QueueFault> {
        let hold = match self.lock(&self.body.put_lock, Deadline::NEVER) {
            Ok(hold) => hold,
            Err(Blocked::TimedOut) => return Ok(()),
            Err(Blocked::Fault(fault)) => return Err(fault),
        };
        self.body.closed.store(1, Ordering::Release);
        crash_point("queue.close.stored");
        self.body.put_lock.release(hold, true);
        crash_point("queue.close.released");
        fence_after_rmw();
        self.body.items.notify_all();
        self.body.space.notify_all();
        Ok(())
    }

    /// The difference of the two marks, taken at one instant: `head` did not move while `tail` was read.
    fn used(&self) -> Mark {
        let mut head = self.body.head.load(Ordering::Acquire);
        loop {
            let tail = self.body.tail.load(Ordering::Acquire);
            let again = self.body.head.load(Ordering::Acquire);
            if again == head {
                return Mark::from_bits(tail).since(Mark::from_bits(head));
            }
            head = again;
        }
    }

    fn put_record(&self, payload: &[u8], deadline: Deadline) -> Result<(), PutError> {
        let words = record_words(payload.len()).filter(|&words| words <= self.ring.words());
        let words = words.ok_or_else(|| PutError::TooLarge {
            len: payload.len(),
            most: (self.ring.words() as usize - 1) * 8,
            needed: (payload.len() as u64 + 8).next_power_of_two(),
        })?;
        let mut waiter = Waiter::new(&self.body.space, deadline);
        loop {
            let hold = self.lock(&self.body.put_lock, deadline)?;
            let done = self.write_at_tail(words, payload);
            self.body.put_lock.release(hold, true);
            crash_point("queue.put.released");
            // SYNC: eventcount.dekker. The release was a read-modify-write.
            fence_after_rmw();
            match done {
                Ok(true) => {
                    self.body.items.notify_one();
                    if waiter.has_slept() && self.has_room(words) {
                        // There may be room for the next sleeper too, and its wake was held back for us.
                        self.body.space.notify_one();
                    }
                    return Ok(());
                }
                Ok(false) => waiter.wait(self.body.segment(), || self.has_room(words) || self.is_closed())?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Under the put lock: writes and commits the record if there is room.
    #[inline]
    fn write_at_tail(&self, words: u32, payload: &[u8]) -> Result<bool, PutError> {
        let body = &*self.body;
        if body.closed.load(Ordering::Relaxed) != 0 {
            return Err(PutError::Closed);
        }
        // Relaxed: only holders of the lock write these two.
        let tail = Mark::from_bits(body.tail.load(Ordering::Relaxed));
        let head = Mark::from_bits(body.head_seen.load(Ordering::Relaxed));
        if !self.fits(tail.since(head), words) {
            // SYNC: queue.get.
            let head = body.head.load(Ordering::Acquire);
            body.head_seen.store(head, Ordering::Relaxed);
            let used = tail.since(Mark::from_bits(head));
            if used.words > self.ring.words() || used.items > used.words {
                return Err(self.corrupt("more in the ring than it can hold").into());
            }
            if !self.fits(used, words) {
                return Ok(false);
            }
        }
        if !self.ring.write(&self.body, tail, payload, false) {
            return Err(self.corrupt("the ring reaches past the segment").into());
        }
        crash_point("queue.put.written");
        // SYNC: queue.put.
        body.tail.store(tail.after_record(words).to_bits(), Ordering::Release);
        crash_point("queue.put.committed");
        Ok(true)
    }

    #[inline]
    fn fits(&self, used: Mark, words: u32) -> bool {
        used.items < self.capacity
            && used.words <= self.ring.words()
            && self.ring.words() - used.words >= words
    }

    fn has_room(&self, words: u32) -> bool {
        self.fits(self.used(), words)
    }

    fn get_record(&self, into: &mut Vec<u8>, deadline: Deadline) -> Result<(), GetError> {
        let mut waiter = Waiter::new(&self.body.items, deadline);
        loop {
            let hold = self.lock(&self.body.get_lock, deadline)?;
            let done = self.read_at_head(into);
            self.body.get_lock.release(hold, true);
            crash_point("queue.get.released");
            // SYNC: eventcount.dekker. The release was a read-modify-write.
            fence_after_rmw();
            match done {
                Ok(true) => {
                    self.body.space.notify_one();
                    if waiter.has_slept() && !self.is_empty() {
                        // There is something for the next sleeper too, and its wake was held back for us.
                        self.body.items.notify_one();
                    }
                    return Ok(());
                }
                Ok(false) => waiter.wait(self.body.segment(), || !self.is_empty() || self.is_closed())?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Under the get lock: copies the first record out and commits, if there is one.
    #[inline]
    fn read_at_head(&self, into: &mut Vec<u8>) -> Result<bool, GetError> {
        let body = &*self.body;
        // Relaxed: only holders of the lock write these two.
        let head = Mark::from_bits(body.head.load(Ordering::Relaxed));
        let mut used = Mark::from_bits(body.tail_seen.load(Ordering::Relaxed)).since(head);
        if used.words == 0 || used.words > self.ring.words() {
            // Before the tail: what was put before the queue was closed is seen by whoever sees it closed.
            let closed = self.is_closed();
            // SYNC: queue.put.
            let tail = body.tail.load(Ordering::Acquire);
            body.tail_seen.store(tail, Ordering::Relaxed);
            used = Mark::from_bits(tail).since(head);
            if used.words == 0 {
                return if closed { Err(GetError::Closed) } else { Ok(false) };
            }
            if used.words > self.ring.words() {
                return Err(self.corrupt("more in the ring than it can hold").into());
            }
        }
        let record = self.ring.head(&self.body, head, used.words).filter(|record| !record.continues);
        let Some(Head { len, words, .. }) = record else {
            return Err(self.corrupt("a message longer than what is in the ring").into());
        };
        into.clear();
        into.resize(len, 0);
        if !self.ring.read(&self.body, head, into) {
            return Err(self.corrupt("the ring reaches past the segment").into());
        }
        crash_point("queue.get.copied");
        // SYNC: queue.get.
        body.head.store(head.after_record(words).to_bits(), Ordering::Release);
        crash_point("queue.get.committed");
        Ok(true)
    }

    #[inline]
    fn lock(&self, lock: &LockWord, deadline: Deadline) -> Result<Hold, Blocked> {
        // A `try` that finds another in the middle of its copy waits for that, or it would call a queue empty that is
        // not; a holder that is stopped makes it give up all the same.
        let deadline = if deadline == Deadline::PASSED { Deadline::after(LOCK_PATIENCE) } else { deadline };
        lock.acquire(self.body.segment(), Claim::Ignore, deadline).map_err(|error| self.blocked(error))
    }

    #[cold]
    fn blocked(&self, error: AcquireError) -> Blocked {
        let queue = || self.body.segment().display_name();
        Blocked::Fault(match error {
            AcquireError::Orphaned => QueueFault::Orphaned { queue: queue() },
            AcquireError::Unknowable(Unknowable::RegistryChanged) => {
                QueueFault::RegistryChanged { queue: queue() }
            }
            AcquireError::Unregistered(error) => QueueFault::Unregistered(error),
            AcquireError::Unknowable(_) => self.corrupt("a lock names no possible owner"),
            _ => return Blocked::TimedOut,
        })
    }

    #[cold]
    fn corrupt(&self, what: &'static str) -> QueueFault {
        QueueFault::Corrupt { queue: self.body.segment().display_name(), what }
    }
}

/// Runs `work` with a buffer of this thread that is used again and again. A nested call (a message that puts another
/// message while it is serialized) gets a buffer of its own.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    buffer.clear();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEEP_SCRATCH {
        // While the thread ends there is nowhere to keep it.
        drop(SCRATCH.try_with(|scratch| scratch.replace(buffer)));
    }
    result
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), ring: self.ring, capacity: self.capacity, messages: PhantomData }
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
