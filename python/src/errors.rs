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

use crate::wait;

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

impl ToPyErr for LockError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::OwnerDied { pid, .. } => {
                exception_with("OwnerDied", &shown, |with| with.set_item("pid", pid))
            }
            Self::Deadlock { .. } => exception("Deadlock", &shown),
            Self::NotHeld { .. } => {
                exception("NotHeld", &format!("{shown}: only the thread that acquired it releases it"))
            }
            Self::Interrupted { .. } => wait::raised(&shown),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
}

impl ToPyErr for SemaphoreError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::TooMany { object, asked, max } => {
                let text = format!(
                    "{asked} permits of {object} were asked for, which has {max} at most: make it with a larger max="
                );
                exception("Impossible", &text)
            }
            Self::Interrupted { .. } => wait::raised(&shown),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
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

impl ToPyErr for EventError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::Interrupted { .. } => wait::raised(&shown),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
}

impl ToPyErr for LatchError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::Interrupted { .. } => wait::raised(&shown),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
}

impl ToPyErr for OnceError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        match self {
            Self::Deadlock { .. } => exception("Deadlock", &shown),
            Self::Interrupted { .. } => wait::raised(&shown),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
}

impl ToPyErr for BarrierError {
    fn to_py_err(self) -> PyErr {
        let shown = text(&self);
        let broken = |cause: &str, pid: u32| {
            exception_with("BrokenBarrierError", &shown, |with| {
                with.set_item("cause", cause)?;
                with.set_item("pid", (pid != 0).then_some(pid))
            })
        };
        match self {
            Self::Broken { cause: BreakCause::PeerDied { pid }, .. } => broken("peer_died", pid),
            Self::Broken { cause, .. } => broken(cause_name(cause), 0),
            Self::TimedOut { .. } => broken("timed_out", 0),
            Self::Interrupted { .. } => wait::raised(&shown),
            Self::Action { source, .. } => match source.downcast::<PyErr>() {
                // The action's own exception, as it was raised.
                Ok(error) => *error,
                Err(_) => exception("Error", &shown),
            },
            Self::InAction { .. } => exception("Deadlock", &shown),
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
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
