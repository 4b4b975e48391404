//! What a type asks for, place by place, while it is read from made-up values.
//!
//! Each time a type is read, at least one place more is settled (`spot.rs`). A struct is first read as a
//! sequence, as the codec does; then as a map of the fields that are not settled; and when all are, with fewer
//! and fewer of the last, until that is refused.

use super::spot::{ENUM, MAP, OPTION, Part, SEQUENCE, STRUCT, Spot, TUPLE, Tracing};
use crate::codec::trial::is_of_users;
use procession_shm::HANDLE_NAME;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

/// How deep it is looked.
const MOST_LEVELS: usize = 64;

/// That a type cannot be read any further this time.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value was made up")
    }
}

impl std::error::Error for Refused {}

impl Error for Refused {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self
    }
}

/// Reads what `seed` reads, and notes at `spot` what it asks for.
pub(super) fn ask<S: DeserializeSeed<'static>>(
    seed: S,
    spot: &mut Spot,
    tracing: &mut Tracing,
) -> Result<S::Value, Refused> {
    watch(spot, tracing, |spot, tracing| {
        let name = type_name::<S::Value>();
        if size_of::<S::Value>() == 0 && is_of_users(name) && !name.starts_with(type_name_of_phantom()) {
            return Err(Refused);
        }
        seed.deserialize(Asked { spot, tracing })
    })
}

/// What the names of the types begin with that have no content, and of which nobody else has written how they
/// are read.
fn type_name_of_phantom() -> &'static str {
    let name = type_name::<PhantomData<()>>();
    name.split_once('<').map_or(name, |(name, _)| name)
}

/// Lets something be read at `spot`, which is settled if nothing was learned by that.
fn watch<R>(
    spot: &mut Spot,
    tracing: &mut Tracing,
    read: impl FnOnce(&mut Spot, &mut Tracing) -> Result<R, Refused>,
) -> Result<R, Refused> {
    tracing.values_left = tracing.values_left.checked_sub(1).ok_or(Refused)?;
    let before = tracing.learned;
    let result = read(spot, tracing);
    spot.gives |= result.is_ok();
    if tracing.learned == before {
        spot.settle(tracing);
    }
    result
}

/// A place that is being read.
struct Asked<'t> {
    spot: &'t mut Spot,
    tracing: &'t mut Tracing,
}

impl Asked<'_> {
    /// Something without parts, and whatever comes of it.
    fn word<R>(self, word: &'static str, value: Result<R, Refused>) -> Result<R, Refused> {
        self.spot.begin(word, &[], self.tracing);
        self.spot.settle(self.tracing);
        value
    }

    /// Something with parts, which is a `T`, unless there is one around it already.
    fn within<T, R>(
        self,
        read: impl FnOnce(&mut Spot, &mut Tracing) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        let name = type_name::<T>();
        if self.tracing.open.len() >= MOST_LEVELS || self.tracing.open.contains(&name) {
            self.spot.settle(self.tracing);
            return Err(Refused);
        }
        self.tracing.open.push(name);
        let result = read(self.spot, self.tracing);
        self.tracing.open.pop();
        result
    }
}

fn read_tuple<V: Visitor<'static>>(
    visitor: V,
    len: usize,
    spot: &mut Spot,
    tracing: &mut Tracing,
) -> Result<V::Value, Refused> {
    spot.begin(TUPLE, &[], tracing);
    spot.len = len;
    let elements = Elements { parts: &mut spot.parts, tracing, left: len, at: 0, run: Some(("", 0)) };
    let result = visitor.visit_seq(elements);
    if result.is_ok() || len == 0 {
        spot.settle_if_all_are(tracing);
    }
    result
}

