//! What others see of a joinable queue: who holds which item, and what is there to be got. Nobody is kept from
//! anything by it, and no item counts as got.

use super::JoinableQueue;
use super::table::{Seen, Ticket};
use crate::codec::{Codec, DecodeError};
use crate::pipe_end::{Decoding, Passage};
use crate::underway;
use procession_shm::OwnerId;
use procession_sync::{Fault, Holder};
use procession_sys::{Deadline, clock, interrupt};
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// An item that somebody has leased: see [`JoinableQueue::leased`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeasedItem {
    /// The number of the item in its queue.
    pub id: u64,
    /// Who has it. A dead one's items are there again for the next that gets.
    pub holder: Holder,
    /// The how manieth attempt it is.
    pub attempt: u32,
    /// For how long it has been leased.
    pub held_for: Duration,
    /// How much of its time is left; `None` if it lasts as long as its holder lives.
    pub time_left: Option<Duration>,
    /// How many bytes the item has, as it is encoded.
    pub bytes: usize,
}

/// An item that is there to be got: see [`JoinableQueue::peek`].
#[non_exhaustive]
pub struct PeekedItem<T> {
    /// The number of the item in its queue.
    pub id: u64,
    /// How often it was got and not done.
    pub attempts: u32,
    /// It as it is encoded.
    pub bytes: Vec<u8>,
    codec: Codec,
    item: PhantomData<fn() -> T>,
}

impl<T> JoinableQueue<T> {
    /// The items that are leased now, in no order. Leases come and go meanwhile.
    #[must_use]
    pub fn leased(&self) -> Vec<LeasedItem> {
        let Ok(table) = self.table() else { return Vec::new() };
        let now_ns = clock::machine_ns().unwrap_or(0);
        let left = |ns: u64| Duration::from_nanos(ns.saturating_sub(now_ns));
        let leased = |Seen { ticket, until_ns, len }: Seen| LeasedItem {
            id: ticket.seq(),
            holder: Holder::of(self.body.segment(), ticket.owner()),
            attempt: ticket.attempts(),
            held_for: Duration::from_nanos(now_ns.saturating_sub(ticket.since_ns())),
            time_left: (until_ns != 0).then(|| left(until_ns)),
            bytes: len,
        };
        table.leased().map(leased).collect()
    }

    /// Those who have leased items now, and how many each.
    #[must_use]
    pub fn holders(&self) -> Vec<(Holder, usize)> {
        let Ok(table) = self.table() else { return Vec::new() };
        let mut owners: Vec<OwnerId> = table.leases().map(Ticket::owner).collect();
        owners.sort_unstable_by_key(|owner| owner.to_bits());
        let of = |owners: &[OwnerId]| (Holder::of(self.body.segment(), owners[0]), owners.len());
        owners.chunk_by(|a, b| a == b).map(of).collect()
    }

    /// How many items are [dead letters](Self::dead_letters), at one instant during the call.
    #[must_use]
    pub fn n_dead(&self) -> usize {
        self.counts().dead as usize
    }

    /// Copies of the first items that are there to be got, at most `most`, in the order in which they will be.
    /// They stay there, and do not count as got.
    ///
    /// ```
    /// use procession::JoinableQueue;
    /// let jobs: JoinableQueue<String> = JoinableQueue::new()?;
    /// jobs.put("wash")?;
    /// jobs.put("dry")?;
    /// let first = &jobs.peek(1)?[0];
    /// assert_eq!((first.item()?.as_str(), first.attempts, jobs.len()), ("wash", 0, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault`].
    pub fn peek(&self, most: usize) -> Result<Vec<PeekedItem<T>>, Fault> {
        let _deferred = interrupt::defer();
        let items = self.locked(Deadline::NEVER, |table, _| table.first_items(most));
        let items = items.or_else(|blocked| blocked.into_fault().map_or(Ok(Vec::new()), Err))?;
        let peeked = |(ticket, mut bytes): (Ticket, Vec<u8>)| {
            if self.carries_ends() {
                // They stay where they are.
                let _ends: Vec<Passage> = underway::cut(&mut bytes);
            }
            let (id, attempts, codec) = (ticket.seq(), ticket.attempts(), self.coding());
            PeekedItem { id, attempts, bytes, codec, item: PhantomData }
        };
        Ok(items.into_iter().map(peeked).collect())
    }

    pub(super) fn time_left(&self, ticket: Ticket) -> Option<Duration> {
        let table = self.table().ok().filter(|table| table.is_valid(ticket));
        let Some(until_ns) = table.map(|table| table.until_ns(ticket)) else { return Some(Duration::ZERO) };
        let now_ns = clock::machine_ns().unwrap_or(0);
        (until_ns != 0).then(|| Duration::from_nanos(until_ns.saturating_sub(now_ns)))
    }
}

impl<T: DeserializeOwned> PeekedItem<T> {
    /// What it is. Ends of pipes in it cannot be used: they are in the item still.
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

impl<T> Clone for PeekedItem<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), ..*self }
    }
}

impl<T> fmt::Debug for PeekedItem<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PeekedItem");
        shown.field("id", &self.id).field("attempts", &self.attempts).field("bytes", &self.bytes).finish()
    }
}
