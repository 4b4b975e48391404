//! What `Queue` and `JoinableQueue` have in common: all that is put and got, and what is asked of a queue.

use procession::{
    Codec, Encoded, GetError, GetManyError, JoinableQueue, Lease, PutError, PutManyError, Queue,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::buffers::{NewBytes, fill};
use crate::codec::{self, bytes_of, decode_bytes, encode};
use crate::errors::{ToPyErr, empty, errors_of_waits, exception, full};
use crate::object::{handle_of, reduced};
use crate::task::PyTask;
use crate::wait::{Patience, waiting};
use crate::waitable::Descriptor;

/// Longer messages are copied while other threads of Python go on.
const SHORT: usize = 1 << 15;

/// The two queues.
pub(crate) enum AnyQueue {
    Plain(Queue<Encoded>),
    Joinable(JoinableQueue<Encoded>),
}

/// Does the same with whichever queue it is.
macro_rules! on {
    ($any:expr, $queue:ident => $do:expr) => {
        match $any {
            AnyQueue::Plain($queue) => $do,
            AnyQueue::Joinable($queue) => $do,
        }
    };
}

/// What Queue and JoinableQueue have in common.
#[pyclass(frozen, subclass, module = "procession._native", name = "_AnyQueue")]
pub(crate) struct PyAnyQueue {
    pub(crate) queue: AnyQueue,
    pub(crate) codec: Codec,
    closed: AtomicBool,
    descriptor: Descriptor,
    /// What was got from a joinable queue and is not done: by which thread, the oldest first.
    got: Mutex<HashMap<ThreadId, VecDeque<Lease<Encoded>>>>,
}

/// A message that was taken out of a queue; of a joinable one with its lease.
type Taken<'py> = (Bound<'py, PyBytes>, Option<Lease<Encoded>>);

impl PyAnyQueue {
    pub(crate) fn over(queue: AnyQueue) -> PyResult<Self> {
        let (codec, name) = on!(&queue, queue => (queue.codec(), queue.name()));
        codec::must_be_known(codec, name)?;
        let (closed, descriptor, got) = Default::default();
        Ok(Self { queue, codec, closed, descriptor, got })
    }

