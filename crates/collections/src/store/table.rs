//! How a map uses its memory: places in a hash table with open addressing.
//!
//! | a place | meaning |
//! |---|---|
//! | 0 | nothing ever lay here in this space: who looks for a key need not look further |
//! | 1 | what lay here was removed: who looks for a key looks further, and a new key may take the place |
//! | bits 40–63 | of the hash of the key that lies here |
//! | bits 0–39 | where its record lies, in words from the beginning of the space |
//!
//! | `count` | meaning |
//! |---|---|
//! | bits 0–31 | how many entries there were before the change that the other bits announce |
//! | bits 32–62 | 0, or 1 and the number of the place that is about to be taken, or to be removed |
//! | bit 63 | it is about to be removed |
//!
//! **The store of the place commits**: also the change of the number, because who reads `count` looks at the place
//! that it names. What a key means changes by one store, and so it never has two values or half of one.
//!
//! # Who finds what
//! Who looks for a key that is there all the time finds it: within a space its place stays where it is, and no
//! place before that becomes 0 again. Who meets a 0 has looked at each place at which the key could be; if it
//! was elsewhere at each of these moments, then it was removed and inserted again meanwhile, and in between it
//! was not there.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | after `count` announces, before the place is stored | an announcement that has not come true | the next writer; until then `len` sees that |
//! | after the place is stored, before `count` is corrected | an announcement that has come true | the next writer; until then `len` sees that |

use super::record::{Record, hash, words_of};
use super::space::{EMPTY, Plan, REMOVED, Space};
use super::{FEWEST_PLACES, Held, Records, Store};
use crate::collection_error::CollectionError;
use procession_channel::codec::EncodeError;
use procession_sys::atomic::Ordering;
use procession_sys::crash_point;

const TAG_SHIFT: u32 = 40;
const AT: u64 = (1 << TAG_SHIFT) - 1;
const REMOVAL: u64 = 1 << 63;
const PLACE_SHIFT: u32 = 32;
const LEN: u64 = (1 << PLACE_SHIFT) - 1;
/// The most places that `count` can name.
pub(super) const MOST_PLACES: usize = 1 << 30;

/// A key, encoded, and its hash.
#[derive(Clone, Copy)]
pub(crate) struct Key<'k> {
    pub(crate) bytes: &'k [u8],
    pub(crate) hash: u64,
}

impl Key<'_> {
    #[inline]
    fn tag(self) -> u64 {
        self.hash & !AT
    }
}

/// Where a key is, or would be.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'s> {
    place: usize,
    /// The record, if the key is there.
    record: Option<Record<'s>>,
    /// Whether the place was never taken.
    is_fresh: bool,
}

impl Spot<'_> {
    /// Appends the value of the key to `out`; whether it is there.
    #[inline]
    pub(crate) fn copy_value(self, out: &mut Vec<u8>) -> bool {
        if let Some(record) = self.record {
            record.copy_value(out);
        }
        self.record.is_some()
    }
}

/// Looks for a key; `None` for nonsense.
#[inline]
fn find<'s>(space: Space<'s>, key: Key<'_>) -> Option<Spot<'s>> {
    let places = space.places;
    let mask = places.len().checked_sub(1)?;
    let mut place = key.hash as usize & mask;
    let mut free = None;
    for _ in 0..places.len() {
        // SYNC: store.placed.
        match places.get(place)?.load(Ordering::Acquire) {
            EMPTY => {
                let is_fresh = free.is_none();
                return Some(Spot { place: free.unwrap_or(place), record: None, is_fresh });
            }
            REMOVED => free = free.or(Some(place)),
            entry if (entry ^ key.hash) & !AT == 0 => {
                let record = space.record((entry & AT) as usize)?;
                if record.has_key(key.bytes) {
                    return Some(Spot { place, record: Some(record), is_fresh: false });
                }
            }
            _ => {}
        }
        place = (place + 1) & mask;
    }
    None
}

