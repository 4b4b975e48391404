//! A latch of a cluster.

use crate::engine::{Change, Goal, Patience, object_of};
use crate::error::ClusterError;
use std::time::Duration;

object_of! {
    /// A latch between processes on several hosts: it opens when so many have arrived, and stays open.
    ///
    /// An arrival counts whatever becomes of the process that made it. Who dies before it arrives is not missed by
    /// anybody: use a timeout.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let loaded = cluster.latch("doc-latch", 2);
    /// assert_eq!(loaded.arrive()?, 0);
    /// assert_eq!(loaded.arrive()?, 1);
    /// loaded.wait()?;
    /// assert!(loaded.is_open()?);
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    Latch
}

impl Latch {
    /// Arrives, without waiting; how many had arrived before. When this returns, it is on the server's disk.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable): then the arrival may count nevertheless;
    /// [`Mismatch`](ClusterError::Mismatch) when it exists with another count; [`InvalidName`](ClusterError::InvalidName).
    pub fn arrive(&self) -> Result<u64, ClusterError> {
        let now = self.engine.change(&self.object, Change::Add(1))?;
        Ok(now.map_or(u64::MAX, |now| now.unsigned_abs().saturating_sub(1)))
    }

    /// How many have arrived, also after it opened.
    ///
    /// # Errors
    /// As [`arrive`](Self::arrive).
    pub fn arrived(&self) -> Result<u64, ClusterError> {
        Ok(self.engine.value(&self.object)?.unsigned_abs())
    }

    /// Whether enough have arrived.
    ///
    /// # Errors
    /// As [`arrive`](Self::arrive).
    pub fn is_open(&self) -> Result<bool, ClusterError> {
        Ok(self.arrived()? >= u64::from(self.object.size))
    }

    /// Waits until enough have arrived; not at all if they have.
    ///
    /// # Errors
    /// As [`arrive`](Self::arrive); [`Interrupted`](ClusterError::Interrupted).
    pub fn wait(&self) -> Result<(), ClusterError> {
        self.until(Patience::Forever)
    }

    /// Waits at most `timeout` until enough have arrived.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), ClusterError> {
        self.until(Patience::of(timeout))
    }

    fn until(&self, patience: Patience) -> Result<(), ClusterError> {
        self.engine.wait_until(&self.object, Goal::Reached(self.object.size.into()), patience)
    }
}
