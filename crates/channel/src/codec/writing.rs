//! How values become bytes: serde's calls on this side.
//!
//! Scalars are written as bincode writes them, which a test sees to, and read by it. The shape of the value is
//! written here, because bincode's own way of doing so trusts that `Serialize` and `Deserialize` of a type agree,
//! and is silent when they do not.

use super::error::EncodeError;
use super::numbers;
use super::shape::{self, MOST_DEPTH, MOST_EMPTY, Names};
use super::trial::{Seen, is_of_users};
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::any::type_name;

/// A value on its way into bytes.
pub(super) struct Writing<'o> {
    out: &'o mut Vec<u8>,
    /// How long `out` may be. It is asked only where that has to grow: `finish` sees if it was too much.
    end: usize,
    /// How many levels may still be opened.
    levels: u32,
    /// How many elements of sequences took no bytes.
    empty: u32,
    /// How many times a unit was written.
    units: u32,
    seen: &'o mut Seen,
}

impl<'o> Writing<'o> {
    /// Appends to `out`, at most so many bytes.
    #[inline]
    pub(super) fn new(out: &'o mut Vec<u8>, limit: usize, seen: &'o mut Seen) -> Self {
        let end = out.len().saturating_add(limit);
        Self { out, end, levels: MOST_DEPTH, empty: 0, units: 0, seen }
    }

    /// Sees that no more was written than may be.
    #[inline]
    pub(super) fn finish(&self) -> Result<(), EncodeError> {
        if self.out.len() <= self.end { Ok(()) } else { Err(EncodeError::TooLarge) }
    }

    /// So many bytes that it needs no call to copy them.
    #[inline]
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), EncodeError> {
        self.slice(&bytes)
    }

    #[inline]
    fn slice(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.make_room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn make_room(&mut self, by: usize) -> Result<(), EncodeError> {
        if self.out.capacity() - self.out.len() < by { self.grow(by) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, by: usize) -> Result<(), EncodeError> {
        if by > self.end.saturating_sub(self.out.len()) {
            return Err(EncodeError::TooLarge);
        }
        self.out.reserve(by);
        Ok(())
    }

    /// How many, or which: short where it is small, as bincode's standard configuration writes numbers.
    #[inline]
    fn number(&mut self, number: u64) -> Result<(), EncodeError> {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = number.to_le_bytes();
        match number {
            0..=250 => self.bytes([b0]),
            251..=0xffff => self.bytes([251, b0, b1]),
            0x1_0000..=0xffff_ffff => self.bytes([252, b0, b1, b2, b3]),
            _ => self.bytes([253, b0, b1, b2, b3, b4, b5, b6, b7]),
        }
    }

    /// A string of bytes behind its length.
    #[inline]
    fn string(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.number(bytes.len() as u64)?;
        self.slice(bytes)
    }

    #[inline]
    fn open(&mut self) -> Result<&mut Self, EncodeError> {
        self.levels = self.levels.checked_sub(1).ok_or(EncodeError::TooDeep)?;
        Ok(self)
    }

    #[inline]
    fn close(&mut self) {
        self.levels += 1;
    }

    /// Writes a value, or a part of one.
    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        if let Some((count, bytes)) = numbers::of_value(value) {
            return self.numbers(count, bytes);
        }
        let units = self.units;
        value.serialize(&mut *self)?;
        // Known when this is compiled: a type without content.
        if size_of_val(value) == 0 && self.units != units {
            self.note_marker(type_name::<T>());
        }
        Ok(())
    }

    /// A sequence of numbers, whose bytes these are.
    #[inline]
    fn numbers(&mut self, count: usize, bytes: &[u8]) -> Result<(), EncodeError> {
        self.open()?.number(count as u64)?;
        self.slice(bytes)?;
        self.close();
        Ok(())
    }

    /// A type of the user's that has no content, and is written as none: its `Deserialize` makes it up, for
    /// what that does.
    #[cold]
    fn note_marker(&mut self, name: &str) {
        self.seen.is_an_event |= is_of_users(name);
    }

    /// What is in an `Option` or a newtype: another level, though it takes no bytes.
    #[inline]
    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.open()?.value(value)?;
        self.close();
        Ok(())
    }

    /// Which variant it is: its number, and a byte of its name, because the two sides may number them
    /// differently.
    #[inline]
    fn variant(
        &mut self,
        enumeration: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        let address = enumeration.as_ptr() as usize ^ (variant.as_ptr() as usize).rotate_left(8);
        self.seen.note(address ^ (index as usize).rotate_left(24));
        self.number(index.into())?;
        self.bytes([shape::check_of_variant(variant)])
    }

    #[inline]
    fn elements(&mut self, left: usize) -> Result<Elements<'_, 'o>, EncodeError> {
        let to = self.open()?;
        Ok(Elements { to, left, begun_at: 0, last: std::ptr::null() })
    }

    #[inline]
    fn counted(&mut self, len: Option<usize>, what: &'static str) -> Result<Elements<'_, 'o>, EncodeError> {
        let Some(len) = len else { return Err(EncodeError::custom(what)) };
        self.number(len as u64)?;
        self.elements(len)
    }

    /// Before the fields that begin behind `start`.
    #[inline]
    fn set_header(&mut self, start: usize, header: [u8; shape::HEADER]) {
        let place = self.out.get_mut(start..).and_then(|rest| rest.first_chunk_mut());
        if let Some(place) = place {
            *place = header;
        }
    }

    #[inline]
    fn fields(&mut self, len: usize) -> Result<Fields<'_, 'o>, EncodeError> {
        let start = self.out.len();
        // What it is when all fields are known.
        self.bytes([0; shape::HEADER])?;
        let to = self.open()?;
        Ok(Fields { to, start, len, names: Names::default(), left_out: None })
    }
}

