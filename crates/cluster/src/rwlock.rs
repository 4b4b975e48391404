//! A read-write lock of a cluster.

use crate::engine::{Mode, Patience, object_of};
use crate::error::ClusterError;
use crate::hold_face::{acquires, gives_tokens, guard};
use crate::token::Token;
use std::time::Duration;

object_of! {
    /// A read-write lock between processes on several hosts: many read, or one writes.
    ///
    /// When a process that holds it dies, its hold ends.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let lock = cluster.rwlock("doc-rwlock");
    /// let reads = lock.read()?;
    /// assert!(lock.try_write().is_err());
    /// reads.release()?;
    /// lock.write()?.release()?;
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    RwLock
}

acquires! {
    RwLock => ReadGuard by Mode::Shared, read try_read read_timeout,
    "nobody writes, and holds the lock for reading", "nobody writes",
    "[`Deadlock`](ClusterError::Deadlock), also when this thread holds it already;"
}

acquires! {
    RwLock => WriteGuard by Mode::Alone, write try_write write_timeout,
    "nobody else reads or writes", "nobody reads or writes",
    "[`Deadlock`](ClusterError::Deadlock), also when this thread holds it already;"
}

guard! {
    /// An [`RwLock`], held for reading; dropping it ends that.
    ReadGuard, has_token = true
}

guard! {
    /// An [`RwLock`], held for writing; dropping it ends that.
    WriteGuard, has_token = true
}

gives_tokens!(ReadGuard);
gives_tokens!(WriteGuard);
