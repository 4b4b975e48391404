//! What is kept in rows: queues, whose items a process takes, and gives back by its death.

use super::{Object, Patience};
use crate::error::ClusterError;
use procession_channel::{Codec, LeaseToken};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// The part of an engine with which rows are changed and awaited.
pub(crate) trait Rows {
    /// The queue of this name, which is made if there is none.
    fn queue(self: Arc<Self>, object: &Object, form: Form) -> Result<Arc<dyn Items>, ClusterError>;

    /// The queue of this name, if there is one.
    fn existing_queue(
        self: Arc<Self>,
        object: &Object,
        form: Form,
    ) -> Result<Option<Arc<dyn Items>>, ClusterError>;
}

/// What all users of a queue agree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) codec: Codec,
    /// How often an item is tried.
    pub(crate) max_attempts: u32,
    /// Room for so many bytes, where room is limited.
    pub(crate) bytes: u64,
    /// Whether it goes with the process that makes it: nobody else wants what is in it.
    pub(crate) ephemeral: bool,
}

/// An item that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) id: u64,
    pub(crate) bytes: Vec<u8>,
    /// Which attempt it is, from 1.
    pub(crate) attempt: u32,
    /// What tells this lease of it from every other; 0 for one that nobody has.
    pub(crate) key: u64,
}

impl Taken {
    pub(crate) fn token(&self) -> LeaseToken {
        LeaseToken::new(self.id, self.key)
    }
}

/// What becomes of an item that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done, and goes.
    Done,
    /// It is taken again, if it was not tried too often.
    Failed,
    /// It is taken again, as if it had not been.
    Untried,
    /// It is a dead letter.
    Dead,
}

/// What somebody decides about a lease of which it has the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ends, and that becomes of the item.
    Ends(Fate),
    /// It lasts for so long from now on; [`Duration::MAX`] is as long as its holder.
    Lasts(Duration),
}

/// How much is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) ready: u64,
    pub(crate) leased: u64,
    pub(crate) dead: u64,
}

/// A queue, as bytes. A put waits where there is no room.
pub(crate) trait Items: Debug + Send + Sync {
    /// Puts them, and says how many: all, or those that found room in time, and none when it is closed.
    fn put(&self, items: &[Vec<u8>], patience: Patience) -> Result<usize, ClusterError>;

    /// Waits until one is ready, and takes up to so many, those that the dead have taken among them. `Closed` when it is
    /// closed and everything in it is done.
    fn take(&self, most: usize, patience: Patience) -> Result<Batch, ClusterError>;

    /// Waits until everything in it is done or a dead letter.
    fn join(&self, patience: Patience) -> Result<(), ClusterError>;

    /// How much is in it, after what the dead had taken was given back.
    fn fill(&self) -> Result<Fill, ClusterError>;

    /// Whether it is closed.
    fn is_closed(&self) -> Result<bool, ClusterError>;

    /// Closes it, or opens it again.
    fn set_closed(&self, closed: bool) -> Result<(), ClusterError>;

    /// Those that were tried too often, the oldest first.
    fn dead(&self) -> Result<Vec<Taken>, ClusterError>;

    /// Removes the queue with all that is in it.
    fn remove(&self) -> Result<(), ClusterError>;

    /// Decides about a lease, whoever holds it; whether it was held until now.
    fn redeem(&self, token: LeaseToken, verdict: Verdict) -> Result<bool, ClusterError>;

    /// How much is left of the time of a lease, whoever holds it, [`Duration::MAX`] where it has none; `None` if it is held no
    /// more.
    fn time_left(&self, token: LeaseToken) -> Result<Option<Duration>, ClusterError>;

    /// Has a dead letter taken again, or removes it; whether it was there.
    fn settle(&self, id: u64, again: bool) -> Result<bool, ClusterError>;
}

/// Items that were taken together, by one session.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Taken>,
    pub(crate) hold: Arc<dyn Leases>,
}

/// Who holds what was taken.
pub(crate) trait Leases: Debug + Send + Sync {
    /// Ends the holds on these items, each with its attempt; the ids of those that were held until now.
    fn end(&self, items: &[(u64, u32)], fate: Fate) -> Result<Vec<u64>, ClusterError>;

    /// The number of the session; 0 where there is none.
    fn session(&self) -> i32;

    /// Whether the holds have ended by themselves.
    fn is_lost(&self) -> bool;
}
