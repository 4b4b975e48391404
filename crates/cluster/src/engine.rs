//! What a cluster is made of: one trait, which shared memory and PostgreSQL implement.

mod holds;
mod rows;
mod signals;

pub(crate) use holds::{Hold, Holds, Mode, Object};
pub(crate) use rows::{Batch, Fate, Fill, Form, Items, Leases, Rows, Taken, Verdict};
pub(crate) use signals::{Change, Goal, Signals};

use crate::error::ClusterError;
use crate::report::{ClusterDeadlock, ClusterObject, ClusterParticipant};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Where a cluster's objects are.
pub(crate) trait Engine: Holds + Rows + Signals + Debug + Send + Sync {
    /// The server without its password, or the namespace, for people.
    fn place(&self) -> &str;

    /// All objects, with who holds them and how many wait.
    fn objects(&self) -> Result<Vec<ClusterObject>, ClusterError>;

    /// All processes that take part.
    fn participants(&self) -> Result<Vec<ClusterParticipant>, ClusterError>;

    /// The circles of threads that wait for one another.
    fn deadlocks(&self) -> Result<Vec<ClusterDeadlock>, ClusterError>;
}

/// Declares a type of objects of a cluster. `new` is for [`Cluster`](crate::Cluster).
macro_rules! object_of {
    ($(#[$about:meta])* $Object:ident) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        pub struct $Object {
            engine: std::sync::Arc<dyn $crate::engine::Engine>,
            object: $crate::engine::Object,
        }

        impl $Object {
            pub(crate) fn new(
                engine: std::sync::Arc<dyn $crate::engine::Engine>,
                object: $crate::engine::Object,
            ) -> Self {
                Self { engine, object }
            }
        }
    };
}

pub(crate) use object_of;

/// How long somebody wants to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all.
    Try,
    /// Until then.
    Until(Instant),
    /// For ever.
    Forever,
}

impl Patience {
    /// As long as that; for ever where no clock goes so far.
    pub(crate) fn of(timeout: Duration) -> Self {
        Instant::now().checked_add(timeout).map_or(Self::Forever, Self::Until)
    }

    /// How much is left; `None` is for ever.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Self::Try => Some(Duration::ZERO),
            Self::Until(then) => Some(then.saturating_duration_since(Instant::now())),
            Self::Forever => None,
        }
    }

    /// How much of `slice` may be waited.
    pub(crate) fn slice(self, slice: Duration) -> Duration {
        self.left().map_or(slice, |left| left.min(slice))
    }

    /// Whether it is used up.
    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}
