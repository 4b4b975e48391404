//! The library's errors as exceptions of Python.
//!
//! The classes are Python's own code (`procession/_errors.py`), because most of them are also one of the classes that
//! a user of `multiprocessing` catches. Here it is decided which error is which class, and what stands in it.

use procession::{
    BarrierError, BreakCause, EventError, Fault, LatchError, LockError, OnceError, OpenError, ReleaseError,
    SemaphoreError,
};
use procession_shm::InvalidName;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::fmt::Debug;

/// What an error is in Python.
pub(crate) trait ToPyErr {
    fn to_py_err(self) -> PyErr;
}

/// An exception of the class with this name in `procession._errors`, with what people read.
pub(crate) fn exception(class: &str, text: &str) -> PyErr {
    exception_with(class, text, |_| Ok(()))
}

/// An exception that has attributes, too.
pub(crate) fn exception_with(
    class: &str,
    text: &str,
    attributes: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
) -> PyErr {
    Python::attach(|py| {
        let made = || {
            let class = py.import("procession._errors")?.getattr(class)?;
            let exception = class.call1((text,))?;
            let values = PyDict::new(py);
            attributes(&values)?;
            for (name, value) in values {
                exception.setattr(name.cast_into::<pyo3::types::PyString>()?, value)?;
            }
            Ok(PyErr::from_value(exception))
        };
        made().unwrap_or_else(|error: PyErr| error)
    })
}

/// Whether the outcome is an exception of this class.
pub(crate) fn is<T>(outcome: &PyResult<T>, class: &str) -> bool {
    let Err(error) = outcome else { return false };
    Python::attach(|py| {
        let class = py.import("procession._errors").and_then(|errors| errors.getattr(class));
        class.is_ok_and(|class| error.matches(py, class).unwrap_or(false))
    })
}

/// `queue.Full`, of Python.
pub(crate) fn full(text: &str) -> PyErr {
    exception("Full", text)
}

/// `queue.Empty`, of Python.
pub(crate) fn empty(text: &str) -> PyErr {
    exception("Empty", text)
}

/// The text of an error, and of its causes: the library's `Debug` prints both.
fn text(error: &impl Debug) -> String {
    format!("{error:?}")
}

impl ToPyErr for InvalidName {
    fn to_py_err(self) -> PyErr {
        exception("InvalidName", &text(&self))
    }
}

impl ToPyErr for OpenError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::InvalidName(error) => error.to_py_err(),
            Self::Impossible { .. } => exception("Impossible", &shown),
            Self::NotFound { object } => {
                let text = format!("{object} does not exist: leave out create=False, and it is made");
                exception("NotFound", &text)
            }
            Self::Gone { .. } => exception("Gone", &shown),
            Self::AlreadyExists { object } => {
                let text = format!("{object} exists already: leave out create=True, and it is opened");
                exception("AlreadyExists", &text)
            }
            Self::NoSpace { .. } | Self::NoInodes { .. } => exception("NoSpace", &shown),
            Self::Codec { found, .. } => {
                let name = procession_shm::codec_name(found).to_lowercase();
                exception("CodecMismatch", &format!("{shown}: leave the codec out, or say codec='{name}'"))
            }
            Self::UnknownCodec { .. } => exception("CodecMismatch", &shown),
            Self::Kind { .. }
            | Self::Parameter { .. }
            | Self::ElementType { .. }
            | Self::Structure { .. }
            | Self::Version { .. }
            | Self::Layout { .. } => exception("Mismatch", &shown),
            _ => exception("OpenError", &shown),
        }
    }
}

impl ToPyErr for Fault {
    fn to_py_err(self) -> PyErr {
        let class = match &self {
            Self::Orphaned { .. } => "Orphaned",
            Self::RegistryChanged { .. } => "RegistryChanged",
            Self::Corrupt { .. } => "Corrupt",
            Self::Inherited { .. } => "Inherited",
            _ => "Fault",
        };
        exception(class, &text(&self))
    }
}

impl ToPyErr for ReleaseError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::Full { .. } => exception(
                "ReleasedTooOften",
                &format!(
                    "{shown}. If one process releases what another acquires, make it with handoff=True: then no process \
                     holds a permit"
                ),
            ),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
}

/// Says what the errors of something that is waited for are: first those of its own, then what all of them have.
macro_rules! errors_of_waits {
    ($($Error:ty: |$shown:ident| { $($own:pat => $made:expr,)* })*) => {$(
        impl $crate::errors::ToPyErr for $Error {
            fn to_py_err(self) -> pyo3::PyErr {
                let $shown = format!("{self:?}");
                match self {
                    $($own => $made,)*
                    Self::Interrupted { .. } => $crate::wait::raised(&$shown),
                    Self::Fault(fault) => fault.to_py_err(),
                    _ => $crate::errors::exception("Error", &$shown),
                }
            }
        }
    )*};
}
pub(crate) use errors_of_waits;

errors_of_waits! {
    LockError: |shown| {
        Self::OwnerDied { pid, .. } => exception_with("OwnerDied", &shown, |with| with.set_item("pid", pid)),
        Self::Deadlock { .. } => exception("Deadlock", &shown),
        Self::NotHeld { .. } => {
            exception("NotHeld", &format!("{shown}: only the thread that acquired it releases it"))
        },
    }
    SemaphoreError: |shown| {
        Self::TooMany { object, asked, max } => {
            let text = format!(
                "{asked} permits of {object} were asked for, which has {max} at most: make it with a larger max="
            );
            exception("Impossible", &text)
        },
    }
    EventError: |shown| {}
    LatchError: |shown| {}
    OnceError: |shown| {
        Self::Deadlock { .. } => exception("Deadlock", &shown),
    }
    BarrierError: |shown| {
        Self::Broken { cause: BreakCause::PeerDied { pid }, .. } => broken(&shown, "peer_died", pid),
        Self::Broken { cause, .. } => broken(&shown, cause_name(cause), 0),
        Self::TimedOut { .. } => broken(&shown, "timed_out", 0),
        Self::Action { source, .. } => match source.downcast::<PyErr>() {
            // The action's own exception, as it was raised.
            Ok(error) => *error,
            Err(_) => exception("Error", &shown),
        },
        Self::InAction { .. } => exception("Deadlock", &shown),
    }
}

/// `BrokenBarrierError`, with the process whose death is the cause, if one is.
fn broken(shown: &str, cause: &str, pid: u32) -> PyErr {
    exception_with("BrokenBarrierError", shown, |with| {
        with.set_item("cause", cause)?;
        with.set_item("pid", (pid != 0).then_some(pid))
    })
}

/// What Python calls the reason why a barrier is broken.
pub(crate) fn cause_name(cause: BreakCause) -> &'static str {
    match cause {
        BreakCause::TimedOut => "timed_out",
        BreakCause::Aborted => "aborted",
        BreakCause::Reset => "reset",
        BreakCause::ActionFailed => "action_failed",
        BreakCause::PeerDied { .. } => "peer_died",
        _ => "unknown",
    }
}
