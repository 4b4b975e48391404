//! `Pipe` and `Connection`.

use procession::{
    Codec, Connection, Encoded, Pipe, PipeOptions, Receiver, RecvError, SendError, Sender, UnusableEnd,
};
use procession_sys::fork;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffers::fill;
use crate::codec::{self, bytes_of, decode, encode};
use crate::errors::{ToPyErr, errors_of_waits, exception, exception_with};
use crate::object::{handle_of, reduced};
use crate::place::Place;
use crate::task::PyTask;
use crate::wait::{Patience, waiting};
use crate::waitable::Descriptor;

/// Longer messages are copied while other threads of Python go on.
const SHORT: usize = 1 << 15;

/// How often this process was forked by Python.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Called before each fork.
pub(crate) fn is_about_to_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// An end of whichever kind.
#[derive(Clone)]
pub(crate) enum End {
    Both(Arc<Connection<Encoded, Encoded>>),
    In(Arc<Receiver<Encoded>>),
    Out(Arc<Sender<Encoded>>),
}

/// Does the same with an end that has a way in, or a way out; the others say that they have none.
macro_rules! on {
    ($end:expr, in $name:ident => $do:expr) => {
        match $end {
            End::Both($name) => Ok($do),
            End::In($name) => Ok($do),
            End::Out(_) => Err(PyOSError::new_err("this end of the pipe only sends")),
        }
    };
    ($end:expr, out $name:ident => $do:expr) => {
        match $end {
            End::Both($name) => Ok($do),
            End::Out($name) => Ok($do),
            End::In(_) => Err(PyOSError::new_err("this end of the pipe only receives")),
        }
    };
    ($end:expr, $name:ident => $do:expr) => {
        match $end {
            End::Both($name) => $do,
            End::In($name) => $do,
            End::Out($name) => $do,
        }
    };
}

impl End {
    fn claim_in_fork(&self) -> Result<Self, RecvError> {
        Ok(match self {
            Self::Both(end) => Self::Both(Arc::new(end.claim_in_fork()?)),
            Self::In(end) => Self::In(Arc::new(end.claim_in_fork()?)),
            Self::Out(end) => Self::Out(Arc::new(end.claim_in_fork()?)),
        })
    }
}

/// An end as this process has it.
struct Held {
    end: End,
    cookie: u64,
    /// How often this process had been forked when it came here.
    forks: u64,
}

impl Held {
    fn new(end: End) -> Self {
        Self { end, cookie: fork::cookie(), forks: FORKS.load(Ordering::Relaxed) }
    }

    /// Whether a child may have been forked that is to use it.
    fn may_be_in_a_fork(&self) -> bool {
        self.cookie == fork::cookie() && self.forks != FORKS.load(Ordering::Relaxed)
    }
}

/// An end of a pipe, from Pipe().
///
/// It is used by one process: the first that sends or receives by it, or takes it over by being its child. The other end
/// learns of its close (EOFError, BrokenPipeError), and of its process's death (PeerDied, which is both).
#[pyclass(frozen, module = "procession", name = "Connection")]
pub(crate) struct PyConnection {
    held: Mutex<Held>,
    codec: Codec,
    descriptor: Descriptor,
}

impl PyConnection {
    pub(crate) fn over(end: End, codec: Codec) -> Self {
        Self { held: Mutex::new(Held::new(end)), codec, descriptor: Descriptor::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end, which a forked child claims by this.
    pub(crate) fn end(&self) -> PyResult<End> {
        let mut held = self.held();
        if held.cookie != fork::cookie() {
            let claimed = held.end.claim_in_fork().map_err(ToPyErr::to_py_err)?;
            *held = Held::new(claimed);
        }
        Ok(held.end.clone())
    }

    fn send_message(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        let end = self.end()?;
        if bytes.len() <= SHORT {
            match on!(&end, out end => end.try_send_bytes(bytes))? {
                Err(SendError::WouldBlock | SendError::TooLarge { .. }) => {}
                done => return done.map_err(ToPyErr::to_py_err),
            }
        }
        let sent = on!(&end, out end => waiting(py, || end.send_bytes(bytes)))?;
        sent.map_err(ToPyErr::to_py_err)
    }

    fn receive(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let end = self.end()?;
        let received = match on!(&end, in end => end.try_recv_bytes())? {
            Err(RecvError::WouldBlock) => on!(&end, in end => waiting(py, || end.recv_bytes()))?,
            done => done,
        };
        self.descriptor.clear();
        received.map_err(ToPyErr::to_py_err)
    }
}

impl Drop for PyConnection {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if held.may_be_in_a_fork() {
            on!(&held.end, end => end.leave_to_fork());
        }
    }
}

/// What is left of `len` bytes from `offset` on, of which `size` are meant.
fn part(bytes: &[u8], offset: i64, size: Option<i64>) -> PyResult<&[u8]> {
    let wrong = |what: &str| PyValueError::new_err(what.to_owned());
    let offset = usize::try_from(offset).map_err(|_| wrong("offset is negative"))?;
    let rest = bytes.get(offset..).ok_or_else(|| wrong("buffer length < offset"))?;
    match size {
        None => Ok(rest),
        Some(size) => {
            let size = usize::try_from(size).map_err(|_| wrong("size is negative"))?;
            rest.get(..size).ok_or_else(|| wrong("buffer length < offset + size"))
        }
    }
}

#[pymethods]
impl PyConnection {
    /// Send an object, waiting for room.
    ///
    /// Raises BrokenPipeError if the other end is closed, PeerDied, a BrokenPipeError, if its process has died, and OSError
    /// after close().
    fn send(&self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.send_message(obj.py(), encode(self.codec, obj)?.as_bytes())
    }

