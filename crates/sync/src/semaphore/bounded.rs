//! The semaphore that cannot have more permits than at first.

use super::{Semaphore, SemaphoreBody, SemaphoreSettings, semaphore_object};
use procession_shm::{Kind, Object, OpenError, Placement, Shape, Shared};
use procession_sys::Mapping;
use std::fmt;

/// A semaphore that never has more permits than at first: a release too many is an error, exactly.
///
/// In everything else it is a [`Semaphore`], which it can be used as.
///
/// ```
/// use procession::{BoundedSemaphore, ReleaseError};
///
/// let slots = BoundedSemaphore::create("slots", 2)?;
/// slots.acquire()?.forget();
/// slots.release(1)?;
/// assert!(matches!(slots.release(1), Err(ReleaseError::Full { max: 2, .. })));
/// # slots.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore {
    body: Semaphore,
}

/// How a [`BoundedSemaphore`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct BoundedSemaphoreOptions {
    place: Placement,
    settings: SemaphoreSettings,
}

impl BoundedSemaphoreOptions {
    /// How many permits there are, at first and at most; 1 unless said.
    #[must_use]
    pub fn permits(mut self, permits: usize) -> Self {
        self.settings.permits = Some(permits);
        self
    }
}

procession_shm::object_builders!([] BoundedSemaphoreOptions => BoundedSemaphore, (permits: usize));

semaphore_object!(BoundedSemaphore, Kind::BOUNDED_SEMAPHORE, SemaphoreSettings::permits, |body| {
    Ok(BoundedSemaphore { body: Semaphore::over(body)? })
});

impl std::ops::Deref for BoundedSemaphore {
    type Target = Semaphore;

    fn deref(&self) -> &Semaphore {
        &self.body
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}
