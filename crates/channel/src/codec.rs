//! The one place where values become bytes and bytes become values.
//!
//! A queue or pipe has its [`Codec`] in its header, and every message in it is in that. Each codec is a
//! `Format`: bincode, which is the default, in `writing.rs`, `reading.rs` and `shape.rs`; `json.rs` and
//! `msgpack.rs` over `watching.rs`; `raw.rs` for bytes. [`encode`] and [`decode`] are the default codec, for
//! what is in neither a queue nor a pipe.
//!
//! # What comes back
//! What was encoded, or an error. [`Codec::encode`] refuses what [`Codec::decode`] could not read
//! (`trial.rs`).
//! - *Bincode*: bytes that were written for other fields or variants than the type has are noticed.
//! - *JSON and MessagePack*: what is in an `Option` must not be written as `None` is, and JSON has no
//!   infinite numbers: such values are refused.
//!
//! # What is fast
//! In bincode, vectors, slices and boxed slices of numbers, and strings, are copied at once (`numbers.rs`): as
//! a message, a field, an element. Other sequences of bytes, a `VecDeque<u8>` or an `Arc<[u8]>`, are handed
//! over one by one by serde, fifty times slower: `#[serde(with = "serde_bytes")]` or [`Bytes`] where that counts.
//!
//! # What hostile bytes can do
//! Yield a [`DecodeError`], or a value of the right type that nobody wrote. They cannot make [`decode`]
//! panic. It takes
//! - **time** for as many elements as there are bytes, and 65,536 more, which take none;
//! - **stack** for 256 levels;
//! - **memory** for as many elements as there are bytes, of whatever types the value is made: if its largest
//!   element has 1,000 bytes in memory and one in a message, as a `None` may, the value can be 1,000 times as
//!   long as the message; and a mebibyte for each level, which serde reserves for a sequence of announced
//!   length.
//!
//! In JSON and MessagePack there is an exception: a type that contains itself by `Option`s and newtypes alone, as
//! `struct C(Option<Box<C>>)` does. They write nothing for either, so each level is read from the same byte, and any value
//! that is not null takes all of the stack. Give such a type a field with a name.

mod bytes;
mod error;
mod form;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
mod numbers;
mod probe;
mod raw;
mod reading;
mod scratch;
mod shape;
#[cfg(test)]
mod tests;
mod trial;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod watching;
mod writing;

pub use bytes::{Bytes, Encoded};
pub use error::{DecodeError, EncodeError, NotBytes};
#[doc(hidden)]
pub use form::Form;
pub(crate) use form::{form_setters, is_encoded};
#[doc(hidden)]
pub use scratch::with_scratch;

use procession_shm::{CODECS, OpenError, Segment};
use reading::Reading;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use trial::Seen;
use writing::Writing;

/// The longest encoded message of a queue or pipe, in bytes: 1 GiB. Whoever may write into one can be a stranger's
/// mistake. Arguments and results of processes come from this program, and may be longer.
pub const LIMIT: usize = 1 << 30;

/// How the messages of a queue or pipe are written; it is chosen when that is created, and stands in its
/// header.
///
/// | | carries | who reads it |
/// |---|---|---|
/// | `Bincode` | any serde type but untagged and internally tagged ones | Rust programs that have the type |
/// | `Json` | any serde type that JSON has a form for | a shell, Python, any program |
/// | `MsgPack` | any serde type | any program with a MessagePack library; smaller and faster than JSON |
/// | `Bytes` | [`Bytes`], `Vec<u8>`, `String`: the bytes and nothing else | everybody who knows what they mean |
/// | `Pickle` | any object of Python | Python programs; Rust passes it on, as [`Encoded`] |
///
/// ```
/// use procession::{Codec, Queue};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Job {
///     id: u32,
///     what: String,
/// }
///
/// let jobs: Queue<Job> = Queue::options().codec(Codec::Json).create("jobs")?;
/// jobs.put(&Job { id: 7, what: "wash".to_owned() })?;
/// # jobs.unlink()?;
/// // Another program, in whatever language, sees {"id":7,"what":"wash"}.
/// assert_eq!(jobs.get()?.what, "wash");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// bincode 2, with what tells whether writer and reader mean the same fields and variants. The smallest
    /// and fastest.
    #[default]
    Bincode = 0,
    /// JSON text. The feature `json` has it.
    #[cfg(feature = "json")]
    Json = 1,
    /// MessagePack, structs as maps from their fields' names. The feature `msgpack` has it.
    #[cfg(feature = "msgpack")]
    MsgPack = 2,
    /// Bytes as they are.
    Bytes = 3,
    /// Objects of Python, as its module `pickle` writes them. No Rust type is: whoever has such a queue or pipe as one of
    /// [`Encoded`] gets the bytes.
    Pickle = 4,
}

