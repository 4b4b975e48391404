//! What happens to processes, as events of `tracing`, with the cargo feature of that name. Without it there are
//! none, and nothing is computed for them.
//!
//! | event | level | fields |
//! |---|---|---|
//! | `started` | DEBUG | `process` |
//! | `ended` | DEBUG; WARN if by a signal | `process`, `status` |
//! | `tried again` | WARN | `worker`, `item` |
//! | `supervisor` | INFO; WARN for what went wrong | `event` |
//! | `holder died` (crate sync) | WARN | `object`, `pid` |

use crate::label::ProcessLabel;
use crate::status::ExitStatus;
use std::fmt::Display;

/// Declares what tells an event; without the feature it does nothing.
macro_rules! tells {
    ($(#[$about:meta])* $name:ident($($argument:ident: $Type:ty),*) $body:block) => {
        $(#[$about])*
        #[cfg(feature = "tracing")]
        pub(crate) fn $name($($argument: $Type),*) $body

        $(#[$about])*
        #[cfg(not(feature = "tracing"))]
        #[inline]
        pub(crate) fn $name($(_: $Type),*) {}
    };
}

tells!(started(process: &ProcessLabel) {
    tracing::debug!(%process, "started");
});

tells!(ended(process: &ProcessLabel, status: ExitStatus) {
    if status.signal().is_some() {
        tracing::warn!(%process, %status, "ended");
    } else {
        tracing::debug!(%process, %status, "ended");
    }
});

tells!(
    /// An item whose worker was lost.
    tried_again(worker: &ProcessLabel, item: usize) {
        tracing::warn!(%worker, item, "tried again");
    }
);

tells!(
    /// What a supervisor tells; `is_trouble` if something went wrong.
    supervised(event: &dyn Display, is_trouble: bool) {
        if is_trouble {
            tracing::warn!(%event, "supervisor");
        } else {
            tracing::info!(%event, "supervisor");
        }
    }
);

/// Writes the events of this process to its standard error, from `level` on (`"debug"`, `"info"`, `"warn"`):
/// what Python's `multiprocessing.log_to_stderr` does. Each process says for itself whether it does so.
///
/// A program that has a subscriber of its own needs no such call.
///
/// ```
/// procession::log_to_stderr("warn")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`LogError::Level`], and [`LogError::AlreadySet`] where there is a subscriber.
#[cfg(feature = "tracing")]
pub fn log_to_stderr(level: &str) -> Result<(), LogError> {
    let level: tracing::Level = level.parse().map_err(|_| LogError::Level { level: level.to_owned() })?;
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
    subscriber.with_writer(std::io::stderr).try_init().map_err(|_| LogError::AlreadySet)
}

/// Why [`log_to_stderr`] has changed nothing.
#[cfg(feature = "tracing")]
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no such level.
    #[error("{level:?} is no level of events: say error, warn, info, debug or trace")]
    Level {
        /// What was said.
        level: String,
    },
    /// Somebody listens already.
    #[error("this process has a subscriber for events already")]
    AlreadySet,
}

#[cfg(feature = "tracing")]
procession_shm::debug_as_text!(LogError);
