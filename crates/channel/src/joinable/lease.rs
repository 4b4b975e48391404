//! An item in somebody's hands, and one that nobody could finish.

use super::table::{Fate, Ticket};
use super::{JoinableQueue, LeaseToken};
use crate::codec::{Codec, DecodeError};
use crate::pipe_end::{Decoding, Passage};
use crate::underway;
use procession_shm::Label;
use procession_sync::Fault;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// An item of a [`JoinableQueue`], got and not done yet: nobody else gets it meanwhile.
///
/// [`task_done`](Self::task_done) acknowledges it. Dropped without that, also by a panic, it is there again
/// for the next that gets, and so it is when this process is killed. It may be sent to other threads. In a
/// forked child the copy of a lease does nothing: the parent has it.
///
/// Its [`token`](Self::token) lets another process decide about the item, while this one still holds it: then
/// this one's own decision comes too late, and dropping the lease does nothing.
#[must_use = "dropping the lease gives the item back, to be got again"]
pub struct Lease<T> {
    held: Held<T>,
    item: T,
}

/// The hold on an item, whatever is in it.
pub(super) struct Held<T> {
    queue: JoinableQueue<T>,
    /// `None` when it was acknowledged.
    ticket: Option<Ticket>,
    /// The ends of pipes in the item, which go with it when it is done.
    ends: Vec<Passage>,
    /// Whether its bytes were found to be an item.
    is_decoded: bool,
}

/// Why an acknowledgement was refused.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The lease was taken away, because its time was over, or somebody with its token has decided about the
    /// item, or it was inherited through a fork. The item is somebody else's, or done by somebody else.
    #[error(
        "the lease of an item of {queue}, in attempt {attempt}, is not valid any more: its time was over (.lease_timeout(), \
         extend()), or somebody else used its token, or this process was forked while it had it"
    )]
    StaleLease {
        /// Which queue.
        queue: Label,
        /// Which attempt it was.
        attempt: u32,
    },
    /// No lease has this token (any more).
    #[error(
        "item {id} of {queue} is not leased under this token: it was done or given back, or the lease's time was over, or who \
         held it has died"
    )]
    StaleToken {
        /// Which queue.
        queue: Label,
        /// The number of the item.
        id: u64,
    },
    /// The queue itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(AckError);

impl<T> Lease<T> {
    pub(super) fn new(mut held: Held<T>, item: T) -> Self {
        held.is_decoded = true;
        Self { held, item }
    }

    /// Says that the item is done: when it returns `Ok`, nobody gets it any more.
    ///
    /// # Errors
    /// [`AckError::StaleLease`] when the lease is not valid any more, [`AckError::Fault`].
    // Inlined, or the whole lease would be copied on its way.
    #[inline]
    pub fn task_done(self) -> Result<(), AckError> {
        self.held.task_done()
    }

    /// Says that nobody will ever finish the item: it is a [dead letter](JoinableQueue::dead_letters) now,
    /// however many attempts are left.
    ///
    /// ```
    /// use procession::JoinableQueue;
    /// let jobs: JoinableQueue<String> = JoinableQueue::new()?;
    /// jobs.put("not even wrong")?;
    /// jobs.get()?.give_up()?;
    /// assert_eq!((jobs.unfinished(), jobs.n_dead()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn give_up(self) -> Result<(), AckError> {
        self.held.settle(Fate::Dead)
    }

    /// Gives the item back as if it had not been got: this attempt does not count, as one does whose lease is
    /// dropped. For who is told to end, and has no fault to find with the item.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn put_back(self) -> Result<(), AckError> {
        self.held.settle(Fate::Untried)
    }

    /// From now on the lease lasts for `time`, and then it may be taken away, whatever the queue's
    /// [`lease_timeout`](super::JoinableQueueOptions::lease_timeout) is. [`Duration::MAX`] is for ever: as long as this
    /// process lives.
    ///
    /// ```
    /// use procession::JoinableQueue;
    /// use std::time::Duration;
    /// let jobs: JoinableQueue<String> =
    ///     JoinableQueue::options().lease_timeout(Duration::from_secs(10)).anonymous()?;
    /// jobs.put("a long one")?;
    /// let lease = jobs.get()?;
    /// assert!(lease.time_left() <= Some(Duration::from_secs(10)));
    /// lease.extend(Duration::from_secs(3600))?;
    /// assert!(lease.time_left() > Some(Duration::from_secs(3500)));
    /// lease.task_done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn extend(&self, time: Duration) -> Result<(), AckError> {
        let Some(ticket) = self.held.ticket else { return Ok(()) };
        if self.held.is_ours(ticket) && self.held.queue.prolong(ticket, time)? {
            return Ok(());
        }
        Err(self.held.stale(ticket))
    }

    /// How much of its time is left: `None` if it lasts as long as this process lives; zero also when it is not
    /// valid any more.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.held.ticket.map_or(Some(Duration::ZERO), |ticket| self.held.queue.time_left(ticket))
    }

    /// Whether the item is still leased by this lease. It may be taken away the next moment, if its time is
    /// limited or somebody has its [`token`](Self::token).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.held.ticket.is_some_and(|ticket| self.held.queue.is_valid(ticket))
    }

    /// The number of the item in its queue: it stays the same when the item is got again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.held.ticket.map_or(0, Ticket::seq)
    }

    /// What lets any other process decide about the item in place of this one, as long as this one holds the
    /// lease: see [`JoinableQueue::redeem`].
    #[must_use]
    pub fn token(&self) -> LeaseToken {
        self.held.ticket.map_or(LeaseToken::new(0, 0), Ticket::token)
    }

    /// The how manieth time this item was got, from 1 on. It stays at 4095.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.held.ticket.map_or(0, Ticket::attempts)
    }
}

