//! Whether what is written can be read: tried once for each kind of value, before anything is put.
//!
//! Some types write what they do not read (`#[serde(untagged)]`, `#[serde(tag)]`, `serde_json::Value`,
//! `skip_serializing`), and only their `Deserialize` tells. So the first message of a type is decoded where it was encoded, and so is each
//! that has a part which none before it had: a variant, a type of elements, a type in an `Option`, a field left out. What
//! follows costs a look at a table.
//!
//! # What is not tried
//! A message whose decoding is an event: with a handle or an end of a pipe in it, which to decode is to take, or with a value
//! of a type of the user's that has no content and is written as none. A message put while another is tried. A `Deserialize`
//! that panics decides nothing, and is for whoever gets the message to deal with.

use super::writing::{PARTS, Seen};
use super::{EncodeError, decode};
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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

/// Makes sure that `bytes`, which a `T` was written as, can be read.
#[inline]
pub(super) fn prove<T: DeserializeOwned>(bytes: &[u8], seen: Seen) -> Result<(), EncodeError> {
    let key = key::<T>();
    let known = places(key).find(|known| known.key.load(Ordering::Relaxed) == key);
    if known.is_some_and(|known| known.has(seen)) && !seen.is_an_event {
        return Ok(());
    }
    try_it::<T>(bytes, seen, key)
}

#[inline]
fn key<T: DeserializeOwned>() -> usize {
    // Two types may have one name, or one function: hardly both. One type may have several of both: it is tried several times.
    let function: fn(&[u8], Seen, usize) -> Result<(), EncodeError> = try_it::<T>;
    (function as usize).rotate_left(17) ^ type_name::<T>().as_ptr() as usize
}

#[inline]
fn places(key: usize) -> impl Iterator<Item = &'static Known> {
    let first = (key as u64).wrapping_mul(super::shape::FACTOR) >> 54;
    (0..NEIGHBOURS).filter_map(move |step| KNOWN.get((first as usize + step) % TYPES))
}

impl Known {
    #[inline]
    fn has(&self, seen: Seen) -> bool {
        self.parts.iter().zip(seen.parts).all(|(known, parts)| parts & !known.load(Ordering::Relaxed) == 0)
    }
}

#[cold]
#[inline(never)]
fn try_it<T: DeserializeOwned>(bytes: &[u8], seen: Seen, key: usize) -> Result<(), EncodeError> {
    if seen.is_an_event {
        return Ok(());
    }
    let Ok(false) = IS_TRYING.try_with(|is_trying| is_trying.replace(true)) else { return Ok(()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| decode::<T>(bytes).map(drop)));
    IS_TRYING.set(false);
    if let Ok(Err(why)) = outcome {
        return Err(EncodeError::CannotComeBack { type_name: type_name::<T>(), why: Box::new(why) });
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
