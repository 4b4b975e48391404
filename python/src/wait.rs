//! Waiting as Python does: how long, without the GIL, and until a signal's handler raises.

use procession::interrupt;
use procession_sys::fork;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

thread_local! {
    /// What a signal's handler raised while this thread waited.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Patience {
    Now,
    For(Duration),
    Forever,
}

impl Patience {
    /// What `block` and `timeout` mean in Python: `block=False` makes the timeout meaningless, a negative one is none,
    /// and `None` is for ever.
    pub(crate) fn new(block: bool, timeout: Option<f64>) -> PyResult<Self> {
        match timeout {
            _ if !block => Ok(Self::Now),
            None => Ok(Self::Forever),
            Some(seconds) if seconds.is_nan() => {
                Err(PyValueError::new_err("a timeout in seconds cannot be NaN"))
            }
            Some(seconds) if seconds <= 0.0 => Ok(Self::Now),
            // More than there can be is for ever.
            Some(seconds) => Ok(Duration::try_from_secs_f64(seconds).map_or(Self::Forever, Self::For)),
        }
    }

    /// The patience that is left at a later time.
    pub(crate) fn left(self, since: Instant) -> Self {
        match self {
            Self::For(whole) => match whole.checked_sub(since.elapsed()) {
                Some(left) if !left.is_zero() => Self::For(left),
                _ => Self::Now,
            },
            other => other,
        }
    }
}

/// Runs `work`, which may wait, while other threads of Python go on. A signal's handler runs meanwhile, and what it
/// raises ends the wait: then `work` fails with `Interrupted`, which [`raised`] turns into that exception.
pub(crate) fn waiting<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    py.detach(|| {
        // Python runs handlers in its main thread alone. Another thread would only be in the way of an interpreter
        // that ends.
        let _hook = is_main_thread().then(|| interrupt::on_signal(has_raised));
        work()
    })
}

/// Runs what handlers of signals there are to run; whether one of them raised.
fn has_raised() -> bool {
    Python::attach(|py| match py.check_signals() {
        Ok(()) => false,
        Err(error) => {
            RAISED.set(Some(error));
            true
        }
    })
}

/// The exception that ended a wait of this thread.
pub(crate) fn raised(text: &str) -> PyErr {
    RAISED.take().unwrap_or_else(|| PyRuntimeError::new_err(text.to_owned()))
}

/// Sleeps as `time.sleep` does: for a thread that waits for itself, with a timeout.
pub(crate) fn sleep(py: Python<'_>, time: Duration) -> PyResult<()> {
    py.import("time")?.call_method1("sleep", (time.as_secs_f64(),)).map(drop)
}

/// Whether this is the thread in which the process began, or the one that forked it. The kernel is asked once in each
/// process: a wait that is over at once would take twice as long otherwise.
fn is_main_thread() -> bool {
    thread_local! {
        static KNOWN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
    }
    let process = fork::cookie();
    if let Some((known, is_main)) = KNOWN.get()
        && known == process
    {
        return is_main;
    }
    let is_main = procession_sys::thread_id() == std::process::id();
    KNOWN.set(Some((process, is_main)));
    is_main
}
