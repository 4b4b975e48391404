//! `Queue`.

use procession::{Codec, Encoded, GetError, GetManyError, PutError, PutManyError, Queue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::buffers::fill;
use crate::codec::{self, bytes_of, decode, decode_bytes, encode};
use crate::errors::{ToPyErr, empty, errors_of_waits, exception, full};
use crate::object::object_methods;
use crate::place::{Place, make_queue};
use crate::task::PyTask;
use crate::wait::{Patience, waiting};
use crate::waitable::Descriptor;

/// Longer messages are copied while other threads of Python go on.
const SHORT: usize = 1 << 15;

/// How long a message may be that is copied by way of a buffer that stays. A vector for each would have the allocator give
/// memory back and fetch it again, which takes several times as long as the copies.
const ROOM_LEN: usize = 1 << 17;

thread_local! {
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A queue between processes: what was put is got once, in the order it was put, by whoever comes first.
///
/// It holds `maxsize` messages if that is more than 0, and messages of `bytes` bytes in all (1 MiB unless said). A larger
/// message gets a file of its own. put() has put when it returns: there is no thread behind it, and nothing is lost when
/// this process ends or is killed after that. A message that was got goes with the process that got it: see JoinableQueue.
///
/// `codec` says how objects are written: "pickle", the default; "json" and "msgpack", which programs in Rust and the
/// command `procession queue` read, too; "bytes" for bytes as they are. It stands in the queue: who opens one by name
/// need not say it, and raises CodecMismatch who says another.
#[pyclass(frozen, module = "procession", name = "Queue")]
pub(crate) struct PyQueue {
    pub(crate) queue: Queue<Encoded>,
    codec: Codec,
    closed: AtomicBool,
    descriptor: Descriptor,
}

impl PyQueue {
    pub(crate) fn over(queue: Queue<Encoded>) -> PyResult<Self> {
        let codec = queue.codec();
        codec::must_be_known(codec, queue.name())?;
        Ok(Self { queue, codec, closed: AtomicBool::new(false), descriptor: Descriptor::default() })
    }

    fn must_be_open(&self) -> PyResult<()> {
        if self.closed.load(Ordering::Relaxed) {
            let text = format!("Queue {:?} is closed in this process: close() was called", self.queue.name());
            return Err(PyValueError::new_err(text));
        }
        Ok(())
    }

    fn must_be_bytes(&self) -> PyResult<()> {
        if self.codec == Codec::Bytes {
            return Ok(());
        }
        let (name, codec) = (self.queue.name(), codec::name_of(self.codec));
        let text = format!(
            "queue {name:?} carries objects, in codec {codec:?}, and not bytes: make it with codec='bytes'"
        );
        Err(exception("CodecMismatch", &text))
    }

    fn put_message(&self, message: &Bound<'_, PyBytes>, block: bool, timeout: Option<f64>) -> PyResult<()> {
        let (py, bytes, queue) = (message.py(), message.as_bytes(), self.queue.bytes());
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
    }

    /// The next message, as an object of Python's.
    fn get_bytes_object<'py>(
        &self,
        py: Python<'py>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        if matches!(self.codec, Codec::Bytes | Codec::Pickle) {
            let got = ROOM.with_borrow_mut(|room| {
                room.resize(ROOM_LEN, 0);
                let len = self.queue.bytes().try_get_into(room)?;
                Ok::<_, GetError>(PyBytes::new(py, room.get(..len).unwrap_or_default()))
            });
            if let Ok(message) = got {
                self.descriptor.clear();
                return Ok(message);
            }
        }
        // There is none, or it is long: the same is found out again, and said.
        Ok(PyBytes::new(py, &self.get_message(py, block, timeout)?))
    }

    fn get_message(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<Vec<u8>> {
        let queue = self.queue.bytes();
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
        got.map_err(ToPyErr::to_py_err)
    }
}

#[pymethods]
impl PyQueue {
    #[new]
    #[pyo3(signature = (
        maxsize = 0, name = None, *, codec = None, bytes = None, create = None, ephemeral = false, namespace = None
    ))]
    fn new(
        py: Python<'_>,
        maxsize: i64,
        name: Option<String>,
        codec: Option<&str>,
        bytes: Option<u64>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        let mut options = Queue::<Encoded>::options();
        if let Some(most) = usize::try_from(maxsize).ok().filter(|&most| most > 0) {
            options = options.capacity(most);
        }
        if let Some(bytes) = bytes {
            options = options.bytes(bytes);
        }
        let codec = codec.map(codec::by_name).transpose()?;
        Self::over(make_queue!(py, options, codec, place)?)
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

    /// Take the first object out, waiting for one for at most `timeout` seconds; with block=False not at all.
    ///
    /// Raises queue.Empty if there is none in time, ShutDown after shutdown() when everything was got, ValueError after
    /// close().
    #[pyo3(signature = (block = true, timeout = None))]
    fn get<'py>(&self, py: Python<'py>, block: bool, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        self.must_be_open()?;
        decode_bytes(self.codec, self.get_bytes_object(py, block, timeout)?)
    }

    /// Take the first object out if there is one now; otherwise raise queue.Empty.
    fn get_nowait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get(py, false, None)
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
        let batch = self.queue.batch();
        let put = waiting(py, || match patience {
            Patience::Now => batch.try_put(&messages),
            Patience::Forever => batch.put(&messages),
            Patience::For(time) => batch.put_timeout(&messages, time),
        });
        put.map_err(|PutManyError { put, error, .. }| {
            let error = error.to_py_err();
            match error.value(py).setattr("put", put) {
                Ok(()) => error,
                Err(other) => other,
            }
        })
    }

    /// Take up to `most` objects out, waiting for the first one for at most `timeout` seconds; a list of them.
    ///
    /// Raises as get().
    #[pyo3(signature = (most, block = true, timeout = None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.must_be_open()?;
        let (batch, patience) = (self.queue.batch(), Patience::new(block, timeout)?);
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
        let objects: PyResult<Vec<_>> = messages.iter().map(|one| decode(py, self.codec, one)).collect();
        PyList::new(py, objects?)
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
        self.get_bytes_object(py, block, timeout)
    }

    /// Take the first message out into a writable buffer; how many bytes it has. Of a queue with codec="bytes".
    ///
    /// Raises multiprocessing.BufferTooShort, a ProcessError, if it does not fit: then it is still in the queue.
    #[pyo3(signature = (buffer, block = true, timeout = None))]
    fn get_bytes_into(
        &self,
        buffer: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<usize> {
        self.must_be_open()?;
        self.must_be_bytes()?;
        let (py, patience, queue) = (buffer.py(), Patience::new(block, timeout)?, self.queue.bytes());
        fill(buffer, 0, |into| {
            let got = waiting(py, || match patience {
                Patience::Now => queue.try_get_into(into),
                Patience::Forever => queue.get_into(into),
                Patience::For(time) => queue.get_into_timeout(into, time),
            });
            self.descriptor.clear();
            got.map_err(ToPyErr::to_py_err)
        })
    }

    /// Awaitable get(): `await queue.get_async()`. A task that is cancelled has taken nothing.
    fn get_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.must_be_open()?;
        let (queue, codec) = (self.queue.clone(), self.codec);
        PyTask::awaitable(py, async move {
            let message = queue.get_async().await.map_err(ToPyErr::to_py_err)?;
            Python::attach(|py| Ok(decode(py, codec, &message)?.unbind()))
        })
    }

    /// Awaitable put(): `await queue.put_async(obj)`. A task that is cancelled has put nothing.
    fn put_async<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.must_be_open()?;
        let (queue, message) = (self.queue.clone(), Encoded::from(encode(self.codec, obj)?.as_bytes()));
        PyTask::awaitable(obj.py(), async move {
            queue.put_async(&message).await.map_err(ToPyErr::to_py_err)?;
            Python::attach(|py| Ok(py.None()))
        })
    }

    /// How many messages are in it.
    fn qsize(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is no message in it.
    fn empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is no room in it: `maxsize` messages, or no byte more.
    fn full(&self) -> bool {
        self.queue.is_full()
    }

    /// How many messages it holds; 0 if only their bytes count.
    #[getter]
    fn maxsize(&self) -> usize {
        self.queue.capacity().unwrap_or(0)
    }

    /// How its messages are written: "pickle", "json", "msgpack" or "bytes".
    #[getter]
    fn codec(&self) -> String {
        codec::name_of(self.codec)
    }

    /// Use it no more in this process: put() and get() raise ValueError. Others go on, and nothing in it is lost.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Nothing: there is no thread to wait for, because what was put is in the queue. It is there for programs that were
    /// written for multiprocessing.
    fn join_thread(&self) {}

    /// Nothing, as join_thread().
    fn cancel_join_thread(&self) {}

    /// Close it for everybody: put() raises ShutDown, and get() does once everything was got. With immediate=True what is
    /// in it is thrown away. How many messages that were.
    #[pyo3(signature = (immediate = false))]
    fn shutdown(&self, py: Python<'_>, immediate: bool) -> PyResult<usize> {
        py.detach(|| self.queue.shutdown(immediate)).map_err(ToPyErr::to_py_err)
    }

    /// Open it again after shutdown(), for everybody.
    fn reopen(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.queue.reopen()).map_err(ToPyErr::to_py_err)
    }

    /// Whether shutdown() was called, by any process.
    #[getter]
    fn is_shutdown(&self) -> bool {
        self.queue.is_closed()
    }

    /// A file descriptor that is readable when get() would not wait: for select, multiprocessing.connection.wait() and
    /// asyncio's add_reader(). After that, use get_nowait(): somebody else may have been faster. From the first call on a
    /// thread of this process watches the queue.
    fn fileno(&self) -> PyResult<i32> {
        self.descriptor.number(&self.queue)
    }

    fn __repr__(&self) -> String {
        let (name, count, codec) = (self.queue.name(), self.queue.len(), self.codec());
        let state = if self.queue.is_closed() { ", shut down" } else { "" };
        format!("<procession.Queue {name:?}: {count} messages in {codec}{state}>")
    }
}

object_methods!(PyQueue, "Queue", queue);

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
