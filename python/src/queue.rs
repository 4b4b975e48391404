//! `Queue`.

use procession::{Encoded, Queue};
use pyo3::prelude::*;

use crate::any_queue::{AnyQueue, PyAnyQueue};
use crate::codec::{self, decode};
use crate::errors::ToPyErr;
use crate::place::{Place, make_queue};
use crate::task::PyTask;

/// A queue between processes: what was put is got once, in the order it was put, by whoever comes first.
///
/// It holds `maxsize` messages if that is more than 0, and messages of `bytes` bytes in all (1 MiB unless said). A larger
/// message gets a file of its own. put() has put when it returns: there is no thread behind it, and nothing is lost when
/// this process ends or is killed after that. A message that was got goes with the process that got it: see JoinableQueue.
///
/// `codec` says how objects are written: "pickle", the default; "json" and "msgpack", which programs in Rust and the
/// command `procession queue` read, too; "bytes" for bytes as they are. It stands in the queue: who opens one by name
/// need not say it, and raises CodecMismatch who says another.
#[pyclass(frozen, extends = PyAnyQueue, module = "procession", name = "Queue")]
pub(crate) struct PyQueue {
    queue: Queue<Encoded>,
}

impl PyQueue {
    pub(crate) fn over(queue: Queue<Encoded>) -> PyResult<PyClassInitializer<Self>> {
        let base = PyAnyQueue::over(AnyQueue::Plain(queue.clone()))?;
        Ok(PyClassInitializer::from(base).add_subclass(Self { queue }))
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
    ) -> PyResult<PyClassInitializer<Self>> {
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

    /// Awaitable get(): `await queue.get_async()`. A task that is cancelled has taken nothing.
    fn get_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (base, queue) = (slf.as_super().get(), slf.get().queue.clone());
        base.must_be_open()?;
        let codec = base.codec;
        PyTask::awaitable(slf.py(), async move {
            let message = queue.get_async().await.map_err(ToPyErr::to_py_err)?;
            Python::attach(|py| Ok(decode(py, codec, &message)?.unbind()))
        })
    }
}
