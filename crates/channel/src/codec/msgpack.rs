//! MessagePack, by `rmp-serde`: structs are maps from the names of their fields, so that any program can read
//! them, and types that ask what the bytes are (`untagged`, `tag`, `flatten`) are told.

use super::error::{DecodeError, EncodeError};
use super::trial::Seen;
use super::watching::{Rules, write_watched};
use super::{Codec, Format};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many levels are written: as many as in JSON.
const MOST_DEPTH: u32 = 127;
/// And how many are read, which are counted otherwise: rmp-serde's own 1,024 are too many for the stack of a
/// thread.
const READ_DEPTH: usize = 2 * MOST_DEPTH as usize;

pub(super) struct MsgPack;

impl Format for MsgPack {
    const CODEC: Codec = Codec::MsgPack;
    // A field that the type does not have is skipped.
    const TELLS: bool = false;

    fn write<V: Serialize + ?Sized>(
        value: &V,
        out: &mut Vec<u8>,
        seen: &mut Seen,
    ) -> Result<(), EncodeError> {
        let rules = Rules { codec: Self::CODEC, levels: MOST_DEPTH, has_infinity: true };
        write_watched(value, out, seen, rules, |value, out| {
            value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
        })
    }

    fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, DecodeError> {
        let mut from = rmp_serde::Deserializer::new(bytes);
        from.set_max_depth(READ_DEPTH);
        let value = V::deserialize(&mut from).map_err(of_rmp)?;
        match from.get_ref().len() {
            0 => Ok(value),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }
}

fn of_rmp(error: rmp_serde::decode::Error) -> DecodeError {
    use rmp_serde::decode::Error;
    match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => DecodeError::UnexpectedEnd,
        Error::Syntax(what) | Error::Uncategorized(what) => DecodeError::Refused(what),
        Error::DepthLimitExceeded => DecodeError::TooDeep,
        other => DecodeError::Invalid(other.to_string()),
    }
}
