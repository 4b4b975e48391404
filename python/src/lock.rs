//! `Lock` and `RLock`.

use procession::{Holder, Lock, LockError, OnOwnerDeath, RLock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::mem::forget;
use std::time::Instant;

use crate::errors::ToPyErr;
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::{self, Patience, waiting};

/// What is to become of a lock whose holder dies.
pub(crate) fn owner_death(policy: &str) -> PyResult<OnOwnerDeath> {
    match policy {
        "report" => Ok(OnOwnerDeath::Report),
        "ignore" => Ok(OnOwnerDeath::Ignore),
        other => Err(PyValueError::new_err(format!("on_owner_death is 'report' or 'ignore', not {other:?}"))),
    }
}

/// The holder of something, as Python shows it.
pub(crate) fn holder_of(py: Python<'_>, holder: Option<Holder>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(holder) = holder else { return Ok(None) };
    let Holder { pid, name, is_dead, held_for, .. } = holder;
    let class = py.import("procession._types")?.getattr("Holder")?;
    class.call1((pid, name, is_dead, held_for.map(|time| time.as_secs_f64()))).map(Some)
}

/// The two locks, for whoever waits with either.
#[derive(Clone)]
pub(crate) enum AnyLock {
    Plain(Lock),
    Recursive(RLock),
}

/// Whether the claim that `claim` makes, in the way that it is told, succeeded in time.
pub(crate) fn acquired(
    py: Python<'_>,
    patience: Patience,
    claim: impl Fn(Patience) -> Result<(), LockError> + Send + Sync,
) -> PyResult<bool> {
    let since = Instant::now();
    match waiting(py, || claim(patience)) {
        Ok(()) => Ok(true),
        Err(LockError::WouldBlock(_) | LockError::TimedOut(_)) => Ok(false),
        // Nobody else can release it: as with Python's locks, the time passes.
        Err(LockError::Deadlock { is_own: true, .. }) if matches!(patience, Patience::For(_)) => {
            if let Patience::For(left) = patience.left(since) {
                wait::sleep(py, left)?;
            }
            Ok(false)
        }
        Err(error) => Err(error.to_py_err()),
    }
}

macro_rules! claims {
    ($lock:expr, $patience:expr, $forever:ident, $now:ident, $timed:ident) => {
        match $patience {
            Patience::Forever => $lock.$forever().map(forget),
            Patience::Now => $lock.$now().map(forget),
            Patience::For(time) => $lock.$timed(time).map(forget),
        }
    };
}
pub(crate) use claims;

impl AnyLock {
    #[inline]
    pub(crate) fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let tried = match self {
            Self::Plain(lock) => lock.try_acquire().map(forget),
            Self::Recursive(lock) => lock.try_acquire().map(forget),
        };
        match tried {
            Ok(()) => Ok(true),
            Err(LockError::WouldBlock(_)) => match Patience::new(block, timeout)? {
                Patience::Now => Ok(false),
                patience => acquired(py, patience, |patience| match self {
                    Self::Plain(lock) => claims!(lock, patience, acquire, try_acquire, acquire_timeout),
                    Self::Recursive(lock) => claims!(lock, patience, acquire, try_acquire, acquire_timeout),
                }),
            },
            Err(error) => Err(error.to_py_err()),
        }
    }

    fn recover(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        acquired(py, Patience::new(block, timeout)?, |patience| match self {
            Self::Plain(lock) => claims!(lock, patience, recover, try_recover, recover_timeout),
            Self::Recursive(lock) => claims!(lock, patience, recover, try_recover, recover_timeout),
        })
    }

    #[inline]
    pub(crate) fn release(&self) -> PyResult<()> {
        match self {
            Self::Plain(lock) => lock.release(),
            Self::Recursive(lock) => lock.release(),
        }
        .map_err(ToPyErr::to_py_err)
    }

    /// Releases at the end of a `with`. What the block raised says more than that a wait has lost the lock.
    #[inline]
    pub(crate) fn exit(&self, raised: &Bound<'_, PyAny>) -> PyResult<()> {
        let released = match self {
            Self::Plain(lock) => lock.release(),
            Self::Recursive(lock) => lock.release(),
        };
        match released {
            Err(LockError::NotHeld { .. }) if !raised.is_none() => Ok(()),
            other => other.map_err(ToPyErr::to_py_err),
        }
    }

    pub(crate) fn holder(&self) -> Option<Holder> {
        match self {
            Self::Plain(lock) => lock.holder(),
            Self::Recursive(lock) => lock.holder(),
        }
    }

    fn is_inconsistent(&self) -> bool {
        match self {
            Self::Plain(lock) => lock.is_inconsistent(),
            Self::Recursive(lock) => lock.is_inconsistent(),
        }
    }

    fn n_owner_deaths(&self) -> u32 {
        match self {
            Self::Plain(lock) => lock.n_owner_deaths(),
            Self::Recursive(lock) => lock.n_owner_deaths(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Plain(lock) => lock.name(),
            Self::Recursive(lock) => lock.name(),
        }
    }

    fn unlink(&self) -> Result<(), procession::OpenError> {
        match self {
            Self::Plain(lock) => lock.unlink(),
            Self::Recursive(lock) => lock.unlink(),
        }
    }

    /// What people see of it.
    pub(crate) fn shown(&self, class: &str) -> String {
        let state = match self.holder() {
            Some(holder) => format!("held by {holder}"),
            None if self.is_inconsistent() => "free, its last holder died".to_owned(),
            None => "free".to_owned(),
        };
        format!("<procession.{class} {:?}: {state}>", self.name())
    }
}

impl serde::Serialize for AnyLock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(lock) => lock.serialize(serializer),
            Self::Recursive(lock) => lock.serialize(serializer),
        }
    }
}