    fn kind(&self) -> &'static str {
        match self.queue {
            AnyQueue::Plain(_) => "Queue",
            AnyQueue::Joinable(_) => "JoinableQueue",
        }
    }

    #[inline]
    pub(crate) fn must_be_open(&self) -> PyResult<()> {
        if self.closed.load(Ordering::Relaxed) {
            let text =
                format!("{} {:?} is closed in this process: close() was called", self.kind(), self.name());
            return Err(PyValueError::new_err(text));
        }
        Ok(())
    }

    fn must_be_bytes(&self) -> PyResult<()> {
        if self.codec == Codec::Bytes {
            return Ok(());
        }
        let (name, codec) = (self.name(), codec::name_of(self.codec));
        let text = format!(
            "queue {name:?} carries objects, in codec {codec:?}, and not bytes: make it with codec='bytes'"
        );
        Err(exception("CodecMismatch", &text))
    }

    fn put_message(&self, message: &Bound<'_, PyBytes>, block: bool, timeout: Option<f64>) -> PyResult<()> {
        let (py, bytes) = (message.py(), message.as_bytes());
        on!(&self.queue, queue => {
            let queue = queue.bytes();
            if bytes.len() <= SHORT {
                match queue.try_put(bytes) {
                    Err(PutError::WouldBlock(_)) if block => {}
                    done => return done.map_err(ToPyErr::to_py_err),
                }
            }
            let patience = Patience::new(block, timeout)?;
            let put = waiting(py, || match patience {
                Patience::Now => queue.try_put(bytes),
                Patience::Forever => queue.put(bytes),
                Patience::For(time) => queue.put_timeout(bytes, time),
            });
            put.map_err(ToPyErr::to_py_err)
        })
    }

    /// The next message.
    fn take<'py>(&self, py: Python<'py>, block: bool, timeout: Option<f64>) -> PyResult<Taken<'py>> {
        match &self.queue {
            AnyQueue::Plain(queue) => Ok((self.take_plain(py, queue, block, timeout)?, None)),
            AnyQueue::Joinable(queue) => {
                let lease = self.lease_of(py, queue, Patience::new(block, timeout)?)?;
                Ok((PyBytes::new(py, &lease), Some(lease)))
            }
        }
    }

    fn take_plain<'py>(
        &self,
        py: Python<'py>,
        queue: &Queue<Encoded>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let queue = queue.bytes();
        if matches!(self.codec, Codec::Bytes | Codec::Pickle) {
            let got = queue.try_get_as(|len| NewBytes::new(py, len));
            if let Some(message) = got.ok().and_then(NewBytes::into_bytes) {
                self.descriptor.clear();
                return Ok(message);
            }
        }
        // There is none, or no memory for it: that is found out again, and said.
        let got = match queue.try_get() {
            Err(GetError::WouldBlock(label)) => match Patience::new(block, timeout)? {
                Patience::Now => Err(GetError::WouldBlock(label)),
                Patience::Forever => waiting(py, || queue.get()),
                Patience::For(time) => waiting(py, || queue.get_timeout(time)),
            },
            done => done,
        };
        // Whether there was one or not: who waits at the descriptor is told of the next.
        self.descriptor.clear();
        Ok(PyBytes::new(py, &got.map_err(ToPyErr::to_py_err)?))
    }

    /// A lease of the next item of a joinable queue.
    pub(crate) fn lease_of(
        &self,
        py: Python<'_>,
        queue: &JoinableQueue<Encoded>,
        patience: Patience,
    ) -> PyResult<Lease<Encoded>> {
        let taken = match queue.try_get() {
            Err(GetError::WouldBlock(_)) if patience != Patience::Now => waiting(py, || match patience {
                Patience::For(time) => queue.get_timeout(time),
                _ => queue.get(),
            }),
            done => done,
        };
        self.descriptor.clear();
        taken.map_err(ToPyErr::to_py_err)
    }

    /// Up to `most` messages, waiting for the first.
    fn take_many<'py>(&self, py: Python<'py>, most: usize, patience: Patience) -> PyResult<Vec<Taken<'py>>> {
        match &self.queue {
            AnyQueue::Plain(queue) => {
                let batch = queue.batch();
                let got = waiting(py, || match patience {
                    Patience::Now => batch.try_get(most),
                    Patience::Forever => batch.get(most),
                    Patience::For(time) => batch.get_timeout(most, time),
                });
                self.descriptor.clear();
                let messages = match got {
                    Ok(messages) => messages,
                    // What was got before that is not to be lost.
                    Err(GetManyError { got, .. }) if !got.is_empty() => got,
                    Err(GetManyError { error, .. }) => return Err(error.to_py_err()),
                };
                Ok(messages.iter().map(|message| (PyBytes::new(py, message), None)).collect())
            }
            AnyQueue::Joinable(queue) => {
                let mut leases = Vec::new();
                if most > 0 {
                    leases.push(self.lease_of(py, queue, patience)?);
                }
                while leases.len() < most {
                    let Ok(lease) = queue.try_get() else { break };
                    leases.push(lease);
                }
                Ok(leases.into_iter().map(|lease| (PyBytes::new(py, &lease), Some(lease))).collect())
            }
        }
    }

    fn got(&self) -> MutexGuard<'_, HashMap<ThreadId, VecDeque<Lease<Encoded>>>> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the lease of what this thread has got, for task_done().
    fn keep(&self, lease: Option<Lease<Encoded>>) {
        if let Some(lease) = lease {
            let (mut got, thread) = (self.got(), thread::current().id());
            if !got.contains_key(&thread) {
                // Threads that have ended leave nothing behind.
                got.retain(|_, leases| !leases.is_empty());
            }
            got.entry(thread).or_default().push_back(lease);
        }
    }

    /// The lease that task_done() is about: this thread's oldest, or the oldest of one that is at hand.
    pub(crate) fn oldest(&self) -> Option<Lease<Encoded>> {
        let mut got = self.got();
        if let Some(lease) = got.get_mut(&thread::current().id()).and_then(VecDeque::pop_front) {
            return Some(lease);
        }
        let oldest = got
            .values_mut()
            .filter(|leases| !leases.is_empty())
            .min_by_key(|leases| leases.front().map(Lease::id));
        let lease = oldest.and_then(VecDeque::pop_front);
        got.retain(|_, leases| !leases.is_empty());
        lease
    }

    /// The objects that messages are. Where one is none, the others are not lost: leases are given back, and the exception
    /// has what has left its queue already.
    fn objects<'py>(&self, py: Python<'py>, taken: Vec<Taken<'py>>) -> PyResult<Bound<'py, PyList>> {
        let (objects, mut leases, mut failed) = (PyList::empty(py), Vec::new(), None);
        for (message, lease) in taken {
            match decode_bytes(self.codec, message) {
                Ok(object) => {
                    objects.append(object)?;
                    leases.extend(lease);
                }
                // Its lease goes: that was an attempt.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let Some(error) = failed else {
            leases.into_iter().for_each(|lease| self.keep(Some(lease)));
            return Ok(objects);
        };
        // What cannot be given back is given back by its lease's end.
        leases.into_iter().for_each(|lease| drop(lease.put_back()));
        if matches!(self.queue, AnyQueue::Plain(_)) {
            error.value(py).setattr("got", objects)?;
        }
        Err(error)
    }
}

