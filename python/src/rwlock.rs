//! `RwLock`.

use procession::{LockError, RwLock};
use pyo3::prelude::*;
use std::mem::forget;

use crate::errors::ToPyErr;
use crate::lock::{acquired, claims, holder_of, owner_death};
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::Patience;

/// A lock between processes that many may hold to read, or one to write.
///
/// `with lock.reading():` and `with lock.writing():` are the usual ways. A writer that waits keeps new readers out. A
/// reader that is killed is as if it had left. After a writer was killed, reading and writing raise OwnerDied until
/// somebody calls recover() and releases. At most 128 threads read at a time; further ones wait.
#[pyclass(frozen, module = "procession", name = "RwLock")]
pub(crate) struct PyRwLock {
    pub(crate) lock: RwLock,
}

impl PyRwLock {
    fn acquire(&self, py: Python<'_>, to_write: bool, patience: Patience) -> PyResult<bool> {
        let lock = &self.lock;
        let tried = if to_write { lock.try_write().map(forget) } else { lock.try_read().map(forget) };
        match tried {
            Ok(()) => Ok(true),
            Err(LockError::WouldBlock(_)) if patience == Patience::Now => Ok(false),
            Err(LockError::WouldBlock(_)) => acquired(py, patience, |patience| {
                if to_write {
                    claims!(lock, patience, write, try_write, write_timeout)
                } else {
                    claims!(lock, patience, read, try_read, read_timeout)
                }
            }),
            Err(error) => Err(error.to_py_err()),
        }
    }
}

#[pymethods]
impl PyRwLock {
    #[new]
    #[pyo3(signature = (
        name = None, *, on_owner_death = None, detect_deadlock = None, create = None, ephemeral = false, namespace = None
    ))]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        on_owner_death: Option<&str>,
        detect_deadlock: Option<bool>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        let mut options = RwLock::options();
        if let Some(policy) = on_owner_death {
            options = options.on_owner_death(owner_death(policy)?);
        }
        if let Some(detect) = detect_deadlock {
            options = options.detect_deadlock(detect);
        }
        Ok(Self { lock: make!(py, options, place)? })
    }

    /// Acquire it to read; whether it was acquired. Parameters and errors are those of Lock.acquire().
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire_read(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        self.acquire(py, false, Patience::new(block, timeout)?)
    }

    /// Acquire it to write; whether it was acquired. Parameters and errors are those of Lock.acquire().
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire_write(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        self.acquire(py, true, Patience::new(block, timeout)?)
    }

    /// Release once what this thread holds, to write or to read.
    ///
    /// Raises NotHeld, a ValueError, if this thread holds neither.
    fn release(&self) -> PyResult<()> {
        self.lock.release().map_err(ToPyErr::to_py_err)
    }

    /// A context manager that holds it to read.
    fn reading(slf: Bound<'_, Self>) -> PyHold {
        PyHold { lock: slf.unbind(), to_write: false }
    }

    /// A context manager that holds it to write.
    fn writing(slf: Bound<'_, Self>) -> PyHold {
        PyHold { lock: slf.unbind(), to_write: true }
    }

    /// Acquire it to write also if its last writer died: for those who can put right what it guards.
    ///
    /// The release makes it whole again. Parameters and result are those of Lock.acquire().
    #[pyo3(signature = (block = true, timeout = None))]
    fn recover(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let (lock, patience) = (&self.lock, Patience::new(block, timeout)?);
        acquired(py, patience, |patience| claims!(lock, patience, recover, try_recover, recover_timeout))
    }

    /// The process that writes, or is about to; or None.
    fn writer<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        holder_of(py, self.lock.writer())
    }

    /// The processes that read, once for each thread.
    fn readers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.lock.readers().into_iter().filter_map(|reader| holder_of(py, Some(reader)).transpose()).collect()
    }

    /// Whether a writer died, and nobody has called recover() since.
    #[getter]
    fn inconsistent(&self) -> bool {
        self.lock.is_inconsistent()
    }

    /// How many writers have died with it since it was made.
    #[getter]
    fn owner_deaths(&self) -> u32 {
        self.lock.n_owner_deaths()
    }

    fn __repr__(&self) -> String {
        let state = match (self.lock.writer(), self.lock.readers().len()) {
            (Some(writer), _) => format!("written by {writer}"),
            (None, 0) => "free".to_owned(),
            (None, count) => format!("read by {count}"),
        };
        format!("<procession.RwLock {:?}: {state}>", self.lock.name())
    }
}

object_methods!(PyRwLock, "RwLock", lock);

/// Holds an RwLock for a `with` block.
#[pyclass(frozen, module = "procession", name = "RwLockHold")]
pub(crate) struct PyHold {
    lock: Py<PyRwLock>,
    to_write: bool,
}

#[pymethods]
impl PyHold {
    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        self.lock.get().acquire(py, self.to_write, Patience::Forever).map(drop)
    }

    fn __exit__(
        &self,
        exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match self.lock.get().lock.release() {
            Err(LockError::NotHeld { .. }) if !exc_type.is_none() => Ok(()),
            other => other.map_err(ToPyErr::to_py_err),
        }
    }
}
