//! The list of the ends in a message, which the message ends with: so it can be taken without being
//! understood.
//!
//! A message that carries ends ends with their list, encoded, its length, and [`MARK`]. (A flag in each record
//! would do as well, but in the form of every ring and table.)

use crate::codec::{self, EncodeError};
use crate::pipe_end::Passage;

/// What a message ends with that carries ends: bytes that no message ends with by chance.
const MARK: [u8; 16] = *b"\xfeprocession.end\xff";
/// The list's length, and the mark.
const TAIL: usize = 4 + MARK.len();
/// The longest list that is read: each end takes some hundred bytes.
const LONGEST: usize = 1 << 20;

/// Appends the list of the ends in a message.
pub(super) fn append(message: &mut Vec<u8>, ends: &[Passage]) -> Result<(), EncodeError> {
    let start = message.len();
    codec::encode(ends, message)?;
    let len = (message.len() - start) as u32;
    message.extend_from_slice(&len.to_le_bytes());
    message.extend_from_slice(&MARK);
    Ok(())
}

/// The list at the end of a message of `len` bytes, and how long the message is without it.
#[inline]
pub(crate) fn list(len: usize, read: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<Passage>)> {
    if len < TAIL { None } else { list_behind(len - TAIL, read) }
}

#[inline]
fn list_behind(end: usize, read: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<Passage>)> {
    let mut mark = [0; MARK.len()];
    if !read(end + 4, &mut mark) || mark != MARK { None } else { marked_list(end, read) }
}

#[cold]
fn marked_list(end: usize, read: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<Passage>)> {
    let mut len = [0; 4];
    read(end, &mut len).then_some(())?;
    let len = u32::from_le_bytes(len) as usize;
    let start = end.checked_sub(len).filter(|_| len <= LONGEST)?;
    let mut bytes = vec![0; len];
    read(start, &mut bytes).then_some(())?;
    // Bytes of the user's that happen to end so are no list, and left alone.
    Some((start, codec::decode(&bytes).ok()?))
}

/// The list at the end of a message that lies in memory, and how long the message is without it.
#[inline]
pub(crate) fn list_of(message: &[u8]) -> Option<(usize, Vec<Passage>)> {
    list(message.len(), |at, into| {
        let part = message.get(at..at + into.len());
        part.map(|part| into.copy_from_slice(part)).is_some()
    })
}

/// How long the message is without the list of its ends.
#[inline]
pub(crate) fn len_without_list(message: &[u8]) -> usize {
    list_of(message).map_or(message.len(), |(len, _)| len)
}

/// Cuts the list off a message that lies in memory.
#[inline]
pub(crate) fn cut(message: &mut Vec<u8>) -> Vec<Passage> {
    list_of(message).map_or_else(Vec::new, |(len, ends)| {
        message.truncate(len);
        ends
    })
}