#[pymethods]
impl PyAnyQueue {
    /// The name under which other programs find it; one that the library chose if none was given.
    #[getter]
    fn name(&self) -> &str {
        on!(&self.queue, queue => queue.name())
    }

    /// Remove the name: nobody finds the object any more, and those who have it go on with it.
    ///
    /// Raises NotFound if it has no name any more.
    fn unlink(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| on!(&self.queue, queue => queue.unlink())).map_err(ToPyErr::to_py_err)
    }

    /// Put an object, waiting for room for at most `timeout` seconds; with block=False not at all.
    ///
    /// What this raises about the object is raised here, and then nothing was put. Raises queue.Full if there is no room in
    /// time, ShutDown after shutdown(), ValueError after close().
    #[pyo3(signature = (obj, block = true, timeout = None))]
    fn put(&self, obj: &Bound<'_, PyAny>, block: bool, timeout: Option<f64>) -> PyResult<()> {
        self.must_be_open()?;
        self.put_message(&encode(self.codec, obj)?, block, timeout)
    }

    /// Put an object if there is room now; otherwise raise queue.Full.
    fn put_nowait(&self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(obj, false, None)
    }

    /// Put objects in their order, waiting for room for at most `timeout` seconds in all.
    ///
    /// Many times faster than one by one. Raises as put(), and then the first ones may be put: the exception's `put` says
    /// how many.
    #[pyo3(signature = (objects, block = true, timeout = None))]
    fn put_many(&self, objects: &Bound<'_, PyAny>, block: bool, timeout: Option<f64>) -> PyResult<()> {
        self.must_be_open()?;
        let (py, patience) = (objects.py(), Patience::new(block, timeout)?);
        let mut messages: Vec<Encoded> = Vec::new();
        for object in objects.try_iter()? {
            messages.push(encode(self.codec, &object?)?.as_bytes().into());
        }
        let put = on!(&self.queue, queue => {
            let batch = queue.batch();
            waiting(py, || match patience {
                Patience::Now => batch.try_put(&messages),
                Patience::Forever => batch.put(&messages),
                Patience::For(time) => batch.put_timeout(&messages, time),
            })
        });
        put.map_err(|PutManyError { put, error, .. }| {
            let error = error.to_py_err();
            match error.value(py).setattr("put", put) {
                Ok(()) => error,
                Err(other) => other,
            }
        })
    }

    /// Put bytes as one message: of a queue with codec="bytes", and quicker than an object.
    ///
    /// Takes bytes and every other contiguous buffer of them. Otherwise as put().
    #[pyo3(signature = (data, block = true, timeout = None))]
    fn put_bytes(&self, data: &Bound<'_, PyAny>, block: bool, timeout: Option<f64>) -> PyResult<()> {
        self.must_be_open()?;
        self.must_be_bytes()?;
        self.put_message(&bytes_of(data)?, block, timeout)
    }

    /// Awaitable put(): `await queue.put_async(obj)`. A task that is cancelled has put nothing.
    fn put_async<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.must_be_open()?;
        let message = Encoded::from(encode(self.codec, obj)?.as_bytes());
        on!(&self.queue, queue => {
            let queue = queue.clone();
            PyTask::awaitable(obj.py(), async move {
                queue.put_async(&message).await.map_err(ToPyErr::to_py_err)?;
                Python::attach(|py| Ok(py.None()))
            })
        })
    }

    /// Take the first object out, waiting for one for at most `timeout` seconds; with block=False not at all.
    ///
    /// Of a JoinableQueue it is leased: task_done() says that it is done, and until then it comes back if this process dies.
    ///
    /// Raises queue.Empty if there is none in time, ValueError after close(), and ShutDown after shutdown() when everything
    /// was got; of a JoinableQueue, when everything is done.
    #[pyo3(signature = (block = true, timeout = None))]
    fn get<'py>(&self, py: Python<'py>, block: bool, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        self.must_be_open()?;
        let (message, lease) = self.take(py, block, timeout)?;
        let object = decode_bytes(self.codec, message)?;
        self.keep(lease);
        Ok(object)
    }

    /// Take the first object out if there is one now, as get() does; otherwise raise queue.Empty.
    fn get_nowait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get(py, false, None)
    }

    /// Take up to `most` objects out, waiting for the first one for at most `timeout` seconds; a list of them.
    ///
    /// Of a JoinableQueue each is leased, and task_done() is about one. Raises as get(). If a message cannot be read, what is
    /// raised has the other objects as `got`; a JoinableQueue has its items again.
    #[pyo3(signature = (most, block = true, timeout = None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.must_be_open()?;
        let taken = self.take_many(py, most, Patience::new(block, timeout)?)?;
        self.objects(py, taken)
    }

    /// Take the first message out as bytes: of a queue with codec="bytes". Otherwise as get().
    #[pyo3(signature = (block = true, timeout = None))]
    fn get_bytes<'py>(
        &self,
        py: Python<'py>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.must_be_open()?;
        self.must_be_bytes()?;
        let (message, lease) = self.take(py, block, timeout)?;
        self.keep(lease);
        Ok(message)
    }

    /// Take the first message out into a writable buffer; how many bytes it has. Of a queue with codec="bytes".
    ///
    /// Raises multiprocessing.BufferTooShort, a ProcessError, if it does not fit: then it is still in the queue. Otherwise as
    /// get().
    #[pyo3(signature = (buffer, block = true, timeout = None))]
    fn get_bytes_into(
        &self,
        buffer: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<usize> {
        self.must_be_open()?;
        self.must_be_bytes()?;
        let (py, patience) = (buffer.py(), Patience::new(block, timeout)?);
        fill(buffer, 0, |into| match &self.queue {
            AnyQueue::Plain(queue) => {
                let queue = queue.bytes();
                let got = waiting(py, || match patience {
                    Patience::Now => queue.try_get_into(into),
                    Patience::Forever => queue.get_into(into),
                    Patience::For(time) => queue.get_into_timeout(into, time),
                });
                self.descriptor.clear();
                got.map_err(ToPyErr::to_py_err)
            }
            AnyQueue::Joinable(queue) => {
                let lease = self.lease_of(py, queue, patience)?;
                let (needed, len) = (lease.len(), into.len());
                let Some(into) = into.get_mut(..needed) else {
                    // Whoever has a larger buffer gets it, and this was no attempt.
                    lease.put_back().map_err(ToPyErr::to_py_err)?;
                    let text = format!(
                        "the next item of queue {:?} has {needed} bytes, and the buffer {len}",
                        self.name()
                    );
                    return Err(exception("BufferTooShort", &text));
                };
                into.copy_from_slice(&lease);
                self.keep(Some(lease));
                Ok(needed)
            }
        })
    }

    /// How many messages are there to be got.
    fn qsize(&self) -> usize {
        on!(&self.queue, queue => queue.len())
    }

    /// Whether no message is there to be got.
    fn empty(&self) -> bool {
        on!(&self.queue, queue => queue.is_empty())
    }

    /// Whether there is no room: for `maxsize` messages, or for a byte more.
    fn full(&self) -> bool {
        on!(&self.queue, queue => queue.is_full())
    }

    /// How many messages it holds; 0 if only their bytes count.
    #[getter]
    fn maxsize(&self) -> usize {
        on!(&self.queue, queue => queue.capacity()).unwrap_or(0)
    }

    /// How its messages are written: "pickle", "json", "msgpack" or "bytes".
    #[getter]
    fn codec(&self) -> String {
        codec::name_of(self.codec)
    }

    /// Use it no more in this process: put() and get() raise ValueError. Others go on, and nothing in it is lost. What was
    /// got from a JoinableQueue can still be done.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Nothing: there is no thread to wait for, because what was put is in the queue. It is there for programs that were
    /// written for multiprocessing.
    fn join_thread(&self) {}

    /// Nothing, as join_thread().
    fn cancel_join_thread(&self) {}

    /// Close it for everybody: put() raises ShutDown, and get() does once everything was got, or done. With immediate=True
    /// what is there to be got is thrown away, and join() does not wait for it. How many messages that were.
    #[pyo3(signature = (immediate = false))]
    fn shutdown(&self, py: Python<'_>, immediate: bool) -> PyResult<usize> {
        py.detach(|| on!(&self.queue, queue => queue.shutdown(immediate).map_err(ToPyErr::to_py_err)))
    }

    /// Open it again after shutdown(), for everybody.
    fn reopen(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| on!(&self.queue, queue => queue.reopen().map_err(ToPyErr::to_py_err)))
    }

    /// Whether shutdown() was called, by any process.
    #[getter]
    fn is_shutdown(&self) -> bool {
        on!(&self.queue, queue => queue.is_closed())
    }

    /// A file descriptor that is readable when get() would not wait: for select, multiprocessing.connection.wait() and
    /// asyncio's add_reader(). After that, use get_nowait(): somebody else may have been faster. From the first call on a
    /// thread of this process watches the queue.
    fn fileno(&self) -> PyResult<i32> {
        on!(&self.queue, queue => self.descriptor.number(queue))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
        let (py, this) = (slf.py(), slf.get());
        let handle = on!(&this.queue, queue => handle_of(py, queue))?;
        reduced(slf.as_any(), this.kind(), handle, py.None().into_bound(py))
    }

    fn __repr__(&self) -> String {
        let (kind, name, count, codec) = (self.kind(), self.name(), self.qsize(), self.codec());
        let unfinished = match &self.queue {
            AnyQueue::Plain(_) => String::new(),
            AnyQueue::Joinable(queue) => format!(", {} unfinished", queue.unfinished()),
        };
        let state = if self.is_shutdown() { ", shut down" } else { "" };
        format!("<procession.{kind} {name:?}: {count} messages in {codec}{unfinished}{state}>")
    }
}

errors_of_waits! {
    PutError: |shown| {
        Self::WouldBlock(_) | Self::TimedOut(_) => full(&shown),
        Self::Closed(_) => exception("ShutDown", &shown),
        Self::NotBytes(_) => exception("CodecMismatch", &shown),
        Self::TooLarge { queue, len, most, needed } => exception(
            "TooLarge",
            &format!(
                "a message of {len} bytes can never fit into {queue}, whose messages have {most} bytes at the most: \
                 make it with bytes={needed}"
            ),
        ),
        Self::Encode(_) => exception("TooLarge", &shown),
        Self::Spill { .. } => exception("NoSpace", &shown),
    }
    GetError: |shown| {
        Self::WouldBlock(_) | Self::TimedOut(_) => empty(&shown),
        Self::Closed(_) => exception("ShutDown", &shown),
        Self::NotBytes(_) => exception("CodecMismatch", &shown),
        Self::BufferTooShort { .. } => exception("BufferTooShort", &shown),
    }
}

impl ToPyErr for procession::CloseError {
    fn to_py_err(self) -> PyErr {
        let shown = format!("{self:?}");
        match self {
            Self::Fault(fault) => fault.to_py_err(),
            _ => exception("Error", &shown),
        }
    }
}
