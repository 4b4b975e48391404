//! What maps and lists have in common for those who use them: options, and how values are encoded and come
//! back.

use crate::collection_error::CollectionError;
use crate::store::{Records, Store, StoreBody};
use procession_channel::codec::{Codec, DecodeError, Form};
use procession_shm::{Element, HEADER_LEN, Kind, Parameter, Shape};
use procession_sys::limits;
use serde::de::DeserializeOwned;
use std::fmt;
use std::iter::FusedIterator;

/// How many bytes a map or list may take unless said otherwise: 16 GiB. It is only a number until the memory is
/// used; but each process has so many addresses less, and has them for thousands of maps.
const DEFAULT_BYTES: u64 = 16 << 30;
const MIN_BYTES: u64 = 64 << 10;
/// More than a machine has, and no more than a place in the index can say.
const MAX_BYTES: u64 = 4 << 40;

/// What a creator chooses about a map or list, and an opener may insist on.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct CollectionSettings {
    pub(crate) bytes: Option<u64>,
    pub(crate) form: Form,
}

impl CollectionSettings {
    /// Says how many bytes it may take.
    pub(crate) fn say_bytes(&mut self, bytes: u64) {
        self.bytes = Some(bytes.clamp(MIN_BYTES, MAX_BYTES) & !(MIN_BYTES - 1));
    }

    /// How many bytes it may take, as a parameter: no more, unless said, than this process may make a file, and
    /// than an eighth of its addresses.
    fn bytes(&self) -> Parameter {
        let longest = limits::longest_file().min(limits::address_space() / 8);
        let longest = longest.saturating_sub(2 * HEADER_LEN as u64);
        let default = DEFAULT_BYTES.min(longest & !(MIN_BYTES - 1)).max(MIN_BYTES);
        Parameter::said("bytes", self.bytes, default)
    }

    /// How many of its bytes have no memory at first.
    pub(crate) fn later(&self) -> u64 {
        StoreBody::later(self.bytes().value)
    }

    /// The header of an object of this `kind`.
    pub(crate) fn shape(&self, kind: Kind, element: Element, codec: Codec) -> Shape {
        let bytes = self.bytes();
        let none = Parameter::default();
        Shape {
            kind,
            body_len: StoreBody::len(bytes.value),
            parameters: [bytes, none, none, none],
            element: Some(element),
            codec: codec.id(),
        }
    }
}

impl Store {
    /// The value that these bytes are.
    #[inline]
    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CollectionError> {
        self.codec.decode(bytes).map_err(|source| self.undecodable(bytes, source))
    }

    #[cold]
    fn undecodable(&self, bytes: &[u8], source: DecodeError) -> CollectionError {
        CollectionError::Decode { object: self.segment().label(), bytes: bytes.to_vec(), source }
    }
}

/// Decodes a record's key and value, as far as they are wanted.
type Read<T> = fn(&Store, &[u8], &[u8]) -> Result<T, CollectionError>;

/// What was in a map or list at one instant: an iterator over copies, decoded one by one. Changes made since are
/// not seen.
///
/// An item is an error ([`CollectionError::Decode`]) if what is there is not of the type; others follow.
pub struct Snapshot<T> {
    store: Store,
    records: Records,
    read: Read<T>,
}

impl<T> Snapshot<T> {
    pub(crate) fn new(store: &Store, records: Records, read: Read<T>) -> Self {
        Self { store: store.clone(), records, read }
    }
}

impl<T> Iterator for Snapshot<T> {
    type Item = Result<T, CollectionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.records.next()?;
        Some((self.read)(&self.store, key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.records.len(), Some(self.records.len()))
    }
}

impl<T> ExactSizeIterator for Snapshot<T> {}
impl<T> FusedIterator for Snapshot<T> {}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("left", &self.records.len()).finish_non_exhaustive()
    }
}

/// Declares the options of a map or list. `Clone` and `Debug` are written out: derived, they would be there only
/// for types that have them.
macro_rules! collection_options {
    ($(#[$about:meta])* $Options:ident<$($T:ident),+>, $what:literal) => {
        $(#[$about])*
        pub struct $Options<$($T),+> {
            place: procession_shm::Placement,
            settings: $crate::collection_face::CollectionSettings,
            elements: std::marker::PhantomData<fn($($T),+) -> ($($T,)+)>,
        }

        impl<$($T),+> Default for $Options<$($T),+> {
            fn default() -> Self {
                let (place, settings) = Default::default();
                Self { place, settings, elements: std::marker::PhantomData }
            }
        }

        impl<$($T),+> Clone for $Options<$($T),+> {
            fn clone(&self) -> Self {
                let (place, settings) = (self.place.clone(), self.settings.clone());
                Self { place, settings, elements: std::marker::PhantomData }
            }
        }

        impl<$($T),+> std::fmt::Debug for $Options<$($T),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($Options));
                shown.field("place", &self.place).field("settings", &self.settings).finish()
            }
        }

        impl<$($T),+> $Options<$($T),+> {
            /// It may take at most so many bytes of memory, rounded down to a multiple of 64 KiB: 16 GiB unless
            /// said, or less where this process may not make such a file (`RLIMIT_FSIZE`) or has not so many
            /// addresses (`RLIMIT_AS`). It takes what it needs: up to
            /// three times what is in it. What it has taken it keeps.
            #[must_use]
            pub fn bytes(mut self, bytes: u64) -> Self {
                self.settings.say_bytes(bytes);
                self
            }

            #[doc = concat!("How ", $what, " are written: [`Codec::Bincode`](procession_channel::Codec::Bincode) unless")]
            /// said. Who opens it need not say it, and is told when that says another than it was created
            /// with.
            #[must_use]
            pub fn codec(mut self, codec: procession_channel::Codec) -> Self {
                self.settings.form.codec = Some(codec);
                self
            }

            #[doc = concat!("Says what ", $what, " are called, instead of the names of their types: so that")]
            /// programs in which these have other paths can share it. Only in
            /// [`Codec::Bincode`](procession_channel::Codec::Bincode) are the names asked about; in the others
            /// any program may read them.
            #[must_use]
            pub fn type_tag(mut self, tag: &str) -> Self {
                self.settings.form.type_tag = Some(tag.to_owned());
                self
            }
        }
    };
}
pub(crate) use collection_options;
