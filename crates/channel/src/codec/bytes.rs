//! Bytes as a message, and messages as the bytes that they are.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes, as a message or a part of one. A queue or pipe of these alone has
/// [`Codec::Bytes`](super::Codec::Bytes) unless another is said: its messages are the bytes, for every
/// program that can read them. In a pipe or queue of another type they are copied at once, as a `Vec<u8>` is.
///
/// ```
/// use procession::{Bytes, Queue};
///
/// let frames: Queue<Bytes> = Queue::new()?;
/// frames.put(&Bytes::from(&b"frame"[..]))?;
/// frames.bytes().put(b"another")?;
/// assert_eq!(frames.get()?, *b"frame");
/// assert_eq!(frames.bytes().get()?, b"another");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Bytes {
    fn eq(&self, other: &[u8; N]) -> bool {
        self.0 == other
    }
}

impl PartialEq<Vec<u8>> for Bytes {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.0 == *other
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    // As JSON has them.
    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Vec<u8>, A::Error> {
        let mut all = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            all.push(byte);
        }
        Ok(all)
    }
}

/// A message as it lies in its queue or pipe, in whatever [`Codec`](super::Codec) that has: for programs that pass on,
/// show or store messages of types that they do not have. A queue of these opens every queue, whatever its messages are;
/// [`codec()`](crate::Queue::codec) says how they are written. Nobody looks at what is put: bytes that are no message
/// of the queue's type are an error for whoever gets them.
///
/// Ends of pipes are left out of such a message, and closed when it is taken out.
///
/// ```
/// use procession::{Codec, Encoded, Queue};
///
/// let points: Queue<(u32, u32)> = Queue::options().codec(Codec::Json).create("points")?;
/// points.put(&(3, 4))?;
/// let any: Queue<Encoded> = Queue::open("points")?;
/// assert_eq!((any.codec(), any.get()?.as_slice()), (Codec::Json, &b"[3,4]"[..]));
/// any.put(&Encoded::from(&b"[5,6]"[..]))?;
/// assert_eq!(points.get()?, (5, 6));
/// # points.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Encoded(pub Bytes);

impl Deref for Encoded {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl From<Vec<u8>> for Encoded {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Encoded {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Encoded> for Vec<u8> {
    fn from(message: Encoded) -> Self {
        message.0.into()
    }
}