fn read_fields<V: Visitor<'static>>(
    visitor: V,
    names: &'static [&'static str],
    spot: &mut Spot,
    tracing: &mut Tracing,
) -> Result<V::Value, Refused> {
    spot.begin(STRUCT, names, tracing);
    if spot.next.is_some() && !spot.are_all_done() {
        return visitor.visit_map(Fields { parts: &mut spot.parts, tracing, at: 0 });
    }
    let (all, before) = (names.len(), tracing.learned);
    let count = spot.next.filter(|_| !spot.is_done).unwrap_or(all);
    let elements = Elements { parts: &mut spot.parts, tracing, left: count, at: 0, run: None };
    let result = visitor.visit_seq(elements);
    spot.next.get_or_insert(all);
    if spot.is_done || !spot.are_all_done() {
        return result;
    }
    match (&result, count.checked_sub(1)) {
        (Ok(_), Some(fewer)) => {
            (spot.len, spot.next) = (count, Some(fewer));
            tracing.learned += 1;
        }
        (Ok(_), None) => {
            spot.len = 0;
            spot.settle(tracing);
        }
        // Next time it may give a value.
        (Err(_), _) if tracing.learned > before => {}
        // It gives none: so it cannot be found out which of its fields have a default.
        (Err(_), _) if count == all => {
            spot.len = 0;
            spot.settle(tracing);
        }
        (Err(_), _) => spot.settle(tracing),
    }
    result
}

macro_rules! scalars {
    ($($name:ident => $visit:ident($value:expr, $word:literal))*) => {
        $(
            fn $name<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
                self.word($word, visitor.$visit($value))
            }
        )*
    };
}

/// What asks of what type the bytes are.
macro_rules! refused {
    ($($name:ident)*) => {
        $(
            fn $name<V: Visitor<'static>>(self, _: V) -> Result<V::Value, Refused> {
                self.word("", Err(Refused))
            }
        )*
    };
}

impl Deserializer<'static> for Asked<'_> {
    type Error = Refused;

    // Some types refuse 0, and an empty text.
    scalars! {
        deserialize_bool => visit_bool(true, "bool") deserialize_char => visit_char('1', "char")
        deserialize_i8 => visit_i8(1, "i8") deserialize_i16 => visit_i16(1, "i16")
        deserialize_i32 => visit_i32(1, "i32") deserialize_i64 => visit_i64(1, "i64")
        deserialize_i128 => visit_i128(1, "i128")
        deserialize_u8 => visit_u8(1, "u8") deserialize_u16 => visit_u16(1, "u16")
        deserialize_u32 => visit_u32(1, "u32") deserialize_u64 => visit_u64(1, "u64")
        deserialize_u128 => visit_u128(1, "u128")
        deserialize_f32 => visit_f32(1.0, "f32") deserialize_f64 => visit_f64(1.0, "f64")
        deserialize_str => visit_borrowed_str("1", "string") deserialize_string => visit_borrowed_str("1", "string")
    }

    refused! { deserialize_any deserialize_identifier deserialize_ignored_any }

