//! A semaphore of a cluster.

use crate::engine::{Engine, Hold, Mode, Object, Patience};
use crate::error::ClusterError;
use crate::token::Token;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
#[derive(Clone, Debug)]
pub struct Semaphore {
    engine: Arc<dyn Engine>,
    object: Object,
}

impl Semaphore {
    pub(crate) fn new(engine: Arc<dyn Engine>, object: Object) -> Self {
        Self { engine, object }
    }

    /// Waits until a permit is ours.
    ///
    /// # Errors
    /// [`Mismatch`](ClusterError::Mismatch) when it exists with another number of permits;
    /// [`Unavailable`](ClusterError::Unavailable); [`TooMany`](ClusterError::TooMany);
    /// [`InvalidName`](ClusterError::InvalidName); [`Interrupted`](ClusterError::Interrupted).
    pub fn acquire(&self) -> Result<Permit, ClusterError> {
        self.take_acquire(Patience::Forever)
    }

    /// Takes it if one is free.
    ///
    /// # Errors
    /// [`WouldBlock`](ClusterError::WouldBlock); otherwise as [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Permit, ClusterError> {
        self.take_acquire(Patience::Try)
    }

    /// Waits at most `timeout` until a permit is ours.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit, ClusterError> {
        self.take_acquire(Patience::of(timeout))
    }

    fn take_acquire(&self, patience: Patience) -> Result<Permit, ClusterError> {
        let held = self.engine.take(&self.object, Mode::Permit, patience)?;
        Ok(Permit { held })
    }
}

/// A permit of a [`Semaphore`]; dropping it gives it back.
///
/// It stays with the thread that acquired it.
#[must_use = "dropping the guard releases it at once"]
pub struct Permit {
    held: Box<dyn Hold>,
}

impl Permit {
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

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.held).finish()
    }
}