    /// Receive the next object, waiting for one.
    ///
    /// Raises EOFError if the other end is closed and everything was received, PeerDied, an EOFError, if its process has
    /// died, and OSError after close().
    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decode(py, self.codec, &self.receive(py)?)
    }

    /// Send `size` bytes of a buffer, from `offset` on, as one message; to the end of it unless said.
    #[pyo3(signature = (buf, offset = 0, size = None))]
    fn send_bytes(&self, buf: &Bound<'_, PyAny>, offset: i64, size: Option<i64>) -> PyResult<()> {
        let bytes = bytes_of(buf)?;
        self.send_message(buf.py(), part(bytes.as_bytes(), offset, size)?)
    }

    /// Receive the next message as bytes, waiting for one.
    ///
    /// If it has more than `maxlength` bytes, this end is closed, and OSError raised.
    #[pyo3(signature = (maxlength = None))]
    fn recv_bytes<'py>(&self, py: Python<'py>, maxlength: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let most = maxlength.map(usize::try_from).transpose();
        let most = most.map_err(|_| PyValueError::new_err("negative maxlength"))?;
        let message = self.receive(py)?;
        if most.is_some_and(|most| message.len() > most) {
            self.close(py);
            return Err(PyOSError::new_err("bad message length"));
        }
        Ok(PyBytes::new(py, &message))
    }

    /// Receive the next message into a buffer, from `offset` on; how many bytes it has.
    ///
    /// Raises multiprocessing.BufferTooShort if it does not fit: the message is its argument.
    #[pyo3(signature = (buf, offset = 0))]
    fn recv_bytes_into(&self, buf: &Bound<'_, PyAny>, offset: i64) -> PyResult<usize> {
        let offset = usize::try_from(offset).map_err(|_| PyValueError::new_err("negative offset"))?;
        let py = buf.py();
        fill(buf, offset, |into| {
            let message = self.receive(py)?;
            match into.get_mut(..message.len()) {
                Some(into) => into.copy_from_slice(&message),
                None => {
                    let class = py.import("multiprocessing")?.getattr("BufferTooShort")?;
                    return Err(PyErr::from_value(class.call1((PyBytes::new(py, &message),))?));
                }
            }
            Ok(message.len())
        })
    }

    /// Whether recv() would return at once, or does within `timeout` seconds; None waits for ever.
    #[pyo3(signature = (timeout = 0.0))]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let (end, patience) = (self.end()?, Patience::new(true, timeout)?);
        let polled = on!(&end, in end => match patience {
            Patience::Now => end.try_poll(),
            Patience::Forever => waiting(py, || end.poll()),
            Patience::For(time) => waiting(py, || end.poll_timeout(time)),
        })?;
        match polled {
            Ok(()) => Ok(true),
            Err(RecvError::WouldBlock | RecvError::TimedOut) => Ok(false),
            Err(error) => Err(error.to_py_err()),
        }
    }

    /// Awaitable recv(): `await connection.recv_async()`. A task that is cancelled has received nothing.
    fn recv_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let codec = self.codec;
        macro_rules! receiving {
            ($end:expr) => {{
                let end = Arc::clone($end);
                PyTask::awaitable(py, async move {
                    let message = end.recv_async().await.map_err(ToPyErr::to_py_err)?;
                    Python::attach(|py| Ok(decode(py, codec, &message)?.unbind()))
                })
            }};
        }
        on!(&self.end()?, in end => receiving!(end))?
    }

    /// Awaitable send(): `await connection.send_async(obj)`.
    fn send_async<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let message = Encoded::from(encode(self.codec, obj)?.as_bytes());
        macro_rules! sending {
            ($end:expr) => {{
                let end = Arc::clone($end);
                PyTask::awaitable(obj.py(), async move {
                    end.send_async(&message).await.map_err(ToPyErr::to_py_err)?;
                    Python::attach(|py| Ok(py.None()))
                })
            }};
        }
        on!(&self.end()?, out end => sending!(end))?
    }

    /// Close this end: the other one receives what was sent, and then EOFError. An end that another process uses, or that
    /// was sent to one, is not closed by this; nor is one that was not used yet, if this process was forked since: that is
    /// the child's.
    fn close(&self, py: Python<'_>) {
        let held = self.held();
        if held.may_be_in_a_fork() {
            on!(&held.end, end => end.leave_to_fork());
        }
        let end = held.end.clone();
        drop(held);
        py.detach(|| on!(&end, end => end.close()));
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        on!(&self.held().end, end => end.is_closed())
    }

    /// Whether it receives.
    #[getter]
    fn readable(&self) -> bool {
        !matches!(self.held().end, End::Out(_))
    }

    /// Whether it sends.
    #[getter]
    fn writable(&self) -> bool {
        !matches!(self.held().end, End::In(_))
    }

    /// A file descriptor that is readable when recv() would not wait; see Queue.fileno().
    fn fileno(&self) -> PyResult<i32> {
        on!(&self.end()?, in end => self.descriptor.number(end))?
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    /// Have this process, which was forked, be the one that uses it.
    fn _claim(&self) -> PyResult<()> {
        self.end().map(drop)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
        let (py, this) = (slf.py(), slf.get());
        let (end, codec) = (this.end()?, codec::name_of(this.codec));
        let kind = match &end {
            End::Both(_) => "Connection",
            End::In(_) => "Receiver",
            End::Out(_) => "Sender",
        };
        let handle = on!(&end, end => handle_of(py, &**end))?;
        reduced(slf.as_any(), kind, handle, codec.into_pyobject(py)?.into_any())
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { "closed" } else { "open" };
        format!("<procession.Connection: {state}>")
    }
}

