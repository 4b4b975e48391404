//! What opens: `Event`, `Latch`, `Once`.

use procession::{Event, EventError, Latch, LatchError, Once, OnceError};
use pyo3::prelude::*;

use crate::errors::ToPyErr;
use crate::lock::holder_of;
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::{Patience, waiting};

/// An event between processes: unset at first; while it is set, nobody waits for it.
///
/// A process that dies leaves it as it is, unless it has set it by set_owned().
#[pyclass(frozen, module = "procession", name = "Event")]
pub(crate) struct PyEvent {
    pub(crate) event: Event,
}

#[pymethods]
impl PyEvent {
    #[new]
    #[pyo3(signature = (name = None, *, create = None, ephemeral = false, namespace = None))]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        Ok(Self { event: make!(py, Event::options(), place)? })
    }

    /// Set it, and wake all who wait. It may be called in a signal's handler.
    fn set(&self) {
        self.event.set();
    }

    /// Set it for as long as this process lives: its death clears it.
    ///
    /// Raises Error if another process has done the same.
    fn set_owned(&self) -> PyResult<()> {
        self.event.set_owned().map_err(ToPyErr::to_py_err)
    }

    /// The process whose life it is set for, or None.
    fn owner<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        holder_of(py, self.event.owner())
    }

    /// Clear it.
    fn clear(&self) {
        self.event.clear();
    }

    /// Release those who wait now, and leave it unset.
    fn pulse(&self) {
        self.event.pulse();
    }

    /// Whether it is set.
    #[inline]
    fn is_set(&self) -> bool {
        self.event.is_set()
    }

    /// Wait until it is set, for at most `timeout` seconds; whether it was.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.event.is_set() {
            return Ok(true);
        }
        let waited = match Patience::new(true, timeout)? {
            Patience::Now => return Ok(false),
            Patience::Forever => waiting(py, || self.event.wait()),
            Patience::For(time) => waiting(py, || self.event.wait_timeout(time)),
        };
        match waited {
            Ok(()) => Ok(true),
            Err(EventError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(error.to_py_err()),
        }
    }

    /// Wait until it is cleared, for at most `timeout` seconds; whether it was.
    #[pyo3(signature = (timeout = None))]
    fn wait_cleared(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let waited = match Patience::new(true, timeout)? {
            Patience::Now => return Ok(!self.event.is_set()),
            Patience::Forever => waiting(py, || self.event.wait_cleared()),
            Patience::For(time) => waiting(py, || self.event.wait_cleared_timeout(time)),
        };
        match waited {
            Ok(()) => Ok(true),
            Err(EventError::StillSet { .. }) => Ok(false),
            Err(error) => Err(error.to_py_err()),
        }
    }

    fn __repr__(&self) -> String {
        let state = if self.event.is_set() { "set" } else { "unset" };
        format!("<procession.Event {:?}: {state}>", self.event.name())
    }
}

object_methods!(PyEvent, "Event", event);

/// A latch between processes: closed until `count` arrivals, then open for ever.
///
/// An arrival counts although the process that arrived has died since.
#[pyclass(frozen, module = "procession", name = "Latch")]
pub(crate) struct PyLatch {
    pub(crate) latch: Latch,
}

#[pymethods]
impl PyLatch {
    #[new]
    #[pyo3(signature = (count = None, name = None, *, create = None, ephemeral = false, namespace = None))]
    fn new(
        py: Python<'_>,
        count: Option<usize>,
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        let mut options = Latch::options();
        if let Some(count) = count {
            options = options.count(count);
        }
        Ok(Self { latch: make!(py, options, place)? })
    }

    /// Arrive; the order of this arrival, from 0.
    fn arrive(&self) -> u64 {
        self.latch.arrive()
    }

    /// Wait until it is open, for at most `timeout` seconds; whether it was.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let waited = match Patience::new(true, timeout)? {
            Patience::Now => return Ok(self.latch.is_open()),
            Patience::Forever => waiting(py, || self.latch.wait()),
            Patience::For(time) => waiting(py, || self.latch.wait_timeout(time)),
        };
        match waited {
            Ok(()) => Ok(true),
            Err(LatchError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(error.to_py_err()),
        }
    }

    /// Whether it is open.
    fn is_open(&self) -> bool {
        self.latch.is_open()
    }

    /// How many have arrived.
    #[getter]
    fn arrived(&self) -> u64 {
        self.latch.arrived()
    }

    /// How many arrivals open it.
    #[getter]
    fn count(&self) -> usize {
        self.latch.count()
    }

    fn __repr__(&self) -> String {
        let (name, arrived, count) = (self.latch.name(), self.latch.arrived(), self.latch.count());
        format!("<procession.Latch {name:?}: {arrived} of {count} have arrived>")
    }
}

object_methods!(PyLatch, "Latch", latch);

/// Something that is done once, by whichever process comes first.
///
/// If that one fails or is killed in the middle, the next one does it.
#[pyclass(frozen, module = "procession", name = "Once")]
pub(crate) struct PyOnce {
    pub(crate) once: Once,
}

#[pymethods]
impl PyOnce {
    #[new]
    #[pyo3(signature = (name = None, *, create = None, ephemeral = false, namespace = None))]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        Ok(Self { once: make!(py, Once::options(), place)? })
    }

    /// Call `function()` unless it was done before, or wait until the one who is doing it has done it; whether it was done
    /// here.
    ///
    /// If somebody began before and did not finish, because of an exception or a kill, `on_again()` is called first: what
    /// was begun may be half there. What `function` raises is raised here, and then it is not done.
    ///
    /// Raises Deadlock if `function` itself calls it.
    #[pyo3(signature = (function, *, on_again = None))]
    fn run(&self, py: Python<'_>, function: Py<PyAny>, on_again: Option<Py<PyAny>>) -> PyResult<bool> {
        if self.once.is_done() {
            return Ok(false);
        }
        let call = |run: procession::OnceRun| {
            Python::attach(|py| {
                if run.is_again
                    && let Some(clean_up) = &on_again
                {
                    clean_up.call0(py)?;
                }
                function.call0(py).map(drop)
            })
        };
        match waiting(py, || self.once.run_fallible(call)) {
            Ok(done) => done,
            Err(error) => Err(OnceError::to_py_err(error)),
        }
    }

    /// Whether it was done to the end.
    fn is_done(&self) -> bool {
        self.once.is_done()
    }

    fn __repr__(&self) -> String {
        let state = if self.once.is_done() { "done" } else { "not done" };
        format!("<procession.Once {:?}: {state}>", self.once.name())
    }
}

object_methods!(PyOnce, "Once", once);
