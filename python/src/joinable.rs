//! `JoinableQueue`: items that are leased until they are done.

use procession::{AckError, Codec, Encoded, JoinError, JoinableQueue, Lease};
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::any_queue::{AnyQueue, PyAnyQueue};
use crate::codec::{self, decode};
use crate::errors::{ToPyErr, errors_of_waits, exception};
use crate::lock::holder_of;
use crate::place::{Place, make_queue};
use crate::task::PyTask;
use crate::wait::{Patience, waiting};

/// A queue between processes whose items are leased: who gets one has it until task_done(), and if its process is killed
/// before that, the next one gets it.
///
/// `with queue.lease() as item:` is the way to work on one: it is done at the end of the block, and given back if that
/// raises. get() and task_done() are those of multiprocessing. What works on items must bear to begin one twice. An item
/// that was begun `max_attempts` times and never done is set aside: see dead_letters(). With `lease_timeout`, in seconds, a
/// lease is taken away from who does not finish in that time.
///
/// The other parameters are those of Queue. An item that is larger than `bytes` raises TooLarge.
#[pyclass(frozen, extends = PyAnyQueue, module = "procession", name = "JoinableQueue")]
pub(crate) struct PyJoinableQueue {
    queue: JoinableQueue<Encoded>,
}

impl PyJoinableQueue {
    pub(crate) fn over(queue: JoinableQueue<Encoded>) -> PyResult<PyClassInitializer<Self>> {
        let base = PyAnyQueue::over(AnyQueue::Joinable(queue.clone()))?;
        Ok(PyClassInitializer::from(base).add_subclass(Self { queue }))
    }
}

#[pymethods]
impl PyJoinableQueue {
    #[new]
    #[pyo3(signature = (
        maxsize = 0, name = None, *, codec = None, bytes = None, max_attempts = None, lease_timeout = None, create = None,
        ephemeral = false, namespace = None
    ))]
    fn new(
        py: Python<'_>,
        maxsize: i64,
        name: Option<String>,
        codec: Option<&str>,
        bytes: Option<u64>,
        max_attempts: Option<u32>,
        lease_timeout: Option<f64>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        let mut options = JoinableQueue::<Encoded>::options();
        if let Some(most) = usize::try_from(maxsize).ok().filter(|&most| most > 0) {
            options = options.capacity(most);
        }
        if let Some(bytes) = bytes {
            options = options.bytes(bytes);
        }
        if let Some(attempts) = max_attempts {
            options = options.max_attempts(attempts);
        }
        if let Patience::For(time) = Patience::new(true, lease_timeout)? {
            options = options.lease_timeout(time);
        }
        let codec = codec.map(codec::by_name).transpose()?;
        Self::over(make_queue!(py, options, codec, place)?)
    }

    /// Say that the oldest item which this thread got by get() is done: nobody gets it any more.
    ///
    /// Raises ValueError if there is none, and StaleLease, a ValueError, if the lease was taken away meanwhile.
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        let Some(lease) = slf.as_super().get().oldest() else {
            return Err(exception(
                "ReleasedTooOften",
                "task_done() was called more often than this process got items",
            ));
        };
        slf.py().detach(|| lease.task_done()).map_err(ToPyErr::to_py_err)
    }

    /// Lease the first item, waiting for one for at most `timeout` seconds: a Lease, best used by `with`.
    ///
    /// Raises as get().
    #[pyo3(signature = (block = true, timeout = None))]
    fn lease(slf: &Bound<'_, Self>, block: bool, timeout: Option<f64>) -> PyResult<PyLease> {
        let (py, base) = (slf.py(), slf.as_super().get());
        base.must_be_open()?;
        let lease = base.lease_of(py, &slf.get().queue, Patience::new(block, timeout)?)?;
        PyLease::new(py, base.codec, lease)
    }

    /// Awaitable lease(): `lease = await queue.lease_async()`. A task that is cancelled has leased nothing.
    fn lease_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (base, queue) = (slf.as_super().get(), slf.get().queue.clone());
        base.must_be_open()?;
        let codec = base.codec;
        PyTask::awaitable(slf.py(), async move {
            let lease = queue.get_async().await.map_err(ToPyErr::to_py_err)?;
            Python::attach(|py| Ok(Bound::new(py, PyLease::new(py, codec, lease)?)?.into_any().unbind()))
        })
    }

    /// Wait until everything that was put is done, for at most `timeout` seconds; whether it is.
    #[pyo3(signature = (timeout = None))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let joined = match Patience::new(true, timeout)? {
            Patience::Forever => waiting(py, || self.queue.join()),
            Patience::For(time) => waiting(py, || self.queue.join_timeout(time)),
            Patience::Now => waiting(py, || self.queue.join_timeout(Duration::ZERO)),
        };
        match joined {
            Ok(()) => Ok(true),
            Err(JoinError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(error.to_py_err()),
        }
    }

    /// The items that were begun `max_attempts` times, or given up, and never done.
    fn dead_letters(&self, py: Python<'_>) -> PyResult<Vec<PyDeadLetter>> {
        let letters = py.detach(|| self.queue.dead_letters()).map_err(ToPyErr::to_py_err)?;
        Ok(letters.into_iter().map(|letter| PyDeadLetter { letter, codec: self.queue.codec() }).collect())
    }

    /// Put a dead letter into the queue again, with all attempts before it; whether it was still there.
    fn retry(&self, py: Python<'_>, letter: &PyDeadLetter) -> PyResult<bool> {
        py.detach(|| self.queue.retry(&letter.letter)).map_err(ToPyErr::to_py_err)
    }

    /// Throw a dead letter away; whether it was still there.
    fn discard(&self, py: Python<'_>, letter: &PyDeadLetter) -> PyResult<bool> {
        py.detach(|| self.queue.discard(&letter.letter)).map_err(ToPyErr::to_py_err)
    }

    /// Who has leased items, and how many: a list of pairs.
    fn holders<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyAny>, usize)>> {
        let holders = self.queue.holders().into_iter();
        let shown = holders.map(|(holder, count)| Ok(holder_of(py, Some(holder))?.map(|one| (one, count))));
        shown.filter_map(Result::transpose).collect()
    }

    /// How many items are not done: those that are leased included, dead letters not.
    #[getter]
    fn unfinished(&self) -> usize {
        self.queue.unfinished()
    }

    /// How often an item is begun before it becomes a dead letter; None for ever and again.
    #[getter]
    fn max_attempts(&self) -> Option<u32> {
        self.queue.max_attempts()
    }

    /// How many seconds a lease lasts; None for as long as its process lives.
    #[getter]
    fn lease_timeout(&self) -> Option<f64> {
        self.queue.lease_timeout().map(|time| time.as_secs_f64())
    }
}

