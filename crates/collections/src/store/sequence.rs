//! How a list uses its memory: its places are its elements, in their order.
//!
//! A place is where the record of an element lies, in words from the beginning of the space. `count` is how
//! many elements there are: places behind that mean nothing. **The store of `count` commits** what is pushed or
//! popped, **the store of a place** what is set; an insertion or a removal in the middle is a new space.
//!
//! A place that was popped is written again by the next push, before that is committed. A reader that still
//! believes in the `count` from before the pop would find there what does not exist yet, and may never. So
//! `rewrites` changes before a place is written again, and who reads an element looks whether it has.
//!
//! # Orderings
//! Edge `sequence.pushed`: the Release store of `count` meets the Acquire load of a reader, so that the places
//! before it, and their records, are there. Edge `sequence.rewritten`: the Release store of `rewrites` meets its
//! Acquire load, before `count` is loaded: who sees that a place is about to be written again sees that it was
//! popped. The fence behind that store, before the place is written, meets the Acquire fence of a reader behind
//! its copying: who read the place as it was written again sees that `rewrites` has changed.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | after places behind `count` are written, before `count` is stored | places that mean nothing | the next push writes them |
//! | after `rewrites` is changed | readers that looked once more than they had to | nothing |

use super::record::{Record, words_of};
use super::space::{Plan, Space};
use super::{Held, Records, Store};
use crate::collection_error::CollectionError;
use procession_channel::codec::EncodeError;
use procession_sys::atomic::{Ordering, fence};
use procession_sys::crash_point;

/// Where an element is to come from in a new space.
#[derive(Clone, Copy)]
pub(crate) enum Element<'v> {
    /// It is the element of this number.
    Old(usize),
    /// It is new, and so encoded.
    New(&'v [u8]),
}

#[inline]
fn len_of(space: Space<'_>) -> Option<usize> {
    // SYNC: sequence.pushed.
    let len = usize::try_from(space.progress.count.load(Ordering::Acquire)).ok()?;
    (len <= space.places.len()).then_some(len)
}

/// The element at a place before `count`.
#[inline]
fn element(space: Space<'_>, index: usize) -> Option<Record<'_>> {
    // SYNC: store.placed.
    let at = space.places.get(index)?.load(Ordering::Acquire);
    space.record(usize::try_from(at).ok()?)
}

/// Appends the element of this number to `out`; whether there is one.
#[inline]
fn copy_element(space: Space<'_>, index: usize, out: &mut Vec<u8>) -> Option<bool> {
    if index >= len_of(space)? {
        return Some(false);
    }
    element(space, index)?.copy_value(out);
    Some(true)
}

/// The parts of `values` that end there.
fn parts<'v>(values: &'v [u8], ends: &[usize]) -> impl Iterator<Item = &'v [u8]> {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(ends).map(|(begin, &end)| values.get(begin..end).unwrap_or_default())
}

impl Store {
    /// Appends the element of this number to `out`; whether there is one.
    #[inline]
    pub(crate) fn get_at(&self, index: usize, out: &mut Vec<u8>) -> Result<bool, CollectionError> {
        let start = out.len();
        let found = self.read(|space| {
            for _ in 0..super::TRIES {
                // An attempt before may have copied what was no element.
                out.truncate(start);
                // SYNC: sequence.rewritten.
                let rewrites = space.progress.rewrites.load(Ordering::Acquire);
                let found = copy_element(space, index, out);
                // SYNC: sequence.rewritten.
                fence(Ordering::Acquire);
                if space.progress.rewrites.load(Ordering::Relaxed) == rewrites {
                    return found.map(Some);
                }
            }
            Some(None)
        })?;
        match found {
            Some(found) => Ok(found),
            None => self.get_at_locked(index, start, out),
        }
    }