#[cold]
fn miscounted() -> EncodeError {
    EncodeError::custom("its Serialize announced another number of elements than it wrote")
}

macro_rules! scalars {
    ($($name:ident($value:ident: $type:ty) => $how:ident($written:expr))*) => {
        $(
            #[inline]
            fn $name(self, $value: $type) -> Result<(), EncodeError> {
                self.$how($written)
            }
        )*
    };
}

impl<'w, 'o> Serializer for &'w mut Writing<'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'w, 'o>;
    type SerializeTuple = Elements<'w, 'o>;
    type SerializeTupleStruct = Elements<'w, 'o>;
    type SerializeTupleVariant = Elements<'w, 'o>;
    type SerializeMap = Elements<'w, 'o>;
    type SerializeStruct = Fields<'w, 'o>;
    type SerializeStructVariant = Fields<'w, 'o>;

    scalars! {
        serialize_bool(value: bool) => bytes([u8::from(value)])
        serialize_i8(value: i8) => bytes(value.to_le_bytes())
        serialize_i16(value: i16) => bytes(value.to_le_bytes())
        serialize_i32(value: i32) => bytes(value.to_le_bytes())
        serialize_i64(value: i64) => bytes(value.to_le_bytes())
        serialize_i128(value: i128) => bytes(value.to_le_bytes())
        serialize_u8(value: u8) => bytes([value])
        serialize_u16(value: u16) => bytes(value.to_le_bytes())
        serialize_u32(value: u32) => bytes(value.to_le_bytes())
        serialize_u64(value: u64) => bytes(value.to_le_bytes())
        serialize_u128(value: u128) => bytes(value.to_le_bytes())
        serialize_f32(value: f32) => bytes(value.to_le_bytes())
        serialize_f64(value: f64) => bytes(value.to_le_bytes())
        serialize_char(value: char) => slice(value.encode_utf8(&mut [0; 4]).as_bytes())
        serialize_str(value: &str) => string(value.as_bytes())
        serialize_bytes(value: &[u8]) => string(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.bytes([0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.seen.note(type_name::<T>().as_ptr() as usize);
        self.bytes([1])?;
        self.inner(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.units = self.units.wrapping_add(1);
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.inner(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.variant(name, index, variant)?;
        self.inner(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'w, 'o>, EncodeError> {
        self.counted(len, "it is a sequence that does not say its length: collect it into a Vec first")
    }

    /// All elements of what serde knows as a sequence: most containers come this way. serde's own would call a
    /// function for each element.
    #[inline]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, items: I) -> Result<(), EncodeError> {
        let items = items.into_iter();
        let len = match items.size_hint() {
            (len, Some(most)) if len == most => Some(len),
            _ => None,
        };
        let mut elements = self.serialize_seq(len)?;
        if let Some(items) = elements.numbers(items)? {
            for item in items {
                SerializeSeq::serialize_element(&mut elements, &item)?;
            }
        }
        elements.finish()
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Elements<'w, 'o>, EncodeError> {
        self.elements(len)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Elements<'w, 'o>, EncodeError> {
        self.elements(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements<'w, 'o>, EncodeError> {
        self.variant(name, index, variant)?;
        self.elements(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Elements<'w, 'o>, EncodeError> {
        self.counted(len, "it is a map that does not say its length, as #[serde(flatten)] makes one")
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'w, 'o>, EncodeError> {
        // Of an object, or an end of a pipe: to decode it is to take it.
        self.seen.is_an_event |= name == procession_shm::HANDLE_NAME;
        self.fields(len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields<'w, 'o>, EncodeError> {
        self.variant(name, index, variant)?;
        self.fields(len)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence or tuple, or the entries of a map.
pub(super) struct Elements<'w, 'o> {
    to: &'w mut Writing<'o>,
    /// How many were announced and are still to come.
    left: usize,
    /// Where the last entry of a map began.
    begun_at: usize,
    /// The name of the last element's type.
    last: *const u8,
}

impl Elements<'_, '_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.to.value(value)
    }

    /// All that are still to come, if they are numbers; otherwise what it was given.
    #[inline]
    fn numbers<I: Iterator>(&mut self, items: I) -> Result<Option<I>, EncodeError> {
        let Some(size) = numbers::size_of_item::<I::Item>().filter(|_| self.left > 0) else {
            return Ok(Some(items));
        };
        self.note::<I::Item>();
        let begun_at = self.to.out.len();
        self.to.make_room(self.left.checked_mul(size).ok_or(EncodeError::TooLarge)?)?;
        match numbers::append_items(items, self.to.out) {
            Err(items) => Ok(Some(items)),
            Ok(()) if self.to.out.len() - begun_at == self.left * size => {
                self.left = 0;
                Ok(None)
            }
            Ok(()) => Err(miscounted()),
        }
    }

    #[inline]
    fn count(&mut self) -> Result<(), EncodeError> {
        self.left = self.left.checked_sub(1).ok_or_else(miscounted)?;
        Ok(())
    }

    /// One whose type may be another than that of the last.
    #[inline]
    fn note<T: ?Sized>(&mut self) {
        let name = type_name::<T>().as_ptr();
        if self.last != name {
            self.last = name;
            self.to.seen.note(name as usize);
        }
    }

    /// What was written since `begun_at` is an element, and may have been nothing.
    #[inline]
    fn element_since(&mut self, begun_at: usize) -> Result<(), EncodeError> {
        if self.to.out.len() == begun_at {
            self.to.empty += 1;
            if self.to.empty > MOST_EMPTY {
                return Err(EncodeError::TooManyEmpty);
            }
        }
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        if self.left != 0 {
            return Err(miscounted());
        }
        self.to.close();
        Ok(())
    }
}

impl SerializeSeq for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    // Numbers one by one are three times as slow where it is a call.
    #[inline(always)]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.count()?;
        self.note::<T>();
        let begun_at = self.to.out.len();
        self.part(value)?;
        self.element_since(begun_at)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl SerializeMap for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.count()?;
        self.note::<T>();
        self.begun_at = self.to.out.len();
        self.part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.note::<T>();
        self.part(value)?;
        self.element_since(self.begun_at)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

macro_rules! tuples {
    ($($Trait:ident::$part:ident)*) => {
        $(
            impl $Trait for Elements<'_, '_> {
                type Ok = ();
                type Error = EncodeError;

                #[inline]
                fn $part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                    self.count()?;
                    self.part(value)
                }

                #[inline]
                fn end(self) -> Result<(), EncodeError> {
                    self.finish()
                }
            }
        )*
    };
}

tuples! {
    SerializeTuple::serialize_element SerializeTupleStruct::serialize_field SerializeTupleVariant::serialize_field
}

/// The fields of a struct.
pub(super) struct Fields<'w, 'o> {
    to: &'w mut Writing<'o>,
    /// Where its header lies.
    start: usize,
    /// How many fields were announced.
    len: usize,
    names: Names,
    /// A bit for each field that is left out, if there are any.
    left_out: Option<Box<u128>>,
}

macro_rules! structs {
    ($($Trait:ident)*) => {
        $(
            impl $Trait for Fields<'_, '_> {
                type Ok = ();
                type Error = EncodeError;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), EncodeError> {
                    self.names.add(name);
                    self.to.value(value)
                }

                #[inline]
                fn skip_field(&mut self, name: &'static str) -> Result<(), EncodeError> {
                    self.leave_out(name)
                }

                #[inline]
                fn end(self) -> Result<(), EncodeError> {
                    self.finish()
                }
            }
        )*
    };
}

structs!(SerializeStruct SerializeStructVariant);

impl Fields<'_, '_> {
    /// By `#[serde(skip_serializing_if)]`: the reader learns which, and takes the field's default.
    #[cold]
    fn leave_out(&mut self, name: &'static str) -> Result<(), EncodeError> {
        if self.names.count() >= shape::MOST_COUNTED {
            return Err(EncodeError::custom("it leaves out a field of a struct with more than 126"));
        }
        **self.left_out.get_or_insert_default() |= 1 << self.names.count();
        self.names.add(name);
        self.to.seen.note(name.as_ptr() as usize);
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        if let Some(left_out) = self.left_out {
            return finish_with_gaps(self.to, self.start, self.len, self.names, *left_out);
        }
        if self.names.count() != self.len {
            return Err(miscounted());
        }
        self.to.set_header(self.start, self.names.header(false));
        self.to.close();
        Ok(())
    }
}

/// The end of a struct some of whose fields are left out.
#[cold]
fn finish_with_gaps(
    to: &mut Writing<'_>,
    start: usize,
    len: usize,
    names: Names,
    left_out: u128,
) -> Result<(), EncodeError> {
    if names.count() - left_out.count_ones() as usize != len {
        return Err(miscounted());
    }
    to.set_header(start, names.header(true));
    let fields = start + shape::HEADER;
    let bits = left_out.to_le_bytes().into_iter().take(names.count().div_ceil(8));
    to.out.splice(fields..fields, bits);
    to.close();
    Ok(())
}