impl Codec {
    /// All that this build has.
    const ALL: &[Self] = &[
        Self::Bincode,
        #[cfg(feature = "json")]
        Self::Json,
        #[cfg(feature = "msgpack")]
        Self::MsgPack,
        Self::Bytes,
        Self::Pickle,
    ];

    /// The number that stands for it in a header.
    #[must_use]
    pub const fn id(self) -> u32 {
        CODECS[self as usize].0
    }

    /// Whether its messages may end with a list of ends of pipes: what is bytes for this library is left alone, whatever
    /// it looks like.
    pub(crate) const fn carries_ends(self) -> bool {
        !matches!(self, Self::Bytes | Self::Pickle)
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        CODECS[self as usize].1
    }

    /// The codec in the header of an attached segment.
    ///
    /// # Errors
    /// [`OpenError::UnknownCodec`] for one that this build has not.
    #[doc(hidden)]
    pub fn of(segment: &Segment) -> Result<Self, OpenError> {
        let id = segment.header().codec;
        let known = Self::ALL.iter().find(|codec| codec.id() == id);
        let unknown = || OpenError::UnknownCodec { object: segment.label(), codec: id };
        known.copied().ok_or_else(unknown)
    }

    /// Appends `message`, encoded, to `out`, in place of the `T` that it borrows as, and makes sure that it
    /// can be decoded; on an error `out` is as it was.
    ///
    /// The first message of a type is decoded once, and so is each that has a variant, a type of elements or
    /// a type in an `Option` that none before it had; unless there is a handle or an end of a pipe in it.
    /// Others cost nothing more.
    ///
    /// # Errors
    /// [`EncodeError::CannotComeBack`]; otherwise as [`encode`].
    ///
    /// ```
    /// use procession::Codec;
    /// use procession::codec::EncodeError;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// #[serde(untagged)]
    /// enum Id {
    ///     Number(u64),
    ///     Name(String),
    /// }
    ///
    /// let mut bytes = Vec::new();
    /// let refused = Codec::Bincode.encode::<Id, Id>(&Id::Number(7), &mut bytes);
    /// assert!(matches!(refused, Err(EncodeError::CannotComeBack { .. })));
    /// Codec::Json.encode::<Id, Id>(&Id::Number(7), &mut bytes)?;
    /// assert_eq!((&bytes[..], Codec::Json.decode::<Id>(&bytes)?), (&b"7"[..], Id::Number(7)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn encode<T, Q>(self, message: &Q, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        T: Serialize + DeserializeOwned,
        Q: Serialize + ?Sized,
    {
        if self == Self::Bincode {
            encode_as::<Bincode, T, Q>(message, out)
        } else {
            self.encode_otherwise::<T, Q>(message, out)
        }
    }

    #[inline(never)]
    fn encode_otherwise<T, Q>(self, message: &Q, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        T: Serialize + DeserializeOwned,
        Q: Serialize + ?Sized,
    {
        match self {
            Self::Bincode => encode_as::<Bincode, T, Q>(message, out),
            #[cfg(feature = "json")]
            Self::Json => encode_as::<json::Json, T, Q>(message, out),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => encode_as::<msgpack::MsgPack, T, Q>(message, out),
            Self::Bytes => encode_as::<raw::Raw, T, Q>(message, out),
            Self::Pickle => Err(EncodeError::NotRepresentable {
                codec: self,
                what: "values of Rust, but for Encoded ones",
            }),
        }
    }

    /// The value that `bytes`, all of them, are.
    ///
    /// # Errors
    /// Every way in which `bytes` are not exactly one value of `T`; see [`DecodeError`].
    #[inline]
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        if self == Self::Bincode && bytes.len() <= LIMIT {
            Bincode::read(bytes)
        } else {
            self.decode_otherwise(bytes)
        }
    }

