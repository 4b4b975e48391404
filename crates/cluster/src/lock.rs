//! A lock of a cluster.

use crate::engine::{Mode, Patience, object_of};
use crate::error::ClusterError;
use crate::hold_face::{acquires, gives_tokens, guard};
use crate::token::Token;
use std::time::Duration;

object_of! {
    /// A lock between processes on several hosts: one thread of one process holds it.
    ///
    /// When the process that holds it dies, the next one has it. What the holder left half-changed is not told: check it, or
    /// give the [`Token`] along with every write.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// use std::time::Duration;
    ///
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let lock = cluster.lock("doc-lock");
    /// let first = lock.acquire()?.token();
    /// let guard = lock.acquire_timeout(Duration::from_secs(1))?;
    /// assert!(guard.token() > first);
    /// assert!(lock.try_acquire().is_err());
    /// guard.release()?;
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    Lock
}

acquires! {
    Lock => LockGuard by Mode::Alone, acquire try_acquire acquire_timeout,
    "the lock is ours", "nobody holds it",
    "[`Deadlock`](ClusterError::Deadlock), also when this thread holds it already;"
}

guard! {
    /// A [`Lock`], held; dropping it releases the lock.
    LockGuard, has_token = true
}

gives_tokens!(LockGuard);
