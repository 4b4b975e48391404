//! `std::sync::Mutex`, which works in one process only.

use crate::error::{Context, Result};
use crate::lock::Acquire;
use std::sync::Mutex;

#[derive(Default)]
pub(crate) struct StdMutex(Mutex<()>);

impl Acquire for StdMutex {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _guard = self.0.lock().context("std::sync::Mutex")?;
        Ok(work())
    }
}
