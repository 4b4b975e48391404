//! A record in the log: a word with the lengths of key and value, then the two, each padded to whole words.

use procession_sync::{load_words, store_words};
use procession_sys::atomic::{AtomicU64, Ordering};
use procession_sys::crash_point;

/// How many words a record takes; `None` if it can be in no log.
pub(super) fn words_of(key: &[u8], value: &[u8]) -> Option<usize> {
    let fits = u32::try_from(key.len()).is_ok() && u32::try_from(value.len()).is_ok();
    fits.then(|| 1 + key.len().div_ceil(8) + value.len().div_ceil(8))
}

/// A record, its first word included.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    words: &'a [AtomicU64],
    key_len: usize,
    value_len: usize,
}

impl<'a> Record<'a> {
    /// The record that begins here; `None` if it would reach past the end.
    #[inline]
    pub(super) fn of(words: &'a [AtomicU64]) -> Option<Self> {
        let head = words.first()?.load(Ordering::Relaxed);
        let (key_len, value_len) = (head as u32 as usize, (head >> 32) as usize);
        let words = words.get(..1 + key_len.div_ceil(8) + value_len.div_ceil(8))?;
        Some(Self { words, key_len, value_len })
    }

    /// Writes a record over `words`, which are as many as it takes.
    #[inline]
    pub(super) fn write(words: &[AtomicU64], key: &[u8], value: &[u8]) -> Option<()> {
        let (head, rest) = words.split_first()?;
        let (key_words, value_words) = rest.split_at_checked(key.len().div_ceil(8))?;
        head.store(key.len() as u64 | (value.len() as u64) << 32, Ordering::Relaxed);
        store_words(key_words, key, || crash_point("store.writing"));
        store_words(value_words, value, || crash_point("store.writing"));
        Some(())
    }

    /// How many words it takes.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.words.len()
    }

    /// All of its words.
    #[inline]
    pub(super) fn words(self) -> &'a [AtomicU64] {
        self.words
    }

    #[inline]
    fn key(self) -> &'a [AtomicU64] {
        self.words.get(1..).and_then(|rest| rest.get(..self.key_len.div_ceil(8))).unwrap_or_default()
    }

    #[inline]
    fn value(self) -> &'a [AtomicU64] {
        self.words.get(1 + self.key_len.div_ceil(8)..).unwrap_or_default()
    }

    /// Whether its key is this.
    #[inline]
    pub(super) fn has_key(self, key: &[u8]) -> bool {
        if self.key_len != key.len() {
            return false;
        }
        let words = self.key();
        let (whole, rest) = key.as_chunks::<8>();
        let mut are_same = true;
        for (word, bytes) in words.iter().zip(whole) {
            are_same &= word.load(Ordering::Relaxed) == u64::from_le_bytes(*bytes);
        }
        match words.get(whole.len()) {
            Some(last) => are_same && last.load(Ordering::Relaxed) == last_word(rest),
            None => are_same,
        }
    }

    /// Appends its value to `out`.
    #[inline]
    pub(super) fn copy_value(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.value_len, 0);
        load_words(self.value(), out.get_mut(start..).unwrap_or_default());
    }

    /// The hash of its key.
    pub(super) fn hash_key(self, seed: u64) -> u64 {
        let words = self.key().iter().map(|word| word.load(Ordering::Relaxed));
        finish(words.fold(begin(seed, self.key_len), mix))
    }
}

/// Less than 8 bytes, as they stand in the last word.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    if let Some(part) = word.get_mut(..bytes.len()) {
        part.copy_from_slice(bytes);
    }
    u64::from_le_bytes(word)
}

/// Two odd numbers whose bits are well mixed: the fractions of the golden ratio and of the root of three.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b];

/// The hash of a key. It stands in the index: the same in every build, and another in every map, so that keys
/// that collide in one do not in all.
#[inline]
pub(super) fn hash(seed: u64, key: &[u8]) -> u64 {
    let (whole, rest) = key.as_chunks::<8>();
    let words = whole.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let hash = words.fold(begin(seed, key.len()), mix);
    finish(if rest.is_empty() { hash } else { mix(hash, last_word(rest)) })
}

#[inline]
fn begin(seed: u64, len: usize) -> u64 {
    seed ^ (len as u64).wrapping_mul(FACTORS[0])
}

#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    fold(hash ^ word, FACTORS[1])
}

#[inline]
fn finish(hash: u64) -> u64 {
    fold(hash ^ FACTORS[1], FACTORS[0])
}

/// Both halves of the product, so that every bit of one factor moves every bit of the result.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::{Record, hash, words_of};
    use procession_sys::atomic::AtomicU64;

    #[test]
    fn keys_and_values_of_every_length_come_back() {
        for key_len in 0..20 {
            for value_len in 0..20 {
                let (key, value) = (vec![0xa5; key_len], vec![0x5a; value_len]);
                let len = words_of(&key, &value).unwrap();
                let words: Vec<AtomicU64> = (0..=len).map(|_| AtomicU64::new(u64::MAX)).collect();
                Record::write(&words[..len], &key, &value).unwrap();
                let record = Record::of(&words).unwrap();
                let mut out = vec![1];
                record.copy_value(&mut out);
                assert_eq!((record.len(), &out[..1], &out[1..]), (len, &[1][..], &value[..]));
                let mut other = key.clone();
                assert!(record.has_key(&key));
                if let Some(last) = other.last_mut() {
                    *last ^= 1;
                    assert!(!record.has_key(&other));
                }
                other.push(0);
                assert!(!record.has_key(&other));
                assert_eq!(record.hash_key(7), hash(7, &key));
                assert!(Record::of(&words[..len - 1]).is_none());
            }
        }
    }

    #[test]
    fn a_hash_has_its_bits_from_all_of_the_key_and_the_seed() {
        let key = *b"0123456789abcdefgh";
        let base = hash(1, &key);
        assert_ne!(base, hash(2, &key));
        for at in 0..key.len() {
            for bit in 0..8 {
                let mut other = key;
                other[at] ^= 1 << bit;
                let differ = (hash(1, &other) ^ base).count_ones();
                assert!((10..=54).contains(&differ), "byte {at}, bit {bit}: {differ}");
            }
        }
        // Numbers in a row do not lie in a row, nor in a few places.
        let places: std::collections::BTreeSet<u64> =
            (0..4096_u64).map(|number| hash(3, &number.to_le_bytes()) & 4095).collect();
        assert!(places.len() > 2300, "{}", places.len());
    }
}
