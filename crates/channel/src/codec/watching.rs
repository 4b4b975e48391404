//! A serializer around another, for formats of other crates: it notes what [the trial](super::trial) has to
//! know, and refuses what the format could not tell from something else.

use super::error::EncodeError;
use super::trial::{Seen, is_of_users};
use super::{Codec, LIMIT};
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::any::type_name;
use std::cell::Cell;
use std::io;

/// What a format can express.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) codec: Codec,
    /// How many levels it reads.
    pub(super) levels: u32,
    /// Whether it has a form for numbers that are infinite, or none.
    pub(super) has_infinity: bool,
}

/// What was seen of the value so far.
pub(super) struct Notes {
    rules: Rules,
    seen: Cell<Seen>,
    /// How many levels may still be opened.
    levels: Cell<u32>,
    /// How many times a unit was written.
    units: Cell<u32>,
    /// Whether what comes next is what an `Option` holds.
    is_optional: Cell<bool>,
    refused: Cell<Option<EncodeError>>,
}

impl Notes {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            seen: Cell::new(Seen::default()),
            levels: Cell::new(rules.levels),
            units: Cell::new(0),
            is_optional: Cell::new(false),
            refused: Cell::new(None),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.get()
    }

    fn note(&self, address: usize) {
        let mut seen = self.seen.get();
        seen.note(address);
        self.seen.set(seen);
    }

    fn note_event(&self, is_event: bool) {
        let seen = self.seen.get();
        self.seen.set(Seen { is_an_event: seen.is_an_event || is_event, ..seen });
    }

    /// A type of the user's that has no content, and is written as none: see `writing.rs`.
    fn note_marker(&self, name: &str) {
        self.note_event(is_of_users(name));
    }

    fn variant(&self, name: &'static str, index: u32, variant: &'static str) {
        let address = name.as_ptr() as usize ^ (variant.as_ptr() as usize).rotate_left(8);
        self.note(address ^ (index as usize).rotate_left(24));
    }

    /// Something begins that is not written as `None` is.
    fn begin(&self) {
        self.is_optional.set(false);
    }

    /// Something begins that is written as `None` is.
    fn begin_none<E: Error>(&self) -> Result<(), E> {
        let codec = self.rules.codec;
        let what = "an Option, or (), in an Option: it reads Some(None) as None";
        if self.is_optional.replace(false) {
            return Err(self.refuse(EncodeError::NotRepresentable { codec, what }));
        }
        Ok(())
    }

    fn begin_float<E: Error>(&self, is_finite: bool) -> Result<(), E> {
        self.begin();
        let codec = self.rules.codec;
        let what = "a number that is infinite or not a number";
        if is_finite || self.rules.has_infinity {
            return Ok(());
        }
        Err(self.refuse(EncodeError::NotRepresentable { codec, what }))
    }

    fn open<E: Error>(&self, levels: u32) -> Result<(), E> {
        self.begin();
        let left = self.levels.get().checked_sub(levels).ok_or_else(|| self.refuse(EncodeError::TooDeep))?;
        self.levels.set(left);
        Ok(())
    }

    fn close(&self, levels: u32) {
        self.levels.update(|left| left + levels);
    }

    /// The error that the format passes on; what was wrong is kept here.
    #[cold]
    fn refuse<E: Error>(&self, error: EncodeError) -> E {
        self.refused.set(Some(error));
        E::custom("refused")
    }
}

/// A vector that grows by at most [`LIMIT`] bytes.
pub(super) struct Limited<'o> {
    out: &'o mut Vec<u8>,
    left: usize,
    is_full: bool,
}

impl<'o> Limited<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, left: LIMIT, is_full: false }
    }
}

impl io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.left = left;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets `write` write a value, which is watched, and adds to `seen` what it is made of.
pub(super) fn write_watched<V: Serialize + ?Sized, E: std::fmt::Display>(
    value: &V,
    out: &mut Vec<u8>,
    seen: &mut Seen,
    rules: Rules,
    write: impl FnOnce(Watched<'_, V>, &mut Limited<'_>) -> Result<(), E>,
) -> Result<(), EncodeError> {
    let notes = Notes::new(rules);
    let mut out = Limited::new(out);
    let outcome = write(Watched { value, notes: &notes }, &mut out);
    *seen = notes.seen();
    let Err(error) = outcome else { return Ok(()) };
    if out.is_full {
        return Err(EncodeError::TooLarge);
    }
    Err(notes.refused.take().unwrap_or_else(|| EncodeError::Unsupported(error.to_string())))
}

/// A value, or a part of one, that is watched while it is written.
pub(super) struct Watched<'n, V: ?Sized> {
    pub(super) value: &'n V,
    pub(super) notes: &'n Notes,
}

impl<V: Serialize + ?Sized> Serialize for Watched<'_, V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let units = self.notes.units.get();
        let written = self.value.serialize(Watching { to, notes: self.notes })?;
        if size_of_val(self.value) == 0 && self.notes.units.get() != units {
            self.notes.note_marker(type_name::<V>());
        }
        Ok(written)
    }
}

struct Watching<'n, S> {
    to: S,
    notes: &'n Notes,
}

macro_rules! scalars {
    ($($name:ident($type:ty))*) => {
        $(
            fn $name(self, value: $type) -> Result<S::Ok, S::Error> {
                self.notes.begin();
                self.to.$name(value)
            }
        )*
    };
}

