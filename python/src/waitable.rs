//! What can be waited for among others: `wait`, and file descriptors for the event loops of others.

use procession::{Readiness, WaitAnyError, Waitable, readiness, try_wait, wait, wait_timeout};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use crate::any_queue::{AnyQueue, PyAnyQueue};
use crate::errors::ToPyErr;
use crate::pipe::End;
use crate::wait::{Patience, raised, waiting};

/// The file descriptor that says when an object is ready, once somebody has asked for it.
#[derive(Default)]
pub(crate) struct Descriptor(Mutex<Option<Kept>>);

struct Kept {
    readiness: Readiness,
    /// The process that has it: a forked child has a copy without the thread that would ring.
    process: u32,
}

impl Descriptor {
    pub(crate) fn number<W: Waitable + Clone + Send + 'static>(&self, object: &W) -> PyResult<i32> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if let Some(inherited) = kept.take_if(|kept| kept.process != process) {
            std::mem::forget(inherited.readiness);
        }
        if let Some(kept) = &*kept {
            return Ok(kept.readiness.as_raw_fd());
        }
        let readiness = readiness(object).map_err(PyErr::from)?;
        let number = readiness.as_raw_fd();
        *kept = Some(Kept { readiness, process });
        Ok(number)
    }

    /// Makes it unreadable until the object is ready again.
    #[inline]
    pub(crate) fn clear(&self) {
        if let Some(kept) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && kept.process == std::process::id()
        {
            kept.readiness.clear();
        }
    }
}

/// Something to wait for, kept while it is.
enum Thing {
    Object(Arc<dyn Waitable + Send>),
    File(i32),
}

/// What an object of Python's is for `wait`.
fn thing(object: &Bound<'_, PyAny>) -> PyResult<Thing> {
    macro_rules! ours {
        ($($Class:path => $field:ident),*) => {
            $(if let Ok(object) = object.cast::<$Class>() {
                return Ok(Thing::Object(Arc::new(object.get().$field.clone())));
            })*
        };
    }
    ours!(
        crate::gates::PyEvent => event,
        crate::gates::PyLatch => latch,
        crate::semaphore::PySemaphore => semaphore,
        crate::semaphore::PyBoundedSemaphore => semaphore
    );
    if let Ok(any) = object.cast::<PyAnyQueue>() {
        return Ok(Thing::Object(match &any.get().queue {
            AnyQueue::Plain(queue) => Arc::new(queue.clone()),
            AnyQueue::Joinable(queue) => Arc::new(queue.clone()),
        }));
    }
    if let Ok(connection) = object.cast::<crate::pipe::PyConnection>() {
        return match connection.get().end()? {
            End::Both(end) => Ok(Thing::Object(end)),
            End::In(end) => Ok(Thing::Object(end)),
            End::Out(_) => Err(PyTypeError::new_err("wait() takes the ends of pipes that receive")),
        };
    }
    if let Ok(number) = object.extract::<i32>() {
        return Ok(Thing::File(number));
    }
    let number = object.call_method0("fileno").and_then(|number| number.extract());
    number.map(Thing::File).map_err(|_| {
        let kind = object.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("wait() takes queues, connections, events, latches, semaphores, and what has a fileno(), not {kind}"))
    })
}

/// Waits for the first of several things; those that are ready.
pub(crate) fn wait_for_any<'py>(
    objects: &Bound<'py, PyAny>,
    timeout: Option<f64>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let (py, patience) = (objects.py(), Patience::new(true, timeout)?);
    let objects: Vec<Bound<'py, PyAny>> = objects.try_iter()?.collect::<PyResult<_>>()?;
    let things: Vec<Thing> = objects.iter().map(thing).collect::<PyResult<_>>()?;
    let things: Vec<Arc<dyn Waitable + Send>> =
        things.into_iter().map(into_waitable).collect::<PyResult<_>>()?;
    let waited = waiting(py, || {
        let all: Vec<&dyn Waitable> = things.iter().map(|thing| &**thing as &dyn Waitable).collect();
        match patience {
            Patience::Now => try_wait(&all),
            Patience::Forever => wait(&all),
            Patience::For(time) => wait_timeout(&all, time),
        }
    });
    match waited {
        Ok(ready) => Ok(ready.into_iter().filter_map(|index| objects.get(index).cloned()).collect()),
        Err(WaitAnyError::WouldBlock | WaitAnyError::TimedOut) => Ok(Vec::new()),
        Err(error) => Err(error.to_py_err()),
    }
}

/// A thing as the library waits for it. A descriptor of Python's is another number of its own meanwhile: Python may close
/// its number while others wait.
fn into_waitable(thing: Thing) -> PyResult<Arc<dyn Waitable + Send>> {
    match thing {
        Thing::Object(object) => Ok(object),
        Thing::File(number) => Ok(Arc::new(crate::buffers::duplicate(number)?)),
    }
}

impl ToPyErr for WaitAnyError {
    fn to_py_err(self) -> PyErr {
        let shown = format!("{self:?}");
        match self {
            Self::Interrupted => raised(&shown),
            Self::Os(error) => PyErr::from(error),
            _ => crate::errors::exception("Error", &shown),
        }
    }
}
