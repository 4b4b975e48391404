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

/// Tells an event, if anybody may listen.
macro_rules! event {
    ($($event:tt)*) => {{
        #[cfg(feature = "tracing")]
        tracing::event!($($event)*);
    }};
}
pub(crate) use event;

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
/// When `level` is none, or there is a subscriber already.
#[cfg(feature = "tracing")]
pub fn log_to_stderr(level: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let level: tracing::Level = level.parse()?;
    tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(std::io::stderr).try_init()
}
