//! A lock of a cluster.

use crate::engine::{Engine, Hold, Mode, Object, Patience};
use crate::error::ClusterError;
use crate::token::Token;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
#[derive(Clone, Debug)]
pub struct Lock {
    engine: Arc<dyn Engine>,
    object: Object,
}

impl Lock {
    pub(crate) fn new(engine: Arc<dyn Engine>, object: Object) -> Self {
        Self { engine, object }
    }

    /// Waits until the lock is ours.
    ///
    /// # Errors
    /// [`Deadlock`](ClusterError::Deadlock), also when this thread holds it already;
    /// [`Unavailable`](ClusterError::Unavailable); [`TooMany`](ClusterError::TooMany);
    /// [`InvalidName`](ClusterError::InvalidName); [`Interrupted`](ClusterError::Interrupted).
    pub fn acquire(&self) -> Result<LockGuard, ClusterError> {
        self.take_acquire(Patience::Forever)
    }

    /// Takes it if nobody holds it.
    ///
    /// # Errors
    /// [`WouldBlock`](ClusterError::WouldBlock); otherwise as [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<LockGuard, ClusterError> {
        self.take_acquire(Patience::Try)
    }

    /// Waits at most `timeout` until the lock is ours.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<LockGuard, ClusterError> {
        self.take_acquire(Patience::of(timeout))
    }

    fn take_acquire(&self, patience: Patience) -> Result<LockGuard, ClusterError> {
        let held = self.engine.take(&self.object, Mode::Alone, patience)?;
        Ok(LockGuard { held })
    }
}

/// A [`Lock`], held; dropping it releases the lock.
///
/// It stays with the thread that acquired it.
#[must_use = "dropping the guard releases it at once"]
pub struct LockGuard {
    held: Box<dyn Hold>,
}

impl LockGuard {
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

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&self.held).finish()
    }
}
