//! An event of a cluster.

use crate::engine::{Change, Goal, Patience, object_of};
use crate::error::ClusterError;
use crate::report::ClusterParticipant;
use std::time::Duration;

object_of! {
    /// An event between processes on several hosts: a flag for which they wait.
    ///
    /// Nobody holds it: it stays set when the process that has set it dies, and when the server is started again. One that a
    /// process has [set for itself](Self::set_owned) is set for as long as that process lives.
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

    /// Sets it for as long as this process lives: when it dies, the event is cleared.
    ///
    /// So it is when the process has lost its session with the server: by [`lease`](crate::ClusterOptions::lease), because
    /// its host is cut off, or because the server was started again. It is not set again by itself: call this again.
    /// Whoever waits for it to be cleared ([`wait_cleared`](Self::wait_cleared)) is told within a tenth of a second. A process
    /// may do this again; whoever calls [`set`](Self::set) sets it for nobody, and it stays set.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let up = cluster.event("db-up");
    /// up.set_owned()?;
    /// assert!(up.is_set()?);
    /// assert_eq!(up.owner()?.map(|owner| owner.pid), Some(std::process::id()));
    /// up.clear()?;
    /// assert_eq!(up.owner()?, None);
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`Owned`](ClusterError::Owned) when another process has done so and lives; otherwise as [`set`](Self::set).
    pub fn set_owned(&self) -> Result<(), ClusterError> {
        self.engine.clone().own(&self.object)
    }

    /// The process that has set it for as long as it lives, if one has.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn owner(&self) -> Result<Option<ClusterParticipant>, ClusterError> {
        self.engine.owner(&self.object)
    }

    /// Clears it, whoever has set it: whoever waits from now on waits until it is set again.
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
