//! Positions and records of a byte ring: pure arithmetic, and copies that wrap.
//!
//! A record is a word with the payload's length (and the marks [`CONTINUES`] and [`SPILLED`]), then the
//! payload, padded to whole words. There is no marker where the ring wraps: the length word never straddles
//! the end, because everything is a whole number of words, and the payload simply continues at the beginning.

use procession_shm::{OpenError, Shared};
use procession_sys::ShmSafe;

/// How many bytes a word has.
pub(crate) const WORD: usize = 8;
/// Payloads up to this length are copied word by word: calling `memcpy` for a length that is not known takes
/// longer.
const SHORT: usize = 4 * WORD;
/// In a record's first word: the message goes on in the next record.
const CONTINUES: u64 = 1 << 63;
/// In a record's first word: the payload begins with a reference to a spill, where the message is.
const SPILLED: u64 = 1 << 62;

/// What a record's first word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many bytes of payload follow.
    pub(crate) len: usize,
    /// How many words the record takes.
    pub(crate) words: u32,
    /// Whether the message goes on in the next record.
    pub(crate) continues: bool,
    /// Whether the message lies elsewhere.
    pub(crate) spilled: bool,
}

impl Head {
    /// What the first word of a record says, if the record can lie in `available` words.
    #[inline]
    pub(crate) fn of(word: u64, available: u32) -> Option<Self> {
        let len = word & !(CONTINUES | SPILLED);
        // It is less than 2^62, so nothing overflows; and what is at most `available` is small.
        let words = len.div_ceil(WORD as u64) + 1;
        (words <= u64::from(available)).then_some(Self {
            len: len as usize,
            words: words as u32,
            continues: word & CONTINUES != 0,
            spilled: word & SPILLED != 0,
        })
    }

    /// The first word of a record in a ring of queues whose payload is `len` bytes.
    #[inline]
    pub(crate) const fn word(len: usize) -> u64 {
        len as u64
    }
}

/// How far a side of the ring has come: how many words, and how many records. Both wrap at 2^32; what counts
/// is the difference of two marks, which is small. One 64-bit store moves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) words: u32,
    pub(crate) items: u32,
}

impl Mark {
    #[inline]
    pub(crate) const fn to_bits(self) -> u64 {
        self.words as u64 | (self.items as u64) << 32
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self { words: bits as u32, items: (bits >> 32) as u32 }
    }

    /// One record of `words` further.
    #[inline]
    pub(crate) const fn after_record(self, words: u32) -> Self {
        self.plus(Self { words, items: 1 })
    }

    /// So many words and records further.
    #[inline]
    pub(crate) const fn plus(self, more: Self) -> Self {
        Self { words: self.words.wrapping_add(more.words), items: self.items.wrapping_add(more.items) }
    }

    /// Whether there is room for `wanted` if this is all the room there is.
    #[inline]
    pub(crate) const fn has(self, wanted: Self) -> bool {
        wanted.words <= self.words && wanted.items <= self.items
    }

    /// What lies between `head` and `self`.
    #[inline]
    pub(crate) const fn since(self, head: Self) -> Self {
        Self { words: self.words.wrapping_sub(head.words), items: self.items.wrapping_sub(head.items) }
    }
}

/// How many words a record with `payload` bytes takes; `None` if no ring could hold it.
#[inline]
pub(crate) fn record_words(payload: usize) -> Option<u32> {
    u32::try_from(payload.div_ceil(WORD)).ok()?.checked_add(1)
}

/// The ring's bytes, in the body of a segment from `offset` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    offset: usize,
    words: u32,
}

impl Ring {
    /// A ring of `words` words behind `offset`.
    pub(crate) const fn new(offset: usize, words: u32) -> Self {
        Self { offset, words }
    }

    /// Takes the memory for it, where its object has left that for later.
    ///
    /// # Errors
    /// As [`Shared::reserve`].
    pub(crate) fn reserve<T: ShmSafe>(self, body: &Shared<T>) -> Result<(), OpenError> {
        body.reserve(self.offset, self.words as usize * WORD)
    }

    /// How many words it has.
    #[inline]
    pub(crate) const fn words(self) -> u32 {
        self.words
    }

    /// Writes a record at `at`; `false` if the segment is too small for the ring it claims to have.
    #[inline]
    pub(crate) fn write<T: ShmSafe>(
        self,
        body: &Shared<T>,
        at: Mark,
        payload: &[u8],
        continues: bool,
    ) -> bool {
        let head = payload.len() as u64 | if continues { CONTINUES } else { 0 };
        if payload.len() > SHORT {
            return self.write_head(body, at, head) && self.write_at(body, at, WORD, payload);
        }
        let mut words = payload.chunks(WORD).zip(1..);
        self.write_head(body, at, head)
            && words
                .all(|(part, index)| body.copy_in(self.place(at.words.wrapping_add(index)), &padded(part)))
    }

    /// Writes a record of `words` words at `at` that begins with a reference to a spill; what follows that
    /// stays as it is.
    pub(crate) fn write_spilled<T: ShmSafe>(
        self,
        body: &Shared<T>,
        at: Mark,
        reference: &[u8],
        words: u32,
    ) -> bool {
        let len = u64::from(words.saturating_sub(1)) * WORD as u64;
        self.write_head(body, at, len | SPILLED) && self.write_at(body, at, WORD, reference)
    }

