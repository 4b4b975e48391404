//! `std::sync::RwLock`, held to read; it works in one process only.

use crate::error::{Context, Result};
use crate::lock::Acquire;
use std::sync::RwLock;

#[derive(Default)]
pub(crate) struct StdReading(RwLock<()>);

impl Acquire for StdReading {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _guard = self.0.read().context("std::sync::RwLock")?;
        Ok(work())
    }
}
