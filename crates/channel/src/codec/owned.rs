//! The default codec for values that own what they are made of, some of which are nothing but bytes.
//!
//! serde hands over the elements of a `Vec<u8>` one by one. Where the type is known to be that, its bytes are
//! copied at once; what is written is the same.

use super::{Bytes, DecodeError, EncodeError, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use std::any::{Any, TypeId};

/// Bytes that are written as a [`Bytes`] is.
struct Borrowed<'a>(&'a [u8]);

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// As [`encode`], and a `Vec<u8>` as fast as its bytes can be copied.
///
/// # Errors
/// As [`encode`].
#[inline]
pub fn encode_owned<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // Known when this is compiled.
    match (value as &dyn Any).downcast_ref::<Vec<u8>>() {
        Some(bytes) => {
            out.reserve(bytes.len().saturating_add(16));
            encode(&Borrowed(bytes), out)
        }
        None => encode(value, out),
    }
}

/// As [`decode`], and a `Vec<u8>` as fast as its bytes can be copied.
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_owned<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, DecodeError> {
    if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() {
        let mut value: Option<Vec<u8>> = Some(decode::<Bytes>(bytes)?.0);
        let value = (&mut value as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
        // It is there, because the types are the same.
        return value.map_or_else(|| decode(bytes), Ok);
    }
    decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_owned, encode, encode_owned};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    fn is_the_same<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: &T) {
        let (mut plain, mut owned) = (Vec::new(), Vec::new());
        encode(value, &mut plain).unwrap();
        encode_owned(value, &mut owned).unwrap();
        assert_eq!(plain, owned);
        assert_eq!(&decode_owned::<T>(&plain).unwrap(), value);
        assert_eq!(&decode::<T>(&owned).unwrap(), value);
    }

    #[test]
    fn bytes_are_written_and_read_as_one_by_one() {
        for len in [0, 1, 250, 251, 70_000] {
            is_the_same(&(0..len).map(|n| n as u8).collect::<Vec<u8>>());
            is_the_same(&vec![7_i8; len]);
        }
        is_the_same(&"text".to_owned());
        is_the_same(&(1_u64, vec![2_u8], Some(())));
        assert!(decode_owned::<Vec<u8>>(&[5, 1, 2]).is_err());
        assert!(decode_owned::<Vec<u8>>(&[1, 1, 2]).is_err());
        assert!(decode_owned::<Vec<u8>>(&[]).is_err());
    }
}
