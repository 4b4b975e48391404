//! Records that were copied out, to be decoded later.

use super::record::Record;
use procession_sys::atomic::Ordering;

/// Copies of records, one after the other, each with its first word.
#[derive(Default)]
pub(crate) struct Records {
    words: Vec<u64>,
    count: usize,
    /// Where the next one begins.
    next: usize,
}

impl Records {
    /// Copies them; `None` if one is nonsense, or all together have more than `most` words.
    pub(super) fn copy<'a>(records: impl Iterator<Item = Option<Record<'a>>>, most: usize) -> Option<Self> {
        let mut copied = Self::default();
        for record in records {
            let words = record?.words();
            if words.len() > most.checked_sub(copied.words.len())? {
                return None;
            }
            copied.words.extend(words.iter().map(|word| word.load(Ordering::Relaxed)));
            copied.count += 1;
        }
        Some(copied)
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The key and the value of the next one.
    pub(crate) fn next(&mut self) -> Option<(&[u8], &[u8])> {
        let rest = self.words.get(self.next..)?;
        let (&head, rest) = rest.split_first()?;
        let (key_len, value_len) = (head as u32 as usize, (head >> 32) as usize);
        let (key, rest) = rest.split_at_checked(key_len.div_ceil(8))?;
        let value = rest.get(..value_len.div_ceil(8))?;
        self.next += 1 + key.len() + value.len();
        self.count = self.count.saturating_sub(1);
        Some((bytemuck::cast_slice(key).get(..key_len)?, bytemuck::cast_slice(value).get(..value_len)?))
    }
}
