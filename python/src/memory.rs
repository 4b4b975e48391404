//! `SharedMemory`, and what lies under `Value` and `Array`: plain data of the kinds that typecodes name.
#![expect(unsafe_code, reason = "the bytes of a shared memory are a buffer of Python's, which is a pointer")]

use procession::{Array, ArrayError, RawArray, SharedMemory, Value, bytemuck};
use pyo3::exceptions::{PyBufferError, PyIndexError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::errors::ToPyErr;
use crate::object::object_methods;
use crate::place::{Place, make};
use crate::wait::waiting;

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

/// Makes an enum with a variant for each typecode, and has `$do` done with whichever it is.
macro_rules! typed {
    ($Any:ident, $Object:ident) => {
        enum $Any {
            I8($Object<i8>),
            U8($Object<u8>),
            I16($Object<i16>),
            U16($Object<u16>),
            I32($Object<i32>),
            U32($Object<u32>),
            I64($Object<i64>),
            U64($Object<u64>),
            F32($Object<f32>),
            F64($Object<f64>),
        }
    };
}

macro_rules! on {
    ($Any:ident, $any:expr, $name:ident => $do:expr) => {
        match $any {
            $Any::I8($name) => $do,
            $Any::U8($name) => $do,
            $Any::I16($name) => $do,
            $Any::U16($name) => $do,
            $Any::I32($name) => $do,
            $Any::U32($name) => $do,
            $Any::I64($name) => $do,
            $Any::U64($name) => $do,
            $Any::F32($name) => $do,
            $Any::F64($name) => $do,
        }
    };
}

macro_rules! of_typecode {
    ($Any:ident, $typecode:expr, $T:ident => $do:expr) => {
        match $typecode {
            "b" => { type $T = i8; Ok($Any::I8($do)) }
            "B" => { type $T = u8; Ok($Any::U8($do)) }
            "h" => { type $T = i16; Ok($Any::I16($do)) }
            "H" => { type $T = u16; Ok($Any::U16($do)) }
            "i" => { type $T = i32; Ok($Any::I32($do)) }
            "I" => { type $T = u32; Ok($Any::U32($do)) }
            "l" | "q" => { type $T = i64; Ok($Any::I64($do)) }
            "L" | "Q" => { type $T = u64; Ok($Any::U64($do)) }
            "f" => { type $T = f32; Ok($Any::F32($do)) }
            "d" => { type $T = f64; Ok($Any::F64($do)) }
            other => Err(PyValueError::new_err(format!(
                "a typecode is one of b B h H i I l L q Q f d, as those of the module array are, and not {other:?}"
            ))),
        }
    };
}

typed!(AnyValue, Value);
typed!(AnyArray, Array);
typed!(AnyRawArray, RawArray);

impl ToPyErr for ArrayError {
    fn to_py_err(self) -> PyErr {
        let shown = format!("{self:?}");
        match self {
            Self::OutOfRange { .. } => PyIndexError::new_err(shown),
            Self::Lock(error) => error.to_py_err(),
            _ => crate::errors::exception("Error", &shown),
        }
    }
}

/// The methods of an object that is one of several types, for `pickle` and for its name.
macro_rules! any_object {
    ($Any:ident) => {
        impl $Any {
            fn name(&self) -> &str {
                on!($Any, self, object => object.name())
            }

            fn unlink(&self) -> Result<(), procession::OpenError> {
                on!($Any, self, object => object.unlink())
            }
        }

        impl serde::Serialize for $Any {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                on!($Any, self, object => object.serialize(serializer))
            }
        }
    };
}

any_object!(AnyValue);
any_object!(AnyArray);
any_object!(AnyRawArray);

/// The elements that lie in bytes, of the type that `_array` has.
fn elements_of<A: Elements>(_array: &A, data: &[u8]) -> PyResult<Vec<A::Element>> {
    let part = data.chunks_exact(size_of::<A::Element>());
    if !part.remainder().is_empty() {
        return Err(PyValueError::new_err("the bytes are no whole number of elements"));
    }
    Ok(part.map(bytemuck::pod_read_unaligned).collect())
}

/// What an array has.
trait Elements {
    type Element: bytemuck::Pod;
}

impl<T: bytemuck::Pod> Elements for Array<T> {
    type Element = T;
}

impl<T: bytemuck::Pod> Elements for RawArray<T> {
    type Element = T;
}

/// The number under a Value: set and read whole.
#[pyclass(frozen, module = "procession._native", name = "_Value")]
pub(crate) struct PyValue {
    value: AnyValue,
    typecode: String,
}

impl PyValue {
    pub(crate) fn opened(py: Python<'_>, handle: &[u8], typecode: String) -> PyResult<Self> {
        let value = of_typecode!(AnyValue, typecode.as_str(), T => crate::object::object_of::<Value<T>>(py, handle)?)?;
        Ok(Self { value, typecode })
    }
}

