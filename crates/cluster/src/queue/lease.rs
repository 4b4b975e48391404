//! Items that were got, and are not done yet; those that others have, by their tokens.

use super::{JoinableQueue, decode};
use crate::engine::{Fate, Items, Leases, Object, Taken, Verdict};
use crate::error::ClusterError;
use procession_channel::LeaseToken;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// What the SQL function `ack` is told of a lease, to acknowledge the item in a transaction of the caller's own:
/// `SELECT procession.ack(queue, item, session, attempt)`, in the same database. The item is done if that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The name of the queue.
    pub queue: String,
    /// The number of the item.
    pub item: i64,
    /// The number of the session that has it; 0 with `shm:`, where there is no database.
    pub session: i32,
    /// Which attempt it is.
    pub attempt: i32,
}

/// An item that was got, and is not done yet: nobody else gets it meanwhile.
///
/// Dropped without an acknowledgement, also by a panic, it is there again for the next that gets; and so it is when this
/// process dies, or its session with the server ends.
#[must_use = "dropping the lease gives the item back, to be got again"]
pub struct Lease<T> {
    held: Held,
    item: T,
}

/// A lease by its token, whoever holds it.
struct Known {
    object: Object,
    items: Arc<dyn Items>,
    token: LeaseToken,
}

impl Known {
    fn lost(&self) -> ClusterError {
        ClusterError::Lost { object: self.object.subject.clone() }
    }

    fn decide(&self, verdict: Verdict) -> Result<(), ClusterError> {
        if self.items.redeem(self.token, verdict)? { Ok(()) } else { Err(self.lost()) }
    }

    fn time_left(&self) -> Result<Option<Duration>, ClusterError> {
        let left = self.items.time_left(self.token)?.ok_or_else(|| self.lost())?;
        Ok(Some(left).filter(|left| *left != Duration::MAX))
    }
}

/// The hold on an item, whatever is in it.
struct Held {
    known: Known,
    leases: Arc<dyn Leases>,
    attempt: u32,
    is_settled: bool,
}

impl Held {
    /// From now on nothing is done when it is dropped.
    fn settle(&mut self) -> (u64, u32) {
        self.is_settled = true;
        (self.known.token.id(), self.attempt)
    }

    fn end(mut self, fate: Fate) -> Result<(), ClusterError> {
        let item = self.settle();
        if self.leases.end(&[item], fate)?.is_empty() {
            return Err(self.known.lost());
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            let item = self.settle();
            // Where the server does not answer, the session has ended, and with it the lease.
            drop(self.leases.end(&[item], Fate::Failed));
        }
    }
}

impl<T: Serialize + DeserializeOwned> Lease<T> {
    pub(super) fn new(
        queue: &JoinableQueue<T>,
        taken: Taken,
        (items, leases): (&Arc<dyn Items>, &Arc<dyn Leases>),
    ) -> Result<Self, ClusterError> {
        let (object, items, leases) = (queue.object.clone(), items.clone(), leases.clone());
        let (token, attempt) = (taken.token(), taken.attempt);
        let held = Held { known: Known { object, items, token }, leases, attempt, is_settled: false };
        // Where that fails, the item is given back as `held` is dropped.
        let item = decode(&queue.object, queue.form.codec, &taken.bytes)?;
        Ok(Self { held, item })
    }
}

impl<T> Lease<T> {
    /// Who holds what was taken together with it.
    pub(super) fn hold(&self) -> &Arc<dyn Leases> {
        &self.held.leases
    }

    /// Leaves it to the caller to end it: its number and attempt.
    pub(super) fn settle(&mut self) -> (u64, u32) {
        self.held.settle()
    }

    /// Acknowledges the item: it is done.
    ///
    /// # Errors
    /// [`Lost`](ClusterError::Lost) when the session had ended before: the item is somebody else's.
    /// [`Unavailable`](ClusterError::Unavailable): whether it is done is not known.
    pub fn task_done(self) -> Result<(), ClusterError> {
        self.held.end(Fate::Done)
    }

