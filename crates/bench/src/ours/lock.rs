//! Our `Lock`.

use super::Session;
use crate::error::{BenchError, Context, Result};
use crate::lock::{Exclusive, ProcessLock};
use crate::recovery::RobustLock;
use procession::LockError;

pub(crate) struct Lock {
    lock: procession::Lock,
    name: String,
}

impl Exclusive for Lock {
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
        let options = procession::Lock::options().namespace(session.namespace()).ephemeral();
        Ok(Lock { lock: options.create(&name).context("create a lock")?, name })
    }

    fn address(&self) -> String {
        self.name.clone()
    }

    fn open(address: &str) -> Result<Self> {
        Ok(Lock { lock: procession::Lock::open(address).context("open a lock")?, name: address.to_owned() })
    }
}

impl RobustLock for Lock {
    const HOLD: &'static str = "ours/hold";
    const WAIT: &'static str = "ours/wait";

    fn await_death(&self) -> Result<u32> {
        match self.lock.acquire() {
            Err(LockError::OwnerDied { pid }) => Ok(pid),
            Err(error) => Err(BenchError::Failed(format!("acquire: {error}"))),
            Ok(_) => Err(BenchError::Failed("nobody died".to_owned())),
        }
    }

    fn recover(&self) -> Result<()> {
        self.lock.recover().map(drop).context("recover")
    }
}
