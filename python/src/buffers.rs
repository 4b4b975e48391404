//! What Python names by pointers and numbers: bytes that are written into, and files.
#![expect(unsafe_code, reason = "a buffer of Python's is a pointer, and its files are numbers")]

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
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

/// Another descriptor of the file that Python has under this number.
pub(crate) fn duplicate(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(9));
    }
    // SAFETY: it is borrowed for this call alone. A number that is no open file is an error of the call.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}
