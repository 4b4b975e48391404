//! JSON text, by `serde_json`.

use super::error::{DecodeError, EncodeError};
use super::trial::Seen;
use super::watching::{Limited, Notes, Rules, Watched, written};
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
        let notes = Notes::new(Rules { codec: Self::CODEC, levels: MOST_DEPTH, has_infinity: false });
        let mut out = Limited::new(out);
        let mut to = serde_json::Serializer::new(&mut out);
        let outcome = Watched { value, notes: &notes }.serialize(&mut to);
        *seen = notes.seen();
        written(outcome, &out, &notes)
    }

    fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, DecodeError> {
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => DecodeError::UnexpectedEnd,
            serde_json::error::Category::Data => DecodeError::Refused(error.to_string()),
            _ => DecodeError::Invalid(error.to_string()),
        })
    }
}
