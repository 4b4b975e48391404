//! `Condition`.

use procession::{Condition, LockError, Monitor, RLock};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::mem::forget;
use std::time::{Duration, Instant};

use crate::errors::ToPyErr;
use crate::lock::{AnyLock, PyLock, PyRLock};
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::{Patience, waiting};

/// Wait, with a lock let go, for a change that another process announces.
///
/// Condition() has an RLock of its own; Condition(lock) uses that Lock or RLock, and all who wait together must use the
/// same one. A named condition without a lock has the RLock called like it with "-lock" behind it.
///
/// Change what others wait for, and notify, while you hold the lock. A waiter that is killed after it was notified is
/// replaced by another one; if a process dies that holds the lock, everybody who waits returns and finds OwnerDied.
#[pyclass(frozen, module = "procession", name = "Condition")]
pub(crate) struct PyCondition {
    condition: Condition,
    lock: AnyLock,
    /// The lock as Python has it.
    given: Py<PyAny>,
}

impl PyCondition {
    pub(crate) fn over(condition: Condition, given: Bound<'_, PyAny>) -> PyResult<Self> {
        let lock = if let Ok(lock) = given.cast::<PyLock>() {
            lock.get().lock.clone()
        } else if let Ok(lock) = given.cast::<PyRLock>() {
            lock.get().lock.clone()
        } else {
            return Err(PyTypeError::new_err(
                "the lock of a Condition is a procession.Lock or procession.RLock",
            ));
        };
        Ok(Self { condition, lock, given: given.unbind() })
    }

    fn must_hold(&self) -> PyResult<()> {
        let held = match &self.lock {
            AnyLock::Plain(lock) => lock.adopt().map(forget),
            AnyLock::Recursive(lock) => lock.adopt().map(forget),
        };
        held.map_err(ToPyErr::to_py_err)
    }

    /// Waits once; whether this thread was notified.
    fn wait_once(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let waited = waiting(py, || match &self.lock {
            AnyLock::Plain(lock) => wait_with(&self.condition, lock.adopt()?, patience),
            AnyLock::Recursive(lock) => wait_with(&self.condition, lock.adopt()?, patience),
        });
        if matches!(waited, Err(LockError::Interrupted { .. })) {
            // As with Python's condition the lock is held again when the exception is raised, and as often. Nothing
            // interrupts that.
            py.detach(|| match &self.lock {
                AnyLock::Plain(lock) => lock.acquire().map(forget),
                AnyLock::Recursive(lock) => lock.acquire().map(forget),
            })
            .map_err(ToPyErr::to_py_err)?;
        }
        waited.map_err(ToPyErr::to_py_err)
    }
}

fn wait_with<G: Monitor>(condition: &Condition, guard: G, patience: Patience) -> Result<bool, LockError> {
    let (guard, notified) = match patience {
        Patience::Forever => (condition.wait(guard)?, true),
        Patience::For(time) => {
            let (guard, result) = condition.wait_timeout(guard, time)?;
            (guard, !result.timed_out())
        }
        Patience::Now => {
            let (guard, result) = condition.wait_timeout(guard, Duration::ZERO)?;
            (guard, !result.timed_out())
        }
    };
    forget(guard);
    Ok(notified)
}

#[pymethods]
impl PyCondition {
    #[new]
    #[pyo3(signature = (lock = None, name = None, *, create = None, ephemeral = false, namespace = None))]
    fn new(
        py: Python<'_>,
        lock: Option<Bound<'_, PyAny>>,
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let lock = match lock {
            Some(lock) => lock,
            None => {
                let name = name.as_ref().map(|name| format!("{name}-lock"));
                let place = Place::new(name, create, ephemeral, namespace)?;
                let lock = AnyLock::Recursive(make!(py, RLock::options(), place)?);
                Bound::new(py, PyRLock { lock })?.into_any()
            }
        };
        let place = Place::new(name, create, ephemeral, namespace)?;
        Self::over(make!(py, Condition::options(), place)?, lock)
    }

    /// The lock that it lets go and gets back.
    #[getter]
    fn lock(&self, py: Python<'_>) -> Py<PyAny> {
        self.given.clone_ref(py)
    }

    /// Acquire the lock; see Lock.acquire().
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        self.lock.acquire(py, block, timeout)
    }

    /// Release the lock once.
    fn release(&self) -> PyResult<()> {
        self.lock.release()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock.acquire(py, true, None)
    }

    fn __exit__(
        &self,
        exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.lock.exit(exc_type)
    }

    /// Let the lock go, wait until notified, and get it back; whether it was notified before `timeout` seconds were over.
    ///
    /// It may return without a reason: look again at what you wait for, or use wait_for(). If KeyboardInterrupt, or what
    /// another signal's handler raises, ends the wait, the lock is held again.
    ///
    /// Raises NotHeld if this thread does not hold the lock, and OwnerDied if a process died that held it meanwhile: then
    /// this thread does not hold it.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.wait_once(py, Patience::new(true, timeout)?)
    }

    /// Wait until `predicate()` is true, for at most `timeout` seconds; what it said last.
    #[pyo3(signature = (predicate, timeout = None))]
    fn wait_for<'py>(
        &self,
        predicate: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (patience, since) = (Patience::new(true, timeout)?, Instant::now());
        let mut said = predicate.call0()?;
        while !said.is_truthy()? {
            let left = patience.left(since);
            if left == Patience::Now {
                break;
            }
            self.wait_once(predicate.py(), left)?;
            said = predicate.call0()?;
        }
        Ok(said)
    }

    /// Wake the `n` that have waited longest.
    ///
    /// Raises NotHeld, an AssertionError, if this thread does not hold the lock.
    #[pyo3(signature = (n = 1))]
    fn notify(&self, n: usize) -> PyResult<()> {
        self.must_hold()?;
        self.condition.notify(n);
        Ok(())
    }

    /// Wake all who wait.
    ///
    /// Raises NotHeld, an AssertionError, if this thread does not hold the lock.
    fn notify_all(&self) -> PyResult<()> {
        self.must_hold()?;
        self.condition.notify_all();
        Ok(())
    }

    /// How many wait now.
    #[getter]
    fn waiters(&self) -> usize {
        self.condition.waiters()
    }

    fn __repr__(&self) -> String {
        let (name, waiters) = (self.condition.name(), self.condition.waiters());
        format!("<procession.Condition {name:?}: {waiters} wait, {}>", self.lock.shown("lock"))
    }
}

object_methods!(PyCondition, "Condition", condition, |this: &PyCondition, py: Python<'_>| Ok::<_, PyErr>(
    this.given.clone_ref(py)
));
