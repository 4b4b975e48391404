//! A semaphore of a cluster.

use crate::engine::{Mode, Patience, object_of};
use crate::error::ClusterError;
use crate::hold_face::{acquires, guard};
use std::time::Duration;

object_of! {
    /// A semaphore between processes on several hosts: as many hold a permit as it has.
    ///
    /// The permits of a process that dies are free again. All users must say the same number of permits.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let licences = cluster.semaphore("doc-semaphore", 2);
    /// let first = licences.acquire()?;
    /// let second = licences.acquire()?;
    /// assert!(licences.try_acquire().is_err());
    /// first.release()?;
    /// assert!(licences.try_acquire().is_ok());
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    Semaphore
}

acquires! {
    Semaphore => Permit by Mode::Permits(1), acquire try_acquire acquire_timeout,
    "a permit is ours", "one is free",
    "[`Mismatch`](ClusterError::Mismatch) when it exists with another number of permits;"
}

impl Semaphore {
    /// How many permits it has, as it was said.
    #[must_use]
    pub fn permits(&self) -> u32 {
        self.object.size
    }

    /// Waits until so many permits are ours, all at once: whoever waits for several keeps others from getting one before it,
    /// and gathers them one by one as they become free.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let gpus = cluster.semaphore("doc-many", 4);
    /// let three = gpus.acquire_many(3)?;
    /// assert!(gpus.try_acquire_many(2).is_err() && gpus.try_acquire_many(1).is_ok());
    /// three.release()?;
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`Mismatch`](ClusterError::Mismatch) also when it never has so many, or when none is asked for; otherwise as
    /// [`acquire`](Self::acquire).
    pub fn acquire_many(&self, permits: u32) -> Result<Permit, ClusterError> {
        Permit::of(&self.engine, &self.object, Mode::Permits(permits), Patience::Forever)
    }

    /// Takes so many permits if they are free.
    ///
    /// # Errors
    /// [`WouldBlock`](ClusterError::WouldBlock); otherwise as [`acquire_many`](Self::acquire_many).
    pub fn try_acquire_many(&self, permits: u32) -> Result<Permit, ClusterError> {
        Permit::of(&self.engine, &self.object, Mode::Permits(permits), Patience::Try)
    }

    /// Waits at most `timeout` until so many permits are ours.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`acquire_many`](Self::acquire_many).
    pub fn acquire_many_timeout(&self, permits: u32, timeout: Duration) -> Result<Permit, ClusterError> {
        Permit::of(&self.engine, &self.object, Mode::Permits(permits), Patience::of(timeout))
    }
}

guard! {
    /// A permit of a [`Semaphore`], or several that were acquired at once; dropping it gives them back.
    Permit, has_token = false
}