/// How many levels what is in a variant is deep, the variant included.
const VARIANT: u32 = 2;

impl<'n, S: Serializer> Serializer for Watching<'n, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'n, S::SerializeSeq>;
    type SerializeTuple = Parts<'n, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'n, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'n, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'n, S::SerializeMap>;
    type SerializeStruct = Parts<'n, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'n, S::SerializeStructVariant>;

    scalars! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.notes.begin_float(value.is_finite())?;
        self.to.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.notes.begin_float(value.is_finite())?;
        self.to.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.notes.begin_none()?;
        self.to.serialize_none()
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<S::Ok, S::Error> {
        self.notes.begin_none()?;
        self.notes.note(type_name::<V>().as_ptr() as usize);
        self.notes.is_optional.set(true);
        self.to.serialize_some(&Watched { value, notes: self.notes })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.notes.begin_none()?;
        self.notes.units.update(|units| units.wrapping_add(1));
        self.to.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.notes.begin_none()?;
        self.to.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.notes.begin();
        self.notes.variant(name, index, variant);
        self.to.serialize_unit_variant(name, index, variant)
    }

    // Written as what is in it; whether that is in an `Option` stays as it was.
    fn serialize_newtype_struct<V: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &V,
    ) -> Result<S::Ok, S::Error> {
        self.to.serialize_newtype_struct(name, &Watched { value, notes: self.notes })
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &V,
    ) -> Result<S::Ok, S::Error> {
        self.notes.open(1)?;
        self.notes.variant(name, index, variant);
        let watched = Watched { value, notes: self.notes };
        let written = self.to.serialize_newtype_variant(name, index, variant, &watched)?;
        self.notes.close(1);
        Ok(written)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.notes.open(1)?;
        Ok(Parts::new(self.to.serialize_seq(len)?, self.notes, 1))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.notes.open(1)?;
        Ok(Parts::new(self.to.serialize_tuple(len)?, self.notes, 1))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.notes.open(1)?;
        Ok(Parts::new(self.to.serialize_tuple_struct(name, len)?, self.notes, 1))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.notes.open(VARIANT)?;
        self.notes.variant(name, index, variant);
        let to = self.to.serialize_tuple_variant(name, index, variant, len)?;
        Ok(Parts::new(to, self.notes, VARIANT))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.notes.open(1)?;
        Ok(Parts::new(self.to.serialize_map(len)?, self.notes, 1))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.notes.open(1)?;
        // Of an object, or an end of a pipe: to decode it is to take it.
        self.notes.note_event(name == procession_shm::HANDLE_NAME);
        Ok(Parts::new(self.to.serialize_struct(name, len)?, self.notes, 1))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.notes.open(VARIANT)?;
        self.notes.variant(name, index, variant);
        let to = self.to.serialize_struct_variant(name, index, variant, len)?;
        Ok(Parts::new(to, self.notes, VARIANT))
    }

    fn is_human_readable(&self) -> bool {
        self.to.is_human_readable()
    }
}

/// The parts of what is written: elements, entries, fields.
pub(super) struct Parts<'n, C> {
    to: C,
    notes: &'n Notes,
    levels: u32,
    /// The name of the last element's type.
    last: *const u8,
}

impl<'n, C> Parts<'n, C> {
    fn new(to: C, notes: &'n Notes, levels: u32) -> Self {
        Self { to, notes, levels, last: std::ptr::null() }
    }

    /// One whose type may be another than that of the last.
    fn note<V: ?Sized>(&mut self) {
        let name = type_name::<V>().as_ptr();
        if self.last != name {
            self.last = name;
            self.notes.note(name as usize);
        }
    }
}

macro_rules! parts {
    ($($Trait:ident::$part:ident($($name:ident)?) $skip:ident $notes:literal)*) => {
        $(
            impl<C: $Trait> $Trait for Parts<'_, C> {
                type Ok = C::Ok;
                type Error = C::Error;

                fn $part<V: Serialize + ?Sized>(
                    &mut self,
                    $($name: &'static str,)?
                    value: &V,
                ) -> Result<(), C::Error> {
                    if $notes {
                        self.note::<V>();
                    }
                    self.to.$part($($name,)? &Watched { value, notes: self.notes })
                }

                parts!($skip);

                fn end(self) -> Result<C::Ok, C::Error> {
                    self.notes.close(self.levels);
                    self.to.end()
                }
            }
        )*
    };
    (all) => {};
    (some) => {
        fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
            self.notes.note(name.as_ptr() as usize);
            self.to.skip_field(name)
        }
    };
}

parts! {
    SerializeSeq::serialize_element() all true
    SerializeTuple::serialize_element() all false
    SerializeTupleStruct::serialize_field() all false
    SerializeTupleVariant::serialize_field() all false
    SerializeStruct::serialize_field(name) some false
    SerializeStructVariant::serialize_field(name) some false
}

impl<C: SerializeMap> SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), C::Error> {
        self.note::<V>();
        self.to.serialize_key(&Watched { value: key, notes: self.notes })
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), C::Error> {
        self.note::<V>();
        self.to.serialize_value(&Watched { value, notes: self.notes })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.notes.close(self.levels);
        self.to.end()
    }
}
