//! How objects of Python become messages, and messages objects.

use procession::Codec;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use std::sync::OnceLock;

use crate::errors::exception;
use crate::pickles;

/// How many elements of an object are looked at to find that it is plain.
const LOOKED_AT: usize = 16;
/// What Python 3.8 and later write and read.
const PROTOCOL: u8 = 5;

/// The codec with this name.
pub(crate) fn by_name(name: &str) -> PyResult<Codec> {
    match name {
        "pickle" => Ok(Codec::Pickle),
        "json" => Ok(Codec::Json),
        "msgpack" => Ok(Codec::MsgPack),
        "bytes" => Ok(Codec::Bytes),
        other => Err(PyValueError::new_err(format!(
            "a codec is 'pickle', 'json', 'msgpack' or 'bytes', not {other:?}"
        ))),
    }
}

/// What Python calls a codec.
pub(crate) fn name_of(codec: Codec) -> String {
    codec.name().to_lowercase()
}

/// Makes sure that Python can read and write such messages.
pub(crate) fn must_be_known(codec: Codec, object: &str) -> PyResult<()> {
    if codec != Codec::Bincode {
        return Ok(());
    }
    let text = format!(
        "the messages of {object:?} are in bincode, which only Rust programs read: have the one that makes it say \
         .codec(Codec::Json) or .codec(Codec::MsgPack)"
    );
    Err(exception("CodecMismatch", &text))
}

/// A function of Python that is looked up once; or twice, by two threads. Neither waits for the other: a child that was forked
/// while one of them looked would wait for ever for a thread that it has not.
struct Function(OnceLock<Py<PyAny>>, &'static str, &'static str);

impl Function {
    const fn new(module: &'static str, name: &'static str) -> Self {
        Self(OnceLock::new(), module, name)
    }

    fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        if let Some(found) = self.0.get() {
            return Ok(found.bind(py));
        }
        let found = py.import(self.1)?.getattr(self.2)?.unbind();
        // With the GIL, which who forks has, too: nobody copies this half done.
        Ok(self.0.get_or_init(|| found).bind(py))
    }
}

static DUMPS: Function = Function::new("pickle", "dumps");
static LOADS: Function = Function::new("pickle", "loads");
static PICKLE: Function = Function::new("procession._codecs", "pickle");
static TO_JSON: Function = Function::new("procession._codecs", "to_json");
static FROM_JSON: Function = Function::new("procession._codecs", "from_json");
static TO_MSGPACK: Function = Function::new("procession._codecs", "to_msgpack");
static FROM_MSGPACK: Function = Function::new("procession._codecs", "from_msgpack");

/// The message that `object` is.
pub(crate) fn encode<'py>(codec: Codec, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    if codec == Codec::Pickle
        && let Some(pickle) = pickles::pickled(object)
    {
        return Ok(pickle);
    }
    let encoded = match codec {
        // What multiprocessing knows to pickle (connections, sockets, tensors) is in nothing that is plain.
        Codec::Pickle if is_plain(object, true) => DUMPS.get(py)?.call1((object, PROTOCOL))?,
        Codec::Pickle => PICKLE.get(py)?.call1((object,))?,
        Codec::Json => TO_JSON.get(py)?.call1((object,))?,
        Codec::MsgPack => TO_MSGPACK.get(py)?.call1((object,))?,
        _ => return bytes_of(object),
    };
    encoded.cast_into::<PyBytes>().map_err(Into::into)
}

/// The object that a message is.
pub(crate) fn decode<'py>(py: Python<'py>, codec: Codec, message: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode_bytes(codec, PyBytes::new(py, message))
}

/// The object that a message is, which is one of Python's already.
pub(crate) fn decode_bytes<'py>(codec: Codec, bytes: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    let py = bytes.py();
    match codec {
        Codec::Pickle => match pickles::unpickled(py, bytes.as_bytes()) {
            Some(object) => object,
            None => LOADS.get(py)?.call1((bytes,)),
        },
        Codec::Json => FROM_JSON.get(py)?.call1((bytes,)),
        Codec::MsgPack => FROM_MSGPACK.get(py)?.call1((bytes,)),
        _ => Ok(bytes.into_any()),
    }
}

/// Whether an object is a number, text or bytes, or a few of those in a list, tuple or dict: pickled by the quickest way.
fn is_plain(object: &Bound<'_, PyAny>, deeper: bool) -> bool {
    if object.is_none()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyBytes>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyBool>()
    {
        return true;
    }
    if !deeper {
        return false;
    }
    if let Ok(dict) = object.cast_exact::<PyDict>() {
        return dict.len() <= LOOKED_AT
            && dict.iter().all(|(key, value)| is_plain(&key, false) && is_plain(&value, false));
    }
    if let Ok(list) = object.cast_exact::<PyList>() {
        return list.len() <= LOOKED_AT && list.iter().all(|one| is_plain(&one, false));
    }
    let tuple = object.cast_exact::<PyTuple>();
    tuple.is_ok_and(|tuple| tuple.len() <= LOOKED_AT && tuple.iter().all(|one| is_plain(&one, false)))
}

/// The bytes in an object that has some.
pub(crate) fn bytes_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let buffer = crate::buffers::bytes_in(object).map_err(|_| {
        let kind = object.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("bytes are wanted, or another contiguous buffer, not {kind}"))
    })?;
    Ok(PyBytes::new(py, &buffer.to_vec(py)?))
}
