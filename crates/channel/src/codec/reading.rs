//! How bytes become values: serde's calls on this side.
//!
//! Whatever the bytes are, the time that is spent on them is bounded by their length: each element of a
//! sequence takes a byte, or is one of the few that may take none. The stack is bounded by the levels that
//! are open at a time.

use super::error::DecodeError;
use super::numbers;
use super::shape::{self, HEADER, MOST_COUNTED, MOST_DEPTH, MOST_EMPTY, Names};
use bincode::config::{self, Configuration};
use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder, DecoderImpl};
use bincode::error::DecodeError as BincodeError;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// Bytes on their way into a value.
pub(super) struct Reading<'de> {
    decoder: DecoderImpl<Input<'de>, Configuration, ()>,
    /// How many levels may still be opened.
    levels: u32,
    /// How many elements may still take no bytes.
    empty: u32,
}

struct Input<'de>(&'de [u8]);

impl Reader for Input<'_> {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> Result<(), BincodeError> {
        let Some((now, rest)) = self.0.split_at_checked(into.len()) else {
            return Err(BincodeError::UnexpectedEnd { additional: into.len() - self.0.len() });
        };
        into.copy_from_slice(now);
        self.0 = rest;
        Ok(())
    }

    #[inline]
    fn peek_read(&mut self, count: usize) -> Option<&[u8]> {
        self.0.get(..count)
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }
}

impl<'de> Reading<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        let decoder = DecoderImpl::new(Input(bytes), config::standard(), ());
        Self { decoder, levels: MOST_DEPTH, empty: MOST_EMPTY }
    }

    /// How many bytes were not read yet.
    #[inline]
    pub(super) fn left(&mut self) -> usize {
        self.decoder.reader().0.len()
    }

    #[inline]
    fn scalar<S: Decode<()>>(&mut self) -> Result<S, DecodeError> {
        S::decode(&mut self.decoder).map_err(of_bincode)
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'de [u8], DecodeError> {
        let input = self.decoder.reader();
        let (now, rest) = input.0.split_at_checked(count).ok_or(DecodeError::UnexpectedEnd)?;
        input.0 = rest;
        Ok(now)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let input = self.decoder.reader();
        let (now, rest) = input.0.split_first_chunk().ok_or(DecodeError::UnexpectedEnd)?;
        input.0 = rest;
        Ok(*now)
    }

    /// How many, or which: most are a byte, and bincode's own code is not inlined.
    #[inline]
    fn number(&mut self) -> Result<u64, DecodeError> {
        let input = self.decoder.reader();
        match input.0.split_first() {
            Some((&short @ ..=250, rest)) => {
                input.0 = rest;
                Ok(short.into())
            }
            _ => self.scalar(),
        }
    }

    /// The value of `seed`.
    #[inline]
    pub(super) fn value<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        match numbers::of_seed::<S, S::Value>(|size| self.numbers(size)) {
            Some(numbers) => numbers,
            None => seed.deserialize(&mut *self),
        }
    }

    /// The bytes of a sequence of numbers, each of which has so many.
    #[inline]
    fn numbers(&mut self, size: usize) -> Result<&'de [u8], DecodeError> {
        let count = self.len()?;
        let bytes = count.checked_mul(size).ok_or(DecodeError::TooLarge)?;
        self.nested(|from| from.take(bytes))
    }

    /// A string of bytes behind its length.
    #[inline]
    fn bytes(&mut self) -> Result<&'de [u8], DecodeError> {
        let len = self.number()?;
        if len > self.left() as u64 {
            return Err(DecodeError::TooLarge);
        }
        self.take(len as usize)
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(DecodeError::custom)
    }

    /// How many elements follow.
    #[inline]
    fn len(&mut self) -> Result<usize, DecodeError> {
        let len = self.number()?;
        if len > self.left() as u64 + u64::from(self.empty) {
            return Err(DecodeError::TooLarge);
        }
        Ok(len as usize)
    }

    #[inline]
    fn nested<R>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<R, DecodeError>,
    ) -> Result<R, DecodeError> {
        self.levels = self.levels.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        let result = read(self)?;
        self.levels += 1;
        Ok(result)
    }

    /// Elements that each take a byte, unless they come of a type that needs none.
    #[inline]
    fn elements<V: Visitor<'de>>(
        &mut self,
        left: usize,
        are_counted: bool,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.nested(|from| {
            let bytes = from.decoder.reader().0;
            let mut elements = ReadElements { from, bytes, left, are_counted };
            let value = visitor.visit_seq(&mut elements)?;
            elements.finish()?;
            Ok(value)
        })
    }

    /// The fields of a struct that the type reads as `fields`.
    #[inline]
    fn fields<V: Visitor<'de>>(
        &mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let header: [u8; HEADER] = self.array()?;
        let [first, ..] = header;
        let leaves_out = first >> 7 != 0;
        let told = usize::from(first & 0x7f);
        // Fields that were added behind the others have a default, or their type says that it is an error.
        let count = if told == MOST_COUNTED { fields.len() } else { told };
        if Names::of(fields, count).header(leaves_out) != header {
            return Err(other_fields(name, fields, told));
        }
        if leaves_out {
            return self.some_fields(fields, count, visitor);
        }
        self.elements(count, false, visitor)
    }

    /// The fields of a struct some of which were left out.
    #[cold]
    fn some_fields<V: Visitor<'de>>(
        &mut self,
        fields: &'static [&'static str],
        count: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut left_out = [0; 16];
        let bits = self.take(count.div_ceil(8))?;
        let place = left_out.get_mut(..bits.len()).ok_or(DecodeError::TooLarge)?;
        place.copy_from_slice(bits);
        let left_out = u128::from_le_bytes(left_out);
        self.nested(|from| {
            let mut fields = Present { from, names: fields.get(..count).unwrap_or_default(), left_out };
            let value = visitor.visit_map(&mut fields)?;
            fields.finish()?;
            Ok(value)
        })
    }
}

