//! JSON text, by `serde_json`.

use super::error::{DecodeError, EncodeError};
use super::trial::Seen;
use super::watching::{Rules, write_watched};
use super::{Codec, Format};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What serde_json reads, less one: it counts the value that is too deep.
const MOST_DEPTH: u32 = 127;

pub(super) struct Json;

impl Format for Json {
    const CODEC: Codec = Codec::Json;
    // A field that the type does not have is skipped.
    const TELLS: bool = false;

    fn write<V: Serialize + ?Sized>(
        value: &V,
        out: &mut Vec<u8>,
        seen: &mut Seen,
    ) -> Result<(), EncodeError> {
        let rules = Rules { codec: Self::CODEC, levels: MOST_DEPTH, has_infinity: false };
        write_watched(value, out, seen, rules, |value, out| {
            value.serialize(&mut serde_json::Serializer::new(out))
        })
    }

    fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, DecodeError> {
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => DecodeError::UnexpectedEnd,
            serde_json::error::Category::Data => DecodeError::Refused(error.to_string()),
            _ => DecodeError::Invalid(error.to_string()),
        })
    }
}