/// Two ends of a pipe between processes: what is sent by one is received by the other.
///
/// With duplex=False it is (reader, writer). Messages of any size go through; the pipe holds `bytes` bytes of them each way,
/// 256 KiB unless said. `codec` is that of Queue.
#[pyfunction]
#[pyo3(name = "Pipe", signature = (duplex = true, *, codec = "pickle", bytes = None, namespace = None))]
pub(crate) fn pipe(
    py: Python<'_>,
    duplex: bool,
    codec: &str,
    bytes: Option<u64>,
    namespace: Option<&str>,
) -> PyResult<(PyConnection, PyConnection)> {
    let (codec, place) = (codec::by_name(codec)?, Place::new(None, None, false, namespace)?);
    let mut options: PipeOptions = Pipe::options().codec(codec);
    if let Some(namespace) = &place.namespace {
        options = options.namespace(namespace);
    }
    if let Some(bytes) = bytes {
        options = options.bytes(bytes);
    }
    let ends = py.detach(|| {
        if duplex {
            let (one, other) = options.duplex::<Encoded, Encoded>()?;
            return Ok((End::Both(Arc::new(one)), End::Both(Arc::new(other))));
        }
        let (writer, reader) = options.pipe::<Encoded>()?;
        Ok((End::In(Arc::new(reader)), End::Out(Arc::new(writer))))
    });
    let (one, other) = ends.map_err(procession::OpenError::to_py_err)?;
    Ok((PyConnection::over(one, codec), PyConnection::over(other, codec)))
}

impl ToPyErr for UnusableEnd {
    fn to_py_err(self) -> PyErr {
        exception("UnusableEnd", &format!("{self:?}"))
    }
}

fn peer_died(text: &str, pid: u32) -> PyErr {
    exception_with("PeerDied", text, |with| with.set_item("pid", pid))
}

errors_of_waits! {
    SendError: |shown| {
        Self::PeerClosed => exception("PeerClosed", &shown),
        Self::PeerDied { pid } => peer_died(&shown, pid),
        Self::TooLarge { .. } | Self::Encode(_) => exception("TooLarge", &shown),
        Self::NotBytes(_) => exception("CodecMismatch", &shown),
        Self::Unusable(unusable) => unusable.to_py_err(),
    }
    RecvError: |shown| {
        Self::Eof => exception("PeerClosed", &shown),
        Self::PeerDied { pid } => peer_died(&shown, pid),
        Self::NotBytes(_) => exception("CodecMismatch", &shown),
        Self::Unusable(unusable) => unusable.to_py_err(),
    }
}