    fn deserialize_bytes<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.spot.begin(SEQUENCE, &[""], self.tracing);
        if let Some(byte) = self.spot.parts.first_mut() {
            (byte.spot.form, byte.spot.is_done) = ("u8", true);
        }
        self.spot.settle(self.tracing);
        visitor.visit_borrowed_bytes(&[0; 16])
    }

    fn deserialize_byte_buf<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.within::<V::Value, _>(|spot, tracing| {
            spot.begin(OPTION, &[""], tracing);
            let offers_one = spot.offers_one();
            let result = match spot.parts.first_mut() {
                Some(part) if offers_one => watch(&mut part.spot, tracing, |spot, tracing| {
                    visitor.visit_some(Asked { spot, tracing })
                }),
                _ => visitor.visit_none(),
            };
            spot.settle_if_all_are(tracing);
            result
        })
    }

    fn deserialize_unit<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.word(TUPLE, visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.within::<V::Value, _>(|spot, tracing| visitor.visit_newtype_struct(Asked { spot, tracing }))
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.within::<V::Value, _>(|spot, tracing| {
            spot.begin(SEQUENCE, &[""], tracing);
            let left = usize::from(spot.offers_one());
            let elements = Elements { parts: &mut spot.parts, tracing, left, at: 0, run: None };
            let result = visitor.visit_seq(elements);
            spot.settle_if_all_are(tracing);
            result
        })
    }

    fn deserialize_tuple<V: Visitor<'static>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.within::<V::Value, _>(|spot, tracing| read_tuple(visitor, len, spot, tracing))
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.within::<V::Value, _>(|spot, tracing| {
            spot.begin(MAP, &["", ""], tracing);
            let gives = spot.parts.iter().all(|part| part.spot.gives);
            let left = usize::from(!spot.are_all_done() || gives);
            let result = visitor.visit_map(Entries { parts: &mut spot.parts, tracing, left });
            spot.settle_if_all_are(tracing);
            result
        })
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        if name == HANDLE_NAME {
            return self.word("handle", Err(Refused));
        }
        self.within::<V::Value, _>(|spot, tracing| read_fields(visitor, fields, spot, tracing))
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.within::<V::Value, _>(|spot, tracing| {
            spot.begin(ENUM, variants, tracing);
            let mut parts = spot.parts.iter();
            let which = parts.position(|part| !part.spot.is_done);
            let which = which.or_else(|| spot.parts.iter().position(|part| part.spot.gives));
            let chosen = which.and_then(|index| Some((index as u32, spot.parts.get_mut(index)?)));
            let result = chosen.map_or(Err(Refused), |(index, part)| {
                watch(&mut part.spot, tracing, |spot, tracing| {
                    visitor.visit_enum(Chosen { index, spot, tracing })
                })
            });
            spot.settle_if_all_are(tracing);
            result
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The element of a sequence, the elements of a tuple, or the first fields of a struct.
struct Elements<'t> {
    parts: &'t mut Vec<Part>,
    tracing: &'t mut Tracing,
    left: usize,
    /// Behind the part that was read last.
    at: usize,
    /// In a tuple: the type of the element that was read last, and how many of it came one after the other,
    /// which are one part.
    run: Option<(&'static str, usize)>,
}

impl Elements<'_> {
    /// The place of the next element, which is a `T`.
    fn next<T>(&mut self) -> Option<(&mut Spot, &mut Tracing)> {
        self.left = self.left.checked_sub(1)?;
        let name = type_name::<T>();
        match &mut self.run {
            Some((last, count)) if *last == name => *count += 1,
            run => {
                self.at += 1;
                *run = run.map(|_| (name, 1));
            }
        }
        if self.parts.len() < self.at && self.run.is_some() {
            self.parts.push(Part::default());
            self.tracing.learned += 1;
        }
        let part = self.parts.get_mut(self.at.checked_sub(1)?)?;
        part.count = part.count.max(self.run.map_or(1, |(_, count)| count));
        Some((&mut part.spot, self.tracing))
    }
}

impl SeqAccess<'static> for Elements<'_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'static>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        self.next::<S::Value>().map(|(spot, tracing)| ask(seed, spot, tracing)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The entry of a map.
struct Entries<'t> {
    parts: &'t mut [Part],
    tracing: &'t mut Tracing,
    left: usize,
}

impl MapAccess<'static> for Entries<'_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        let (Some(left), Some(key)) = (self.left.checked_sub(1), self.parts.first_mut()) else {
            return Ok(None);
        };
        self.left = left;
        ask(seed, &mut key.spot, self.tracing).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let value = self.parts.get_mut(1).ok_or(Refused)?;
        ask(seed, &mut value.spot, self.tracing)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The fields of a struct that are not settled.
struct Fields<'t> {
    parts: &'t mut [Part],
    tracing: &'t mut Tracing,
    at: usize,
}

impl MapAccess<'static> for Fields<'_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        let rest = self.parts.get_mut(self.at..).unwrap_or_default();
        let Some(skipped) = rest.iter().position(|part| !part.spot.is_done) else { return Ok(None) };
        self.at += skipped;
        let part = self.parts.get_mut(self.at).ok_or(Refused)?;
        let key = seed.deserialize(part.name.into_deserializer());
        // A name that the type does not know after all.
        key.inspect_err(|_: &Refused| part.spot.settle(self.tracing)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let part = self.parts.get_mut(self.at).ok_or(Refused)?;
        self.at += 1;
        ask(seed, &mut part.spot, self.tracing)
    }
}

/// The variant of an enum that is read.
struct Chosen<'t> {
    index: u32,
    spot: &'t mut Spot,
    tracing: &'t mut Tracing,
}

impl EnumAccess<'static> for Chosen<'_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'static>>(self, seed: S) -> Result<(S::Value, Self), Refused> {
        let which: U32Deserializer<Refused> = self.index.into_deserializer();
        Ok((seed.deserialize(which)?, self))
    }
}

impl VariantAccess<'static> for Chosen<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.spot.begin(TUPLE, &[], self.tracing);
        self.spot.settle(self.tracing);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'static>>(self, seed: S) -> Result<S::Value, Refused> {
        ask(seed, self.spot, self.tracing)
    }

    fn tuple_variant<V: Visitor<'static>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        read_tuple(visitor, len, self.spot, self.tracing)
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        read_fields(visitor, fields, self.spot, self.tracing)
    }
}
