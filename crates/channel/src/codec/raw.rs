//! Bytes as they are: what is no string of bytes has no form here.

use super::error::{DecodeError, EncodeError};
use super::trial::Seen;
use super::{Codec, Format, LIMIT};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{Impossible, Serialize, SerializeSeq, SerializeTuple, Serializer};

pub(super) struct Raw;

impl Format for Raw {
    const CODEC: Codec = Codec::Bytes;
    // There is nothing in a message but the value's own bytes.
    const TELLS: bool = true;

    fn write<V: Serialize + ?Sized>(value: &V, out: &mut Vec<u8>, _: &mut Seen) -> Result<(), EncodeError> {
        value.serialize(Bare { out, is_byte: false })
    }

    fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, DecodeError> {
        V::deserialize(Whole(bytes))
    }
}

/// A value on its way into bytes, or one of the bytes in a sequence of them.
struct Bare<'o> {
    out: &'o mut Vec<u8>,
    is_byte: bool,
}

#[cold]
fn no_bytes() -> EncodeError {
    let what = "anything but bytes and text (Bytes, Vec<u8>, String)";
    EncodeError::NotRepresentable { codec: Codec::Bytes, what }
}

impl<'o> Bare<'o> {
    fn all(self, bytes: &[u8]) -> Result<(), EncodeError> {
        if self.is_byte {
            return Err(no_bytes());
        }
        if bytes.len() > LIMIT {
            return Err(EncodeError::TooLarge);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn sequence(self) -> Result<Sequence<'o>, EncodeError> {
        if self.is_byte { Err(no_bytes()) } else { Ok(Sequence { out: self.out, written: 0 }) }
    }
}

macro_rules! refused {
    ($($name:ident($($type:ty),*))*) => {
        $(
            fn $name(self $(, _: $type)*) -> Result<(), EncodeError> {
                Err(no_bytes())
            }
        )*
    };
}

impl<'o> Serializer for Bare<'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Sequence<'o>;
    type SerializeTuple = Sequence<'o>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    refused! {
        serialize_bool(bool) serialize_char(char)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64) serialize_none() serialize_unit()
        serialize_unit_struct(&'static str) serialize_unit_variant(&'static str, u32, &'static str)
    }

    fn serialize_u8(self, byte: u8) -> Result<(), EncodeError> {
        if !self.is_byte {
            return Err(no_bytes());
        }
        self.out.push(byte);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.all(bytes)
    }

    fn serialize_str(self, text: &str) -> Result<(), EncodeError> {
        self.all(text.as_bytes())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Sequence<'o>, EncodeError> {
        self.sequence()
    }

    fn serialize_tuple(self, _: usize) -> Result<Sequence<'o>, EncodeError> {
        self.sequence()
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &V,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_some<V: Serialize + ?Sized>(self, _: &V) -> Result<(), EncodeError> {
        Err(no_bytes())
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &V,
    ) -> Result<(), EncodeError> {
        Err(no_bytes())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, EncodeError> {
        Err(no_bytes())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        Err(no_bytes())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, EncodeError> {
        Err(no_bytes())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, EncodeError> {
        Err(no_bytes())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Err(no_bytes())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Bytes that come one by one.
struct Sequence<'o> {
    out: &'o mut Vec<u8>,
    written: usize,
}

macro_rules! sequences {
    ($($Trait:ident)*) => {
        $(
            impl $Trait for Sequence<'_> {
                type Ok = ();
                type Error = EncodeError;

                #[inline]
                fn serialize_element<V: Serialize + ?Sized>(&mut self, byte: &V) -> Result<(), EncodeError> {
                    self.written += 1;
                    if self.written > LIMIT {
                        return Err(EncodeError::TooLarge);
                    }
                    byte.serialize(Bare { out: self.out, is_byte: true })
                }

                fn end(self) -> Result<(), EncodeError> {
                    Ok(())
                }
            }
        )*
    };
}

sequences!(SerializeSeq SerializeTuple);

/// All bytes of a message.
struct Whole<'de>(&'de [u8]);

impl<'de> Deserializer<'de> for Whole<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.0.to_vec())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let bytes = self.0.iter().copied();
        let mut bytes = serde::de::value::SeqDeserializer::<_, DecodeError>::new(bytes);
        let value = visitor.visit_seq(&mut bytes)?;
        bytes.end().map(|()| value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = std::str::from_utf8(self.0).map_err(serde::de::Error::custom)?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes option unit unit_struct tuple_struct map
        struct enum identifier ignored_any
    }
}