    /// Gives the item back as if it had not been got: this attempt does not count, as one does whose lease is dropped.
    /// For who is told to end, and has no fault to find with the item.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn put_back(self) -> Result<(), ClusterError> {
        self.held.end(Fate::Untried)
    }

    /// Makes the item a dead letter.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn give_up(self) -> Result<(), ClusterError> {
        self.held.end(Fate::Dead)
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.held.attempt
    }

    /// The number of the item in its queue.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.held.known.token.id()
    }

    /// What lets any other process decide about the item in place of this one, as long as this one holds the lease: see
    /// [`JoinableQueue::redeem`].
    #[must_use]
    pub fn token(&self) -> LeaseToken {
        self.held.known.token
    }

    /// From now on the lease lasts for `time`, by the clock of the server; [`Duration::MAX`] is as long as this process and
    /// its session with the server, as it is unless this is said. An item whose lease is over is there again.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// use std::time::Duration;
    ///
    /// let jobs = procession::cluster::connect("shm:")?.joinable_queue::<String>("doc-times");
    /// jobs.put(&"wash".to_owned())?;
    /// let lease = jobs.get()?;
    /// lease.extend(Duration::from_secs(3600))?;
    /// assert!(lease.time_left()? > Some(Duration::from_secs(3500)));
    /// lease.extend(Duration::MAX)?;
    /// assert_eq!(lease.time_left()?, None);
    /// # lease.task_done()?;
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn extend(&self, time: Duration) -> Result<(), ClusterError> {
        self.held.known.decide(Verdict::Lasts(time))
    }

    /// How much of its time is left: `None` if it lasts as long as this process and its session.
    ///
    /// # Errors
    /// [`Lost`](ClusterError::Lost) when it is over, or somebody has decided about the item by its
    /// [`token`](Self::token); [`Unavailable`](ClusterError::Unavailable).
    pub fn time_left(&self) -> Result<Option<Duration>, ClusterError> {
        self.held.known.time_left()
    }

    /// Whether the item is somebody else's by now, because the session with the server has ended. Once true, it stays
    /// true. That its time is over, or that somebody has decided about it, [`time_left`](Self::time_left) asks the server.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.leases.is_lost()
    }

    /// What an acknowledgement in a transaction of the caller's own is told. Keep the lease until that is committed: to drop
    /// it gives back what is not done. After that it does nothing.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            queue: self.held.known.object.subject.name.clone(),
            item: self.id().cast_signed(),
            session: self.held.leases.session(),
            attempt: self.held.attempt.cast_signed(),
        }
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("object", &self.held.known.object)
            .field("token", &self.held.known.token)
            .finish_non_exhaustive()
    }
}

/// A lease that somebody else may hold: see [`JoinableQueue::redeem`].
#[must_use = "nothing is decided yet"]
pub struct Redeemed<'q, T> {
    queue: &'q JoinableQueue<T>,
    token: LeaseToken,
}

impl<'q, T> Redeemed<'q, T> {
    pub(super) fn of(queue: &'q JoinableQueue<T>, token: LeaseToken) -> Self {
        Self { queue, token }
    }
}

impl<T: Serialize + DeserializeOwned> Redeemed<'_, T> {
    /// Says that the item is done: when it returns `Ok`, nobody gets it any more.
    ///
    /// # Errors
    /// [`Lost`](ClusterError::Lost) when no lease has this token: its time is over, its holder has ended, or somebody has
    /// decided about it. [`Unavailable`](ClusterError::Unavailable): whether it is done is not known.
    pub fn task_done(self) -> Result<(), ClusterError> {
        self.known()?.decide(Verdict::Ends(Fate::Done))
    }

    /// Gives the item back, to be got again; after the last attempt it is a dead letter. As if its holder had dropped the
    /// lease.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn give_back(self) -> Result<(), ClusterError> {
        self.known()?.decide(Verdict::Ends(Fate::Failed))
    }

    /// Says that nobody will ever finish the item: it is a dead letter now.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn give_up(self) -> Result<(), ClusterError> {
        self.known()?.decide(Verdict::Ends(Fate::Dead))
    }

    /// From now on the lease lasts for `time`, by the clock of the server; [`Duration::MAX`] is as long as its holder.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn extend(self, time: Duration) -> Result<(), ClusterError> {
        self.known()?.decide(Verdict::Lasts(time))
    }

    /// How much of the time of the lease is left: `None` if it lasts as long as its holder. Nothing is decided.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    pub fn time_left(&self) -> Result<Option<Duration>, ClusterError> {
        self.known()?.time_left()
    }

    fn known(&self) -> Result<Known, ClusterError> {
        let (object, items) = (self.queue.object.clone(), self.queue.items()?.clone());
        Ok(Known { object, items, token: self.token })
    }
}

impl<T> fmt::Debug for Redeemed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemed").field("queue", &self.queue).field("token", &self.token).finish()
    }
}
