//! The library's futures, for `asyncio`.
//!
//! A [`PyTask`] has one, and Python's side (`procession/_tasks.py`) polls it: each time it is told where to say that it is
//! worth another poll, which is `loop.call_soon_threadsafe`. Cancelled, Python drops it, and the future takes back what it
//! had begun.

use pyo3::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

type Waited = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>> + Send>>;

/// Something that is waited for, by whoever polls it.
#[pyclass(frozen, module = "procession._native", name = "_Task")]
pub(crate) struct PyTask {
    future: Mutex<Option<Waited>>,
}

impl PyTask {
    /// A coroutine of Python's that ends as `future` does.
    pub(crate) fn awaitable<'py>(
        py: Python<'py>,
        future: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let task = Self { future: Mutex::new(Some(Box::pin(future))) };
        py.import("procession._tasks")?.call_method1("drive", (task,))
    }
}

#[pymethods]
impl PyTask {
    /// Look whether it has come to its end: a tuple of its result; or None, and then `wake` is called, by whatever thread,
    /// when it is worth another look.
    fn poll(&self, py: Python<'_>, wake: Py<PyAny>) -> PyResult<Option<(Py<PyAny>,)>> {
        let taken = self.future.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut future) = taken else { return Ok(None) };
        let waker = Waker::from(Arc::new(Call(wake)));
        let polled = py.detach(|| {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            (polled, future)
        });
        match polled {
            (Poll::Ready(result), _) => result.map(|value| Some((value,))),
            (Poll::Pending, future) => {
                *self.future.lock().unwrap_or_else(PoisonError::into_inner) = Some(future);
                Ok(None)
            }
        }
    }

    /// Drop it: what it had begun is taken back.
    fn cancel(&self, py: Python<'_>) {
        let taken = self.future.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(taken));
    }
}

/// Calls a function of Python's, from whatever thread.
struct Call(Py<PyAny>);

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // An event loop that is closed by now has nobody to wake.
        let _: Option<PyResult<_>> = Python::try_attach(|py| self.0.call0(py));
    }
}
