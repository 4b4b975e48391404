//! The one place where values become bytes and bytes become values.
//!
//! Behind it stands bincode 2 with its serde feature; nothing else in the toolkit names bincode, so that another
//! codec can take its place. [`CODEC_ID`] goes into everything two processes exchange, and a process that reads
//! another id refuses the bytes instead of guessing.
//!
//! # What hostile bytes can do
//! Yield a [`DecodeError`], or a value of the right type that nobody wrote. They cannot make [`decode`] panic, nor
//! reserve more than about 16 times the memory the message itself takes (at least 1 MiB is always allowed).

use bincode::config;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError as BincodeDecodeError, EncodeError as BincodeEncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The number that stands for this codec in headers and handshakes.
pub const CODEC_ID: u32 = 0x0b1c_0201;

/// The codec's name, for messages to people.
pub const CODEC_NAME: &str = "bincode 2.0.1 (standard)";

/// The longest encoded value, in bytes: 1 GiB.
pub const LIMIT: usize = 1 << 30;

/// Why a value could not become bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The encoded value would be longer than [`LIMIT`].
    #[error("the encoded value is longer than {LIMIT} bytes")]
    TooLarge,
    /// The type asks for something the codec does not have, such as a sequence of unknown length, or its
    /// `Serialize` reported an error.
    #[error("the value cannot be encoded: {0}")]
    Unsupported(String),
}

/// Why bytes are not a value of the type asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are longer than [`LIMIT`], or announce more content than they can hold.
    #[error("the bytes announce more than they hold, or are longer than {LIMIT}")]
    TooLarge,
    /// The bytes end in the middle of the value.
    #[error("the bytes end in the middle of the value")]
    UnexpectedEnd,
    /// The value is complete, but bytes follow it: they were written as another type.
    #[error("{count} bytes follow the value")]
    TrailingBytes {
        /// How many bytes are left over.
        count: usize,
    },
    /// No value of the type is written this way.
    #[error("the bytes are not a value of this type: {0}")]
    Invalid(String),
    /// The type itself says why: a handle whose object cannot be opened, for instance.
    #[error("{0}")]
    Refused(String),
}

/// Appends `value`, encoded, to `out`; on an error `out` is as it was.
///
/// # Errors
/// [`EncodeError::TooLarge`] beyond [`LIMIT`]; [`EncodeError::Unsupported`] for what the codec cannot express.
///
/// ```
/// use procession_channel::codec;
/// let mut scratch = Vec::new();
/// codec::encode(&(7_u32, "seven"), &mut scratch)?;
/// let back: (u32, String) = codec::decode(&scratch)?;
/// assert_eq!(back, (7, "seven".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let writer = Bounded { out, end: start.saturating_add(LIMIT) };
    bincode::serde::encode_into_writer(value, writer, config::standard()).map_err(|error| {
        out.truncate(start);
        match error {
            BincodeEncodeError::UnexpectedEnd => EncodeError::TooLarge,
            // In the words of the type, whose error it is.
            BincodeEncodeError::OtherString(what) => EncodeError::Unsupported(what),
            other => EncodeError::Unsupported(other.to_string()),
        }
    })
}

/// The value that `bytes`, all of them, are.
///
/// # Errors
/// Every way in which `bytes` are not exactly one value of `T`; see [`DecodeError`].
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    // The limit counts bytes in memory, and a one-byte varint may stand for a u128. A message of honest length
    // therefore always fits 16 times its own length, and a lying length inside it never gets much more.
    const SMALL: usize = 1 << 16;
    const MEDIUM: usize = 1 << 24;
    let length = bytes.len();
    if length <= SMALL {
        decode_within::<T, { SMALL * 16 }>(bytes)
    } else if length <= MEDIUM {
        decode_within::<T, { MEDIUM * 16 }>(bytes)
    } else if length <= LIMIT {
        decode_within::<T, { LIMIT * 16 }>(bytes)
    } else {
        Err(DecodeError::TooLarge)
    }
}

#[inline]
fn decode_within<T: DeserializeOwned, const MEMORY: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let config = config::standard().with_limit::<MEMORY>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config).map_err(|error| match error {
        BincodeDecodeError::LimitExceeded => DecodeError::TooLarge,
        BincodeDecodeError::UnexpectedEnd { .. } => DecodeError::UnexpectedEnd,
        BincodeDecodeError::OtherString(what) => DecodeError::Refused(what),
        other => DecodeError::Invalid(other.to_string()),
    })?;
    match bytes.len() - used {
        0 => Ok(value),
        count => Err(DecodeError::TrailingBytes { count }),
    }
}

struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl Writer for Bounded<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeEncodeError> {
        if bytes.len() > self.end - self.out.len() {
            return Err(BincodeEncodeError::UnexpectedEnd);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, EncodeError, decode, encode};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Text { words: Vec<String>, bytes: Option<Box<[u8]>> },
        Table(BTreeMap<u64, (char, f64)>),
        Wide(Vec<u128>),
    }

    fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out).unwrap();
        out
    }

    #[test]
    fn values_come_back() {
        for shape in [
            Shape::Dot,
            Shape::Text { words: vec!["a".into(), "ö".into()], bytes: Some(Box::from([1, 2, 3])) },
            Shape::Table(BTreeMap::from([(u64::MAX, ('x', 0.5))])),
            Shape::Wide(vec![1; 100_000]),
        ] {
            assert_eq!(decode::<Shape>(&encoded(&shape)).unwrap(), shape);
        }
        assert_eq!(decode::<String>(&encoded("unsized")).unwrap(), "unsized");
    }

    #[test]
    fn encoding_appends_and_an_error_takes_it_back() {
        let mut out = vec![9];
        encode(&1_u8, &mut out).unwrap();
        assert_eq!(out, [9, 1]);
        let endless = Endless;
        assert!(matches!(encode(&(5_u8, endless), &mut out), Err(EncodeError::Unsupported(_))));
        assert_eq!(out, [9, 1]);
    }

    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(std::iter::repeat_n(1, 3).filter(|n| n % 2 == 1))
        }
    }

    #[test]
    fn too_few_and_too_many_bytes_are_told_apart() {
        let mut bytes = encoded(&(1_u8, "hello"));
        assert!(matches!(decode::<(u8, String)>(&bytes[..3]), Err(DecodeError::UnexpectedEnd)));
        bytes.push(0);
        assert!(matches!(decode::<(u8, String)>(&bytes), Err(DecodeError::TrailingBytes { count: 1 })));
    }

    #[test]
    fn a_lying_length_reserves_nothing() {
        // 253 announces a u64: a string of 2^63 bytes.
        let lie = [253, 0, 0, 0, 0, 0, 0, 0, 128];
        assert!(matches!(decode::<String>(&lie), Err(DecodeError::TooLarge)));
        assert!(decode::<Vec<u64>>(&lie).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let length = next() % 40;
            let bytes: Vec<u8> = (0..length).map(|_| (next() >> 32) as u8).collect();
            drop(decode::<Shape>(&bytes));
            drop(decode::<Vec<Shape>>(&bytes));
            drop(decode::<(String, Option<char>, Result<u8, i128>)>(&bytes));
        }
    }
}
