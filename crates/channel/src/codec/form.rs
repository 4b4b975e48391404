//! What options say about the messages of a queue or pipe: their codec, and what their type is called.

use super::{Bytes, Codec, Encoded, probe};
use procession_shm::{ANY_CODEC, Element, ONLY_BYTES, UNKNOWN};
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::borrow::Cow;

/// What was said; what was not, follows from the type of the messages.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// The codec.
    pub codec: Option<Codec>,
    /// What the type is called.
    pub type_tag: Option<String>,
}

impl Form {
    /// The codec with which an object of `T`s is created.
    #[must_use]
    pub fn codec<T>(&self) -> Codec {
        self.codec.unwrap_or(if is_bytes::<T>() || is_encoded::<T>() { Codec::Bytes } else { Codec::Bincode })
    }

    /// What an opener asks for: who says nothing takes what there is, unless that cannot be right.
    #[must_use]
    pub fn asked_codec<T>(&self) -> u32 {
        if self.codec.is_none() && !is_bytes::<T>() { ANY_CODEC } else { self.codec::<T>().id() }
    }

    /// The type of the messages. [`Encoded`] ones are of any. Only in bincode do they need a tag and a structure: in the other codecs any
    /// program may read them, whatever it calls their type, and what it cannot read it is told.
    #[must_use]
    pub fn element<T: DeserializeOwned>(&self) -> Element {
        if is_encoded::<T>() {
            let (tag, structure) = (self.type_tag.clone(), UNKNOWN.into());
            return Element { tag, type_name: type_name::<T>(), structure };
        }
        self.element_of::<T>(structure::<T>(self.codec::<T>()))
    }

    /// The types of the messages of a pipe in which `A` goes one way and `B` the other.
    pub(crate) fn element_of_both<A: DeserializeOwned, B: DeserializeOwned>(&self, codec: Codec) -> Element {
        self.element_of::<(A, B)>(format!("({},{})", structure::<A>(codec), structure::<B>(codec)).into())
    }

    /// The types of a map from `K`s to `V`s.
    #[must_use]
    pub fn element_of_entries<K: DeserializeOwned, V: DeserializeOwned>(&self) -> Element {
        let codec = self.codec::<(K, V)>();
        let both = match codec {
            // What is not known of one of them is not known of both.
            Codec::Bincode => format!("<{},{}>", structure::<K>(codec), structure::<V>(codec)).into(),
            _ => structure::<(K, V)>(codec),
        };
        self.element_of::<(K, V)>(both)
    }

    fn element_of<T>(&self, structure: Cow<'static, str>) -> Element {
        let of_type = || (self.codec::<T>() == Codec::Bincode).then(procession_shm::element_tag::<T>);
        Element { tag: self.type_tag.clone().or_else(of_type), type_name: type_name::<T>(), structure }
    }
}

/// What messages are made of, as far as whoever reads them must have the same.
fn structure<T: DeserializeOwned>(codec: Codec) -> Cow<'static, str> {
    match codec {
        Codec::Bincode => probe::structure::<T>().to_string().into(),
        Codec::Bytes => ONLY_BYTES.into(),
        _ => UNKNOWN.into(),
    }
}

/// Whether a `T` is [`Bytes`].
fn is_bytes<T>() -> bool {
    type_name::<T>() == type_name::<Bytes>()
}

/// Whether a `T` is [`Encoded`].
pub(crate) fn is_encoded<T>() -> bool {
    // The sizes first: they are known to the compiler, of almost all types.
    size_of::<T>() == size_of::<Encoded>() && type_name::<T>() == type_name::<Encoded>()
}

impl Codec {
    /// How `T`s are made into messages of this codec: [`Encoded`] ones are such messages already.
    #[inline]
    pub(crate) fn of_messages<T>(self) -> Self {
        if is_encoded::<T>() { Self::Bytes } else { self }
    }
}

/// The methods of options that say how messages are written. `$form` is the field of `$Options` that has the
/// [`Form`], `$messages` what the docs call messages, and `$others` a sentence about those who do not create
/// the object.
macro_rules! form_setters {
    ([$($generics:tt)*] $Options:ty, $($form:ident).+, $messages:literal, $others:literal) => {
        impl<$($generics)*> $Options {
            #[doc = concat!("How ", $messages, " are written: [`Codec::Bincode`](crate::Codec::Bincode) unless")]
            /// said, [`Codec::Bytes`](crate::Codec::Bytes) if they are [`Bytes`](crate::Bytes).
            #[doc = $others]
            #[must_use]
            pub fn codec(mut self, codec: crate::codec::Codec) -> Self {
                self.$($form).+.codec = Some(codec);
                self
            }

            #[doc = concat!("Says that ", $messages, " are bytes and nothing else:")]
            /// [`Codec::Bytes`](crate::Codec::Bytes).
            #[must_use]
            pub fn bytes_only(self) -> Self {
                self.codec(crate::codec::Codec::Bytes)
            }
        }
    };
}
pub(crate) use form_setters;
