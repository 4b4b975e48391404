//! What options say about the messages of a queue or pipe: their codec, and what their type is called.

use super::{Bytes, Codec};
use procession_shm::ANY_CODEC;
use std::any::type_name;

/// What was said; what was not, follows from the type of the messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    pub(crate) codec: Option<Codec>,
    pub(crate) type_tag: Option<String>,
}

impl Form {
    /// The codec with which a queue or pipe of `T`s is created.
    pub(crate) fn codec<T>(&self) -> Codec {
        self.codec.unwrap_or(if is_bytes::<T>() { Codec::Bytes } else { Codec::Bincode })
    }

    /// What an opener asks for: who says nothing takes what there is, unless that cannot be right.
    pub(crate) fn asked_codec<T>(&self) -> u32 {
        if self.codec.is_none() && !is_bytes::<T>() { ANY_CODEC } else { self.codec::<T>().id() }
    }

    /// The tag of the messages' type. Only in bincode do they need it: in the other codecs any program may
    /// read them, whatever it calls their type, and what it cannot read it is told.
    pub(crate) fn element<T>(&self) -> Option<String> {
        let of_type = || (self.codec::<T>() == Codec::Bincode).then(procession_shm::element_tag::<T>);
        self.type_tag.clone().or_else(of_type)
    }
}

/// Whether a `T` is [`Bytes`].
fn is_bytes<T>() -> bool {
    type_name::<T>() == type_name::<Bytes>()
}
