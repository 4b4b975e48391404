//! What `Value` and `RawValue`, and `Array` and `RawArray`, have in common for those who use them: options,
//! and the bounds of an array.
//!
//! What differs is how the data lies in the body and is changed, and is said in the file of each.

use crate::cells::{Plain, stride};
use procession_shm::{Element, Kind, OpenError, Parameter, Segment, Shape};
use procession_sys::Mapping;

/// The most bytes of elements that an array can have: more than an address space has.
const MOST_BYTES: u64 = 1 << 47;

/// What a creator chooses about a value, and an opener may insist on.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct ValueSettings<T> {
    /// `None`: all zero.
    pub(crate) initial: Option<T>,
    /// `None`: the name of `T`.
    pub(crate) type_tag: Option<String>,
}

impl<T> Default for ValueSettings<T> {
    fn default() -> Self {
        Self { initial: None, type_tag: None }
    }
}

impl<T: Plain> ValueSettings<T> {
    /// The header of a value of this `kind`, whose body has `body_len` bytes.
    pub(crate) fn shape(&self, kind: Kind, body_len: usize) -> Shape {
        let [size, alignment] = layout::<T>();
        Shape {
            kind,
            body_len: body_len as u64,
            parameters: [size, alignment, Parameter::default(), Parameter::default()],
            element: Some(Element::plain::<T>(self.type_tag.as_ref())),
            codec: 0,
        }
    }
}

/// What a creator chooses about an array, and an opener may insist on.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct ArraySettings {
    /// How many elements. An opener need not say.
    pub(crate) len: Option<u64>,
    /// The bytes of the elements that it is created with; `None`: all zero.
    pub(crate) initial: Option<Vec<u8>>,
    /// `None`: the name of the element type.
    pub(crate) type_tag: Option<String>,
}

impl ArraySettings {
    /// Checks the number of elements, of which each takes `each` bytes.
    pub(crate) fn check(&self, each: usize) -> Result<(), &'static str> {
        match self.len {
            Some(0) => Err("an array has at least one element"),
            Some(len) if len > MOST_BYTES / each as u64 => Err("no memory is so large"),
            _ => Ok(()),
        }
    }

    /// Checks that a new array has a number of elements.
    pub(crate) fn check_new(&self) -> Result<(), &'static str> {
        self.len.map(drop).ok_or("nobody said how many elements it has: call .len()")
    }

    /// Puts the elements that a new array begins with where they lie: from `start` in the mapping on.
    pub(crate) fn initialise<T: Plain>(&self, mapping: &Mapping, start: usize) {
        let each = size_of::<T>().max(1);
        let elements = self.initial.iter().flat_map(|bytes| bytes.chunks_exact(each));
        for (offset, element) in (start..).step_by(stride(each)).zip(elements) {
            // Nobody else sees it yet, and every width begins with the data's own bytes.
            let _: bool = mapping.copy_in(offset, element);
        }
    }

    /// The header of an array of this `kind` of `T`; `body_len` says how many bytes so many of them take.
    pub(crate) fn shape<T: Plain>(&self, kind: Kind, body_len: impl FnOnce(usize) -> Option<usize>) -> Shape {
        let len = Parameter::said("len", self.len, 0);
        let [size, alignment] = layout::<T>();
        let bytes = usize::try_from(len.value).ok().and_then(body_len).unwrap_or(usize::MAX);
        Shape {
            kind,
            body_len: bytes as u64,
            parameters: [len, size, alignment, Parameter::default()],
            element: Some(Element::plain::<T>(self.type_tag.as_ref())),
            codec: 0,
        }
    }
}

/// How many bytes `len` elements take.
pub(crate) fn elements_len<T: Plain>(len: usize) -> Option<usize> {
    len.checked_mul(stride(size_of::<T>()))
}

/// The number of elements that the header of an array says, if the body `has_room` for so many.
pub(crate) fn len_of(segment: &Segment, has_room: impl FnOnce(usize) -> bool) -> Result<usize, OpenError> {
    let len = usize::try_from(segment.header().parameters[0]).unwrap_or(usize::MAX);
    if has_room(len) { Ok(len) } else { Err(segment.corrupt("the body is too small for its elements")) }
}

/// The parameters by which the header tells one plain type from another, whatever they are called.
fn layout<T: Plain>() -> [Parameter; 2] {
    let asked = |name, bytes: usize| Parameter { name, value: bytes as u64, asked: true };
    [asked("size", size_of::<T>()), asked("alignment", align_of::<T>())]
}

