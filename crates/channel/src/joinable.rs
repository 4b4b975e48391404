//! A queue whose items are done when somebody says so, not when somebody takes them.
//!
//! | cell (bits 28..32 of its word) | meaning |
//! |---|---|
//! | 0 | free: there is no item, or it is done |
//! | `READY` + attempts so far | there to be got |
//! | `LEASED` + owner + attempt | got, and not done yet |
//! | `DEAD` + attempts | a dead letter: got so many times, and never done |
//!
//! | other word | meaning |
//! |---|---|
//! | `lock` | a [`LockWord`]: who puts, gets, or decides about an item. Held for one copy; nobody sleeps holding it |
//! | `next_seq` | the number of the next item; its cell is that number modulo the cells, or the next one that is free |
//! | `next_block` | hint: where to look for a free block |
//! | `first_ready` | no item with a lower number is ready |
//! | `unfinished`, `others` | how many cells are ready, leased, dead; how many blocks are taken |
//! | `times_finished` | changes when the last unfinished item is done or dead, before that is counted |
//! | `uncounted` | 1: the four words before are to be made from the cells |
//! | `n_put` | how many items were put; of who is killed right after the store of its cell, one may be left out |
//! | `closed` | 1: no put commits any more, until it is opened again |
//! | `surveyed_ms` | hint: when somebody last asked about the holders of leases |
//! | `items`, `space`, `finished` | eventcounts: of those who get, put and join |
//!
//! A message lies in a chain of blocks of 128 bytes, each marked with the item's number. A block is free when
//! no cell has that item: so the one store that makes an item done frees its cell and its blocks too, in any
//! order, and an item that is worked on for an hour keeps nobody's room but its own. There are as many cells
//! as blocks, so that blocks are all that can run out.
//!
//! A dead letter stays in its cell: that is one store. Moving it to another queue would be two, with a moment
//! between them in which it is in both, or in none.
//!
//! # Who may change what
//! Everything but the eventcounts and `surveyed_ms`: the holder of `lock`. Ready → leased: who gets. Leased →
//! done: who leased it, in that attempt. Leased → ready, or dead after the last attempt: who leased it, by
//! dropping the lease; anybody, once the holder is dead or, if leases have a timeout, over time. Dead → done
//! or ready: anybody. Whoever decides about a lease compares the item's number, the whole word and the time
//! first: an old acknowledgement never meets a new item, or a new attempt. So it may also be anybody who has the
//! lease's token, which is made of these three: what was decided by it is decided, and whoever leased the item is too
//! late. When a lease is over, its holder or its token may change; so who finds that its time is over looks again,
//! under the lock.
//!
//! # Orderings
//! Edge `lock.handover` carries everything that only holders touch. Edge `joinable.cell`: the Release store
//! of a cell meets the Acquire load of who looks for dead holders without the lock, before the owner is asked
//! about. Edge `eventcount.dekker`: between a change and the look at the waiters lies the lock's release, and
//! a full fence.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | putting, before the store of the cell | a number that nobody has, marked blocks of no item | nothing: they are free |
//! | after the store of a cell, before the counts | counts that are one behind, a dead holder of `lock` | the next holder counts anew |
//! | after the counts, before its wake | a sleeper that missed something | the end of the sleeper's slice |
//! | extending a lease, after the store | a lease that is over at another time | – |
//! | holding a lease | a cell of a dead owner | the next that gets; a sleeper's slice: ready again, or dead |
//! | having found a dead holder, before it is in the cell | the same | the same again |
//! | counting anew | the same, `INCONSISTENT` or `uncounted` kept | the next holder |
//! | closing, after the store of `closed` | sleepers who were not told | the ends of their slices |
//! | opening it again, after the store of `closed` | an open queue | – |
//!
//! # Not promised
//! Order, once an item came back: it is got before younger ones, but those may have been done meanwhile.
//! Exactly once: an item whose holder was killed after its work and before its acknowledgement is worked on
//! again.

mod batch;
mod bytes;
mod error;
mod lease;
mod options;
mod seen;
mod table;
#[cfg(feature = "async")]
mod tasks;
#[cfg(test)]
mod tests;
mod token;
mod waitable;
mod work;

pub use batch::JoinableBatch;
pub use bytes::JoinableBytes;
pub use error::JoinError;
pub use lease::{AckError, DeadLetter, Lease};
pub use options::JoinableQueueOptions;
pub use seen::{LeasedItem, PeekedItem};
pub use token::{LeaseToken, Redeemed};
pub use waitable::Finished;

