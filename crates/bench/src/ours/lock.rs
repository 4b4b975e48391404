//! Our `Lock`.

use super::{Session, not_built};
use crate::error::Result;
use crate::lock::{Exclusive, ProcessLock};
use crate::recovery::RobustLock;

pub(crate) struct Lock(());

impl Exclusive for Lock {
    #[inline]
    fn locked<R>(&self, _work: impl FnOnce() -> R) -> Result<R> {
        not_built()
    }
}

impl ProcessLock for Lock {
    const HAMMER: &'static str = "ours/hammer";

    fn create(_session: &Session, _name: &str) -> Result<Self> {
        not_built()
    }

    fn address(&self) -> String {
        String::new()
    }

    fn open(_address: &str) -> Result<Self> {
        not_built()
    }
}

impl RobustLock for Lock {
    const HOLD: &'static str = "ours/hold";
    const WAIT: &'static str = "ours/wait";

    fn await_death(&self) -> Result<u32> {
        not_built()
    }

    fn recover(&self) -> Result<()> {
        not_built()
    }
}
