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
    Semaphore => Permit by Mode::Permit, acquire try_acquire acquire_timeout,
    "a permit is ours", "one is free",
    "[`Mismatch`](ClusterError::Mismatch) when it exists with another number of permits;"
}

guard! {
    /// A permit of a [`Semaphore`]; dropping it gives it back.
    Permit, has_token = false
}
