//! A queue of a cluster whose items are acknowledged.

mod lease;

pub use lease::{Lease, Receipt, Redeemed};

use crate::engine::{Engine, Fate, Form, Items, Object, Patience, Taken};
use crate::error::ClusterError;
use procession_channel::{Codec, LeaseToken};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A queue between processes on several hosts, whose items are leased until they are acknowledged.
///
/// An item that was put is there until somebody has acknowledged it: it is got by one process at a time, and by the next
/// one when that dies, or its session with the server ends. After so many attempts it is a dead letter
/// ([`dead_letters`](Self::dead_letters)). Items are kept through a restart and a crash of the server; what it had
/// answered to [`put`](Self::put) is on its disk. An acknowledgement of the last moment before a *crash of the server* may
/// be lost, and the item comes again: give the item's effect and the acknowledgement to one transaction
/// ([`Lease::receipt`]) where that must not be.
///
/// All users of a queue say the same codec and number of attempts.
///
/// ```
/// # procession::Namespace::private().enter();
/// use procession::cluster::connect;
///
/// let cluster = connect("shm:")?;
/// let jobs = cluster.joinable_queue::<String>("doc-jobs");
/// jobs.put(&"resize a.png".to_owned())?;
/// let job = jobs.get()?;
/// assert_eq!((job.as_str(), job.attempt()), ("resize a.png", 1));
/// job.task_done()?;
/// jobs.join()?;
/// # Ok::<(), procession::cluster::ClusterError>(())
/// ```
pub struct JoinableQueue<T> {
    engine: Arc<dyn Engine>,
    object: Object,
    form: Form,
    /// Found at the first use.
    found: Arc<OnceLock<Arc<dyn Items>>>,
    items: PhantomData<fn(T) -> T>,
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        let (engine, object, found) = (self.engine.clone(), self.object.clone(), self.found.clone());
        Self { engine, object, form: self.form, found, items: PhantomData }
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue").field("object", &self.object).field("form", &self.form).finish()
    }
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    pub(crate) fn new(engine: Arc<dyn Engine>, object: Object) -> Self {
        let form = Form { codec: Codec::Json, max_attempts: 5, bytes: 1 << 20, ephemeral: false };
        Self { engine, object, form, found: Arc::default(), items: PhantomData }
    }

    /// In this codec instead of JSON, which other languages and SQL read.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.form.codec = codec;
        self.found = Arc::default();
        self
    }

    /// With so many attempts for each item, instead of 5; then it is a dead letter. 4095 at most.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.form.max_attempts = attempts.clamp(1, 4095);
        self.found = Arc::default();
        self
    }

    fn items(&self) -> Result<&Arc<dyn Items>, ClusterError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = self.engine.clone().queue(&self.object, self.form)?;
        Ok(self.found.get_or_init(|| found))
    }

    /// Puts an item. When this returns, it is on the server's disk.
    ///
    /// # Errors
    /// [`Closed`](ClusterError::Closed); [`Encode`](ClusterError::Encode); [`Mismatch`](ClusterError::Mismatch) when the
    /// queue has another codec or number of attempts; [`Unavailable`](ClusterError::Unavailable): then the item may be in
    /// the queue nevertheless; with `shm:`, whose queues have only so much room, also
    /// [`Interrupted`](ClusterError::Interrupted).
    pub fn put(&self, item: &T) -> Result<(), ClusterError> {
        self.put_many([item])
    }

    /// Puts all of these items in one step, which is much faster than one by one: all are there, or none. With `shm:` they
    /// come one after the other, and wait for room; if that fails, the first of them may be in the queue.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_many<'a>(&self, items: impl IntoIterator<Item = &'a T>) -> Result<(), ClusterError>
    where
        T: 'a,
    {
        let encoded = items.into_iter().map(|item| self.encode(item)).collect::<Result<Vec<_>, _>>()?;
        if encoded.is_empty() { Ok(()) } else { self.items()?.put(&encoded, Patience::Forever).map(drop) }
    }

    /// An item as it lies in the queue.
    pub(crate) fn encode(&self, item: &T) -> Result<Vec<u8>, ClusterError> {
        let mut bytes = Vec::new();
        let encoded = self.form.codec.encode::<T, T>(item, &mut bytes);
        encoded.map(|()| bytes).map_err(|error| ClusterError::Encode {
            object: self.object.subject.clone(),
            reason: error.to_string(),
        })
    }

    /// With room for so many bytes, where room is limited.
    pub(crate) fn bytes(mut self, bytes: u64) -> Self {
        self.form.bytes = bytes;
        self
    }

    /// To go with this process, if that makes it.
    pub(crate) fn ephemeral(mut self) -> Self {
        self.form.ephemeral = true;
        self
    }

    /// The queue, if there is one, without making it as every other use of it does.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// assert!(cluster.joinable_queue::<String>("doc-none").if_there()?.is_none());
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`Mismatch`](ClusterError::Mismatch) when it has another codec or number of attempts;
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn if_there(self) -> Result<Option<Self>, ClusterError> {
        let found = self.engine.clone().existing_queue(&self.object, self.form)?;
        Ok(found.map(|found| Self { found: Arc::new(OnceLock::from(found)), ..self }))
    }

    /// Puts as many of these items as find room within `timeout`, from the first on; how many.
    pub(crate) fn put_some(&self, items: &[Vec<u8>], timeout: Duration) -> Result<usize, ClusterError> {
        self.items()?.put(items, Patience::of(timeout))
    }

    /// Removes the queue with all that is in it.
    pub(crate) fn remove(&self) -> Result<(), ClusterError> {
        self.items()?.remove()
    }

    /// Waits for an item.
    ///
    /// # Errors
    /// [`Closed`](ClusterError::Closed) when the queue is closed and everything in it is done;
    /// [`Decode`](ClusterError::Decode), and the item is tried by others; [`Mismatch`](ClusterError::Mismatch);
    /// [`Unavailable`](ClusterError::Unavailable); [`Interrupted`](ClusterError::Interrupted).
    pub fn get(&self) -> Result<Lease<T>, ClusterError> {
        self.one(Patience::Forever)
    }

    /// An item, if there is one.
    ///
    /// # Errors
    /// [`WouldBlock`](ClusterError::WouldBlock); otherwise as [`get`](Self::get).
    pub fn try_get(&self) -> Result<Lease<T>, ClusterError> {
        self.one(Patience::Try)
    }

    /// Waits at most `timeout` for an item.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Lease<T>, ClusterError> {
        self.one(Patience::of(timeout))
    }

    /// Waits for an item, and takes up to so many at once: much faster than one by one.
    ///
    /// # Errors
    /// As [`get`](Self::get); with [`Decode`](ClusterError::Decode) all of them are given back.
    pub fn get_many(&self, most: usize) -> Result<Vec<Lease<T>>, ClusterError> {
        self.some(most.max(1), Patience::Forever)
    }

    /// Waits at most `timeout` for an item, and takes up to so many at once.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`get_many`](Self::get_many).
    pub fn get_many_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<Lease<T>>, ClusterError> {
        self.some(most.max(1), Patience::of(timeout))
    }

    fn one(&self, patience: Patience) -> Result<Lease<T>, ClusterError> {
        let mut items = self.some(1, patience)?;
        // There is one: that is what was waited for.
        items.pop().ok_or_else(|| self.object.not_in_time(Patience::Try, String::new()))
    }

    fn some(&self, most: usize, patience: Patience) -> Result<Vec<Lease<T>>, ClusterError> {
        let items = self.items()?;
        let batch = items.take(most, patience)?;
        let lease = |taken| Lease::new(self, taken, (items, &batch.hold));
        // What is not decoded is given back as its lease is dropped.
        let leases: Vec<_> = batch.items.into_iter().map(lease).collect();
        leases.into_iter().collect()
    }

    /// Acknowledges all of these in one step; how many of them were still ours.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable): then some of them may be done, and the others come again.
    pub fn tasks_done(&self, leases: Vec<Lease<T>>) -> Result<usize, ClusterError> {
        let mut done = 0;
        let mut leases = leases.into_iter().peekable();
        while let Some(first) = leases.next() {
            // Those that were taken together have one session.
            let hold = first.hold().clone();
            let mut batch = vec![first];
            while let Some(next) = leases.next_if(|next| Arc::ptr_eq(next.hold(), &hold)) {
                batch.push(next);
            }
            let items: Vec<_> = batch.iter_mut().map(Lease::settle).collect();
            done += hold.end(&items, Fate::Done)?.len();
        }
        Ok(done)
    }

    /// The lease that has this token, whichever process holds it: to say that its item is done, or what else becomes of it.
    /// The lease must still be held: it ends with its holder and with its time, not with who has the token.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// use procession::cluster::{LeaseToken, connect};
    ///
    /// let jobs = connect("shm:")?.joinable_queue::<String>("doc-tokens");
    /// jobs.put(&"wash".to_owned())?;
    /// let lease = jobs.get()?;
    /// // What is sent to another process, which has the queue, too.
    /// let (id, key) = (lease.token().id(), lease.token().key());
    /// jobs.redeem(LeaseToken::new(id, key)).task_done()?;
    /// assert!(lease.time_left().is_err() && jobs.unfinished()? == 0);
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    pub fn redeem(&self, token: LeaseToken) -> Redeemed<'_, T> {
        Redeemed::of(self, token)
    }

    /// Waits until every item that was put is done, or a dead letter.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable); [`Interrupted`](ClusterError::Interrupted).
    pub fn join(&self) -> Result<(), ClusterError> {
        self.items()?.join(Patience::Forever)
    }

    /// Waits for that, at most `timeout`.
    ///
    /// # Errors
    /// [`NotDone`](ClusterError::NotDone); otherwise as [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), ClusterError> {
        self.items()?.join(Patience::of(timeout))
    }

    /// How many items wait to be got.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn len(&self) -> Result<u64, ClusterError> {
        Ok(self.items()?.fill()?.ready)
    }

    /// Whether none waits to be got.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, ClusterError> {
        Ok(self.len()? == 0)
    }

    /// How many items are not done: those that wait, and those that somebody has.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn unfinished(&self) -> Result<u64, ClusterError> {
        let fill = self.items()?.fill()?;
        Ok(fill.ready + fill.leased)
    }

    /// How many items nobody could finish.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn n_dead(&self) -> Result<u64, ClusterError> {
        Ok(self.items()?.fill()?.dead)
    }

    /// Whether the queue is closed.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_closed(&self) -> Result<bool, ClusterError> {
        self.items()?.is_closed()
    }

    /// Closes the queue: nothing is put any more, and those who get are told once everything is done.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn close(&self) -> Result<(), ClusterError> {
        self.items()?.set_closed(true)
    }

    /// Opens it again.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn reopen(&self) -> Result<(), ClusterError> {
        self.items()?.set_closed(false)
    }

    /// Items that nobody could finish, the oldest first.
    ///
    /// # Errors
    /// As [`len`](Self::len), and [`Decode`](ClusterError::Decode).
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter<T>>, ClusterError> {
        let letter = |taken: Taken| {
            let item = decode(&self.object, self.form.codec, &taken.bytes)?;
            Ok(DeadLetter { id: taken.id, attempts: taken.attempt, item })
        };
        self.items()?.dead()?.into_iter().map(letter).collect()
    }

    /// Has a dead letter tried again; whether it was still there.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn retry(&self, letter: &DeadLetter<T>) -> Result<bool, ClusterError> {
        self.items()?.settle(letter.id, true)
    }

    /// Removes a dead letter; whether it was still there.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn discard(&self, letter: &DeadLetter<T>) -> Result<bool, ClusterError> {
        self.items()?.settle(letter.id, false)
    }
}

fn decode<T: DeserializeOwned>(object: &Object, codec: Codec, bytes: &[u8]) -> Result<T, ClusterError> {
    codec
        .decode(bytes)
        .map_err(|error| ClusterError::Decode { object: object.subject.clone(), reason: error.to_string() })
}

/// An item that nobody could finish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// Its number in the queue.
    pub id: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// What it is.
    pub item: T,
}
