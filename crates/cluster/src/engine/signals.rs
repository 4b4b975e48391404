//! What processes tell one another by: events, latches, counters and barriers. None of them is held.

use super::{Object, Patience};
use crate::error::ClusterError;
use crate::report::ClusterParticipant;
use std::sync::Arc;

/// What is done to an event, a latch or a counter. All of them are a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An event: 1.
    Set,
    /// An event: 0.
    Clear,
    /// An event: those who wait go on, and nothing else is changed.
    Pulse,
    /// A latch or a counter: so much more.
    Add(i64),
    /// A counter: that.
    Put(i64),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// That an event is set, or is pulsed.
    Set,
    /// That an event is not set.
    Cleared,
    /// That so many have arrived at a latch.
    Reached(i64),
}

/// The part of an engine by which processes tell one another something.
pub(crate) trait Signals {
    /// Changes an event, a latch or a counter; what it is then. `None` where the number would be too large.
    fn change(&self, object: &Object, change: Change) -> Result<Option<i64>, ClusterError>;

    /// Sets an event for as long as this process lives.
    fn own(self: Arc<Self>, object: &Object) -> Result<(), ClusterError>;

    /// The process for which an event is set, if it is for one.
    fn owner(&self, object: &Object) -> Result<Option<ClusterParticipant>, ClusterError>;

    /// What an event, a latch or a counter is.
    fn value(&self, object: &Object) -> Result<i64, ClusterError>;

    /// Waits until that is so.
    fn wait_until(&self, object: &Object, goal: Goal, patience: Patience) -> Result<(), ClusterError>;

    /// Arrives at a barrier, and waits for the others; which place this one has.
    fn meet(&self, object: &Object, patience: Patience) -> Result<u32, ClusterError>;

    /// How many wait at a barrier; `None` while it is broken.
    fn waiting(&self, object: &Object) -> Result<Option<u32>, ClusterError>;

    /// Breaks a barrier.
    fn abort(&self, object: &Object) -> Result<(), ClusterError>;

    /// Makes a barrier whole again; those who wait at it are told that it is broken.
    fn reset(&self, object: &Object) -> Result<(), ClusterError>;
}