use crate::codec::Codec;
use crate::messages::{After, Messages, Source, iterates};
use crate::pipe_end::{Decoding, Location};
use crate::queue::{GetError, PutError};
use crate::underway;
use crate::waiter::Stopped;
use lease::Held;
use procession_shm::Shared;
use procession_sync::{EventCount, Fault, LockWord};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, crash_point, interrupt, shm_struct};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;
use table::Fate;

shm_struct! {
    #[doc(hidden)]
    pub struct JoinableBody {
        lock: LockWord,
        next_seq: AtomicU64,
        first_ready: AtomicU64,
        unfinished: AtomicU64,
        others: AtomicU64,
        times_finished: AtomicU64,
        next_block: AtomicU32,
        uncounted: AtomicU32,
        closed: AtomicU32,
        surveyed_ms: AtomicU32,
        n_put: AtomicU64,
        spare: [AtomicU64; 4],
        items: EventCount,
        space: EventCount,
        finished: EventCount,
        last_spare: [AtomicU64; 2],
    }
}

/// A queue between processes whose items are leased, and done when they are acknowledged.
///
/// [`get`](Self::get) answers a [`Lease`]: the item, which nobody else gets meanwhile. [`Lease::task_done`]
/// says that it is done, and only then is it gone. If the lease is dropped instead, or its process is killed,
/// the item is there again for the next that gets, ahead of younger ones: **at least once**. What works on
/// items must bear to begin one twice; after [`max_attempts`](JoinableQueueOptions::max_attempts) an item
/// becomes a [dead letter](Self::dead_letters) instead.
///
/// [`join`](Self::join) waits until everything that was put is done. Otherwise it is as a
/// [`Queue`](crate::Queue): bounded, of any serde type, for any number of processes and threads; what `put`
/// returned for survives every process.
///
/// The death of a holder is noticed by those who get, and by those who join: at once by who waits because there is
/// nothing else to get, else within about a tenth of a second.
///
/// ```
/// use procession::{GetError, JoinableQueue};
///
/// let jobs: JoinableQueue<String> = JoinableQueue::create("jobs")?;
/// jobs.put("wash")?;
/// let lease = jobs.get()?;
/// assert_eq!((lease.as_str(), lease.attempt()), ("wash", 1));
/// drop(lease); // not done: as if this process had been killed here
/// let lease = jobs.get()?;
/// assert_eq!((lease.as_str(), lease.attempt(), jobs.unfinished()), ("wash", 2, 1));
/// lease.task_done()?;
/// jobs.join()?;
/// # jobs.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    body: Shared<JoinableBody>,
    /// How the items are written.
    codec: Codec,
    /// Most items that are there to be got; `u32::MAX` for no limit.
    capacity: u32,
    /// How many cells and blocks there are: a power of two.
    count: u32,
    /// 0 for any number.
    max_attempts: u32,
    /// 0 for none.
    lease_timeout_ns: u64,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Puts an item at the end, waiting for room. When it returns, the item survives every process.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Fault`].
    ///
    /// # Panics
    /// When `T`'s `Serialize` does; the queue is untouched.
    pub fn put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.put_until(item, Deadline::NEVER)
    }

    /// Puts an item at the end if there is room now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`]; otherwise as [`put`](Self::put).
    pub fn try_put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.put_until(item, Deadline::PASSED).map_err(PutError::at_once)
    }

    /// Puts an item at the end, waiting for room at most `timeout`: for everything, the inner lock included.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout<Q>(&self, item: &Q, timeout: Duration) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.put_until(item, Deadline::after(timeout))
    }

    /// Leases the first item that is there, waiting for one.
    ///
    /// While the queue is closed and others still hold leases, it waits for those to be done, or to come
    /// back. So a thread that holds the last lease itself should acknowledge it before it gets another.
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and everything is done, [`GetError::Decode`],
    /// [`GetError::Fault`]. An item that cannot be decoded is there again for the next that gets, until it is
    /// a [dead letter](Self::dead_letters): after [`max_attempts`](JoinableQueueOptions::max_attempts), or
    /// after three if those are unlimited.
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does; the item is then one that cannot be decoded.
    pub fn get(&self) -> Result<Lease<T>, GetError> {
        self.get_until(Deadline::NEVER)
    }

    /// Leases the first item that is there, if there is one now. It finds items whose holders have died, too.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get`](Self::get).
    pub fn try_get(&self) -> Result<Lease<T>, GetError> {
        self.get_until(Deadline::PASSED).map_err(GetError::at_once)
    }

    /// Leases the first item that is there, waiting for one at most `timeout`: for everything, the inner lock
    /// included.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Lease<T>, GetError> {
        self.get_until(Deadline::after(timeout))
    }

    /// Leases one item after the other, waiting for each, until the queue is closed and everything is done;
    /// `for` does the same with a reference. [`GetError::Fault`] is the last item; other errors are about one
    /// item, and others follow.
    ///
    /// ```
    /// use procession::JoinableQueue;
    /// let jobs: JoinableQueue<u32> = JoinableQueue::new()?;
    /// jobs.put(&1)?;
    /// jobs.put(&2)?;
    /// jobs.close()?;
    /// let mut sum = 0;
    /// for lease in &jobs {
    ///     let lease = lease?;
    ///     sum += *lease;
    ///     lease.task_done()?;
    /// }
    /// assert_eq!(sum, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Messages<'_, Self> {
        Messages::of(self)
    }

    /// The items that were got as often as [`max_attempts`](JoinableQueueOptions::max_attempts) allows and
    /// never done, the oldest first. They survive every process, count as finished for [`join`](Self::join),
    /// and take room until they are [discarded](Self::discard) or [tried again](Self::retry).
    ///
    /// ```
    /// use procession::JoinableQueue;
    /// let jobs: JoinableQueue<String> =
    ///     JoinableQueue::options().max_attempts(1).anonymous()?;
    /// jobs.put("explodes")?;
    /// drop(jobs.get()?);
    /// jobs.join()?;
    /// for letter in jobs.dead_letters()? {
    ///     assert_eq!((letter.item()?.as_str(), letter.attempts), ("explodes", 1));
    ///     assert!(jobs.discard(&letter)?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault`].
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter<T>>, Fault> {
        let _deferred = interrupt::defer();
        let letters = self.locked(Deadline::NEVER, |table, _| table.dead_letters());
        let letters = letters.or_else(|blocked| blocked.into_fault().map_or(Ok(Vec::new()), Err))?;
        Ok(letters.into_iter().map(|(ticket, bytes)| DeadLetter::new(self, bytes, ticket)).collect())
    }

    fn put_until<Q: Serialize + ?Sized>(&self, item: &Q, deadline: Deadline) -> Result<(), PutError> {
        let home = || Location::of_queue(self.body.segment());
        underway::send::<T, Q, _>(self.coding(), item, home, |bytes| self.put_payload(bytes, deadline))
    }

    fn get_until(&self, deadline: Deadline) -> Result<Lease<T>, GetError> {
        let mut payload = Vec::new();
        let ticket = self.claim(&mut payload, deadline)?;
        let ends = if self.carries_ends() { underway::cut(&mut payload) } else { Vec::new() };
        let held = Held::new(self, ticket, ends);
        match underway::decoding(Decoding::Borrows, || self.coding().decode(&payload)) {
            Ok(item) => Ok(Lease::new(held, item)),
            // The hold gives it back, here and when the item's `Deserialize` panics: another program may
            // understand it.
            Err(source) => {
                Err(GetError::Decode { queue: self.body.segment().label(), bytes: payload, source })
            }
        }
    }
}

