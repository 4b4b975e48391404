//! The part of the package `procession` for Python that is written in Rust: its classes are the library's objects, and
//! wait as Python does. What is Python's own (exceptions, `asyncio`, how processes are started) is in `procession/*.py`.

mod any_queue;
mod barrier;
mod buffers;
mod codec;
mod condition;
mod errors;
mod gates;
mod joinable;
mod lock;
mod memory;
mod numbers;
mod object;
mod pickles;
mod pipe;
mod place;
mod queue;
mod rwlock;
mod semaphore;
mod task;
mod wait;
mod waitable;

use pyo3::prelude::*;

/// The classes of the package `procession`, which is where to look for them.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::any_queue::PyAnyQueue;
    #[pymodule_export]
    use crate::barrier::{PyBarrier, PyMember};
    #[pymodule_export]
    use crate::condition::PyCondition;
    #[pymodule_export]
    use crate::gates::{PyEvent, PyLatch, PyOnce};
    #[pymodule_export]
    use crate::joinable::{PyDeadLetter, PyJoinableQueue, PyLease};
    #[pymodule_export]
    use crate::lock::{PyLock, PyRLock};
    #[pymodule_export]
    use crate::memory::PySharedMemory;
    #[pymodule_export]
    use crate::numbers::{PyArray, PyPart, PyRawArray, PyRawValue, PyValue};
    #[pymodule_export]
    use crate::pipe::{PyConnection, pipe};
    #[pymodule_export]
    use crate::queue::PyQueue;
    #[pymodule_export]
    use crate::rwlock::{PyHold, PyRwLock};
    #[pymodule_export]
    use crate::semaphore::{PyBoundedSemaphore, PySemaphore};
    #[pymodule_export]
    use crate::task::PyTask;

    use crate::lock::AnyLock;
    use crate::object::object_of;
    use crate::pipe::End;
    use procession::{Condition, Namespace};
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;
    use std::sync::Arc;
    use std::time::Duration;

    /// Open the object that another process has sent.
    #[pyfunction]
    fn _rebuild<'py>(
        py: Python<'py>,
        kind: &str,
        handle: &[u8],
        state: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        macro_rules! built {
            ($object:expr) => {
                Ok(Bound::new(py, $object)?.into_any())
            };
        }
        let codec = |state: &Bound<'py, PyAny>| crate::codec::by_name(&state.extract::<String>()?);
        match kind {
            "Lock" => built!(PyLock { lock: AnyLock::Plain(object_of(py, handle)?) }),
            "RLock" => built!(PyRLock { lock: AnyLock::Recursive(object_of(py, handle)?) }),
            "RwLock" => built!(PyRwLock { lock: object_of(py, handle)? }),
            "Semaphore" => {
                built!(PySemaphore { semaphore: object_of(py, handle)?, handoff: state.extract()? })
            }
            "BoundedSemaphore" => {
                built!(PyBoundedSemaphore { semaphore: object_of(py, handle)?, handoff: state.extract()? })
            }
            "Condition" => built!(PyCondition::over(object_of::<Condition>(py, handle)?, state)?),
            "Event" => built!(PyEvent { event: object_of(py, handle)? }),
            "Latch" => built!(PyLatch { latch: object_of(py, handle)? }),
            "Once" => built!(PyOnce { once: object_of(py, handle)? }),
            "Barrier" => {
                let action = (!state.is_none()).then(|| state.unbind());
                built!(PyBarrier::over(py, object_of(py, handle)?, action))
            }
            "Connection" => {
                built!(PyConnection::over(End::Both(Arc::new(object_of(py, handle)?)), codec(&state)?))
            }
            "Receiver" => {
                built!(PyConnection::over(End::In(Arc::new(object_of(py, handle)?)), codec(&state)?))
            }
            "Sender" => {
                built!(PyConnection::over(End::Out(Arc::new(object_of(py, handle)?)), codec(&state)?))
            }
            "SharedMemory" => built!(PySharedMemory::over(object_of(py, handle)?)),
            "Value" => built!(PyValue::opened(py, handle, state.extract()?)?),
            "RawValue" => built!(PyRawValue::opened(py, handle, state.extract()?)?),
            "Queue" => built!(PyQueue::over(object_of(py, handle)?)?),
            "JoinableQueue" => built!(PyJoinableQueue::over(object_of(py, handle)?)?),
            other => {
                Err(PyValueError::new_err(format!("a newer procession has sent this object: {other:?}")))
            }
        }
    }

    /// The message that an object is in a codec.
    #[pyfunction]
    fn _encode<'py>(codec: &str, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        crate::codec::encode(crate::codec::by_name(codec)?, obj)
    }

    /// The object that a message is in a codec.
    #[pyfunction]
    fn _decode<'py>(codec: &str, message: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        crate::codec::decode_bytes(crate::codec::by_name(codec)?, message)
    }

    /// Do what happens at the exit of a process, for one that ends by os._exit().
    #[pyfunction]
    fn leave(py: Python<'_>) {
        py.detach(procession::leave);
    }

    /// Let the thread that watches others go, so that a fork copies none.
    #[pyfunction]
    fn _before_fork(py: Python<'_>) {
        crate::pipe::is_about_to_fork();
        py.detach(|| procession_sync::dismiss_watcher(Duration::from_millis(20)));
    }

    /// The namespace of this process: $PROCESSION_NAMESPACE, or "default".
    #[pyfunction]
    fn namespace() -> PyResult<String> {
        let current = Namespace::current().map_err(crate::errors::ToPyErr::to_py_err)?;
        Ok(current.name().to_owned())
    }

    /// Wait until at least one of `objects` is ready, for at most `timeout` seconds; a list of those that are.
    ///
    /// Takes queues, events, latches and semaphores of procession, and all that has a fileno(), such as sockets and the
    /// connections of multiprocessing, or is the number of an open file.
    #[pyfunction]
    #[pyo3(signature = (objects, timeout = None))]
    fn wait<'py>(objects: &Bound<'py, PyAny>, timeout: Option<f64>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        crate::waitable::wait_for_any(objects, timeout)
    }

    /// Remove what no process can use any more from a namespace; the names of what was removed.
    #[pyfunction]
    #[pyo3(signature = (namespace = None))]
    fn gc(py: Python<'_>, namespace: Option<&str>) -> PyResult<Vec<String>> {
        crate::object::gc(py, namespace)
    }

    /// Remove the name of an object, whatever it is and whoever uses it: they go on with it, and nobody finds it any more.
    ///
    /// Raises NotFound if nothing has this name.
    #[pyfunction]
    #[pyo3(signature = (name, namespace = None))]
    fn unlink(py: Python<'_>, name: &str, namespace: Option<&str>) -> PyResult<()> {
        crate::object::unlink(py, name, namespace)
    }
}
