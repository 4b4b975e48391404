//! An item in somebody's hands, and one that nobody could finish.

use super::JoinableQueue;
use super::table::{Fate, Ticket};
use crate::codec::{Codec, DecodeError};
use crate::pipe_end::{Decoding, Passage};
use crate::underway::{self, Parcel};
use procession_shm::Label;
use procession_sync::Fault;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// An item of a [`JoinableQueue`], got and not done yet: nobody else gets it meanwhile.
///
/// [`task_done`](Self::task_done) acknowledges it. Dropped without that, also by a panic, it is there again
/// for the next that gets, and so it is when this process is killed. It may be sent to other threads. In a
/// forked child the copy of a lease does nothing: the parent has it.
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
    /// The lease was taken away, because it was older than the queue's lease timeout, or was inherited
    /// through a fork. The item is somebody else's, or done by somebody else.
    #[error(
        "the lease of an item of {queue}, in attempt {attempt}, is not valid any more: it lasted longer than .lease_timeout(), or \
         this process was forked while it had it"
    )]
    StaleLease {
        /// Which queue.
        queue: Label,
        /// Which attempt it was.
        attempt: u32,
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
            // Before the item is done: killed after it, this process is who they die with. Those that nobody
            // used are closed when this is dropped.
            let _ends = self.adopt_ends(ticket);
            if self.queue.settle(ticket, Fate::Done)? {
                return Ok(());
            }
        }
        let queue = self.queue.body.segment().label();
        Err(AckError::StaleLease { queue, attempt: ticket.attempts() })
    }

    /// The ends in the item, if the lease is still valid: otherwise they are in somebody else's hands with
    /// it.
    fn adopt_ends(&mut self, ticket: Ticket) -> Option<Parcel> {
        let is_needed = !self.ends.is_empty() && self.queue.is_valid(ticket);
        is_needed.then(|| Parcel::adopt_sooner_or_later(std::mem::take(&mut self.ends)))
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
        Self { attempts: ticket.attempts(), bytes, codec: queue.codec, ends, ticket, item: PhantomData }
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
