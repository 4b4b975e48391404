//! The pickles of the plainest objects, read and written here: calling `pickle` takes longer than all the rest of a put or a
//! get. They are what `pickle` itself reads, and writes in protocols 2 to 5 (but for the frame that some have).
//!
//! | object | its pickle |
//! |---|---|
//! | `None`, `True`, `False` | `80 05`, `N`, `88` or `89`, `.` |
//! | a whole number of at most 4 bytes | `80 05`, `K` and a byte, `M` and 2, or `J` and 4 with a sign, `.` |
//! | a number with a point | `80 05`, `G` and 8 bytes, the highest first, `.` |
//! | bytes; text | `80 05`, `B`; `X`, their length in 4 bytes, they in UTF-8, `.` |

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};

const PROTOCOL: u8 = 0x80;
const STOP: u8 = b'.';
const TRUE: u8 = 0x88;
const FALSE: u8 = 0x89;

/// The pickle of an object, if it is one of these.
pub(crate) fn pickled<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
    let py = object.py();
    if object.is_exact_instance_of::<PyInt>() {
        // Larger ones are not of this table.
        let number: i32 = object.extract().ok()?;
        let [low, high, ..] = number.to_le_bytes();
        return Some(match number {
            0..=0xff => PyBytes::new(py, &[PROTOCOL, 5, b'K', low, STOP]),
            0x100..=0xffff => PyBytes::new(py, &[PROTOCOL, 5, b'M', low, high, STOP]),
            _ => of_number(py, b'J', &number.to_le_bytes()),
        });
    }
    if let Ok(number) = object.cast_exact::<PyFloat>() {
        return Some(of_number(py, b'G', &number.value().to_be_bytes()));
    }
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return of_bytes(py, b'B', bytes.as_bytes());
    }
    if let Ok(text) = object.cast_exact::<PyString>() {
        // Half of a pair of surrogates is for `pickle`.
        return of_bytes(py, b'X', text.to_str().ok()?.as_bytes());
    }
    let one = match object {
        none if none.is_none() => b'N',
        bool => {
            if bool.cast_exact::<PyBool>().ok()?.is_true() {
                TRUE
            } else {
                FALSE
            }
        }
    };
    Some(PyBytes::new(py, &[PROTOCOL, 5, one, STOP]))
}

fn of_bytes<'py>(py: Python<'py>, kind: u8, bytes: &[u8]) -> Option<Bound<'py, PyBytes>> {
    let len = u32::try_from(bytes.len()).ok()?.to_le_bytes();
    let pickle = PyBytes::new_with(py, bytes.len().checked_add(8)?, |room| {
        let [protocol, number, of, a, b, c, d, rest @ .., stop] = room else { return Ok(()) };
        (*protocol, *number, *of, *stop) = (PROTOCOL, 5, kind, STOP);
        [*a, *b, *c, *d] = len;
        rest.copy_from_slice(bytes);
        Ok(())
    });
    pickle.ok()
}

fn of_number<'py>(py: Python<'py>, kind: u8, bytes: &[u8]) -> Bound<'py, PyBytes> {
    let mut pickle = [PROTOCOL, 5, kind, 0, 0, 0, 0, 0, 0, 0, 0, STOP];
    let (_, room) = pickle.split_at_mut(3);
    room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    if let Some(end) = room.get_mut(bytes.len()) {
        *end = STOP;
    }
    PyBytes::new(py, pickle.get(..bytes.len() + 4).unwrap_or_default())
}

/// The object that a pickle is, if it is one of these.
pub(crate) fn unpickled<'py>(py: Python<'py>, pickle: &[u8]) -> Option<PyResult<Bound<'py, PyAny>>> {
    let [PROTOCOL, 2..=5, rest @ .., STOP] = pickle else { return None };
    match *rest {
        [b'N'] => Some(Ok(py.None().into_bound(py))),
        [one @ (TRUE | FALSE)] => Some(Ok(PyBool::new(py, one == TRUE).to_owned().into_any())),
        [b'K', low] => Some(object_of(py, i32::from(low))),
        [b'M', low, high] => Some(object_of(py, i32::from(u16::from_le_bytes([low, high])))),
        [b'J', a, b, c, d] => Some(object_of(py, i32::from_le_bytes([a, b, c, d]))),
        [b'G', a, b, c, d, e, f, g, h] => {
            Some(Ok(PyFloat::new(py, f64::from_be_bytes([a, b, c, d, e, f, g, h])).into_any()))
        }
        [kind @ (b'B' | b'X'), a, b, c, d, ref bytes @ ..] => {
            if u32::from_le_bytes([a, b, c, d]) as usize != bytes.len() {
                return None;
            }
            if kind == b'B' {
                return Some(Ok(PyBytes::new(py, bytes).into_any()));
            }
            std::str::from_utf8(bytes).ok().map(|text| Ok(PyString::new(py, text).into_any()))
        }
        _ => None,
    }
}

fn object_of(py: Python<'_>, number: i32) -> PyResult<Bound<'_, PyAny>> {
    Ok(number.into_pyobject(py)?.into_any())
}
