//! Our `RwLock`, held to read or to write.

use super::Session;
use crate::error::{Context, Result};
use crate::lock::{Acquire, ProcessLock};

pub(crate) struct Reading {
    lock: procession::RwLock,
    name: String,
}

impl Acquire for Reading {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _guard = self.lock.read().context("read")?;
        Ok(work())
    }
}

impl ProcessLock for Reading {
    const HAMMER: &'static str = "ours/read";
    const SHARED: bool = true;

    fn create(session: &Session, name: &str) -> Result<Self> {
        let name = session.fresh_name(name);
        Ok(Reading { lock: create!(procession::RwLock, session, &name)?, name })
    }

    fn address(&self) -> String {
        self.name.clone()
    }

    fn open(address: &str) -> Result<Self> {
        let lock = procession::RwLock::open(address).context("open a rwlock")?;
        Ok(Reading { lock, name: address.to_owned() })
    }
}

/// Held by one at a time.
pub(crate) struct Writing(Reading);

impl Acquire for Writing {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _guard = self.0.lock.write().context("write")?;
        Ok(work())
    }
}

impl ProcessLock for Writing {
    const HAMMER: &'static str = "ours/write";

    fn create(session: &Session, name: &str) -> Result<Self> {
        Reading::create(session, name).map(Writing)
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn open(address: &str) -> Result<Self> {
        Reading::open(address).map(Writing)
    }
}