impl<T> Held<T> {
    pub(super) fn new(queue: &JoinableQueue<T>, ticket: Ticket, ends: Vec<Passage>) -> Self {
        Self { queue: queue.clone(), ticket: Some(ticket), ends, is_decoded: false }
    }

    #[inline]
    pub(super) fn task_done(mut self) -> Result<(), AckError> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        if self.is_ours(ticket) {
            let ends = std::mem::take(&mut self.ends);
            if self.queue.settle_with(ticket, Fate::Done, ends)? {
                return Ok(());
            }
        }
        Err(self.stale(ticket))
    }

    /// Decides otherwise; the ends in the item go on with it.
    fn settle(mut self, fate: Fate) -> Result<(), AckError> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        if self.is_ours(ticket) && self.queue.settle(ticket, fate)? {
            return Ok(());
        }
        Err(self.stale(ticket))
    }

    #[cold]
    fn stale(&self, ticket: Ticket) -> AckError {
        AckError::StaleLease { queue: self.queue.body.segment().label(), attempt: ticket.attempts() }
    }

    fn is_ours(&self, ticket: Ticket) -> bool {
        // A forked child is another owner, or none yet: its copy of the lease is inert.
        self.queue.body.segment().registration().current_owner() == Some(ticket.owner())
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.filter(|&ticket| self.is_ours(ticket)) else { return };
        let fate =
            if self.is_decoded { self.queue.fate(ticket) } else { self.queue.fate_of_unreadable(ticket) };
        // If it fails, the death of this process gives the item back.
        drop(self.queue.settle(ticket, fate));
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("item", &self.item).field("attempt", &self.attempt()).finish()
    }
}

/// An item that was got as often as its queue allows, and never done; see [`JoinableQueue::dead_letters`].
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// The number of the item in its queue.
    pub id: u64,
    /// How often it was got.
    pub attempts: u32,
    /// It as it was encoded.
    pub bytes: Vec<u8>,
    codec: Codec,
    ends: Vec<Passage>,
    ticket: Ticket,
    item: PhantomData<fn() -> T>,
}

impl<T> DeadLetter<T> {
    pub(super) fn new(queue: &JoinableQueue<T>, mut bytes: Vec<u8>, ticket: Ticket) -> Self {
        let ends = if queue.carries_ends() { underway::cut(&mut bytes) } else { Vec::new() };
        let (id, attempts) = (ticket.seq(), ticket.attempts());
        Self { id, attempts, bytes, codec: queue.coding(), ends, ticket, item: PhantomData }
    }

    /// The ends of pipes in it.
    pub(super) fn ends(&self) -> Vec<Passage> {
        self.ends.clone()
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }
}

impl<T: DeserializeOwned> DeadLetter<T> {
    /// What it is. It may be a dead letter because nobody could say. Ends of pipes in it cannot be used: they
    /// are in the item, which may be [tried again](JoinableQueue::retry).
    ///
    /// # Errors
    /// Every way in which its bytes are no `T`.
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does.
    pub fn item(&self) -> Result<T, DecodeError> {
        underway::decoding(Decoding::Looks, || self.codec.decode(&self.bytes))
    }
}

impl<T> Clone for DeadLetter<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), ends: self.ends.clone(), ..*self }
    }
}

impl<T> fmt::Debug for DeadLetter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter").field("attempts", &self.attempts).field("bytes", &self.bytes).finish()
    }
}
