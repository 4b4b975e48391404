//! What every object has in Python: a name, which can be removed, and a way to another process.

use procession::{Namespace, codec};
use procession_shm::gc::{Options, collect};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::ToPyErr;

/// An object as bytes that another process opens it from.
pub(crate) fn handle_of<'py>(py: Python<'py>, object: &impl Serialize) -> PyResult<Bound<'py, PyBytes>> {
    let mut bytes = Vec::new();
    codec::encode(object, &mut bytes).map_err(|error| PyValueError::new_err(format!("{error:?}")))?;
    Ok(PyBytes::new(py, &bytes))
}

/// The object that bytes name.
pub(crate) fn object_of<T: DeserializeOwned + Send>(py: Python<'_>, handle: &[u8]) -> PyResult<T> {
    let opened = py.detach(|| codec::decode(handle));
    opened.map_err(|error| crate::errors::exception("Gone", &format!("{error:?}")))
}

/// What `pickle` makes of an object: how to open it again. A child that is being started gets it in time, because the
/// object is kept until the child's process object goes.
pub(crate) fn reduced<'py>(
    object: &Bound<'py, PyAny>,
    kind: &str,
    handle: Bound<'py, PyBytes>,
    state: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = object.py();
    py.import("procession._crossing")?.call_method1("keep_for_child", (object,))?;
    let rebuild = py.import("procession._native")?.getattr("_rebuild")?;
    let arguments = (kind, handle, state).into_pyobject(py)?;
    PyTuple::new(py, [rebuild, arguments.into_any()])
}

/// Removes what no process can use any more; the names of what it was.
pub(crate) fn gc(py: Python<'_>, namespace: Option<&str>) -> PyResult<Vec<String>> {
    let namespace = namespace_of(namespace)?;
    let removed = py.detach(|| collect(Some(&namespace), Options::default())).map_err(ToPyErr::to_py_err)?;
    Ok(removed.into_iter().map(|entry| entry.name).collect())
}

/// Removes the name of whatever it is.
pub(crate) fn unlink(py: Python<'_>, name: &str, namespace: Option<&str>) -> PyResult<()> {
    let namespace = namespace_of(namespace)?;
    py.detach(|| namespace.unlink(name)).map_err(ToPyErr::to_py_err)
}

fn namespace_of(name: Option<&str>) -> PyResult<Namespace> {
    match name {
        Some(name) => Namespace::new(name),
        None => Namespace::current(),
    }
    .map_err(ToPyErr::to_py_err)
}

/// Gives a class the methods of every object; `$object` is the field that has it.
macro_rules! object_methods {
    ($Class:ident, $kind:literal, $object:ident) => {
        $crate::object::object_methods!($Class, $kind, $object, |_this: &$Class, py: Python<'_>| Ok::<
            _,
            PyErr,
        >(py.None()));
    };
    ($Class:ident, $kind:literal, $object:ident, $state:expr) => {
        #[pymethods]
        impl $Class {
            /// The name under which other programs find it; one that the library chose if none was given.
            #[getter]
            fn name(&self) -> &str {
                self.$object.name()
            }

            /// Remove the name: nobody finds the object any more, and those who have it go on with it.
            ///
            /// Raises NotFound if it has no name any more.
            fn unlink(&self, py: Python<'_>) -> PyResult<()> {
                py.detach(|| self.$object.unlink()).map_err($crate::errors::ToPyErr::to_py_err)
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
                let (py, this) = (slf.py(), slf.get());
                let handle = $crate::object::handle_of(py, &this.$object)?;
                #[allow(clippy::redundant_closure_call, reason = "the state is a closure of each class")]
                let state: Py<PyAny> = ($state)(this, py)?;
                $crate::object::reduced(slf.as_any(), $kind, handle, state.into_bound(py))
            }
        }
    };
}
pub(crate) use object_methods;
