//! The messages between a pool and its workers, as bytes.

use super::link::Lease;
use super::runner::JobEntry;
use crate::entry::EntryRef;
use procession_channel::codec;
use serde::{Deserialize, Serialize};

/// The header of a chunk: some items of one job, as a worker is told about them. The items follow, each
/// a piece.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChunkHeader {
    pub(crate) lease: Lease,
    pub(crate) job: u64,
    pub(crate) entry: EntryRef<JobEntry>,
    /// Whether its items have a timeout.
    pub(crate) is_timed: bool,
    /// The job's state, when this worker has not had it yet.
    pub(crate) state: Option<Vec<u8>>,
}

/// Everything a pool says to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Chunk(ChunkHeader),
    Leave,
}

/// The answer of a worker for an item: the first byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Answer {
    /// The encoded result follows.
    Done = 0,
    /// An encoded [`Panic`](crate::panicked::Panic) follows.
    Panicked = 1,
    /// The worker has not run the item; a sentence follows.
    Refused = 2,
    /// The item could not be decoded; a sentence follows.
    Undecodable = 3,
    /// The result could not be encoded; a sentence follows.
    Unencodable = 4,
}

impl Answer {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Done, Self::Panicked, Self::Refused, Self::Undecodable, Self::Unencodable];
        all.into_iter().find(|&answer| answer as u8 == byte)
    }
}

/// Makes `record` an answer.
pub(crate) fn answer(record: &mut Vec<u8>, answer: Answer, text: &[u8]) {
    record.clear();
    record.push(answer as u8);
    record.extend_from_slice(text);
}

/// How long a header is at most, without the state that may be in it.
const ROOM_FOR_HEADER: usize = 64;

/// An order is its header as a piece, and the items.
pub(crate) fn compose_order(header: &Order, items: &[u8]) -> Result<Vec<u8>, codec::EncodeError> {
    // Room for all: the items may be long, and would be copied once more.
    let mut bytes = Vec::with_capacity(items.len() + ROOM_FOR_HEADER);
    push_encoded(&mut bytes, header)?;
    bytes.extend_from_slice(items);
    Ok(bytes)
}

/// What stands before each piece: how many bytes it has.
type Length = [u8; 8];

/// Appends a piece: its length, and its bytes.
pub(crate) fn push_piece(bytes: &mut Vec<u8>, piece: &[u8]) {
    bytes.extend_from_slice(&(piece.len() as u64).to_le_bytes());
    bytes.extend_from_slice(piece);
}

/// Appends a value, encoded, as a piece; on an error the bytes are as they were.
pub(crate) fn push_encoded<A: Serialize + 'static>(
    bytes: &mut Vec<u8>,
    value: &A,
) -> Result<(), codec::EncodeError> {
    let start = bytes.len();
    let encoded = start + size_of::<Length>();
    bytes.extend_from_slice(&Length::default());
    codec::encode(value, bytes).inspect_err(|_| bytes.truncate(start))?;
    let len = (bytes.len() - encoded) as u64;
    bytes[start..encoded].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The first of the pieces, and what follows it.
pub(crate) fn split_piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<{ size_of::<Length>() }>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

/// The pieces that these bytes are.
pub(crate) struct Pieces<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (piece, rest) = split_piece(self.0)?;
        self.0 = rest;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Pieces, compose_order, push_encoded, push_piece, split_piece};
    use procession_channel::codec;

    #[test]
    fn an_order_comes_apart_as_it_was_composed() {
        let mut items = Vec::new();
        for item in ["one", "", "three"] {
            push_encoded(&mut items, &item).unwrap();
        }
        let order = compose_order(&Order::Leave, &items).unwrap();
        let (header, rest) = split_piece(&order).unwrap();
        assert!(matches!(codec::decode(header), Ok(Order::Leave)));
        let decode = |item: &[u8]| codec::decode::<String>(item).unwrap();
        assert_eq!(Pieces(rest).map(decode).collect::<Vec<_>>(), ["one", "", "three"]);
        assert!(split_piece(&order[..3]).is_none());
    }

    #[test]
    fn pieces_of_any_length_come_apart_and_a_cut_one_is_none() {
        let pieces: Vec<Vec<u8>> = (0..)
            .zip([0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21, 3])
            .map(|(byte, len)| vec![byte; len])
            .collect();
        let mut bytes = Vec::new();
        for piece in &pieces {
            push_piece(&mut bytes, piece);
        }
        assert!(Pieces(&bytes).eq(&pieces));
        assert!(Pieces(&bytes[..bytes.len() - 1]).eq(&pieces[..pieces.len() - 1]));
        assert!(split_piece(&u64::MAX.to_le_bytes()).is_none());
    }
}
