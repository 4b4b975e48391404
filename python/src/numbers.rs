//! What lies under `Value`, `Array` and those with `Raw` before them: plain data of the kinds that typecodes name.
#![expect(unsafe_code, reason = "elements in shared memory are a buffer of Python's, which is a pointer")]

use procession::{Array, ArrayError, RawArray, RawValue, Value, bytemuck};
use pyo3::exceptions::{PyBufferError, PyIndexError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codec::bytes_of;
use crate::errors::ToPyErr;
use crate::object::{handle_of, object_methods, object_of};
use crate::place::{Place, make};
use crate::wait::waiting;

/// Makes an enum with a variant for each type, and has `$do` done with whichever it is.
macro_rules! typed {
    ($Any:ident, $Object:ident) => {
        pub(crate) enum $Any {
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

/// A truth or a character of one byte lies there as a number, as does one of Unicode.
macro_rules! of_typecode {
    ($Any:ident, $typecode:expr, $T:ident => $do:expr) => {
        match $typecode {
            "b" => {
                type $T = i8;
                Ok($Any::I8($do))
            }
            "B" | "?" | "c" => {
                type $T = u8;
                Ok($Any::U8($do))
            }
            "h" => {
                type $T = i16;
                Ok($Any::I16($do))
            }
            "H" => {
                type $T = u16;
                Ok($Any::U16($do))
            }
            "i" => {
                type $T = i32;
                Ok($Any::I32($do))
            }
            "I" | "u" => {
                type $T = u32;
                Ok($Any::U32($do))
            }
            "l" | "q" => {
                type $T = i64;
                Ok($Any::I64($do))
            }
            "L" | "Q" => {
                type $T = u64;
                Ok($Any::U64($do))
            }
            "f" => {
                type $T = f32;
                Ok($Any::F32($do))
            }
            "d" => {
                type $T = f64;
                Ok($Any::F64($do))
            }
            other => Err(PyValueError::new_err(format!("there is no typecode {other:?}"))),
        }
    };
}

typed!(AnyValue, Value);
typed!(AnyRawValue, RawValue);
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

/// The elements that lie in bytes: copied only if they do not lie as elements must.
fn with_elements<T: bytemuck::Pod, R>(data: &[u8], work: impl FnOnce(&[T]) -> R) -> PyResult<R> {
    if let Ok(elements) = bytemuck::try_cast_slice(data) {
        return Ok(work(elements));
    }
    let part = data.chunks_exact(size_of::<T>());
    if !part.remainder().is_empty() {
        return Err(PyValueError::new_err("the bytes are no whole number of elements"));
    }
    Ok(work(&part.map(bytemuck::pod_read_unaligned).collect::<Vec<T>>()))
}

/// What Python's buffers call the type of a typecode.
fn format_of(typecode: &str) -> &'static CStr {
    match typecode {
        "b" => c"b",
        "?" => c"?",
        "c" => c"c",
        "h" => c"h",
        "H" => c"H",
        "i" => c"i",
        "I" | "u" => c"I",
        "l" => c"l",
        "q" => c"q",
        "L" => c"L",
        "Q" => c"Q",
        "f" => c"f",
        "d" => c"d",
        _ => c"B",
    }
}

/// How many elements a buffer has, and how many bytes each: it stays where it is as long as the object does.
struct Form {
    shape: [ffi::Py_ssize_t; 1],
    stride: [ffi::Py_ssize_t; 1],
    format: &'static CStr,
}

impl Form {
    fn new(typecode: &str, size: usize, len: usize) -> PyResult<Self> {
        Ok(Self { shape: [len.try_into()?], stride: [size.try_into()?], format: format_of(typecode) })
    }
}

/// Fills `view` with the elements at `first`, which are there as long as `owner` is: so many as `form` says, or one.
///
/// # Safety
/// `view` is one that Python gives to be filled; `form` is a part of `owner`; elements of `size` bytes are at `first`, mapped
/// as long as `owner` lives, and may be written.
unsafe fn show(
    owner: Bound<'_, PyAny>,
    first: *mut u8,
    (format, size): (&'static CStr, usize),
    form: Option<&Form>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("there is no view to fill"));
    }
    let asked = |flag: c_int| form.filter(|_| flags & flag == flag);
    let itemsize = size.try_into()?;
    let filled = ffi::Py_buffer {
        buf: first.cast(),
        obj: owner.into_ptr(),
        len: form.map_or(1, |form| form.shape[0]).saturating_mul(itemsize),
        itemsize,
        readonly: 0,
        ndim: c_int::from(form.is_some()),
        format: if flags & ffi::PyBUF_FORMAT == 0 { null_mut() } else { format.as_ptr().cast_mut() },
        shape: asked(ffi::PyBUF_ND).map_or(null_mut(), |form| form.shape.as_ptr().cast_mut()),
        strides: asked(ffi::PyBUF_STRIDES).map_or(null_mut(), |form| form.stride.as_ptr().cast_mut()),
        suboffsets: null_mut(),
        internal: null_mut(),
    };
    // SAFETY: Python has given it to be filled. It has the reference to the owner from now on, and gives it back; what its
    // pointers lead to is part of the owner, or static.
    unsafe { view.write(filled) };
    Ok(())
}

/// As `show`, of all elements of an object.
///
/// # Safety
/// As `show`.
unsafe fn show_all(
    owner: Bound<'_, PyAny>,
    first: *mut u8,
    form: &Form,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    let size = form.stride[0].try_into()?;
    // SAFETY: the caller's.
    unsafe { show(owner, first, (form.format, size), Some(form), view, flags) }
}

/// A copy of elements, to be changed by views of it, and committed.
#[pyclass(frozen, module = "procession._native", name = "_Part")]
pub(crate) struct PyPart {
    words: Words,
    form: Form,
    /// How many bytes of the words are elements.
    len: usize,
    /// How many views there are; `BUSY` while it is read without the GIL.
    views: AtomicUsize,
}

/// No views are given now.
const BUSY: usize = usize::MAX;

/// Bytes that are aligned for every element, and reached through views.
struct Words(UnsafeCell<Box<[u64]>>);

// SAFETY: they are written through views alone, under the GIL as every buffer of Python's, and read under the GIL or while
// there are no views.
unsafe impl Sync for Words {}

impl PyPart {
    fn read<T: bytemuck::Pod>(
        typecode: &str,
        len: usize,
        read: impl FnOnce(&mut [T]) -> Result<(), ArrayError>,
    ) -> PyResult<Self> {
        let form = Form::new(typecode, size_of::<T>(), len)?;
        let bytes = len.saturating_mul(size_of::<T>());
        let mut words = vec![0; bytes.div_ceil(8)].into_boxed_slice();
        let room: &mut [T] = bytemuck::cast_slice_mut(&mut words);
        read(room.get_mut(..len).unwrap_or_default()).map_err(ToPyErr::to_py_err)?;
        Ok(Self { words: Words(UnsafeCell::new(words)), form, len: bytes, views: AtomicUsize::new(0) })
    }

    /// Does something with the bytes, which may wait without the GIL: they are copied only if somebody has a view still.
    fn with_bytes<R>(&self, work: impl FnOnce(&[u8]) -> R) -> R {
        let is_ours = self.views.compare_exchange(0, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // SAFETY: nobody writes them, as there are no views, or as this has the GIL until they are copied.
        let words: &[u64] = unsafe { &*self.words.0.get() };
        let part = bytemuck::cast_slice::<u64, u8>(words).get(..self.len).unwrap_or_default();
        if !is_ours {
            let copied = part.to_vec();
            return work(&copied);
        }
        let done = work(part);
        self.views.store(0, Ordering::Release);
        done
    }
}

#[pymethods]
impl PyPart {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let more = |views: usize| (views != BUSY).then(|| views + 1);
        if this.views.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(PyBufferError::new_err("it is being committed"));
        }
        // SAFETY: under the GIL, and nobody reads them without it, as there is a view now.
        let first = unsafe { &mut *this.words.0.get() }.as_mut_ptr();
        // SAFETY: Python's view. The elements are here as long as `this` is, and nobody moves them.
        unsafe { show_all(slf.as_any().clone(), first.cast(), &this.form, view, flags) }
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.views.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What lies under Value and RawValue: a number, set and read whole.
macro_rules! value_class {
    ($(#[$doc:meta])* $Class:ident, $name:literal, $kind:literal, $Any:ident, $Value:ident, $get:expr, $set:expr) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "procession._native", name = $name)]
        pub(crate) struct $Class {
            value: $Any,
            typecode: String,
        }

        impl $Class {
            pub(crate) fn opened(py: Python<'_>, handle: &[u8], typecode: String) -> PyResult<Self> {
                let value = of_typecode!($Any, typecode.as_str(), T => object_of::<$Value<T>>(py, handle)?)?;
                Ok(Self { value, typecode })
            }
        }

        #[pymethods]
        impl $Class {
            #[new]
            #[pyo3(signature = (
                typecode, initial = None, name = None, *, create = None, ephemeral = false, namespace = None
            ))]
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
                let value = of_typecode!($Any, typecode.as_str(), T => {
                    let mut options = $Value::<T>::options();
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
                on!($Any, &self.value, value => {
                    let found = $get(value).map_err(ToPyErr::to_py_err)?;
                    Ok(found.into_pyobject(py)?.into_any())
                })
            }

            /// Replace the value.
            #[inline]
            fn set(&self, new: &Bound<'_, PyAny>) -> PyResult<()> {
                on!($Any, &self.value, value => {
                    let extracted = new.extract()?;
                    waiting(new.py(), || $set(value, extracted)).map_err(ToPyErr::to_py_err)
                })
            }

            /// The letter that says of which type it is.
            #[getter]
            fn typecode(&self) -> &str {
                &self.typecode
            }
        }

        object_methods!($Class, $kind, value, |this: &$Class, py: Python<'_>| {
            Ok::<_, PyErr>(this.typecode.as_str().into_pyobject(py)?.into_any().unbind())
        });
    };
}

/// Sets what has no lock and cannot fail.
fn set_raw<T: bytemuck::Pod>(value: &RawValue<T>, new: T) -> Result<(), procession::LockError> {
    value.set(new);
    Ok(())
}

fn get_raw<T: bytemuck::Pod>(value: &RawValue<T>) -> Result<T, procession::LockError> {
    Ok(value.get())
}

value_class!(
    /// The number under a Value: set and read whole.
    PyValue, "_Value", "Value", AnyValue, Value, Value::get, Value::set
);
value_class!(
    /// The number under a RawValue, where it lies.
    PyRawValue, "_RawValue", "RawValue", AnyRawValue, RawValue, get_raw, set_raw
);

#[pymethods]
impl PyRawValue {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        fn place<T: bytemuck::Pod>(value: &RawValue<T>) -> (*mut u8, usize) {
            (value.as_ptr(), size_of::<T>())
        }
        let this = slf.get();
        let (first, size) = on!(AnyRawValue, &this.value, value => place(value));
        // SAFETY: Python's view. The one number is mapped as long as `this` lives, and aligned as its type is.
        unsafe { show(slf.as_any().clone(), first, (format_of(&this.typecode), size), None, view, flags) }
    }
}

