//! What can go wrong with a map or a list.

use procession_channel::codec::{DecodeError, EncodeError};
use procession_shm::{Label, OpenError};
use procession_sync::{Fault, LockError};

/// Why an operation on a [`Map`](crate::Map) or a [`List`](crate::List) failed; then it has changed nothing.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// There is no such element in the list.
    #[error("element {index} was asked for of {object}, which has {len}")]
    OutOfRange {
        /// Which list.
        object: Label,
        /// The element asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// There is not so much memory in `/dev/shm`.
    #[error("{object} cannot grow, and is as it was")]
    NoMemory {
        /// Which one.
        object: Label,
        /// Why: [`OpenError::NoSpace`], for instance.
        source: OpenError,
    },
    /// It has as many bytes as it may have.
    #[error("{object} is full: it may take {most} bytes of memory. Create it with more .bytes()")]
    Full {
        /// Which one.
        object: Label,
        /// How many bytes it may take.
        most: u64,
    },
    /// The map has as many entries as any map may have, whatever its `.bytes()`: 738 million.
    #[error("{object} is full: a map has at most {most} entries. Put some of them into another one")]
    TooManyEntries {
        /// Which one.
        object: Label,
        /// How many entries it may have.
        most: u64,
    },
    /// A key, a value or an element cannot be turned into bytes.
    #[error("the key, value or element cannot be encoded")]
    Encode(#[from] EncodeError),
    /// What is there is not of this type; here it is. It stays where it is.
    #[error(
        "{} bytes in {object} are not of its type: they were stored as another type, under the same .type_tag or in a codec that \
         says no types, or by another build of the program (give the object of each build its own .type_tag)",
        bytes.len()
    )]
    Decode {
        /// Where it is.
        object: Label,
        /// The bytes.
        bytes: Vec<u8>,
        /// What is wrong with them.
        source: DecodeError,
    },
    /// The lock that writers take was not acquired.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl From<Fault> for CollectionError {
    fn from(fault: Fault) -> Self {
        Self::Lock(fault.into())
    }
}

procession_shm::debug_as_text!(CollectionError);
