//! Plain data as it lies in shared memory: in atomics as wide as the data, so that up to 8 bytes are always
//! whole.
//!
//! | size of the data | lies in |
//! |---|---|
//! | 0, 1; 2; 3, 4; 5 to 8 | one atomic of 1; 2; 4; 8 bytes |
//! | more | atomics of 8 bytes, each of them whole; all together may be torn |

use bytemuck::Pod;
use procession_shm::Shared;
use procession_sys::ShmSafe;
use procession_sys::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Plain data: what a [`Value`](crate::Value) or an [`Array`](crate::Array) can hold, because any bytes are a
/// value of it. It is every [`bytemuck::Pod`] type: integers, floats, arrays of them, and `repr(C)` structs
/// that derive `Pod`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no plain data: other processes may write any bytes into it, and not all are a `{Self}`",
    label = "no plain data",
    note = "for a bool use a u8, for an enum or a char its number",
    note = "for a struct of plain data: #[derive(Clone, Copy, Pod, Zeroable)] #[bytemuck(crate = \"procession::bytemuck\")] #[repr(C)]",
    note = "for anything else (String, Vec, Option, …) send messages through a Queue, or lay it out in SharedMemory"
)]
pub trait Plain: Pod {}

#[diagnostic::do_not_recommend]
impl<T: Pod> Plain for T {}

/// How many bytes one of many takes.
pub(crate) const fn stride(size: usize) -> usize {
    if size <= 8 { size.next_power_of_two() } else { size.next_multiple_of(8) }
}

/// The bytes of data of at most 8, as a word.
#[inline]
pub(crate) fn to_word<T: Pod>(value: &T) -> u64 {
    let bytes = bytemuck::bytes_of(value);
    let mut word = [0; 8];
    if let Some(low) = word.get_mut(..bytes.len()) {
        low.copy_from_slice(bytes);
    }
    u64::from_le_bytes(word)
}

/// The data of at most 8 bytes that a word is.
#[inline]
pub(crate) fn from_word<T: Pod>(word: u64) -> T {
    let mut value = T::zeroed();
    if let Some(low) = word.to_le_bytes().get(..size_of::<T>()) {
        bytemuck::bytes_of_mut(&mut value).copy_from_slice(low);
    }
    value
}

/// Copies words out, each of them whole.
#[inline]
pub fn load_words(words: &[AtomicU64], to: &mut [u8]) {
    let (whole, rest) = to.as_chunks_mut::<8>();
    for (word, bytes) in words.iter().zip(whole.iter_mut()) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let Some(last) = words.get(whole.len()) {
        let word = last.load(Ordering::Relaxed).to_le_bytes();
        rest.copy_from_slice(&word[..rest.len()]);
    }
}

/// Copies words in, each of them whole; says so after each.
#[inline]
pub fn store_words(words: &[AtomicU64], from: &[u8], stored: impl Fn()) {
    let (whole, rest) = from.as_chunks::<8>();
    for (word, &bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        stored();
    }
    if let Some(last) = words.get(whole.len()) {
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        last.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        stored();
    }
}

/// Several pieces of data of one size.
#[derive(Clone, Copy)]
pub(crate) enum Cells<'a> {
    One(&'a [AtomicU8]),
    Two(&'a [AtomicU16]),
    Four(&'a [AtomicU32]),
    /// One or more words for each.
    Words(&'a [AtomicU64]),
}

impl Default for Cells<'_> {
    fn default() -> Self {
        Self::Words(&[])
    }
}

impl<'a> Cells<'a> {
    /// `count` of `size` bytes each, from `offset` in the body on; `None` if they would reach past its end.
    #[inline]
    pub(crate) fn of<B: ShmSafe>(
        body: &'a Shared<B>,
        offset: usize,
        size: usize,
        count: usize,
    ) -> Option<Self> {
        Some(match stride(size) {
            1 => Self::One(body.slice(offset, count)?),
            2 => Self::Two(body.slice(offset, count)?),
            4 => Self::Four(body.slice(offset, count)?),
            more => Self::Words(body.slice(offset, count.checked_mul(more / 8)?)?),
        })
    }

    /// Where the first one is.
    pub(crate) fn as_ptr(self) -> *mut u8 {
        match self {
            Self::One(cells) => cells.as_ptr().cast_mut().cast(),
            Self::Two(cells) => cells.as_ptr().cast_mut().cast(),
            Self::Four(cells) => cells.as_ptr().cast_mut().cast(),
            Self::Words(cells) => cells.as_ptr().cast_mut().cast(),
        }
    }

    /// The one at `index`, which has at most 8 bytes.
    #[inline]
    pub(crate) fn load(self, index: usize, order: Ordering) -> Option<u64> {
        Some(match self {
            Self::One(cells) => cells.get(index)?.load(order).into(),
            Self::Two(cells) => cells.get(index)?.load(order).into(),
            Self::Four(cells) => cells.get(index)?.load(order).into(),
            Self::Words(cells) => cells.get(index)?.load(order),
        })
    }

    /// Stores the one at `index`, which has at most 8 bytes, if there is one.
    #[inline]
    pub(crate) fn store(self, index: usize, word: u64, order: Ordering) {
        match self {
            Self::One(cells) => cells.get(index).map(|cell| cell.store(word as u8, order)),
            Self::Two(cells) => cells.get(index).map(|cell| cell.store(word as u16, order)),
            Self::Four(cells) => cells.get(index).map(|cell| cell.store(word as u32, order)),
            Self::Words(cells) => cells.get(index).map(|cell| cell.store(word, order)),
        };
    }

    /// Changes the one at `index`, which has at most 8 bytes, by one CAS, unless `change` says `None`; what
    /// it was.
    #[inline]
    pub(crate) fn change(self, index: usize, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        // SYNC: raw.value, raw.element, or the edge of whichever object the cells belong to.
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let outcome = match self {
            Self::One(cells) => {
                widen(cells.get(index)?.fetch_update(set, fetch, |old| Some(change(old.into())? as u8)))
            }
            Self::Two(cells) => {
                widen(cells.get(index)?.fetch_update(set, fetch, |old| Some(change(old.into())? as u16)))
            }
            Self::Four(cells) => {
                widen(cells.get(index)?.fetch_update(set, fetch, |old| Some(change(old.into())? as u32)))
            }
            Self::Words(cells) => widen(cells.get(index)?.fetch_update(set, fetch, change)),
        };
        Some(outcome)
    }

    /// The words of the one at `index`, of `size` bytes, if it is made of words.
    #[inline]
    pub(crate) fn words(self, index: usize, size: usize) -> Option<&'a [AtomicU64]> {
        let Self::Words(words) = self else { return None };
        let each = stride(size) / 8;
        let start = index.checked_mul(each)?;
        words.get(start..start.checked_add(each)?)
    }
}

/// The word that was there, whether or not it was changed.
#[inline]
fn widen<N: Into<u64>>(outcome: Result<N, N>) -> u64 {
    outcome.unwrap_or_else(|unchanged| unchanged).into()
}
