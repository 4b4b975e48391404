//! How far a pool has come.

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
