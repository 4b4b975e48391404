//! A counter of a cluster.

use crate::engine::{Change, object_of};
use crate::error::ClusterError;

object_of! {
    /// A number that processes on several hosts count together. It begins with 0.
    ///
    /// A change is one step, and on the server's disk when it returns: a process that is killed has made it or has not.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let done = cluster.counter("doc-counter");
    /// assert_eq!(done.add(2)?, 2);
    /// assert_eq!(done.add(-1)?, 1);
    /// done.set(10)?;
    /// assert_eq!(done.get()?, 10);
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    Counter
}

impl Counter {
    /// Adds a number, which may be negative; what the counter is then.
    ///
    /// # Errors
    /// [`OutOfRange`](ClusterError::OutOfRange), and nothing is changed; [`Unavailable`](ClusterError::Unavailable): then
    /// it may have been added nevertheless; [`InvalidName`](ClusterError::InvalidName).
    pub fn add(&self, number: i64) -> Result<i64, ClusterError> {
        let now = self.engine.change(&self.object, Change::Add(number))?;
        now.ok_or_else(|| ClusterError::OutOfRange { object: self.object.subject.clone(), by: number })
    }

    /// What it is.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable); [`InvalidName`](ClusterError::InvalidName).
    pub fn get(&self) -> Result<i64, ClusterError> {
        self.engine.value(&self.object)
    }

    /// Makes it that.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn set(&self, number: i64) -> Result<(), ClusterError> {
        self.engine.change(&self.object, Change::Put(number)).map(drop)
    }
}
