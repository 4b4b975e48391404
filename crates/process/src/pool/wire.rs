//! The messages between a pool and its workers, as bytes.

use super::link::Lease;
use super::runner::JobEntry;
use crate::entry::EntryRef;
use procession_channel::codec;
use serde::{Deserialize, Serialize};

/// The header of a chunk: some items of one job, as a worker is told about them. The encoded items follow,
/// each behind its length.
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

/// An order is its header's length, the header, and the items.
pub(crate) fn compose_order(header: &Order, items: &[u8]) -> Result<Vec<u8>, codec::EncodeError> {
    // Room for all: the items may be long, and would be copied once more.
    let mut bytes = Vec::with_capacity(items.len() + ROOM_FOR_HEADER);
    bytes.extend_from_slice(&[0; 8]);
    codec::encode(header, &mut bytes)?;
    let len = bytes.len() as u64 - 8;
    bytes[..8].copy_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(items);
    Ok(bytes)
}

/// The header of an order, and its items.
pub(crate) fn split_order(order: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = order.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

/// Appends one item to a chunk's bytes; on an error they are as they were.
pub(crate) fn push_item<A: Serialize + 'static>(
    items: &mut Vec<u8>,
    item: &A,
) -> Result<(), codec::EncodeError> {
    let start = items.len();
    items.extend_from_slice(&[0; 8]);
    codec::encode(item, items).inspect_err(|_| items.truncate(start))?;
    let len = (items.len() - start - 8) as u64;
    items[start..start + 8].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The items of a chunk's bytes.
pub(crate) struct Items<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<8>()?;
        let (item, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        self.0 = rest;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::{Items, Order, compose_order, push_item, split_order};
    use procession_channel::codec;

    #[test]
    fn an_order_comes_apart_as_it_was_composed() {
        let mut items = Vec::new();
        for item in ["one", "", "three"] {
            push_item(&mut items, &item).unwrap();
        }
        let order = compose_order(&Order::Leave, &items).unwrap();
        let (header, rest) = split_order(&order).unwrap();
        assert!(matches!(codec::decode(header), Ok(Order::Leave)));
        let decode = |item: &[u8]| codec::decode::<String>(item).unwrap();
        assert_eq!(Items(rest).map(decode).collect::<Vec<_>>(), ["one", "", "three"]);
        assert!(split_order(&order[..3]).is_none());
    }
}