/// How many entries there are: what `count` says, corrected by what has become of the place that it names.
#[inline]
fn counted(space: Space<'_>, count: u64) -> Option<u64> {
    let len = count & LEN;
    let Some(place) = usize::try_from((count & !REMOVAL) >> PLACE_SHIFT).ok()?.checked_sub(1) else {
        return Some(len);
    };
    // SYNC: store.placed.
    let is_taken = space.places.get(place)?.load(Ordering::Acquire) > REMOVED;
    Some(match (count & REMOVAL != 0, is_taken) {
        (true, false) => len.saturating_sub(1),
        (false, true) => len + 1,
        _ => len,
    })
}

impl Store {
    /// The hash of a key.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        hash(self.seed, key)
    }

    /// Appends the value of the key that `bytes` are to them; whether there is one.
    #[inline]
    pub(crate) fn get(&self, bytes: &mut Vec<u8>) -> Result<bool, CollectionError> {
        let key_len = bytes.len();
        let hash = self.hash(bytes);
        self.read(|space| {
            // An attempt before may have copied what was no value.
            bytes.truncate(key_len);
            Some(find(space, Key { bytes, hash })?.copy_value(bytes))
        })
    }

    /// Whether there is such a key.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, CollectionError> {
        let key = Key { bytes: key, hash: self.hash(key) };
        self.read(|space| Some(find(space, key)?.record.is_some()))
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> Result<u64, CollectionError> {
        self.read_stamped(|space| counted(space, space.progress.count.load(Ordering::Acquire)))
    }
}

