//! How far a pool has come, and who is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often an observer is told at most.
pub(crate) const PERIOD: Duration = Duration::from_millis(50);

/// How far a pool has come with all that it was ever given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Items that have a result.
    pub done: usize,
    /// Items that were given to the pool: an iterator gives its items one by one.
    pub total: usize,
    /// Items that have an error, and those that nobody waits for any more and nobody runs.
    pub failed: usize,
    /// Workers that are there.
    pub workers: usize,
    /// Workers that have something to do.
    pub busy: usize,
}

/// Who is told how far the pool has come.
#[derive(Clone)]
pub(crate) struct Observer(Arc<dyn Fn(Progress) + Send + Sync>);

impl Observer {
    pub(crate) fn new(observer: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observer))
    }

    pub(crate) fn tell(&self, progress: Progress) {
        (self.0)(progress);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