    /// Writes the first word of the record at `at`.
    #[inline]
    pub(crate) fn write_head<T: ShmSafe>(self, body: &Shared<T>, at: Mark, head: u64) -> bool {
        body.copy_in(self.place(at.words), &head.to_le_bytes())
    }

    /// Writes what comes `offset` bytes behind `at`.
    #[inline]
    pub(crate) fn write_at<T: ShmSafe>(
        self,
        body: &Shared<T>,
        at: Mark,
        offset: usize,
        bytes: &[u8],
    ) -> bool {
        self.split(at, offset, bytes.len(), |place, from, to| body.copy_in(place, &bytes[from..to]))
    }

    /// The first word of the record at `at`, if the record can lie in `available` words.
    #[inline]
    pub(crate) fn head<T: ShmSafe>(self, body: &Shared<T>, at: Mark, available: u32) -> Option<Head> {
        let mut bytes = [0; WORD];
        if !body.copy_out(self.place(at.words), &mut bytes) {
            return None;
        }
        Head::of(u64::from_le_bytes(bytes), available)
    }

    /// Copies the payload of the record at `at` out, as long as `to` is.
    #[inline]
    pub(crate) fn read<T: ShmSafe>(self, body: &Shared<T>, at: Mark, to: &mut [u8]) -> bool {
        self.read_at(body, at, WORD, to)
    }

    /// Copies out what comes `offset` bytes behind `at`.
    #[inline]
    pub(crate) fn read_at<T: ShmSafe>(
        self,
        body: &Shared<T>,
        at: Mark,
        offset: usize,
        to: &mut [u8],
    ) -> bool {
        self.split(at, offset, to.len(), |place, from, end| body.copy_out(place, &mut to[from..end]))
    }

    /// Where in the body the one or two stretches lie, and how long they are, that `len` bytes take which
    /// come `offset` bytes behind `at`.
    pub(crate) fn stretches(self, at: Mark, offset: usize, len: usize) -> [(usize, usize); 2] {
        let mut found = [(self.offset, 0); 2];
        let mut next = 0;
        self.split(at, offset, len, |place, from, to| {
            found[next] = (place, to - from);
            next += 1;
            true
        });
        found
    }

    /// Copies the payload of the record at `at`, `len` bytes, to the end of `to`.
    #[inline]
    pub(crate) fn append<T: ShmSafe>(self, body: &Shared<T>, at: Mark, len: usize, to: &mut Vec<u8>) -> bool {
        let end = to.len() + len;
        if len > SHORT {
            to.resize(end, 0);
            return self.read(body, at, &mut to[end - len..]);
        }
        let mut position = at.words;
        while to.len() < end {
            position = position.wrapping_add(1);
            let mut word = [0; WORD];
            if !body.copy_out(self.place(position), &mut word) {
                return false;
            }
            to.extend_from_slice(&word);
        }
        to.truncate(end);
        true
    }

    /// The record that begins at `at` will be written soon.
    #[inline]
    pub(crate) fn will_write<T: ShmSafe>(self, body: &Shared<T>, at: Mark) {
        body.will_write(self.place(at.words));
    }

    /// The record that begins at `at` will be read soon.
    #[inline]
    pub(crate) fn will_read<T: ShmSafe>(self, body: &Shared<T>, at: Mark) {
        body.will_read(self.place(at.words));
    }

    /// Where the word at `position` lies in the body.
    #[inline]
    fn place(self, position: u32) -> usize {
        // Whole numbers of 2^32 words are no whole number of rings unless `words` is a power of two; `Queue`
        // makes it one.
        self.offset + (position & (self.words - 1)) as usize * WORD
    }

    /// Calls `copy(place, from, to)` for the one or two stretches that `len` bytes take which come `offset`
    /// bytes, less than the ring has, behind `at`.
    #[inline]
    fn split(
        self,
        at: Mark,
        offset: usize,
        len: usize,
        mut copy: impl FnMut(usize, usize, usize) -> bool,
    ) -> bool {
        let end = self.offset + self.words as usize * WORD;
        let mut start = self.place(at.words) + offset;
        if start >= end {
            start -= self.words as usize * WORD;
        }
        let to_end = end - start;
        if len <= to_end {
            copy(start, 0, len)
        } else {
            copy(start, 0, to_end) && copy(self.offset, to_end, len)
        }
    }
}

/// A word of payload, of which there are fewer bytes at the end.
#[inline]
fn padded(part: &[u8]) -> [u8; WORD] {
    match part.first_chunk() {
        Some(word) => *word,
        None => part.iter().rev().fold(0, |word: u64, &byte| word << 8 | u64::from(byte)).to_le_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, record_words};

    #[test]
    fn marks_survive_packing_and_wrapping() {
        let near_end = Mark { words: u32::MAX - 1, items: u32::MAX };
        assert_eq!(Mark::from_bits(near_end.to_bits()), near_end);
        let wrapped = near_end.after_record(5);
        assert_eq!(wrapped, Mark { words: 3, items: 0 });
        assert_eq!(wrapped.since(near_end), Mark { words: 5, items: 1 });
    }

    #[test]
    fn records_are_whole_words() {
        assert_eq!([0, 1, 8, 9].map(record_words), [Some(1), Some(2), Some(2), Some(3)]);
        assert_eq!(record_words(usize::MAX), None);
    }
}
