//! The two ways in which a side of a case ends without a figure.

use std::fmt::{self, Display};

pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// Why there is no figure.
#[derive(Debug, Clone)]
pub(crate) enum BenchError {
    /// The side cannot run here: the row says why, and the bench goes on.
    Unavailable(String),
    /// Something went wrong, or a check did not hold: the bench goes on, and fails at its end.
    Failed(String),
}

impl BenchError {
    pub(crate) fn context(self, what: impl Display) -> Self {
        match self {
            BenchError::Unavailable(why) => BenchError::Unavailable(format!("{what}: {why}")),
            BenchError::Failed(why) => BenchError::Failed(format!("{what}: {why}")),
        }
    }
}

impl Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BenchError::Unavailable(why) | BenchError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BenchError {}

/// Turns any error into [`BenchError::Failed`], saying what was being done.
pub(crate) trait Context<T> {
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| BenchError::Failed(format!("{what}: {error}")))
    }
}

/// A check inside a case: a side that computes something else has no figure.
pub(crate) fn check(what: &str, found: u64, wanted: u64) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(BenchError::Failed(format!("{what}: found {found}, wanted {wanted}")))
}