    #[cold]
    fn get_at_locked(&self, index: usize, start: usize, out: &mut Vec<u8>) -> Result<bool, CollectionError> {
        out.truncate(start);
        self.hold()?.value_at(index, out)
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> Result<usize, CollectionError> {
        self.read(len_of)
    }

    /// All elements, as they were at one instant.
    pub(crate) fn elements(&self) -> Result<Records, CollectionError> {
        self.read_stamped(|space| {
            Records::copy((0..len_of(space)?).map(|index| element(space, index)), space.words.len())
        })
    }
}

impl Held<'_> {
    fn list(&self) -> Result<(Space<'_>, usize), CollectionError> {
        let space = self.space().ok_or_else(|| self.store.nonsense())?;
        Ok((space, len_of(space).ok_or_else(|| self.store.nonsense())?))
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> Result<usize, CollectionError> {
        self.list().map(|(_, len)| len)
    }

    /// Appends the element of this number to `out`; whether there is one.
    pub(crate) fn value_at(&self, index: usize, out: &mut Vec<u8>) -> Result<bool, CollectionError> {
        let copied = self.space().and_then(|space| copy_element(space, index, out));
        copied.ok_or_else(|| self.store.nonsense())
    }

    /// Appends elements, which lie one after the other in `values` and end there at `ends`, all at once.
    pub(crate) fn push(&self, values: &[u8], ends: &[usize]) -> Result<(), CollectionError> {
        let mut words = 0_usize;
        for part in parts(values, ends) {
            words =
                words_of(&[], part).and_then(|more| words.checked_add(more)).ok_or(EncodeError::TooLarge)?;
        }
        let (mut space, len) = self.list()?;
        if !space.has_room(words) || space.places.len() - len < ends.len() {
            self.rebuild((0..len).map(Element::Old), ends.len(), words)?;
            space = self.list()?.0;
        }
        self.append_all(space, len, values, ends).ok_or_else(|| self.store.nonsense())
    }

    fn append_all(&self, space: Space<'_>, len: usize, values: &[u8], ends: &[usize]) -> Option<()> {
        let used = usize::try_from(space.progress.used.load(Ordering::Relaxed)).ok()?;
        let end = len.checked_add(ends.len())?;
        if len < used {
            let rewrites = &space.progress.rewrites;
            // SYNC: sequence.rewritten.
            rewrites.store(rewrites.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
            crash_point("sequence.rewriting");
            fence(Ordering::Release);
        }
        space.progress.used.store(used.max(end) as u64, Ordering::Relaxed);
        for (place, value) in space.places.get(len..end)?.iter().zip(parts(values, ends)) {
            let at = space.append(words_of(&[], value)?, &[], value)?;
            place.store(at as u64, Ordering::Relaxed);
            crash_point("sequence.pushing");
        }
        // SYNC: sequence.pushed.
        space.progress.count.store(end as u64, Ordering::Release);
        crash_point("sequence.pushed");
        Some(())
    }

    /// Shortens the list to so many elements.
    pub(crate) fn truncate(&self, len: usize) -> Result<(), CollectionError> {
        let (space, old) = self.list()?;
        if len < old {
            // SYNC: sequence.pushed.
            space.progress.count.store(len as u64, Ordering::Release);
            crash_point("sequence.popped");
        }
        Ok(())
    }

    /// Makes the element of this number, which there is, another.
    pub(crate) fn set(&self, index: usize, value: &[u8]) -> Result<(), CollectionError> {
        let words = words_of(&[], value).ok_or(EncodeError::TooLarge)?;
        let (mut space, len) = self.list()?;
        if !space.has_room(words) {
            self.rebuild((0..len).map(Element::Old), 0, words)?;
            space = self.list()?.0;
        }
        let set = || {
            let place = space.places.get(index)?;
            let at = space.append(words, &[], value)?;
            // SYNC: store.placed.
            place.store(at as u64, Ordering::Release);
            crash_point("sequence.set");
            Some(())
        };
        set().ok_or_else(|| self.store.nonsense())
    }

    /// Makes these the elements, by a new space that has room for so many more, and so many words of records
    /// beside theirs.
    pub(crate) fn rebuild<'v>(
        &self,
        elements: impl Iterator<Item = Element<'v>> + Clone,
        more: usize,
        words: usize,
    ) -> Result<(), CollectionError> {
        let (old, _) = self.list()?;
        let (mut len, mut live) = (0_usize, words);
        for each in elements.clone() {
            let words = match each {
                Element::Old(index) => element(old, index).map(Record::len),
                Element::New(value) => Some(words_of(&[], value).ok_or(EncodeError::TooLarge)?),
            };
            live = words.and_then(|words| live.checked_add(words)).ok_or_else(|| self.store.nonsense())?;
            len += 1;
        }
        let places = len.saturating_add(more);
        let generous =
            Plan { places: places.saturating_mul(2).max(super::FEWEST_PLACES), log: live.saturating_mul(2) };
        let tight =
            Plan { places: places.saturating_add(places / 8).max(1), log: live.saturating_add(live / 8) };
        let exact = Plan { places: places.max(1), log: live };
        self.renew(&[generous, tight, exact], |space| {
            for (place, each) in space.places.iter().zip(elements) {
                let at = match each {
                    Element::Old(index) => space.adopt(element(old, index)?)?,
                    Element::New(value) => space.append(words_of(&[], value)?, &[], value)?,
                };
                place.store(at as u64, Ordering::Relaxed);
            }
            Some((len as u64, len as u64))
        })
    }
}
