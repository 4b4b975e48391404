//! A barrier of a cluster.

use crate::engine::{Patience, object_of};
use crate::error::ClusterError;
use std::time::Duration;

object_of! {
    /// A barrier between processes on several hosts: they wait until all parties have come, again and again.
    ///
    /// When a process dies that waits at it, the barrier is broken: all others are told who has died
    /// ([`PeerDied`](ClusterError::PeerDied)), and so are those who come later, until somebody calls
    /// [`reset`](Self::reset). Who dies before it comes is not missed: use a timeout; with `shm:` nor is one that dies when
    /// nobody else waits, whose arrival counts. All users say the same number of parties.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let phase = cluster.barrier("doc-barrier", 2);
    /// let other = phase.clone();
    /// let helper = std::thread::spawn(move || other.wait());
    /// let places = [phase.wait()?, helper.join().unwrap()?];
    /// assert!(places == [0, 1] || places == [1, 0]);
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    Barrier
}

impl Barrier {
    /// Waits until all parties have come; which place this one has: exactly one of them has 0.
    ///
    /// # Errors
    /// [`PeerDied`](ClusterError::PeerDied); [`Broken`](ClusterError::Broken) when another's wait timed out, it was aborted
    /// or reset; [`Lost`](ClusterError::Lost) and [`Unavailable`](ClusterError::Unavailable): then the others are told that
    /// this one has died; [`Mismatch`](ClusterError::Mismatch) when it exists with another number of parties;
    /// [`InvalidName`](ClusterError::InvalidName); [`Interrupted`](ClusterError::Interrupted): then it is as if this one had
    /// not come.
    pub fn wait(&self) -> Result<u32, ClusterError> {
        self.engine.meet(&self.object, Patience::Forever)
    }

    /// Waits as [`wait`](Self::wait) does, at most `timeout`; when that is over, the barrier is broken for all.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, ClusterError> {
        self.engine.meet(&self.object, Patience::of(timeout))
    }

    /// How many wait at it; 0 while it is broken.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable); [`Mismatch`](ClusterError::Mismatch);
    /// [`InvalidName`](ClusterError::InvalidName).
    pub fn n_waiting(&self) -> Result<u32, ClusterError> {
        Ok(self.engine.waiting(&self.object)?.unwrap_or(0))
    }

    /// Whether it is broken.
    ///
    /// # Errors
    /// As [`n_waiting`](Self::n_waiting).
    pub fn is_broken(&self) -> Result<bool, ClusterError> {
        Ok(self.engine.waiting(&self.object)?.is_none())
    }

    /// Breaks it, for all who wait and all who come, until it is reset.
    ///
    /// # Errors
    /// As [`n_waiting`](Self::n_waiting).
    pub fn abort(&self) -> Result<(), ClusterError> {
        self.engine.abort(&self.object)
    }

    /// Makes it whole again; those who wait are told that it is broken.
    ///
    /// # Errors
    /// As [`n_waiting`](Self::n_waiting).
    pub fn reset(&self) -> Result<(), ClusterError> {
        self.engine.reset(&self.object)
    }
}
