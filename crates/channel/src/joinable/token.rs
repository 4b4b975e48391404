//! Leases that somebody else decides about: whoever has the token of one, in any process.

use super::JoinableQueue;
use super::lease::AckError;
use super::table::{Fate, Nonsense, Table, Ticket};
use crate::pipe_end::Passage;
use crate::underway;
use procession_sync::Fault;
use procession_sys::{Deadline, interrupt};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Which lease of which item of a [`JoinableQueue`]: two numbers, that go through a message, an argument of a
/// command, another language. See [`JoinableQueue::redeem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseToken {
    id: u64,
    key: u64,
}

impl LeaseToken {
    /// The token of these two numbers, as another token says them. Any others are those of no lease.
    #[must_use]
    pub fn new(id: u64, key: u64) -> Self {
        Self { id, key }
    }

    /// The number of the item in its queue.
    #[must_use]
    pub fn id(self) -> u64 {
        self.id
    }

    /// What tells this lease of the item from every other.
    #[must_use]
    pub fn key(self) -> u64 {
        self.key
    }
}

impl<T> JoinableQueue<T> {
    /// The lease that has this token, whichever process holds it: to say that its item is done, or what else
    /// becomes of it. The lease must still be held: it ends with its holder, not with who has the token.
    ///
    /// ```
    /// use procession::{JoinableQueue, LeaseToken};
    /// let jobs: JoinableQueue<String> = JoinableQueue::new()?;
    /// jobs.put("wash")?;
    /// let lease = jobs.get()?;
    /// // What is sent to another process, which has the queue open, too.
    /// let (id, key) = (lease.token().id(), lease.token().key());
    /// jobs.redeem(LeaseToken::new(id, key)).task_done()?;
    /// assert_eq!((jobs.unfinished(), lease.is_valid()), (0, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redeem(&self, token: LeaseToken) -> Redeemed<'_, T> {
        Redeemed { queue: self, token }
    }
}

/// A lease that somebody else may hold: see [`JoinableQueue::redeem`].
#[must_use = "nothing is decided yet"]
pub struct Redeemed<'q, T> {
    queue: &'q JoinableQueue<T>,
    token: LeaseToken,
}

impl<T> Redeemed<'_, T> {
    /// Says that the item is done: when it returns `Ok`, nobody gets it any more.
    ///
    /// # Errors
    /// [`AckError::StaleToken`] when no lease has this token, [`AckError::Fault`].
    pub fn task_done(self) -> Result<(), AckError> {
        let mut payload = Vec::new();
        let carries_ends = self.queue.carries_ends();
        let copy = |table: &Table<'_>, ticket| {
            if carries_ends { table.payload(ticket, &mut payload) } else { Ok(()) }
        };
        let ticket = self.find_and(copy)?;
        let ends = if carries_ends { underway::cut(&mut payload) } else { Vec::new() };
        self.settle(ticket, Fate::Done, ends)
    }

    /// Gives the item back, to be got again; after the last attempt it is a dead letter. As if its holder had
    /// dropped the lease.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn give_back(self) -> Result<(), AckError> {
        let ticket = self.find()?;
        self.settle(ticket, self.queue.fate(ticket), Vec::new())
    }

    /// Says that nobody will ever finish the item: it is a dead letter now.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn give_up(self) -> Result<(), AckError> {
        let ticket = self.find()?;
        self.settle(ticket, Fate::Dead, Vec::new())
    }

    /// From now on the lease lasts for `time`; [`Duration::MAX`] is as long as its holder lives.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn extend(self, time: Duration) -> Result<(), AckError> {
        let ticket = self.find()?;
        if self.queue.prolong(ticket, time)? { Ok(()) } else { Err(self.stale()) }
    }

    /// How much of the time of the lease is left: `None` if it lasts as long as its holder lives. The lease is not
    /// decided about.
    ///
    /// ```
    /// use procession::{AckError, JoinableQueue};
    /// use std::time::Duration;
    /// let jobs: JoinableQueue<String> = JoinableQueue::new()?;
    /// jobs.put("wash")?;
    /// let token = jobs.get()?.token(); // The lease was dropped: the item is there again.
    /// assert!(matches!(jobs.redeem(token).time_left(), Err(AckError::StaleToken { .. })));
    /// let lease = jobs.get()?;
    /// assert_eq!(jobs.redeem(lease.token()).time_left()?, None);
    /// lease.extend(Duration::from_secs(60))?;
    /// assert!(jobs.redeem(lease.token()).time_left()? > Some(Duration::from_secs(50)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn time_left(&self) -> Result<Option<Duration>, AckError> {
        let ticket = self.find()?;
        Ok(self.queue.time_left(ticket))
    }

    fn find(&self) -> Result<Ticket, AckError> {
        self.find_and(|_, _| Ok(()))
    }

    /// The lease, which `look` looks at under the lock.
    fn find_and(
        &self,
        look: impl FnOnce(&Table<'_>, Ticket) -> Result<(), Nonsense>,
    ) -> Result<Ticket, AckError> {
        let _deferred = interrupt::defer();
        let found = self.queue.locked(Deadline::NEVER, |table, _| {
            let Some(ticket) = table.redeem(self.token) else { return Ok(None) };
            look(table, ticket).map(|()| Some(ticket))
        });
        let found = found.or_else(|blocked| blocked.into_fault().map_or(Ok(None), Err::<_, Fault>))?;
        found.filter(|ticket| self.is_held(*ticket)).ok_or_else(|| self.stale())
    }

    /// Whether the lease lasts still: one whose holder is dead, or whose time is over, may not have been given back yet.
    fn is_held(&self, ticket: Ticket) -> bool {
        let is_over = self.queue.time_left(ticket) == Some(Duration::ZERO);
        !is_over && self.queue.body.segment().registration().is_dead(ticket.owner()) != Ok(true)
    }

    /// What has become of the lease since it was found, the ticket tells.
    fn settle(&self, ticket: Ticket, fate: Fate, ends: Vec<Passage>) -> Result<(), AckError> {
        if self.queue.settle_with(ticket, fate, ends)? { Ok(()) } else { Err(self.stale()) }
    }

    #[cold]
    fn stale(&self) -> AckError {
        AckError::StaleToken { queue: self.queue.body.segment().label(), id: self.token.id }
    }
}

impl<T> fmt::Debug for Redeemed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemed").field("queue", &self.queue).field("token", &self.token).finish()
    }
}
