//! An event of a cluster.

use crate::engine::{Change, Goal, Patience, object_of};
use crate::error::ClusterError;
use std::time::Duration;

object_of! {
    /// An event between processes on several hosts: a flag for which they wait.
    ///
    /// Nobody holds it: it stays set when the process that has set it dies, and when the server is started again.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// use std::time::Duration;
    ///
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let ready = cluster.event("doc-event");
    /// assert!(ready.wait_timeout(Duration::from_millis(10)).is_err());
    /// ready.set()?;
    /// ready.wait()?;
    /// assert!(ready.is_set()?);
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    Event
}

impl Event {
    fn change(&self, change: Change) -> Result<(), ClusterError> {
        self.engine.change(&self.object, change).map(drop)
    }

    /// Sets it: all who wait go on, and whoever comes later does not wait. When this returns, it is on the server's disk.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable): then it may be set nevertheless;
    /// [`InvalidName`](ClusterError::InvalidName).
    pub fn set(&self) -> Result<(), ClusterError> {
        self.change(Change::Set)
    }

    /// Clears it: whoever waits from now on waits until it is set again.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn clear(&self) -> Result<(), ClusterError> {
        self.change(Change::Clear)
    }

    /// Lets all go on who wait now, and leaves it as it is.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn pulse(&self) -> Result<(), ClusterError> {
        self.change(Change::Pulse)
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn is_set(&self) -> Result<bool, ClusterError> {
        Ok(self.engine.value(&self.object)? != 0)
    }

    /// Waits until it is set, or pulsed.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable); [`InvalidName`](ClusterError::InvalidName);
    /// [`Interrupted`](ClusterError::Interrupted).
    pub fn wait(&self) -> Result<(), ClusterError> {
        self.engine.wait_until(&self.object, Goal::Set, Patience::Forever)
    }

    /// Waits at most `timeout` until it is set, or pulsed.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), ClusterError> {
        self.engine.wait_until(&self.object, Goal::Set, Patience::of(timeout))
    }

    /// Waits until it is not set.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_cleared(&self) -> Result<(), ClusterError> {
        self.engine.wait_until(&self.object, Goal::Cleared, Patience::Forever)
    }

    /// Waits at most `timeout` until it is not set.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn wait_cleared_timeout(&self, timeout: Duration) -> Result<(), ClusterError> {
        self.engine.wait_until(&self.object, Goal::Cleared, Patience::of(timeout))
    }
}
