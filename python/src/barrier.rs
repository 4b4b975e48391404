//! `Barrier` and `BarrierMember`.

use procession::{Barrier, Member};
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::errors::{ToPyErr, cause_name, exception};
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::{Patience, waiting};

/// A barrier between processes: wait() waits until `parties` do, then lets them all go on, again and again.
///
/// `action` is called by the last to arrive, in its process, before anybody goes on. `timeout`, in seconds, is for every
/// wait() that says none. If one does not come in time, the barrier is broken for everybody until reset().
///
/// A plain wait() is anonymous: that one of the parties has died shows only by a timeout. A process that has called
/// join() is known: if it dies, the others raise BrokenBarrierError, whose `cause` is "peer_died" and whose `pid` is its.
#[pyclass(frozen, module = "procession", name = "Barrier")]
pub(crate) struct PyBarrier {
    barrier: Barrier,
    action: Option<Py<PyAny>>,
}

impl PyBarrier {
    pub(crate) fn over(py: Python<'_>, barrier: Barrier, action: Option<Py<PyAny>>) -> Self {
        let Some(function) = &action else { return Self { barrier, action } };
        let function = function.clone_ref(py);
        let run = move || {
            let called = Python::attach(|py| function.call0(py).map(drop));
            called.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)
        };
        Self { barrier: barrier.with_action(run), action }
    }
}

#[pymethods]
impl PyBarrier {
    #[new]
    #[pyo3(signature = (
        parties = None, action = None, timeout = None, name = None, *, create = None, ephemeral = false, namespace = None
    ))]
    fn new(
        py: Python<'_>,
        parties: Option<usize>,
        action: Option<Py<PyAny>>,
        timeout: Option<f64>,
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        let mut options = Barrier::options();
        if let Some(parties) = parties {
            options = options.parties(parties);
        }
        match Patience::new(true, timeout)? {
            Patience::Forever => {}
            Patience::Now => options = options.timeout(Duration::ZERO),
            Patience::For(time) => options = options.timeout(time),
        }
        Ok(Self::over(py, make!(py, options, place)?, action))
    }

    /// Wait until all parties have arrived; the order of this arrival, from 0.
    ///
    /// Raises BrokenBarrierError if `timeout` seconds are over first, or the barrier is broken by another; what the action
    /// raises is raised where it ran. KeyboardInterrupt takes the arrival back, and the others wait on.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u32> {
        let waited = match Patience::new(true, timeout)? {
            Patience::Forever => waiting(py, || self.barrier.wait()),
            Patience::Now => waiting(py, || self.barrier.wait_timeout(Duration::ZERO)),
            Patience::For(time) => waiting(py, || self.barrier.wait_timeout(time)),
        };
        waited.map_err(ToPyErr::to_py_err)
    }

    /// Take one of the places in the name of this process: if it dies, the others are told.
    ///
    /// Raises Error if all places are taken.
    fn join(&self, py: Python<'_>) -> PyResult<PyMember> {
        let member = waiting(py, || self.barrier.join()).map_err(ToPyErr::to_py_err)?;
        Ok(PyMember { member: Mutex::new(Some(member)) })
    }

    /// Make it whole again; those who wait now raise BrokenBarrierError.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.barrier.reset()).map_err(ToPyErr::to_py_err)
    }

    /// Break it for everybody, until reset().
    fn abort(&self) {
        self.barrier.abort();
    }

    /// How many have to arrive.
    #[getter]
    fn parties(&self) -> usize {
        self.barrier.parties()
    }

    /// How many wait now.
    #[getter]
    fn n_waiting(&self) -> usize {
        self.barrier.n_waiting()
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> bool {
        self.barrier.broken().is_some()
    }

    /// Why it is broken: "timed_out", "aborted", "reset", "action_failed", "peer_died"; or None.
    #[getter]
    fn cause(&self) -> Option<&'static str> {
        self.barrier.broken().map(cause_name)
    }

    fn __repr__(&self) -> String {
        let (name, waiting, parties) =
            (self.barrier.name(), self.barrier.n_waiting(), self.barrier.parties());
        let broken = self.barrier.broken().map_or(String::new(), |cause| format!(", broken: {cause}"));
        format!("<procession.Barrier {name:?}: {waiting} of {parties} wait{broken}>")
    }
}

object_methods!(PyBarrier, "Barrier", barrier, |this: &PyBarrier, py: Python<'_>| {
    Ok::<_, PyErr>(this.action.as_ref().map_or_else(|| py.None(), |action| action.clone_ref(py)))
});

/// A place at a Barrier that this process has taken, by Barrier.join(). As a context manager it leaves at the end.
#[pyclass(frozen, module = "procession", name = "BarrierMember")]
pub(crate) struct PyMember {
    member: Mutex<Option<Member>>,
}

impl PyMember {
    fn taken(&self) -> Option<Member> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl PyMember {
    /// Wait as Barrier.wait() does.
    ///
    /// Raises NotHeld after leave(), and while another thread waits by the same member.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u32> {
        let patience = Patience::new(true, timeout)?;
        let mut member = self.taken().ok_or_else(|| {
            exception("NotHeld", "this member has left its barrier, or waits there by another thread")
        })?;
        let (member, waited) = waiting(py, move || {
            let waited = match patience {
                Patience::Forever => member.wait(),
                Patience::Now => member.wait_timeout(Duration::ZERO),
                Patience::For(time) => member.wait_timeout(time),
            };
            (member, waited)
        });
        *self.member.lock().unwrap_or_else(PoisonError::into_inner) = Some(member);
        waited.map_err(ToPyErr::to_py_err)
    }

    /// Leave the place: somebody else may take it.
    fn leave(&self) {
        drop(self.taken());
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(&self, _exc_type: &Bound<'_, PyAny>, _exc: &Bound<'_, PyAny>, _traceback: &Bound<'_, PyAny>) {
        self.leave();
    }
}