impl<'s> Held<'s> {
    /// Where a key is, or would be: until this thread changes anything.
    #[inline]
    pub(crate) fn find(&self, key: Key<'_>) -> Result<Spot<'s>, CollectionError> {
        self.space().and_then(|space| find(space, key)).ok_or_else(|| self.store.nonsense())
    }

    /// Makes `value` what `key`, whose spot this is, means.
    #[inline]
    pub(crate) fn put(&self, spot: Spot<'s>, key: Key<'_>, value: &[u8]) -> Result<(), CollectionError> {
        let words = words_of(key.bytes, value).ok_or(EncodeError::TooLarge)?;
        let nonsense = || self.store.nonsense();
        let (mut spot, mut space) = (spot, self.space().ok_or_else(nonsense)?);
        if spot.record.is_none()
            && space.progress.count.load(Ordering::Relaxed) & LEN >= self.store.most_entries()
        {
            return Err(self.store.too_many_entries());
        }
        if !(space.has_room(words) && has_place(space, spot)) {
            self.make_room(words)?;
            space = self.space().ok_or_else(nonsense)?;
            spot = find(space, key).ok_or_else(nonsense)?;
        }
        self.commit(space, spot, key, value, words).ok_or_else(nonsense)
    }

    /// Writes the record, and lets the place refer to it.
    #[inline]
    fn commit(
        &self,
        space: Space<'_>,
        spot: Spot<'_>,
        key: Key<'_>,
        value: &[u8],
        words: usize,
    ) -> Option<()> {
        let progress = space.progress;
        let place = space.places.get(spot.place)?;
        let len = self.settle(space)?;
        let at = space.append(words, key.bytes, value)?;
        let is_new = spot.record.is_none();
        if is_new {
            if spot.is_fresh {
                progress.used.store(progress.used.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
            // SYNC: store.stamp.
            progress.count.store(len | (spot.place as u64 + 1) << PLACE_SHIFT, Ordering::Release);
            crash_point("table.announced");
        }
        // SYNC: store.placed.
        place.store(key.tag() | at as u64, Ordering::Release);
        crash_point("table.placed");
        if is_new {
            // SYNC: store.stamp.
            progress.count.store(len + 1, Ordering::Release);
            crash_point("table.counted");
        }
        Some(())
    }

    /// Removes the key whose spot this is, if it is there.
    pub(crate) fn remove(&self, spot: Spot<'s>) -> Result<(), CollectionError> {
        if spot.record.is_none() {
            return Ok(());
        }
        let removed = || {
            let space = self.space()?;
            let len = self.settle(space)?;
            let announced = len | (spot.place as u64 + 1) << PLACE_SHIFT | REMOVAL;
            // SYNC: store.stamp.
            space.progress.count.store(announced, Ordering::Release);
            crash_point("table.announced_removal");
            // SYNC: store.placed.
            space.places.get(spot.place)?.store(REMOVED, Ordering::Release);
            crash_point("table.removed");
            // SYNC: store.stamp.
            space.progress.count.store(len.saturating_sub(1), Ordering::Release);
            crash_point("table.counted_removal");
            Some(())
        };
        removed().ok_or_else(|| self.store.nonsense())
    }

    /// How many entries there are; what a dead writer announced is corrected.
    #[inline]
    fn settle(&self, space: Space<'_>) -> Option<u64> {
        let count = space.progress.count.load(Ordering::Relaxed);
        if count & !LEN == 0 {
            return Some(count);
        }
        let len = counted(space, count)?;
        // SYNC: store.stamp.
        space.progress.count.store(len, Ordering::Release);
        crash_point("table.settled");
        Some(len)
    }

    /// Makes a new space, with room for one more record of so many words.
    #[cold]
    fn make_room(&self, words: usize) -> Result<(), CollectionError> {
        let old = self.space().ok_or_else(|| self.store.nonsense())?;
        let (mut entries, mut live) = (0_usize, 0_usize);
        for record in records(old) {
            let record = record.ok_or_else(|| self.store.nonsense())?;
            (entries, live) = (entries + 1, live + record.len());
        }
        let (entries, log) = (entries + 1, live + words);
        let places_for = |room| places_for(entries, room).min(self.store.most_places);
        let generous = Plan { places: places_for(2), log: log.saturating_mul(2) };
        // Where there is not so much memory, there may still be enough.
        let tight = Plan { places: places_for(1), log: log + live / 8 };
        let exact = Plan { log, ..tight };
        self.renew(&[generous, tight, exact], |space| {
            let mut len = 0;
            for record in records(old) {
                let record = record?;
                let hash = record.hash_key(self.store.seed);
                let place = vacant(space, hash)?;
                let at = space.adopt(record)?;
                space.places.get(place)?.store(hash & !AT | at as u64, Ordering::Relaxed);
                len += 1;
            }
            Some((len, len))
        })
    }
}

/// How many places there are to be for so many entries: at most three quarters are taken, or, where there is
/// twice as much room, three eighths.
fn places_for(entries: usize, room: usize) -> usize {
    let least = entries.saturating_mul(room).saturating_mul(4) / 3 + 1;
    least.clamp(FEWEST_PLACES, MOST_PLACES).next_power_of_two()
}

/// Whether the spot can be taken: there are always places that were never taken, so that who looks for a key
/// soon comes to the end.
#[inline]
fn has_place(space: Space<'_>, spot: Spot<'_>) -> bool {
    let used = space.progress.used.load(Ordering::Relaxed);
    !spot.is_fresh || used < (space.places.len() - space.places.len() / 4) as u64
}

/// The records that places refer to; `None` for nonsense.
fn records(space: Space<'_>) -> impl Iterator<Item = Option<Record<'_>>> {
    let entries = space.places.iter().map(|place| place.load(Ordering::Acquire));
    entries.filter(|&entry| entry > REMOVED).map(move |entry| space.record((entry & AT) as usize))
}

/// The first place from the hash on that is free, in a space that nobody else sees yet.
fn vacant(space: Space<'_>, hash: u64) -> Option<usize> {
    let mask = space.places.len().checked_sub(1)?;
    let mut place = hash as usize & mask;
    for _ in 0..space.places.len() {
        if space.places.get(place)?.load(Ordering::Relaxed) == EMPTY {
            return Some(place);
        }
        place = (place + 1) & mask;
    }
    None
}

impl Store {
    /// How many entries a map may have. Of the places that can be taken, a sixteenth of all stays for what is removed and
    /// inserted again, or a full map would be copied whenever a key goes and another comes.
    #[inline]
    fn most_entries(&self) -> u64 {
        (self.most_places - self.most_places / 4 - self.most_places / 16) as u64
    }

    #[cold]
    fn too_many_entries(&self) -> CollectionError {
        CollectionError::TooManyEntries { object: self.segment().label(), most: self.most_entries() }
    }

    /// All entries of a map, as they were at one instant.
    pub(crate) fn entries(&self) -> Result<Records, CollectionError> {
        self.read_stamped(|space| Records::copy(records(space), space.words.len()))
    }
}
