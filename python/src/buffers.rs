//! What Python names by pointers and numbers: bytes that are written into, and files.
#![expect(unsafe_code, reason = "a buffer of Python's is a pointer, and its files are numbers")]

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Has `read` fill bytes, and copies so many of them as it says into `buffer`, from `offset` on; how many those are.
///
/// The bytes are ours until they are whole: `read` may wait, and meanwhile the buffer is whoever's.
pub(crate) fn fill(
    buffer: &Bound<'_, PyAny>,
    offset: usize,
    read: impl FnOnce(&mut [u8]) -> PyResult<usize>,
) -> PyResult<usize> {
    let view = bytes_in(buffer)?;
    if view.readonly() || !view.is_c_contiguous() {
        return Err(PyBufferError::new_err(
            "a buffer to write into is wanted: a bytearray, or another that is contiguous",
        ));
    }
    let room = view.len_bytes().checked_sub(offset);
    let room = room.ok_or_else(|| PyValueError::new_err("the offset is behind the end of the buffer"))?;
    let mut bytes = vec![0; room];
    let len = read(&mut bytes)?.min(room);
    // SAFETY: the view keeps `len_bytes` bytes at its pointer from moving, `offset + len` is not more than that, and they
    // are bytes that may be written. `bytes` is ours, so that they do not overlap. The GIL is held.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), view.buf_ptr().cast::<u8>().add(offset), len) };
    Ok(len)
}

/// The bytes of a buffer, of whatever elements it is.
pub(crate) fn bytes_in(object: &Bound<'_, PyAny>) -> PyResult<PyBuffer<u8>> {
    PyBuffer::get(object)
        .or_else(|_| PyBuffer::get(&PyMemoryView::from(object)?.call_method1("cast", ("B",))?))
}

/// Bytes of Python's that are being written, and that nobody else has yet.
pub(crate) struct NewBytes<'py>(Option<Bound<'py, PyBytes>>);

impl<'py> NewBytes<'py> {
    /// So many, all zero; or none at all, if there is no memory for them.
    pub(crate) fn new(py: Python<'py>, len: usize) -> Self {
        let Ok(size) = ffi::Py_ssize_t::try_from(len) else { return Self(None) };
        // SAFETY: a null pointer asks for bytes that are to be written; what is given is owned, or null.
        let bytes = unsafe {
            Bound::from_owned_ptr_or_opt(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), size))
        };
        // What was raised is of no interest: whoever asked tries another way.
        drop(bytes.is_none().then(|| PyErr::take(py)));
        let mut new = Self(bytes.and_then(|bytes| bytes.cast_into().ok()));
        if let Some(first) = new.first() {
            // SAFETY: so many bytes are there, and nobody else's.
            unsafe { first.write_bytes(0, len) };
        }
        new
    }

    /// The first of them, to be written.
    fn first(&mut self) -> Option<*mut u8> {
        // SAFETY: it is bytes.
        self.0.as_ref().map(|bytes| unsafe { ffi::PyBytes_AsString(bytes.as_ptr()) }.cast())
    }

    pub(crate) fn into_bytes(self) -> Option<Bound<'py, PyBytes>> {
        self.0
    }
}

impl AsMut<[u8]> for NewBytes<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        let (len, first) = (self.0.as_ref().map_or(0, |bytes| bytes.as_bytes().len()), self.first());
        let Some(first) = first.filter(|_| len > 0) else { return &mut [] };
        // SAFETY: `new` has written so many bytes there. Bytes that are made by a null pointer are this object's alone, but
        // for those of no length, and nobody has it before `into_bytes`.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }
}

/// Another descriptor of the file that Python has under this number.
pub(crate) fn duplicate(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(9));
    }
    // SAFETY: it is borrowed for this call alone. A number that is no open file is an error of the call.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}