/// An item in this process's hands, from JoinableQueue.lease(): nobody else gets it meanwhile.
///
/// As a context manager it gives the item, and at the end says that it is done; if the block raises, the item is given
/// back. Without task_done() it is given back when this object goes, or this process dies.
#[pyclass(frozen, module = "procession", name = "Lease")]
pub(crate) struct PyLease {
    lease: Mutex<Option<Lease<Encoded>>>,
    item: Py<PyAny>,
    id: u64,
    attempt: u32,
}

impl PyLease {
    fn new(py: Python<'_>, codec: Codec, lease: Lease<Encoded>) -> PyResult<Self> {
        let item = decode(py, codec, &lease)?.unbind();
        let (id, attempt) = (lease.id(), lease.attempt());
        Ok(Self { lease: Mutex::new(Some(lease)), item, id, attempt })
    }

    fn kept(&self) -> MutexGuard<'_, Option<Lease<Encoded>>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended() -> PyErr {
        exception("StaleLease", "this lease has ended: its item was done, given back or given up")
    }

    fn end(&self, py: Python<'_>, how: fn(Lease<Encoded>) -> Result<(), AckError>) -> PyResult<()> {
        let lease = self.kept().take().ok_or_else(Self::ended)?;
        py.detach(|| how(lease)).map_err(ToPyErr::to_py_err)
    }
}

#[pymethods]
impl PyLease {
    /// The item.
    #[getter]
    fn item(&self, py: Python<'_>) -> Py<PyAny> {
        self.item.clone_ref(py)
    }

    /// The number of the item in its queue: it stays when the item is got again.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// The how manieth time the item was got, from 1 on.
    #[getter]
    fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Say that the item is done: nobody gets it any more.
    ///
    /// Raises StaleLease, a ValueError, if the lease was taken away, or has ended.
    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, Lease::task_done)
    }

    /// Give the item back as if it had not been got: this attempt does not count. Raises as task_done().
    fn put_back(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, Lease::put_back)
    }

    /// Say that nobody will ever finish the item: it is a dead letter now. Raises as task_done().
    fn give_up(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, Lease::give_up)
    }

    /// Have the lease last for `seconds` from now on. Raises as task_done().
    fn extend(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let time = match Patience::new(true, Some(seconds))? {
            Patience::Now => Duration::ZERO,
            Patience::For(time) => time,
            Patience::Forever => Duration::MAX,
        };
        let extended = py.detach(|| self.kept().as_ref().map(|lease| lease.extend(time)));
        extended.ok_or_else(Self::ended)?.map_err(ToPyErr::to_py_err)
    }

    /// How many seconds it lasts still; None for as long as this process lives.
    #[getter]
    fn time_left(&self) -> Option<f64> {
        self.kept().as_ref().map_or(Some(0.0), |lease| lease.time_left().map(|time| time.as_secs_f64()))
    }

    /// Whether the item is still leased by this.
    #[getter]
    fn is_valid(&self) -> bool {
        self.kept().as_ref().is_some_and(Lease::is_valid)
    }

    fn __enter__(&self, py: Python<'_>) -> Py<PyAny> {
        self.item.clone_ref(py)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let lease = self.kept().take();
        match lease {
            // The block has decided itself.
            None => Ok(()),
            Some(lease) if exc_type.is_none() => py.detach(|| lease.task_done()).map_err(ToPyErr::to_py_err),
            Some(lease) => {
                py.detach(|| drop(lease));
                Ok(())
            }
        }
    }

    fn __repr__(&self) -> String {
        let state = if self.is_valid() { "" } else { ", ended" };
        format!("<procession.Lease of item {}, attempt {}{state}>", self.id, self.attempt)
    }
}

/// An item that was begun as often as its queue allows, and never done: see JoinableQueue.dead_letters().
#[pyclass(frozen, module = "procession", name = "DeadLetter")]
pub(crate) struct PyDeadLetter {
    letter: procession::DeadLetter<Encoded>,
    codec: Codec,
}

#[pymethods]
impl PyDeadLetter {
    /// The number of the item in its queue.
    #[getter]
    fn id(&self) -> u64 {
        self.letter.id
    }

    /// How often it was begun.
    #[getter]
    fn attempts(&self) -> u32 {
        self.letter.attempts
    }

    /// The item, as it was put.
    #[getter]
    fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decode(py, self.codec, &self.letter.bytes)
    }

    fn __repr__(&self) -> String {
        format!("<procession.DeadLetter of item {}, after {} attempts>", self.letter.id, self.letter.attempts)
    }
}

impl ToPyErr for AckError {
    fn to_py_err(self) -> PyErr {
        let shown = format!("{self:?}");
        match self {
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("StaleLease", &shown),
        }
    }
}

errors_of_waits! { JoinError: |shown| {} }