    #[inline(never)]
    fn decode_otherwise<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        if bytes.len() > LIMIT {
            return Err(DecodeError::TooLarge);
        }
        match self {
            Self::Bincode => Bincode::read(bytes),
            #[cfg(feature = "json")]
            Self::Json => json::Json::read(bytes),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::MsgPack::read(bytes),
            Self::Bytes => raw::Raw::read(bytes),
            Self::Pickle => {
                Err(DecodeError::Invalid("only Python reads pickles; Rust has them as Encoded".into()))
            }
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One way from values to bytes and back: what there is to write for another codec.
trait Format {
    /// Which it is.
    const CODEC: Codec;
    /// Whether reading tells when what is read is not what was written.
    const TELLS: bool;
    /// Appends a value to `out`, at most [`LIMIT`] bytes; what is appended on an error is cut off again. What it
    /// is made of is added to `seen`, where it is looked at: returned, it would be copied as wider words than it
    /// was written by, which waits for all stores before (failed store forwarding), 15 ns.
    fn write<V: Serialize + ?Sized>(value: &V, out: &mut Vec<u8>, seen: &mut Seen)
    -> Result<(), EncodeError>;
    /// The value that all of at most [`LIMIT`] bytes are.
    fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, DecodeError>;
}

struct Bincode;

impl Format for Bincode {
    const CODEC: Codec = Codec::Bincode;
    const TELLS: bool = true;

    #[inline]
    fn write<V: Serialize + ?Sized>(
        value: &V,
        out: &mut Vec<u8>,
        seen: &mut Seen,
    ) -> Result<(), EncodeError> {
        let mut writing = Writing::new(out, LIMIT, seen);
        writing.value(value)?;
        writing.finish()
    }

    #[inline]
    fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, DecodeError> {
        let mut reading = Reading::new(bytes);
        let value = reading.value(PhantomData::<V>)?;
        match reading.left() {
            0 => Ok(value),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }
}

#[inline]
fn encode_as<F, T, Q>(message: &Q, out: &mut Vec<u8>) -> Result<(), EncodeError>
where
    F: Format,
    T: Serialize + DeserializeOwned,
    Q: Serialize + ?Sized,
{
    let start = out.len();
    let mut seen = Seen::default();
    let written = F::write(message, out, &mut seen);
    let proved = written.and_then(|()| trial::prove::<F, T, Q>(out.get(start..).unwrap_or_default(), &seen));
    proved.inspect_err(|_| out.truncate(start))
}

/// Appends `value`, encoded by the default codec, to `out`; on an error `out` is as it was.
///
/// Whether it can be read is not tried, and it may be of any length: for whoever is told when it cannot. Otherwise
/// [`Codec::encode`].
///
/// # Errors
/// [`EncodeError::TooDeep`], [`EncodeError::TooManyEmpty`]; [`EncodeError::Unsupported`] for what the codec cannot
/// express.
///
/// ```
/// use procession::codec;
/// let mut scratch = Vec::new();
/// codec::encode(&(7_u32, "seven"), &mut scratch)?;
/// let back: (u32, String) = codec::decode(&scratch)?;
/// assert_eq!(back, (7, "seven".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let mut seen = Seen::default();
    Writing::new(out, usize::MAX, &mut seen).value(value).inspect_err(|_| out.truncate(start))
}

/// The value that `bytes`, all of them, are in the default codec. They may be of any length.
///
/// # Errors
/// Every way in which `bytes` are not exactly one value of `T`; see [`DecodeError`].
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    Bincode::read(bytes)
}
