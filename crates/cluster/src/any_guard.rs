//! A guard of any kind.

use crate::engine::{Engine, Hold};
use crate::error::ClusterError;
use crate::token::Token;
use std::fmt;
use std::sync::Arc;

/// Something that is held, whatever it is: a lock, a read-write lock, permits. For who holds things of several kinds, and
/// is to do with all of them what can be done with each.
///
/// It is made of any guard, and is that from then on: dropping it releases what is held, and it stays with the thread that
/// acquired it.
///
/// ```
/// # procession::Namespace::private().enter();
/// use procession::cluster::{AnyGuard, connect};
///
/// let cluster = connect("shm:")?;
/// let mut held: Vec<AnyGuard> = vec![cluster.lock("doc-any").acquire()?.into()];
/// held.push(cluster.semaphore("doc-any", 2).acquire()?.into());
/// assert!(held[0].token().is_some() && held[1].token().is_none());
/// assert!(held.iter().all(|guard| !guard.is_lost()));
/// held.into_iter().try_for_each(AnyGuard::release)?;
/// # Ok::<(), procession::cluster::ClusterError>(())
/// ```
#[must_use = "dropping the guard releases it at once"]
pub struct AnyGuard {
    hold: Box<dyn Hold>,
    // As in the guards: the connection lasts as long as what is held by it.
    _engine: Arc<dyn Engine>,
    has_token: bool,
}

impl AnyGuard {
    pub(crate) fn of(hold: Box<dyn Hold>, engine: Arc<dyn Engine>, has_token: bool) -> Self {
        Self { hold, _engine: engine, has_token }
    }

    /// The mark of this hold, to give along with what is written elsewhere. Permits have none: others hold permits at the
    /// same time.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.has_token.then(|| self.hold.token())
    }

    /// Whether the hold has ended without being released, as that of a [`LockGuard`](crate::LockGuard).
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.hold.is_lost()
    }

    /// Releases it, and says whether it was held until now.
    ///
    /// # Errors
    /// [`Lost`](ClusterError::Lost) when the hold had ended before.
    pub fn release(self) -> Result<(), ClusterError> {
        self.hold.release()
    }
}

impl fmt::Debug for AnyGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyGuard").field(&self.hold).finish()
    }
}
