//! `Semaphore` and `BoundedSemaphore`.

use procession::{BoundedSemaphore, Permit, Semaphore, SemaphoreError};
use pyo3::prelude::*;
use std::mem::forget;

use crate::errors::ToPyErr;
use crate::lock::holder_of;
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::{Patience, waiting};

/// Whose a permit is, once it is acquired: this process's, or nobody's.
fn keep(permit: Permit<'_>, handoff: bool) {
    if handoff { permit.forget() } else { forget(permit) }
}

fn acquire(
    py: Python<'_>,
    semaphore: &Semaphore,
    handoff: bool,
    n: usize,
    patience: Patience,
) -> PyResult<bool> {
    let claim = |patience| match (patience, n) {
        (Patience::Now, 1) => semaphore.try_acquire(),
        (Patience::Forever, 1) => semaphore.acquire(),
        (Patience::For(time), 1) => semaphore.acquire_timeout(time),
        (Patience::Now, n) => semaphore.try_acquire_many(n),
        (Patience::Forever, n) => semaphore.acquire_many(n),
        (Patience::For(time), n) => semaphore.acquire_many_timeout(n, time),
    };
    let take = |patience| claim(patience).map(|permit| keep(permit, handoff));
    let mut taken = take(Patience::Now);
    if patience != Patience::Now && matches!(taken, Err(SemaphoreError::WouldBlock(_))) {
        taken = waiting(py, || take(patience));
    }
    match taken {
        Ok(()) => Ok(true),
        Err(SemaphoreError::WouldBlock(_) | SemaphoreError::TimedOut(_)) => Ok(false),
        Err(error) => Err(error.to_py_err()),
    }
}

fn release(py: Python<'_>, semaphore: &Semaphore, handoff: bool, n: usize) -> PyResult<()> {
    // What this process holds comes first: it is not to come back once more when this process ends.
    let held = if handoff { 0 } else { (0..n).take_while(|_| semaphore.give_back()).count() };
    if held == n {
        return Ok(());
    }
    py.detach(|| semaphore.release(n - held)).map_err(ToPyErr::to_py_err)
}

macro_rules! semaphore_class {
    ($(#[$doc:meta])* $Class:ident, $name:literal, $Semaphore:ident, ($($max:ident)?), $signature:tt) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "procession", name = $name)]
        pub(crate) struct $Class {
            pub(crate) semaphore: $Semaphore,
            pub(crate) handoff: bool,
        }

        #[pymethods]
        impl $Class {
            #[new]
            #[pyo3(signature = $signature)]
            fn new(
                py: Python<'_>,
                value: Option<usize>,
                name: Option<String>,
                handoff: bool,
                $($max: Option<usize>,)?
                create: Option<bool>,
                ephemeral: bool,
                namespace: Option<&str>,
            ) -> PyResult<Self> {
                let place = Place::new(name, create, ephemeral, namespace)?;
                let mut options = $Semaphore::options();
                if let Some(value) = value {
                    options = options.permits(value);
                }
                $(if let Some(most) = $max {
                    options = options.max(most);
                })?
                Ok(Self { semaphore: make!(py, options, place)?, handoff })
            }

            /// Take a permit, or `n` together; whether they were taken.
            ///
            /// With block=False it never waits. `timeout` is in seconds; None waits for ever, a negative one not at all.
            /// Permits of processes that have died are taken as if they had been released.
            #[pyo3(signature = (block = true, timeout = None, *, n = 1))]
            fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>, n: usize) -> PyResult<bool> {
                acquire(py, &self.semaphore, self.handoff, n, Patience::new(block, timeout)?)
            }

            /// Give back a permit, or `n` of them: first what this process holds, else new ones.
            ///
            /// Raises ReleasedTooOften, a ValueError, if there would be more than the maximum: then there are no new ones.
            #[pyo3(signature = (n = 1))]
            fn release(&self, py: Python<'_>, n: usize) -> PyResult<()> {
                release(py, &self.semaphore, self.handoff, n)
            }

            fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
                acquire(py, &self.semaphore, self.handoff, 1, Patience::Forever)
            }

            fn __exit__(
                &self,
                py: Python<'_>,
                _exc_type: &Bound<'_, PyAny>,
                _exc: &Bound<'_, PyAny>,
                _traceback: &Bound<'_, PyAny>,
            ) -> PyResult<()> {
                release(py, &self.semaphore, self.handoff, 1)
            }

            /// How many permits nobody holds now, those of the dead included.
            fn get_value(&self) -> usize {
                self.semaphore.available()
            }

            /// Whether there is no permit now.
            fn locked(&self) -> bool {
                self.semaphore.available() == 0
            }

            /// Who holds permits, and how many: a list of pairs.
            fn holders<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyAny>, usize)>> {
                let holders = self.semaphore.holders().into_iter();
                let shown = holders.map(|(holder, count)| Ok(holder_of(py, Some(holder))?.map(|one| (one, count))));
                shown.filter_map(Result::transpose).collect()
            }

            /// How many permits there can be.
            #[getter]
            fn max(&self) -> usize {
                self.semaphore.max()
            }

            /// Whether permits belong to nobody once they are acquired.
            #[getter]
            fn handoff(&self) -> bool {
                self.handoff
            }

            fn __repr__(&self) -> String {
                let (name, value) = (self.semaphore.name(), self.semaphore.available());
                format!("<procession.{} {name:?}: value={value}>", $name)
            }
        }

        object_methods!($Class, $name, semaphore, |this: &$Class, py: Python<'_>| {
            Ok::<_, PyErr>(this.handoff.into_pyobject(py)?.to_owned().into_any().unbind())
        });
    };
}

semaphore_class!(
    /// So many permits between processes: acquire() takes one, release() gives it back.
    ///
    /// Permits belong to the process that acquired them, and come back when it dies. Where one process releases what
    /// another acquires (a signal), say handoff=True: then they belong to nobody, as in multiprocessing, and those of
    /// the dead are lost. `value` is how many there are at first, 1 unless said; `max` how many there can ever be: 1024,
    /// or `value` if that is more, and 65,536 at the most.
    PySemaphore, "Semaphore", Semaphore, (max),
    (value = None, name = None, *, handoff = false, max = None, create = None, ephemeral = false, namespace = None)
);

semaphore_class!(
    /// A semaphore that never has more permits than at first: a release too many raises ReleasedTooOften, exactly.
    PyBoundedSemaphore, "BoundedSemaphore", BoundedSemaphore, (),
    (value = None, name = None, *, handoff = false, create = None, ephemeral = false, namespace = None)
);
