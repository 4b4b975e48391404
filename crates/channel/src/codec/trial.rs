//! Whether what is written can be read: tried once for each kind of value, before anything is put.
//!
//! In JSON and MessagePack it is written once more, too, because these do not notice a field that is skipped
//! on one side.
//!
//! Some types write what they do not read (`#[serde(untagged)]`, `#[serde(tag)]`, `serde_json::Value`,
//! `skip_serializing`), and only their `Deserialize` tells. So the first message of a type is decoded where
//! it was encoded, and so is each that has a part which none before it had: a variant, a type of elements, a
//! type in an `Option`, a field left out. What follows costs a look at a table.
//!
//! # What is not tried
//! A message whose decoding is an event: with a handle or an end of a pipe in it, which to decode is to take,
//! or with a value of a type of the user's that has no content and is written as none. A message put while
//! another is tried. A `Deserialize` that panics decides nothing, and is for whoever gets the message to deal
//! with.

use super::Format;
use super::error::{DecodeError, EncodeError};
use super::shape::FACTOR;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many words have a bit for each part. One word, or two with one bit in all, would confuse one part in
/// thirty with two others: a message that cannot be read would be put.
pub(super) const PARTS: usize = 4;

/// Of what a value is made, as far as that differs from value to value of one type.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// A bit in each word for each variant, type of elements, type in an `Option` and field left out. Two of
    /// them may share some of their bits; that all bits of one are those of `n` others happens once in
    /// `(64 / n)⁴`.
    pub(super) parts: [u64; PARTS],
    /// Whether there is something in it whose decoding does more than decode.
    pub(super) is_an_event: bool,
}

impl Seen {
    /// Notes something that has this address.
    #[inline]
    pub(super) fn note(&mut self, address: usize) {
        let mut mixed = (address as u64).wrapping_mul(FACTOR);
        for word in &mut self.parts {
            *word |= 1 << (mixed >> 58);
            mixed = mixed.rotate_left(6);
        }
    }
}

/// Whether a type of this name may be the user's, and not a tuple or the like.
pub(super) fn is_of_users(name: &str) -> bool {
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// How many types are remembered; messages of others are all tried.
const TYPES: usize = 1024;
/// How many places are looked at for one type.
const NEIGHBOURS: usize = 16;

/// A type of messages of this process, and the parts that were seen to come back.
///
/// Relaxed is enough: whoever misses what another thread has noted, tries once more.
struct Known {
    /// 0: nobody's.
    key: AtomicUsize,
    parts: [AtomicU64; PARTS],
}

static KNOWN: [Known; TYPES] =
    [const { Known { key: AtomicUsize::new(0), parts: [const { AtomicU64::new(0) }; PARTS] } }; TYPES];

thread_local! {
    static IS_TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Makes sure that `bytes`, which a `Q` was written as in place of a `T`, can be read as a `T`.
#[inline]
pub(super) fn prove<F, T, Q>(bytes: &[u8], seen: &Seen) -> Result<(), EncodeError>
where
    F: Format,
    T: Serialize + DeserializeOwned,
    Q: ?Sized,
{
    let key = key::<F, T, Q>();
    let known = places(key).find(|known| known.key.load(Ordering::Relaxed) == key);
    if known.is_some_and(|known| known.has(seen)) && !seen.is_an_event {
        return Ok(());
    }
    try_it::<F, T>(bytes, seen, key)
}

#[inline]
fn key<F: Format, T: Serialize + DeserializeOwned, Q: ?Sized>() -> usize {
    // Two types may have one name, or one function: hardly both. One type may have several of both: it is
    // tried several times.
    let function: fn(&[u8], &Seen, usize) -> Result<(), EncodeError> = try_it::<F, T>;
    let names = type_name::<T>().as_ptr() as usize ^ (type_name::<Q>().as_ptr() as usize).rotate_left(31);
    (function as usize).rotate_left(17) ^ names ^ (F::CODEC as usize) << 56
}

#[inline]
fn places(key: usize) -> impl Iterator<Item = &'static Known> {
    let first = (key as u64).wrapping_mul(FACTOR) >> 54;
    (0..NEIGHBOURS).filter_map(move |step| KNOWN.get((first as usize + step) % TYPES))
}

impl Known {
    #[inline]
    fn has(&self, seen: &Seen) -> bool {
        self.parts.iter().zip(seen.parts).all(|(known, parts)| parts & !known.load(Ordering::Relaxed) == 0)
    }
}

#[cold]
#[inline(never)]
fn try_it<F, T>(bytes: &[u8], seen: &Seen, key: usize) -> Result<(), EncodeError>
where
    F: Format,
    T: Serialize + DeserializeOwned,
{
    if seen.is_an_event {
        return Ok(());
    }
    let Ok(false) = IS_TRYING.try_with(|is_trying| is_trying.replace(true)) else { return Ok(()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| read_again::<F, T>(bytes)));
    IS_TRYING.set(false);
    if let Ok(Err(why)) = outcome {
        let (type_name, why) = (type_name::<T>(), Box::new(why));
        return Err(EncodeError::CannotComeBack { type_name, codec: F::CODEC, why });
    }
    let mine = |known: &&Known| {
        let before = known.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
        matches!(before, Ok(0)) || before == Err(key)
    };
    if let Some(known) = places(key).find(mine) {
        for (known, parts) in known.parts.iter().zip(seen.parts) {
            known.fetch_or(parts, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Reads a value; and where the bytes do not tell whether it is the one that was written, writes it again to
/// compare.
fn read_again<F: Format, T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<(), DecodeError> {
    let value: T = F::read(bytes)?;
    if F::TELLS {
        return Ok(());
    }
    let mut again = Vec::new();
    let is_written = F::write(&value, &mut again, &mut Seen::default()).is_ok();
    if is_written && count(bytes) == count(&again) { Ok(()) } else { Err(DecodeError::Changed) }
}

/// How often each byte occurs: a `HashMap` has another order when it is written again, but the same bytes.
fn count(bytes: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    counts
}