/// Declares the options of a kind of value.
macro_rules! value_options {
    ($(#[$about:meta])* $Options:ident => $Value:ident) => {
        $(#[$about])*
        #[derive(Clone)]
        pub struct $Options<T> {
            place: procession_shm::Placement,
            settings: $crate::plain_face::ValueSettings<T>,
        }

        impl<T> $Options<T> {
            /// The value that it is created with, instead of all zero; of no meaning to those who open it.
            #[must_use]
            pub fn initial(mut self, value: T) -> Self {
                self.settings.initial = Some(value);
                self
            }

            /// Says what the value is called, instead of the name of `T`: so that programs in which the type
            /// has another path can share it. The size is compared all the same.
            #[must_use]
            pub fn type_tag(mut self, tag: &str) -> Self {
                self.settings.type_tag = Some(tag.to_owned());
                self
            }
        }

        impl<T> Default for $Options<T> {
            fn default() -> Self {
                Self { place: Default::default(), settings: Default::default() }
            }
        }

        impl<T> std::fmt::Debug for $Options<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($Options)).field("place", &self.place).finish_non_exhaustive()
            }
        }

        procession_shm::object_builders!([T: $crate::cells::Plain] $Options<T> => $Value<T>, (initial: T));
    };
}
pub(crate) use value_options;

/// Declares the options of a kind of array, and gives it its length and the errors of whoever goes past it.
macro_rules! array_options {
    ($(#[$about:meta])* $Options:ident => $Array:ident) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        pub struct $Options<T> {
            place: procession_shm::Placement,
            settings: $crate::plain_face::ArraySettings,
            elements: std::marker::PhantomData<fn(T) -> T>,
        }

        impl<T> $Options<T> {
            /// How many elements it has, all zero at first, and at least one. Those who open it need not say.
            #[must_use]
            pub fn len(mut self, elements: usize) -> Self {
                self.settings.len = Some(elements as u64);
                self
            }

            /// The elements that it is created with, instead of all zero, and with that how many; their values are of
            /// no meaning to those who open it.
            #[must_use]
            pub fn initial(mut self, elements: &[T]) -> Self
            where
                T: $crate::cells::Plain,
            {
                // Elements without a byte have nothing to begin with.
                let bytes = if size_of::<T>() == 0 { &[] } else { bytemuck::cast_slice(elements) };
                self.settings.initial = Some(bytes.to_vec());
                self.len(elements.len())
            }

            /// Says what the elements are called, instead of the name of `T`: so that programs in which the
            /// type has another path can share the array. The size is compared all the same.
            #[must_use]
            pub fn type_tag(mut self, tag: &str) -> Self {
                self.settings.type_tag = Some(tag.to_owned());
                self
            }
        }

        impl<T> Default for $Options<T> {
            fn default() -> Self {
                let (place, settings) = Default::default();
                Self { place, settings, elements: std::marker::PhantomData }
            }
        }

        procession_shm::object_builders!([T: $crate::cells::Plain] $Options<T> => $Array<T>, (len: usize));

        impl<T: $crate::cells::Plain> $Array<T> {
            /// How many elements it has.
            #[must_use]
            pub fn len(&self) -> usize {
                self.len
            }

            /// Whether it has no elements: never, but a slice would ask.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len == 0
            }

            /// The first element, for what copies are too slow for; they are there while a clone of `self` lives.
            /// Elements of 1, 2, 4 or 8 bytes, or a multiple of 8, lie close; others have room up to the next such size.
            ///
            /// Every process may change them at any time: only atomics, or a protocol between the processes, make it sound
            /// to look at them through a reference. What is written by this is not all or nothing. An update of an `Array`
            /// whose writer was killed is there once somebody reads or writes a range.
            #[must_use]
            pub fn as_ptr(&self) -> *mut u8 {
                self.cells().as_ptr()
            }

            fn check(&self, range: &std::ops::Range<usize>) -> Result<(), ArrayError> {
                let fits = range.start <= range.end && range.end <= self.len;
                if fits { Ok(()) } else { Err(self.out_of_range(range)) }
            }

            fn no_such(&self, index: usize) -> ArrayError {
                self.out_of_range(&(index..index.saturating_add(1)))
            }

            #[cold]
            fn out_of_range(&self, range: &std::ops::Range<usize>) -> ArrayError {
                let object = self.body.segment().label();
                ArrayError::OutOfRange { object, start: range.start, end: range.end, len: self.len }
            }
        }
    };
}
pub(crate) use array_options;