#[cold]
fn of_bincode(error: BincodeError) -> DecodeError {
    match error {
        BincodeError::UnexpectedEnd { .. } => DecodeError::UnexpectedEnd,
        BincodeError::InvalidBooleanValue(byte) => {
            DecodeError::Invalid(format!("{byte} where a bool was expected"))
        }
        other => DecodeError::Invalid(other.to_string()),
    }
}

#[cold]
fn other_fields(name: &'static str, fields: &[&str], told: usize) -> DecodeError {
    let written = if told == MOST_COUNTED { "many".to_owned() } else { told.to_string() };
    DecodeError::OtherFields { name, written, read: fields.len() }
}

#[cold]
fn not_all_read() -> DecodeError {
    DecodeError::custom("the type reads fewer elements than were written")
}

#[cold]
fn undescribed() -> DecodeError {
    DecodeError::Undescribed
}

macro_rules! scalars {
    ($($name:ident => $visit:ident($from:ident: $value:expr))*) => {
        $(
            #[inline]
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
                let $from = self;
                visitor.$visit($value)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Reading<'de> {
    type Error = DecodeError;

    scalars! {
        deserialize_bool => visit_bool(from: from.scalar()?)
        deserialize_char => visit_char(from: from.scalar()?)
        deserialize_i8 => visit_i8(from: i8::from_le_bytes(from.array()?))
        deserialize_i16 => visit_i16(from: i16::from_le_bytes(from.array()?))
        deserialize_i32 => visit_i32(from: i32::from_le_bytes(from.array()?))
        deserialize_i64 => visit_i64(from: i64::from_le_bytes(from.array()?))
        deserialize_i128 => visit_i128(from: i128::from_le_bytes(from.array()?))
        deserialize_u8 => visit_u8(from: u8::from_le_bytes(from.array()?))
        deserialize_u16 => visit_u16(from: u16::from_le_bytes(from.array()?))
        deserialize_u32 => visit_u32(from: u32::from_le_bytes(from.array()?))
        deserialize_u64 => visit_u64(from: u64::from_le_bytes(from.array()?))
        deserialize_u128 => visit_u128(from: u128::from_le_bytes(from.array()?))
        deserialize_f32 => visit_f32(from: f32::from_le_bytes(from.array()?))
        deserialize_f64 => visit_f64(from: f64::from_le_bytes(from.array()?))
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.bytes()?.to_vec())
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match u8::from_le_bytes(self.array()?) {
            0 => visitor.visit_none(),
            1 => self.nested(|from| visitor.visit_some(from)),
            byte => Err(DecodeError::Invalid(format!("{byte} where an Option was expected"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.nested(|from| visitor.visit_newtype_struct(from))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let len = self.len()?;
        self.elements(len, true, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.elements(len, false, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.elements(len, false, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.len()?;
        self.nested(|from| {
            let mut entries = ReadEntries { from, left, had: 0 };
            let value = visitor.visit_map(&mut entries)?;
            if entries.left == 0 { Ok(value) } else { Err(not_all_read()) }
        })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.fields(name, fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.nested(|from| visitor.visit_enum(Variant { from, name, variants }))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(undescribed())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(undescribed())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(undescribed())
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence or tuple, or the fields of a struct.
struct ReadElements<'r, 'de> {
    from: &'r mut Reading<'de>,
    /// What was not read yet: here, and not in `from`, so that it can stay in registers while numbers are read.
    bytes: &'de [u8],
    left: usize,
    /// Whether the bytes say how many they are, and not the type.
    are_counted: bool,
}

impl ReadElements<'_, '_> {
    #[inline]
    fn finish(&mut self) -> Result<(), DecodeError> {
        self.from.decoder.reader().0 = self.bytes;
        if self.left == 0 { Ok(()) } else { Err(not_all_read()) }
    }
}

impl<'de> SeqAccess<'de> for &mut ReadElements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        if let Some(number) = numbers::one_of_seed::<S, S::Value>(&mut self.bytes) {
            return number.map(Some);
        }
        self.from.decoder.reader().0 = self.bytes;
        let element = self.from.value(seed);
        let had = std::mem::replace(&mut self.bytes, self.from.decoder.reader().0);
        let element = element?;
        if self.are_counted {
            self.from.count_if_empty(had.len())?;
        }
        Ok(Some(element))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl Reading<'_> {
    /// An element was read since there were `had` bytes.
    #[inline]
    fn count_if_empty(&mut self, had: usize) -> Result<(), DecodeError> {
        if self.left() == had {
            self.empty = self.empty.checked_sub(1).ok_or(DecodeError::TooLarge)?;
        }
        Ok(())
    }
}

/// The entries of a map.
struct ReadEntries<'r, 'de> {
    from: &'r mut Reading<'de>,
    left: usize,
    /// How many bytes there were before the last entry.
    had: usize,
}

impl<'de> MapAccess<'de> for &mut ReadEntries<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.had = self.from.left();
        self.from.value(seed).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let value = self.from.value(seed)?;
        self.from.count_if_empty(self.had)?;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The fields that were not left out.
struct Present<'r, 'de> {
    from: &'r mut Reading<'de>,
    /// Of the fields that are still to come.
    names: &'static [&'static str],
    /// A bit for each of those.
    left_out: u128,
}

impl Present<'_, '_> {
    fn next(&mut self) -> Option<&'static str> {
        while let Some((name, rest)) = self.names.split_first() {
            let is_left_out = self.left_out & 1 != 0;
            self.names = rest;
            self.left_out >>= 1;
            if !is_left_out {
                return Some(name);
            }
        }
        None
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        if self.next().is_none() { Ok(()) } else { Err(not_all_read()) }
    }
}

impl<'de> MapAccess<'de> for &mut Present<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some(name) = self.next() else { return Ok(None) };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.from.value(seed)
    }
}

/// The variant of an enum, and then what it holds.
struct Variant<'r, 'de> {
    from: &'r mut Reading<'de>,
    name: &'static str,
    variants: &'static [&'static str],
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let too_large = |_| DecodeError::TooLarge;
        let index = u32::try_from(self.from.number()?).map_err(too_large)?;
        let [check] = self.from.array()?;
        let here = self.variants.get(index as usize);
        if here.is_some_and(|here| shape::check_of_variant(here) != check) {
            return Err(DecodeError::OtherVariants { name: self.name, index });
        }
        let which: serde::de::value::U32Deserializer<DecodeError> = index.into_deserializer();
        Ok((seed.deserialize(which)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        self.from.value(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.from.elements(len, false, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.from.fields(self.name, fields, visitor)
    }
}