impl<T> JoinableQueue<T> {
    /// Waits until every item that was put is done, or a dead letter: until there was an instant with none
    /// unfinished, even if more were put since.
    ///
    /// If the holder of a lease dies, its item is there to be got again. `join` sees to that too; it does not
    /// do the work: when nobody gets any more, it waits.
    ///
    /// # Errors
    /// [`JoinError::Fault`].
    pub fn join(&self) -> Result<(), JoinError> {
        self.join_until(Deadline::NEVER)
    }

    /// Waits at most `timeout` until every item that was put is done, or a dead letter.
    ///
    /// # Errors
    /// [`JoinError::TimedOut`], [`JoinError::Fault`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.join_until(Deadline::after(timeout))
    }

    /// How many items are there to be got: exact at one instant during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts().ready as usize
    }

    /// How many items were put, for tools. Of who was killed in the middle of a put, one may be missing.
    #[doc(hidden)]
    #[must_use]
    pub fn n_put(&self) -> u64 {
        // Relaxed: a figure for people.
        self.body.n_put.load(Ordering::Relaxed)
    }

    /// Whether there was nothing to get at one instant during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there was no room for even the smallest item at one instant during the call.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.has_room(self.counts(), 1)
    }

    /// How many items are there to be got, or leased, at one instant during the call: those that `join` waits
    /// for.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.counts().unfinished() as usize
    }

    /// Most items that are there to be got, if that was limited when the queue was created.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        (self.capacity != u32::MAX).then_some(self.capacity as usize)
    }

    /// How often an item is got at most before it is a [dead letter](Self::dead_letters); `None` for no limit.
    #[must_use]
    pub fn max_attempts(&self) -> Option<u32> {
        (self.max_attempts != 0).then_some(self.max_attempts)
    }

    /// How long a lease lasts unless it is [extended](Lease::extend); `None` for as long as its holder lives.
    #[must_use]
    pub fn lease_timeout(&self) -> Option<Duration> {
        (self.lease_timeout_ns != 0).then(|| Duration::from_nanos(self.lease_timeout_ns))
    }

    /// How its items are written.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// How `T`s become its items.
    fn coding(&self) -> Codec {
        self.codec.of_messages::<T>()
    }

    /// Whether items may have ends of pipes in them: bytes are left alone, whatever they look like.
    fn carries_ends(&self) -> bool {
        self.codec.carries_ends()
    }

    /// Whether [`close`](Self::close) was called, by any process, and [`reopen`](Self::reopen) was not since.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.body.closed.load(Ordering::Acquire) != 0
    }

    /// Closes the queue for everybody: nothing can be put any more. What is in it can be got, and comes back
    /// if it is not done; once everything is, `get` answers [`GetError::Closed`]. Closing twice is the same
    /// as once.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn close(&self) -> Result<(), Fault> {
        let _deferred = interrupt::defer();
        let closed = self.locked(Deadline::NEVER, |_, _| {
            self.body.closed.store(1, Ordering::Release);
            crash_point("joinable.closed");
            Ok(())
        });
        self.body.items.notify_all();
        self.body.space.notify_all();
        closed.or_else(Stopped::only_fault)
    }

    /// Opens a closed queue again, for everybody: items can be put, and `get` waits for them. Those who were
    /// told meanwhile that it is closed are not told of this. An open queue stays open.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn reopen(&self) -> Result<(), Fault> {
        let _deferred = interrupt::defer();
        let opened = self.locked(Deadline::NEVER, |_, _| {
            self.body.closed.store(0, Ordering::Release);
            crash_point("joinable.reopened");
            Ok(())
        });
        opened.or_else(Stopped::only_fault)
    }

    /// [Closes](Self::close) the queue; and if `immediate`, throws away what is there to be got, so that `join` does not
    /// wait for it. How many items that were. Those that others have leased are theirs, and come back as ever if they are
    /// not done; dead letters stay.
    ///
    /// If the process is killed in the middle, the queue may be closed and have some of the items still.
    ///
    /// ```
    /// use procession::{GetError, JoinableQueue};
    /// let jobs: JoinableQueue<u32> = JoinableQueue::new()?;
    /// jobs.batch().put(&[1, 2, 3])?;
    /// assert_eq!(jobs.shutdown(true)?, 3);
    /// jobs.join()?;
    /// assert!(matches!(jobs.get(), Err(GetError::Closed(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault`].
    pub fn shutdown(&self, immediate: bool) -> Result<usize, Fault> {
        self.close()?;
        if immediate { self.discard_ready() } else { Ok(0) }
    }

    /// Removes a dead letter; `false` if somebody else has decided about it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn discard(&self, letter: &DeadLetter<T>) -> Result<bool, Fault> {
        self.settle_with(letter.ticket(), Fate::Done, letter.ends())
    }

    /// Puts a dead letter back among the items, with no attempt made; `false` if somebody else has decided
    /// about it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn retry(&self, letter: &DeadLetter<T>) -> Result<bool, Fault> {
        self.settle(letter.ticket(), Fate::Fresh)
    }
}

impl<T: Serialize + DeserializeOwned> Source for JoinableQueue<T> {
    type Message = Lease<T>;
    type Error = GetError;

    fn take(&self) -> Result<Lease<T>, GetError> {
        self.get()
    }

    fn after(error: &GetError) -> After {
        error.after()
    }
}

iterates!([T: Serialize + DeserializeOwned] JoinableQueue<T>);

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), items: PhantomData, ..*self }
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("name", &self.body.segment().name())
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
