//! Our side: everything that calls `procession`.

pub(crate) mod lock;
pub(crate) mod pool;
pub(crate) mod queue;

use crate::error::{BenchError, Result};

/// The first line of `main`.
pub(crate) fn init() {}

/// Our namespace, private to one run.
pub(crate) struct Session(());

impl Session {
    pub(crate) fn start() -> Result<Self> {
        Ok(Session(()))
    }

    /// What the children need to find the namespace.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Removes the namespace, and checks that nothing of it is left.
    pub(crate) fn end(self) -> Result<()> {
        Ok(())
    }
}

fn not_built<T>() -> Result<T> {
    Err(BenchError::Unavailable("not built yet".to_owned()))
}
