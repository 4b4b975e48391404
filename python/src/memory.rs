//! `SharedMemory`.
#![expect(unsafe_code, reason = "the bytes of a shared memory are a buffer of Python's, which is a pointer")]

use procession::SharedMemory;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::object::object_methods;
use crate::place::{Place, make};

/// Bytes between processes, all zero at first: a buffer, as a memoryview or under numpy, without a copy.
///
/// `numpy.frombuffer(memory, dtype)` and `memory.buf` see them. `size` is how many there are; who opens them by name need
/// not say it. Everybody may write at any time, and what is read may be torn: keep a Lock beside them, or use an Array.
/// There is no resource tracker: a named one stays until unlink(), others go with the last process that has them.
#[pyclass(frozen, module = "procession", name = "SharedMemory")]
pub(crate) struct PySharedMemory {
    memory: SharedMemory,
    closed: AtomicBool,
}

impl PySharedMemory {
    pub(crate) fn over(memory: SharedMemory) -> Self {
        Self { memory, closed: AtomicBool::new(false) }
    }
}

#[pymethods]
impl PySharedMemory {
    #[new]
    #[pyo3(signature = (name = None, create = None, size = 0, *, ephemeral = false, namespace = None))]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        create: Option<bool>,
        size: i64,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let is_attaching = create == Some(false);
        if is_attaching && name.is_none() {
            return Err(PyValueError::new_err("a shared memory that is to be opened needs its name"));
        }
        if size < 0 || size == 0 && create == Some(true) {
            return Err(PyValueError::new_err("'size' must be a positive number different from zero"));
        }
        let place = Place::new(name, create, ephemeral, namespace)?;
        let mut options = SharedMemory::options();
        // As in Python, who opens one is not asked how large it is.
        if let Some(size) = usize::try_from(size).ok().filter(|&size| size > 0 && !is_attaching) {
            options = options.size(size);
        }
        Ok(Self::over(make!(py, options, place)?))
    }

    /// How many bytes it has.
    #[getter]
    fn size(&self) -> usize {
        self.memory.size()
    }

    /// The bytes, as a memoryview. They stay as long as the view does.
    #[getter]
    fn buf<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// The name of its file in /dev/shm, for other programs: the bytes begin there at 4096.
    #[getter]
    fn file_name(&self) -> String {
        self.memory.file_name()
    }

    /// Use it no more by this object: views that there are stay, and others can be made no more.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        if this.closed.load(Ordering::Relaxed) {
            return Err(PyBufferError::new_err("close() was called on this shared memory"));
        }
        let size = isize::try_from(this.memory.size())?;
        let start = this.memory.as_ptr();
        // SAFETY: Python gives a view to be filled. The bytes are mapped as long as `this` lives, which the view keeps, and
        // are not moved. Other processes write there: Python reads and writes such bytes as it does those of any mmap.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), size, 0, flags) };
        if filled == -1 { Err(PyErr::fetch(slf.py())) } else { Ok(()) }
    }

    fn __repr__(&self) -> String {
        format!("<procession.SharedMemory {:?}: {} bytes>", self.memory.name(), self.memory.size())
    }
}

object_methods!(PySharedMemory, "SharedMemory", memory);
