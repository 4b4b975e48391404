//! Our `Semaphore`.

use super::Session;
use crate::error::{Context, Result};
use crate::lock::Acquire;

/// A semaphore of one permit.
pub(crate) struct Semaphore(procession::Semaphore);

impl Semaphore {
    pub(crate) fn create(session: &Session) -> Result<Self> {
        create!(procession::Semaphore, session, &session.fresh_name("semaphore")).map(Semaphore)
    }
}

impl Acquire for Semaphore {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        match self.0.acquire() {
            Ok(_permit) => Ok(work()),
            Err(error) => Err(error).context("acquire"),
        }
    }
}
