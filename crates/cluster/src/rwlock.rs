//! A read-write lock of a cluster.

use crate::engine::{Engine, Hold, Mode, Object, Patience};
use crate::error::ClusterError;
use crate::token::Token;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
#[derive(Clone, Debug)]
pub struct RwLock {
    engine: Arc<dyn Engine>,
    object: Object,
}

impl RwLock {
    pub(crate) fn new(engine: Arc<dyn Engine>, object: Object) -> Self {
        Self { engine, object }
    }

    /// Waits until nobody writes, and holds the lock for reading.
    ///
    /// # Errors
    /// [`Deadlock`](ClusterError::Deadlock), also when this thread holds it already;
    /// [`Unavailable`](ClusterError::Unavailable); [`TooMany`](ClusterError::TooMany);
    /// [`InvalidName`](ClusterError::InvalidName); [`Interrupted`](ClusterError::Interrupted).
    pub fn read(&self) -> Result<ReadGuard, ClusterError> {
        self.take_read(Patience::Forever)
    }

    /// Takes it if nobody writes.
    ///
    /// # Errors
    /// [`WouldBlock`](ClusterError::WouldBlock); otherwise as [`read`](Self::read).
    pub fn try_read(&self) -> Result<ReadGuard, ClusterError> {
        self.take_read(Patience::Try)
    }

    /// Waits at most `timeout` until nobody writes, and holds the lock for reading.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard, ClusterError> {
        self.take_read(Patience::of(timeout))
    }

    fn take_read(&self, patience: Patience) -> Result<ReadGuard, ClusterError> {
        let held = self.engine.take(&self.object, Mode::Shared, patience)?;
        Ok(ReadGuard { held })
    }

    /// Waits until nobody else reads or writes.
    ///
    /// # Errors
    /// [`Deadlock`](ClusterError::Deadlock), also when this thread holds it already;
    /// [`Unavailable`](ClusterError::Unavailable); [`TooMany`](ClusterError::TooMany);
    /// [`InvalidName`](ClusterError::InvalidName); [`Interrupted`](ClusterError::Interrupted).
    pub fn write(&self) -> Result<WriteGuard, ClusterError> {
        self.take_write(Patience::Forever)
    }

    /// Takes it if nobody reads or writes.
    ///
    /// # Errors
    /// [`WouldBlock`](ClusterError::WouldBlock); otherwise as [`write`](Self::write).
    pub fn try_write(&self) -> Result<WriteGuard, ClusterError> {
        self.take_write(Patience::Try)
    }

    /// Waits at most `timeout` until nobody else reads or writes.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard, ClusterError> {
        self.take_write(Patience::of(timeout))
    }

    fn take_write(&self, patience: Patience) -> Result<WriteGuard, ClusterError> {
        let held = self.engine.take(&self.object, Mode::Alone, patience)?;
        Ok(WriteGuard { held })
    }
}

/// An [`RwLock`], held for reading; dropping it ends that.
///
/// It stays with the thread that acquired it.
#[must_use = "dropping the guard releases it at once"]
pub struct ReadGuard {
    held: Box<dyn Hold>,
}

impl ReadGuard {
    /// The mark of this hold, to give along with what is written elsewhere.
    #[must_use]
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// Whether the hold has ended without being released: the server was out of reach for too long, or ended the
    /// session. Once true, it stays true. When the process itself was stopped, this asks the server, for up to two
    /// seconds.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.is_lost()
    }

    /// Releases it, and says whether it was held until now. Dropping the guard releases it, too, and says nothing.
    ///
    /// # Errors
    /// [`Lost`](ClusterError::Lost) when the hold had ended before.
    pub fn release(self) -> Result<(), ClusterError> {
        self.held.release()
    }
}

impl fmt::Debug for ReadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadGuard").field(&self.held).finish()
    }
}

/// An [`RwLock`], held for writing; dropping it ends that.
///
/// It stays with the thread that acquired it.
#[must_use = "dropping the guard releases it at once"]
pub struct WriteGuard {
    held: Box<dyn Hold>,
}

impl WriteGuard {
    /// The mark of this hold, to give along with what is written elsewhere.
    #[must_use]
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// Whether the hold has ended without being released: the server was out of reach for too long, or ended the
    /// session. Once true, it stays true. When the process itself was stopped, this asks the server, for up to two
    /// seconds.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.is_lost()
    }

    /// Releases it, and says whether it was held until now. Dropping the guard releases it, too, and says nothing.
    ///
    /// # Errors
    /// [`Lost`](ClusterError::Lost) when the hold had ended before.
    pub fn release(self) -> Result<(), ClusterError> {
        self.held.release()
    }
}

impl fmt::Debug for WriteGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteGuard").field(&self.held).finish()
    }
}
