//! What a type is made of, as far as its `Deserialize` shows it: which is told to whoever opens a queue or
//! pipe, before the first message.
//!
//! The type is read from nothing (`asked.rs`): each time it asks for something, that is noted, and it gets a
//! value that was made up, so that it goes on asking. It is read again and again, until nothing new is asked
//! for: once for each variant of an enum, once more where a made-up value was refused, and with fewer fields
//! to find out which of the last have a default.
//!
//! # What is not found out
//! It is `_`, which agrees with everything.
//! - What asks of what type the bytes are, or asks for nothing at all.
//! - What is behind a value that was refused, in a tuple; in a struct it is found out by a map.
//! - A type of the user's that has no content: its `Deserialize` makes it up, for what that does.
//! - A type in itself: what it is made of stands around it. What is deeper than 64 levels, or does not fit
//!   into a header.
//! - All that is not known yet when a `Deserialize` panics, or has taken 16,384 values.
//!
//! An object's handle, and an end of a pipe, is a `handle`: to read it would be to open it.

mod asked;
mod spot;
#[cfg(test)]
mod tests;

use asked::ask;
use procession_shm::{STRUCTURE_MAX, UNKNOWN};
use serde::de::DeserializeOwned;
use spot::{Spot, Tracing};
use std::any::type_name;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// A type: two may have one name, or one function, but hardly both.
type Key = (&'static str, usize);

/// The types of this process whose structure is known. It is only tried to lock it, because in a forked child
/// it may stay locked for ever; who does not get it finds out again.
static KNOWN: Mutex<BTreeMap<Key, Arc<str>>> = Mutex::new(BTreeMap::new());

thread_local! {
    static IS_PROBING: Cell<bool> = const { Cell::new(false) };
}

/// The structure of a `T`, as a header has it. It is found out once for each type and process.
pub(super) fn structure<T: DeserializeOwned>() -> Arc<str> {
    let function: fn() -> Arc<str> = find_out::<T>;
    let key = (type_name::<T>(), function as usize);
    if let Some(known) = KNOWN.try_lock().ok().and_then(|known| known.get(&key).cloned()) {
        return known;
    }
    // Opened by a `Deserialize` that is being probed.
    let Ok(false) = IS_PROBING.try_with(|is_probing| is_probing.replace(true)) else { return UNKNOWN.into() };
    let found = find_out::<T>();
    IS_PROBING.set(false);
    if let Ok(mut known) = KNOWN.try_lock() {
        known.insert(key, found.clone());
    }
    found
}

fn find_out<T: DeserializeOwned>() -> Arc<str> {
    let mut root = Spot::default();
    let mut tracing = Tracing::default();
    let mut is_calm = true;
    while is_calm && !root.is_done && !tracing.is_over() {
        let once = || drop(ask(PhantomData::<T>, &mut root, &mut tracing));
        is_calm = catch_unwind(AssertUnwindSafe(once)).is_ok();
    }
    // As many of its levels as there is room for.
    let mut texts = [usize::MAX, 16, 8, 6, 5, 4, 3, 2, 1].into_iter().map(|levels| root.text(levels));
    texts.find(|text| text.len() <= STRUCTURE_MAX).map_or_else(|| UNKNOWN.into(), Into::into)
}