#[pymethods]
impl PyValue {
    #[new]
    #[pyo3(signature = (typecode, initial = None, name = None, *, create = None, ephemeral = false, namespace = None))]
    fn new(
        py: Python<'_>,
        typecode: String,
        initial: Option<Bound<'_, PyAny>>,
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let place = Place::new(name, create, ephemeral, namespace)?;
        let value = of_typecode!(AnyValue, typecode.as_str(), T => {
            let mut options = Value::<T>::options();
            if let Some(initial) = &initial {
                options = options.initial(initial.extract()?);
            }
            make!(py, options, place)?
        })?;
        Ok(Self { value, typecode })
    }

    /// The value now.
    #[inline]
    fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        on!(AnyValue, &self.value, value => {
            let found = value.get().map_err(ToPyErr::to_py_err)?;
            Ok(found.into_pyobject(py)?.into_any())
        })
    }

    /// Replace the value.
    #[inline]
    fn set(&self, new: &Bound<'_, PyAny>) -> PyResult<()> {
        on!(AnyValue, &self.value, value => {
            let extracted = new.extract()?;
            waiting(new.py(), || value.set(extracted)).map_err(ToPyErr::to_py_err)
        })
    }

    /// The letter that says of which type it is.
    #[getter]
    fn typecode(&self) -> &str {
        &self.typecode
    }
}

object_methods!(PyValue, "Value", value, |this: &PyValue, py: Python<'_>| {
    Ok::<_, PyErr>(this.typecode.as_str().into_pyobject(py)?.into_any().unbind())
});

/// What lies under Array and RawArray: their elements, and parts of them as bytes.
macro_rules! array_class {
    ($(#[$doc:meta])* $Class:ident, $name:literal, $kind:literal, $Any:ident, $Array:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "procession._native", name = $name)]
        pub(crate) struct $Class {
            array: $Any,
            typecode: String,
            len: usize,
        }

        impl $Class {
            pub(crate) fn opened(py: Python<'_>, handle: &[u8], typecode: String, len: usize) -> PyResult<Self> {
                let array =
                    of_typecode!($Any, typecode.as_str(), T => crate::object::object_of::<$Array<T>>(py, handle)?)?;
                Ok(Self { array, typecode, len })
            }

            fn state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Ok((self.typecode.as_str(), self.len).into_pyobject(py)?.into_any().unbind())
            }
        }

        #[pymethods]
        impl $Class {
            #[new]
            #[pyo3(signature = (typecode, len, name = None, *, create = None, ephemeral = false, namespace = None))]
            fn new(
                py: Python<'_>,
                typecode: String,
                len: usize,
                name: Option<String>,
                create: Option<bool>,
                ephemeral: bool,
                namespace: Option<&str>,
            ) -> PyResult<Self> {
                let place = Place::new(name, create, ephemeral, namespace)?;
                let array = of_typecode!($Any, typecode.as_str(), T => {
                    make!(py, $Array::<T>::options().len(len), place)?
                })?;
                Ok(Self { array, typecode, len })
            }

            /// The element at `index`.
            #[inline]
            fn get<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
                on!($Any, &self.array, array => {
                    let found = array.get(index).map_err(ToPyErr::to_py_err)?;
                    Ok(found.into_pyobject(py)?.into_any())
                })
            }

            /// Replace the element at `index`.
            #[inline]
            fn set(&self, index: usize, new: &Bound<'_, PyAny>) -> PyResult<()> {
                on!($Any, &self.array, array => {
                    let extracted = new.extract()?;
                    waiting(new.py(), || array.set(index, extracted)).map_err(ToPyErr::to_py_err)
                })
            }

            /// The elements from `start` to `stop`, as they lie in memory.
            fn read<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyBytes>> {
                on!($Any, &self.array, array => {
                    let part = waiting(py, || array.read(start..stop)).map_err(ToPyErr::to_py_err)?;
                    Ok(PyBytes::new(py, bytemuck::cast_slice(&part)))
                })
            }

            /// Replace the elements from `start` on by those that lie in `data`.
            fn write(&self, py: Python<'_>, start: usize, data: &[u8]) -> PyResult<()> {
                on!($Any, &self.array, array => {
                    let part = elements_of(array, data)?;
                    waiting(py, || array.write(start, &part)).map_err(ToPyErr::to_py_err)
                })
            }

            /// The letter that says of which type its elements are.
            #[getter]
            fn typecode(&self) -> &str {
                &self.typecode
            }

            fn __len__(&self) -> usize {
                self.len
            }
        }

        object_methods!($Class, $kind, array, |this: &$Class, py: Python<'_>| this.state(py));
    };
}

array_class!(
    /// The elements under an Array: what is written at a time is seen whole, or not at all.
    PyArray, "_Array", "Array", AnyArray, Array
);
array_class!(
    /// The elements under a RawArray: each is written whole, and several are not.
    PyRawArray, "_RawArray", "RawArray", AnyRawArray, RawArray
);
