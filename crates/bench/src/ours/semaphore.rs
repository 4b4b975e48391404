//! Our `Semaphore`.

use super::Session;
use crate::error::{Context, Result};
use crate::lock::{Acquire, ProcessLock};

/// A semaphore of one permit.
pub(crate) struct Semaphore {
    semaphore: procession::Semaphore,
    name: String,
}

impl ProcessLock for Semaphore {
    const HAMMER: &'static str = "ours/hammer-semaphore";

    fn create(session: &Session, name: &str) -> Result<Self> {
        let name = session.fresh_name(name);
        Ok(Semaphore { semaphore: create!(procession::Semaphore, session, &name)?, name })
    }

    fn address(&self) -> String {
        self.name.clone()
    }

    fn open(address: &str) -> Result<Self> {
        let semaphore = procession::Semaphore::open(address).context("open a semaphore")?;
        Ok(Semaphore { semaphore, name: address.to_owned() })
    }
}

impl Acquire for Semaphore {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        match self.semaphore.acquire() {
            Ok(_permit) => Ok(work()),
            Err(error) => Err(error).context("acquire"),
        }
    }
}
