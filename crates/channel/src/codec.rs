//! The one place where values become bytes and bytes become values.
//!
//! Behind it stands bincode 2, which writes the scalars; nothing else in the toolkit names bincode, so that another
//! codec can take its place. [`CODEC_ID`] goes into everything two processes exchange, and a process that reads
//! another id refuses the bytes instead of guessing. What the bytes say about the shape of a value stands in `shape.rs`.
//!
//! # What comes back
//! What was encoded, or an error: bytes that were written for other fields or variants than the type has are noticed.
//! [`encode_message`] refuses what [`decode`] could not read.
//!
//! # What hostile bytes can do
//! Yield a [`DecodeError`], or a value of the right type that nobody wrote. They cannot make [`decode`] panic. It takes
//! - **time** for as many elements as there are bytes, and 65,536 more, which take none;
//! - **stack** for 256 levels;
//! - **memory** for as many elements as there are bytes, of whatever types the value is made: if its largest element has
//!   1,000 bytes in memory and one in a message, as a `None` may, the value can be 1,000 times as long as the message; and a
//!   mebibyte for each level, which serde reserves for a sequence of announced length.

mod reading;
mod shape;
#[cfg(test)]
mod tests;
mod trial;
mod writing;

use reading::Reading;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use writing::{Seen, Writing};

/// The number that stands for this codec in headers and handshakes.
pub const CODEC_ID: u32 = 0x0b1c_0202;

/// The codec's name, for messages to people.
pub const CODEC_NAME: &str = "bincode 2.0.1 (standard), with shapes";

/// The longest encoded value, in bytes: 1 GiB.
pub const LIMIT: usize = 1 << 30;

/// Why a value could not become bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The encoded value would be longer than [`LIMIT`].
    #[error(
        "the encoded value is longer than {LIMIT} bytes: send it in parts, as bytes (put_bytes, send_bytes), \
         or as the name of a shared memory"
    )]
    TooLarge,
    /// The value has more than 256 levels: structs, enums, sequences, maps, tuples, `Option`s and newtypes in one another.
    #[error(
        "the value has more than {} levels in one another: send it flat, for instance as a Vec whose elements \
         name one another by their index",
        shape::MOST_DEPTH
    )]
    TooDeep,
    /// The sequences of the value have more than 65,536 elements that take no bytes, as `()` does.
    #[error("the value has more than {} elements that take no bytes: send their number", shape::MOST_EMPTY)]
    TooManyEmpty,
    /// The type writes what it cannot read.
    #[error(
        "a {type_name} cannot be read again from what it is written as ({why}). Such are types with \
         #[serde(untagged)], #[serde(tag)], #[serde(skip_serializing)] or #[serde(skip_deserializing)], \
         and serde_json::Value: leave the attribute out, or send the value as text (serde_json::to_string)"
    )]
    CannotComeBack {
        /// The type of the whole value.
        type_name: &'static str,
        /// What its `Deserialize` said about it.
        why: Box<DecodeError>,
    },
    /// The type asks for something the codec does not have, such as a sequence of unknown length, or its
    /// `Serialize` reported an error.
    #[error("the value cannot be encoded: {0}")]
    Unsupported(String),
}

impl serde::ser::Error for EncodeError {
    #[cold]
    fn custom<T: Display>(what: T) -> Self {
        // In the words of the type, whose error it is.
        Self::Unsupported(what.to_string())
    }
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
    /// The value has more than 256 levels.
    #[error("the value has more than {} levels in one another", shape::MOST_DEPTH)]
    TooDeep,
    /// A struct has other fields here than where it was written, or has them in another order.
    #[error(
        "struct {name} was written with {written} fields and is read with {read}, or their names or order differ: \
         by another build of the program, or because of #[serde(skip_serializing)] or #[serde(skip_deserializing)]"
    )]
    OtherFields {
        /// The struct or enum.
        name: &'static str,
        /// How many fields were written.
        written: String,
        /// How many the type has here.
        read: usize,
    },
    /// An enum has other variants here than where it was written, or has them in another order.
    #[error(
        "variant {index} of enum {name} has another name here than where it was written: in another build of the \
         program, or because a variant has #[serde(skip)]"
    )]
    OtherVariants {
        /// The enum.
        name: &'static str,
        /// The number of the variant.
        index: u32,
    },
    /// The type wants to be told what the bytes are before it reads them.
    #[error(
        "the type asks of what type the bytes are, and they do not say it: #[serde(untagged)], #[serde(tag)] and \
         serde_json::Value ask so"
    )]
    Undescribed,
    /// No value of the type is written this way.
    #[error("the bytes are not a value of this type: {0}")]
    Invalid(String),
    /// The type itself says why: a handle whose object cannot be opened, for instance.
    #[error("{0}")]
    Refused(String),
}

impl serde::de::Error for DecodeError {
    #[cold]
    fn custom<T: Display>(what: T) -> Self {
        // In the words of the type, whose error it is.
        Self::Refused(what.to_string())
    }
}

/// Appends `value`, encoded, to `out`; on an error `out` is as it was.
///
/// Whether it can be read is not tried: for whoever is told when it cannot. Otherwise [`encode_message`].
///
/// # Errors
/// [`EncodeError::TooLarge`] beyond [`LIMIT`]; [`EncodeError::TooDeep`], [`EncodeError::TooManyEmpty`];
/// [`EncodeError::Unsupported`] for what the codec cannot express.
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
    write(value, out).map(drop)
}

/// Appends `message`, encoded, to `out`, and makes sure that it can be decoded; on an error `out` is as it was.
///
/// The first message of a type is decoded once, and so is each that has a variant, a type of elements or a type in an
/// `Option` that none before it had; unless there is a handle or an end of a pipe in it. Others cost nothing more.
///
/// # Errors
/// [`EncodeError::CannotComeBack`]; otherwise as [`encode`].
///
/// ```
/// use procession_channel::codec::{self, EncodeError};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(untagged)]
/// enum Id {
///     Number(u64),
///     Name(String),
/// }
///
/// let refused = codec::encode_message(&Id::Number(7), &mut Vec::new());
/// assert!(matches!(refused, Err(EncodeError::CannotComeBack { .. })));
/// ```
#[inline]
pub fn encode_message<T: Serialize + DeserializeOwned>(
    message: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let seen = write(message, out)?;
    trial::prove::<T>(out.get(start..).unwrap_or_default(), seen).inspect_err(|_| out.truncate(start))
}

#[inline]
fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Seen, EncodeError> {
    let start = out.len();
    let mut writing = Writing::new(out, LIMIT);
    match writing.value(value) {
        Ok(()) => Ok(writing.seen),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// The value that `bytes`, all of them, are.
///
/// # Errors
/// Every way in which `bytes` are not exactly one value of `T`; see [`DecodeError`].
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > LIMIT {
        return Err(DecodeError::TooLarge);
    }
    let mut reading = Reading::new(bytes);
    let value = T::deserialize(&mut reading)?;
    match reading.left() {
        0 => Ok(value),
        count => Err(DecodeError::TrailingBytes { count }),
    }
}