/// The methods of both locks.
macro_rules! lock_class {
    ($(#[$doc:meta])* $Class:ident, $name:literal, $Lock:ident, $variant:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "procession", name = $name)]
        pub(crate) struct $Class {
            pub(crate) lock: AnyLock,
        }

        #[pymethods]
        impl $Class {
            #[new]
            #[pyo3(signature = (
                name = None, *, on_owner_death = None, detect_deadlock = None, create = None, ephemeral = false,
                namespace = None
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
                let mut options = $Lock::options();
                if let Some(policy) = on_owner_death {
                    options = options.on_owner_death(owner_death(policy)?);
                }
                if let Some(detect) = detect_deadlock {
                    options = options.detect_deadlock(detect);
                }
                Ok(Self { lock: AnyLock::$variant(make!(py, options, place)?) })
            }

            /// Acquire the lock; whether it was acquired.
            ///
            /// With block=False it never waits. `timeout` is in seconds; None waits for ever, a negative one not at all.
            ///
            /// Raises OwnerDied if the process or thread that held it has ended without releasing it: call recover().
            /// Raises Deadlock instead of waiting for ever for what this thread itself holds.
            #[pyo3(signature = (block = true, timeout = None))]
            #[inline]
            fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
                self.lock.acquire(py, block, timeout)
            }

            /// Release the lock.
            ///
            /// Raises NotHeld, a ValueError, if this thread does not hold it. Another process cannot release it: for that
            /// there is Semaphore(1, handoff=True).
            #[inline]
            fn release(&self) -> PyResult<()> {
                self.lock.release()
            }

            #[inline]
            fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
                self.lock.acquire(py, true, None)
            }

            #[inline]
            fn __exit__(
                &self,
                exc_type: &Bound<'_, PyAny>,
                _exc: &Bound<'_, PyAny>,
                _traceback: &Bound<'_, PyAny>,
            ) -> PyResult<()> {
                self.lock.exit(exc_type)
            }

            /// Acquire the lock also if its last holder died: for those who can put right what it guards.
            ///
            /// The release makes it whole again. Parameters and result are those of acquire().
            #[pyo3(signature = (block = true, timeout = None))]
            fn recover(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
                self.lock.recover(py, block, timeout)
            }

            /// Whether a living process holds it now.
            fn locked(&self) -> bool {
                self.lock.holder().is_some_and(|holder| !holder.is_dead)
            }

            /// The process that holds it now, or None.
            fn holder<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
                holder_of(py, self.lock.holder())
            }

            /// Whether a holder died, and nobody has called recover() since.
            #[getter]
            fn inconsistent(&self) -> bool {
                self.lock.is_inconsistent()
            }

            /// How many holders have died with it since it was made.
            #[getter]
            fn owner_deaths(&self) -> u32 {
                self.lock.n_owner_deaths()
            }

            fn __repr__(&self) -> String {
                self.lock.shown($name)
            }
        }

        object_methods!($Class, $name, lock);
    };
}

lock_class!(
    /// A lock between processes: one thread of one process holds it at a time.
    ///
    /// Lock() makes one without a name, to be given to other processes as an argument. Lock("deploy") opens the lock of
    /// that name, or makes it; create=True insists on making it, create=False on opening it. A named lock stays until
    /// unlink(), or with ephemeral=True until the last process that uses it has ended.
    ///
    /// If the holder is killed, the next acquire() raises OwnerDied at once, and so does every other until somebody calls
    /// recover() and releases. With on_owner_death="ignore" the lock is free again instead: for what can never be
    /// half-changed. With detect_deadlock=True a thread that waits in a circle of threads raises Deadlock.
    PyLock, "Lock", Lock, Plain
);

lock_class!(
    /// A lock between processes that the thread which holds it may acquire again.
    ///
    /// It is free when the thread has released it as often as it acquired it. Everything else is as with Lock.
    PyRLock, "RLock", RLock, Recursive
);
