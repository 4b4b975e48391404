//! What the writer and the reader of a value say about its shape, so that they notice when they mean
//! different ones.
//!
//! | | bytes before its content |
//! |---|---|
//! | struct | how many fields (bits 0..7; 127 for more) and whether some are left out (bit 7); two bytes made of the fields' names in their order; if some are left out, a bit for each field |
//! | enum | the number of the variant, and a byte made of its name |
//! | sequence, map | how many elements |
//! | `Option` | 0 or 1 |
//! | everything else | none |

/// The deepest value: so many structs, enums, sequences, maps, tuples, `Option`s and newtypes in one another.
pub(super) const MOST_DEPTH: u32 = 256;
/// How many elements of sequences and maps may take no bytes, in all of a message.
pub(super) const MOST_EMPTY: u32 = 1 << 16;
/// How many bytes stand before the fields of a struct.
pub(super) const HEADER: usize = 3;
/// A struct of so many fields or more does not say how many.
pub(super) const MOST_COUNTED: usize = 127;
/// An odd number whose bits are well mixed: the golden ratio.
pub(super) const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The names of a struct's fields, in their order.
#[derive(Clone, Copy, Default)]
pub(super) struct Names {
    count: usize,
    mixed: u64,
}

impl Names {
    /// The first fields of a type, as many as there are but at most `count`.
    #[inline]
    pub(super) fn of(fields: &[&str], count: usize) -> Self {
        let mut names = Self::default();
        fields.iter().take(count).for_each(|name| names.add(name));
        names
    }

    #[inline]
    pub(super) fn count(self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn add(&mut self, name: &str) {
        self.count += 1;
        self.mixed = mix(self.mixed, name);
    }

    /// What stands before the fields.
    #[inline]
    pub(super) fn header(self, leaves_out: bool) -> [u8; HEADER] {
        let [.., low, high] = self.mixed.to_le_bytes();
        let count = self.count.min(MOST_COUNTED) as u8;
        [count | u8::from(leaves_out) << 7, low, high]
    }
}

/// The byte that stands for a variant's name.
#[inline]
pub(super) fn check_of_variant(name: &str) -> u8 {
    let [.., high] = mix(0, name).to_le_bytes();
    high
}

/// Mixes a name in: its length, its first eight bytes and its last eight. There is no time for more.
#[inline]
fn mix(mixed: u64, name: &str) -> u64 {
    let name = name.as_bytes();
    let word = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(19),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        },
    };
    (mixed.rotate_left(23) ^ word ^ (name.len() as u64) << 56).wrapping_mul(FACTOR)
}
