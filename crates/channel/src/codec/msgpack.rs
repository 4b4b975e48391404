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
/// thread. Enums in one another it does not count at all: see [`is_too_deep`].
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
        if is_too_deep(bytes) {
            return Err(DecodeError::TooDeep);
        }
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

/// Whether arrays and maps lie in one another deeper than [`READ_DEPTH`], as far as the bytes are MessagePack.
fn is_too_deep(mut bytes: &[u8]) -> bool {
    // How many elements are still to come of each that is open.
    let mut open: Vec<u64> = Vec::new();
    // Fewer bytes cannot be deeper: each level of an enum takes two, and those of others rmp-serde counts.
    if bytes.len() <= 2 * READ_DEPTH {
        return false;
    }
    while let Some((skipped, elements)) = next_item(&mut bytes) {
        let Some(rest) = bytes.get(skipped..) else { return false };
        bytes = rest;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if elements > 0 {
            open.push(elements);
        }
        if open.len() > READ_DEPTH {
            return true;
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    false
}

/// Takes the first bytes of an item off: how many of its own follow, and how many items that are its elements.
#[inline]
fn next_item(bytes: &mut &[u8]) -> Option<(usize, u64)> {
    fn number<const N: usize>(bytes: &mut &[u8]) -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(number.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
    }
    let (&marker, rest) = bytes.split_first()?;
    *bytes = rest;
    let small = u64::from(marker & 15);
    Some(match marker {
        0x80..=0x8f => (0, 2 * small),
        0x90..=0x9f => (0, small),
        0xa0..=0xbf => (usize::from(marker & 31), 0),
        0xc4 | 0xd9 => (number::<1>(bytes)?, 0),
        0xc5 | 0xda => (number::<2>(bytes)?, 0),
        0xc6 | 0xdb => (number::<4>(bytes)?, 0),
        0xc7 => (number::<1>(bytes)? + 1, 0),
        0xc8 => (number::<2>(bytes)? + 1, 0),
        0xc9 => (number::<4>(bytes)? + 1, 0),
        0xcc | 0xd0 => (1, 0),
        0xcd | 0xd1 | 0xd4 => (2, 0),
        0xd5 => (3, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xd6 => (5, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        0xd7 => (9, 0),
        0xd8 => (17, 0),
        0xdc => (0, number::<2>(bytes)? as u64),
        0xdd => (0, number::<4>(bytes)? as u64),
        0xde => (0, 2 * number::<2>(bytes)? as u64),
        0xdf => (0, 2 * number::<4>(bytes)? as u64),
        _ => (0, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::{READ_DEPTH, is_too_deep, next_item};
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[test]
    fn every_form_of_an_item_is_passed_whole() {
        fn passes<V: Serialize>(value: &V, elements: u64) {
            let bytes = rmp_serde::to_vec(value).unwrap();
            let mut rest = &bytes[..];
            let (skipped, found) = next_item(&mut rest).unwrap();
            assert_eq!(found, elements, "{bytes:02x?}");
            assert!(elements > 0 || skipped == rest.len(), "{:02x?}", &bytes[..5.min(bytes.len())]);
        }
        for number in [0_i64, -1, -33, 200, -200, 70_000, -70_000, i64::MAX, i64::MIN] {
            passes(&number, 0);
            passes(&(number as u64), 0);
            passes(&(number as f64), 0);
            passes(&(number as f32), 0);
        }
        passes(&(), 0);
        passes(&true, 0);
        for len in [0, 1, 31, 32, 255, 256, 70_000] {
            passes(&"x".repeat(len), 0);
            passes(&crate::Bytes::from(vec![1; len]), 0);
            passes(&vec![(); len], len as u64);
            passes(&(0..len).map(|key| (key, ())).collect::<BTreeMap<_, _>>(), 2 * len as u64);
        }
        for len in [1_usize, 2, 4, 8, 16, 3, 300, 70_000] {
            let ext = rmp_serde::to_vec(&Ext((1, serde_bytes(len)))).unwrap();
            let mut rest = &ext[..];
            let (skipped, _) = next_item(&mut rest).unwrap();
            assert_eq!(skipped, rest.len(), "{len}");
        }
    }

    #[derive(Serialize)]
    #[serde(rename = "_ExtStruct")]
    struct Ext((i8, crate::Bytes));

    fn serde_bytes(len: usize) -> crate::Bytes {
        crate::Bytes::from(vec![7; len])
    }

    #[test]
    fn what_is_long_or_has_many_neighbours_is_not_deep() {
        let flat = rmp_serde::to_vec(&vec![vec![vec![1_u8, 2]; 3]; 10_000]).unwrap();
        assert!(!is_too_deep(&flat));
        let nested = |depth| [vec![0x91; depth], vec![0; 3000]].concat();
        assert!(!is_too_deep(&nested(READ_DEPTH)) && is_too_deep(&nested(READ_DEPTH + 1)));
        assert!(!is_too_deep(&[0xdb; 3000]), "a text of which the most is missing");
    }
}
