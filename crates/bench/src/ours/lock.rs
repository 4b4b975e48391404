//! Our `Lock`.

use super::Session;
use crate::error::{Context, Result};
use crate::lock::{Acquire, ProcessLock};

pub(crate) struct Lock {
    lock: procession::Lock,
    name: String,
}

impl Acquire for Lock {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _guard = self.lock.acquire().context("acquire")?;
        Ok(work())
    }
}

impl ProcessLock for Lock {
    const HAMMER: &'static str = "ours/hammer";

    fn create(session: &Session, name: &str) -> Result<Self> {
        let name = session.fresh_name(name);
        Ok(Lock { lock: create!(procession::Lock, session, &name)?, name })
    }

    fn address(&self) -> String {
        self.name.clone()
    }

    fn open(address: &str) -> Result<Self> {
        Ok(Lock { lock: procession::Lock::open(address).context("open a lock")?, name: address.to_owned() })
    }
}