/// What lies under Array and RawArray: their elements, and parts of them as bytes.
macro_rules! array_class {
    ($(#[$doc:meta])* $Class:ident, $name:literal, $Any:ident, $Array:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, subclass, module = "procession._native", name = $name)]
        pub(crate) struct $Class {
            array: $Any,
            typecode: String,
            form: Form,
        }

        impl $Class {
            fn over(array: $Any, typecode: String) -> PyResult<Self> {
                fn size<T>(_: &$Array<T>) -> usize {
                    size_of::<T>()
                }
                let (size, len) = on!($Any, &array, array => (size(array), array.len()));
                let form = Form::new(&typecode, size, len)?;
                Ok(Self { array, typecode, form })
            }
        }

        #[pymethods]
        impl $Class {
            /// Of zeros if `initial` is a number, otherwise of the elements that lie in a buffer; or, by `handle`, one that
            /// another process has.
            #[new]
            #[pyo3(signature = (
                typecode, initial, name = None, *, create = None, ephemeral = false, namespace = None, handle = None
            ))]
            fn new(
                py: Python<'_>,
                typecode: String,
                initial: Bound<'_, PyAny>,
                name: Option<String>,
                create: Option<bool>,
                ephemeral: bool,
                namespace: Option<&str>,
                handle: Option<&[u8]>,
            ) -> PyResult<Self> {
                if let Some(handle) = handle {
                    let array = of_typecode!($Any, typecode.as_str(), T => object_of::<$Array<T>>(py, handle)?)?;
                    return Self::over(array, typecode);
                }
                let place = Place::new(name, create, ephemeral, namespace)?;
                let array = of_typecode!($Any, typecode.as_str(), T => {
                    let options = $Array::<T>::options();
                    let options = match initial.extract::<usize>() {
                        Ok(len) => options.len(len),
                        Err(_) => with_elements::<T, _>(bytes_of(&initial)?.as_bytes(), |all| options.initial(all))?,
                    };
                    make!(py, options, place)?
                })?;
                Self::over(array, typecode)
            }

            /// The name under which other programs find it; one that the library chose if none was given.
            #[getter]
            fn name(&self) -> &str {
                self.array.name()
            }

            fn _unlink(&self, py: Python<'_>) -> PyResult<()> {
                py.detach(|| self.array.unlink()).map_err(ToPyErr::to_py_err)
            }

            /// It as bytes that another process opens it from.
            fn _handle<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
                handle_of(py, &self.array)
            }

            /// The element at `index`.
            #[inline]
            fn _get<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
                on!($Any, &self.array, array => {
                    let found = array.get(index).map_err(ToPyErr::to_py_err)?;
                    Ok(found.into_pyobject(py)?.into_any())
                })
            }

            /// Replace the element at `index`.
            #[inline]
            fn _set(&self, index: usize, new: &Bound<'_, PyAny>) -> PyResult<()> {
                on!($Any, &self.array, array => {
                    let extracted = new.extract()?;
                    waiting(new.py(), || array.set(index, extracted)).map_err(ToPyErr::to_py_err)
                })
            }

            /// The elements from `start` to `stop`, as they lie in memory.
            fn _read<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyBytes>> {
                on!($Any, &self.array, array => {
                    let part = waiting(py, || array.read(start..stop)).map_err(ToPyErr::to_py_err)?;
                    Ok(PyBytes::new(py, bytemuck::cast_slice(&part)))
                })
            }

            /// Replace the elements from `start` on by those that lie in the buffer `data`.
            fn _write(&self, start: usize, data: &Bound<'_, PyAny>) -> PyResult<()> {
                // Bytes do not change while others run; another buffer is copied.
                let (py, bytes) = (data.py(), bytes_of(data)?);
                let bytes = bytes.as_bytes();
                on!($Any, &self.array, array => {
                    let written = waiting(py, || with_elements(bytes, |part| array.write(start, part)))?;
                    written.map_err(ToPyErr::to_py_err)
                })
            }

            /// A copy of the elements from `start` to `stop`, to be changed and committed.
            fn _copy(&self, py: Python<'_>, start: usize, stop: usize) -> PyResult<PyPart> {
                on!($Any, &self.array, array => {
                    let len = stop.saturating_sub(start);
                    PyPart::read(&self.typecode, len, |part| waiting(py, || array.read_into(start, part)))
                })
            }

            /// Replace the elements from `start` on by those of a copy, all at once, or one after the other if they are raw.
            fn _commit(&self, py: Python<'_>, start: usize, part: &PyPart) -> PyResult<()> {
                part.with_bytes(|bytes| on!($Any, &self.array, array => {
                    let written = waiting(py, || with_elements(bytes, |part| array.write(start, part)))?;
                    written.map_err(ToPyErr::to_py_err)
                }))
            }

            /// The letter that says of which type its elements are.
            #[getter]
            fn _code(&self) -> &str {
                &self.typecode
            }

            fn __len__(&self) -> usize {
                on!($Any, &self.array, array => array.len())
            }
        }
    };
}

array_class!(
    /// The elements under an Array: what is written at a time is seen whole, or not at all.
    PyArray, "_Array", AnyArray, Array
);
array_class!(
    /// The elements under a RawArray: each is written whole, and several are not.
    PyRawArray, "_RawArray", AnyRawArray, RawArray
);

#[pymethods]
impl PyArray {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let first = on!(AnyArray, &this.array, array => {
            // What a dead writer has left to be finished is finished by whoever reads several.
            waiting(slf.py(), || array.read(0..0)).map_err(ToPyErr::to_py_err)?;
            array.as_ptr()
        });
        // SAFETY: Python's view. The elements are of a size that lies close, and mapped as long as `this` lives.
        unsafe { show_all(slf.as_any().clone(), first, &this.form, view, flags) }
    }
}

#[pymethods]
impl PyRawArray {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let first = on!(AnyRawArray, &this.array, array => array.as_ptr());
        // SAFETY: as above.
        unsafe { show_all(slf.as_any().clone(), first, &this.form, view, flags) }
    }
}
