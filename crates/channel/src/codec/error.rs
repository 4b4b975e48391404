//! Why a value cannot become bytes, and why bytes are no value.

use super::{Codec, LIMIT, shape};
use procession_shm::{Label, Segment};
use std::fmt::Display;

/// Why a value could not become bytes.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The encoded value would be longer than [`LIMIT`], which a message of a queue or pipe may not be.
    #[error(
        "the encoded value is longer than {LIMIT} bytes: send it in parts, as bytes (put_bytes, send_bytes), \
         or as the name of a shared memory"
    )]
    TooLarge,
    /// The value has more levels (structs, enums, sequences, maps, tuples, `Option`s and newtypes in one
    /// another) than are read: 256, or 127 in JSON and MessagePack.
    #[error(
        "the value has more than {} levels in one another (127 in JSON and MessagePack): send it flat, for instance as a Vec whose elements \
         name one another by their index",
        shape::MOST_DEPTH
    )]
    TooDeep,
    /// The sequences of the value have more than 65,536 elements that take no bytes, as `()` does.
    #[error("the value has more than {} elements that take no bytes: send their number", shape::MOST_EMPTY)]
    TooManyEmpty,
    /// The type writes what it cannot read.
    #[error("a {type_name} cannot be read again from what codec {codec} writes for it ({why}). {}", remedy(*codec))]
    CannotComeBack {
        /// The type of the whole value.
        type_name: &'static str,
        /// The codec.
        codec: Codec,
        /// What came of reading it.
        why: Box<DecodeError>,
    },
    /// The codec has no form for something in the value, or the same form as for another thing.
    #[error("codec {codec} cannot carry {what}")]
    NotRepresentable {
        /// The codec.
        codec: Codec,
        /// What is in the value.
        what: &'static str,
    },
    /// The type asks for something the codec does not have, such as a sequence of unknown length, or its
    /// `Serialize` reported an error.
    #[error("the value cannot be encoded: {0}")]
    Unsupported(String),
}

/// What to do about a type that writes what it cannot read.
fn remedy(codec: Codec) -> &'static str {
    match codec {
        Codec::Bincode => {
            "Such are types with #[serde(untagged)], #[serde(tag)], #[serde(skip_serializing)] or \
             #[serde(skip_deserializing)], and serde_json::Value: leave the attribute out, or create the queue or pipe with \
             .codec(Codec::Json), in which all but the two that skip are carried"
        }
        _ => {
            "Such are types with #[serde(skip_serializing)] or #[serde(skip_deserializing)], and those whose Serialize and \
             Deserialize do not agree"
        }
    }
}

impl serde::ser::Error for EncodeError {
    #[cold]
    fn custom<T: Display>(what: T) -> Self {
        // In the words of the type, whose error it is.
        Self::Unsupported(what.to_string())
    }
}

/// Why bytes are not a value of the type asked for.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are longer than [`LIMIT`], or announce more content than they can hold.
    #[error("the bytes announce more than they hold, or are longer than {LIMIT}")]
    TooLarge,
    /// The bytes end in the middle of the value.
    #[error("the bytes end in the middle of the value")]
    UnexpectedEnd,
    /// The value is complete, but bytes follow it: they were written as another type.
    #[error("{count} bytes follow the value: they were written as another type")]
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
    /// The value that is read is written otherwise than the one that was written.
    #[error("what is read is another value than what was written")]
    Changed,
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

/// A queue or pipe of values was used as one of bytes.
#[derive(thiserror::Error)]
#[error(
    "{object} carries values, in codec {codec}, and not bytes: create it for Bytes (Queue<Bytes>, pipe::<Bytes>()), or with \
     .bytes_only()"
)]
pub struct NotBytes {
    /// Which one.
    pub object: Label,
    /// How its messages are written.
    pub codec: Codec,
}

impl NotBytes {
    #[cold]
    pub(crate) fn new(segment: &Segment, codec: Codec) -> Self {
        Self { object: segment.label(), codec }
    }
}

procession_shm::debug_as_text!(EncodeError);
procession_shm::debug_as_text!(DecodeError);
procession_shm::debug_as_text!(NotBytes);
