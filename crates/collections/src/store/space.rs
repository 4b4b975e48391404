//! A space, and how the next one is made.

use super::record::Record;
use super::{DATA, Held, Progress, SMALLEST, STEP, Store, StoreBody};
use crate::collection_error::CollectionError;
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::crash_point;

/// A place that was never written to in this space.
pub(super) const EMPTY: u64 = 0;
/// A place whose entry was removed.
pub(super) const REMOVED: u64 = 1;

/// A space as its words say. Where a record lies in it is counted from its beginning, so that 0 and 1 are
/// nowhere.
#[derive(Clone, Copy)]
pub(super) struct Space<'s> {
    pub(super) start: usize,
    pub(super) places: &'s [AtomicU64],
    /// All of it, places included.
    pub(super) words: &'s [AtomicU64],
    pub(super) progress: &'s Progress,
}

impl<'s> Space<'s> {
    /// The record that lies there.
    #[inline]
    pub(super) fn record(self, at: usize) -> Option<Record<'s>> {
        Record::of(self.words.get(at..)?)
    }

    /// How far the log is written.
    #[inline]
    pub(super) fn tail(self) -> Option<usize> {
        usize::try_from(self.progress.tail.load(Ordering::Relaxed)).ok()
    }

    /// Whether a record of so many words fits behind the others.
    #[inline]
    pub(super) fn has_room(self, words: usize) -> bool {
        self.tail().and_then(|tail| tail.checked_add(words)).is_some_and(|end| end <= self.words.len())
    }

    /// Writes a record behind the others, for the holder of the lock, who has seen that there is room; where
    /// it lies.
    #[inline]
    pub(super) fn append(self, words: usize, key: &[u8], value: &[u8]) -> Option<usize> {
        let at = self.tail()?;
        let end = at.checked_add(words)?;
        Record::write(self.words.get(at..end)?, key, value)?;
        crash_point("store.written");
        // Before any place refers to it: who comes after a death must not write over it.
        // SYNC: store.stamp.
        self.progress.tail.store(end as u64, Ordering::Release);
        crash_point("store.appended");
        Some(at)
    }

    /// Copies a record of another space behind the others; where it lies.
    pub(super) fn adopt(self, record: Record<'_>) -> Option<usize> {
        let at = self.tail()?;
        let end = at.checked_add(record.len())?;
        for (to, from) in self.words.get(at..end)?.iter().zip(record.words()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.progress.tail.store(end as u64, Ordering::Relaxed);
        crash_point("store.copying");
        Some(at)
    }
}

/// What changes whenever another commit begins: every change appends a record, but for a removal, which changes
/// `count`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    tail: u64,
    count: u64,
}

impl Stamp {
    #[inline]
    pub(super) fn of(space: Space<'_>) -> Self {
        // SYNC: store.stamp.
        let tail = space.progress.tail.load(Ordering::Acquire);
        Self { tail, count: space.progress.count.load(Ordering::Acquire) }
    }
}

/// How large a new space is to be.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) places: usize,
    /// How many words of records it has room for.
    pub(super) log: usize,
}

impl Plan {
    /// How many words it takes.
    fn words(self) -> Option<usize> {
        let words = self.places.checked_add(self.log)?.max(SMALLEST);
        words.checked_next_multiple_of(STEP)
    }
}

impl<'s> Held<'s> {
    /// Makes a new space by the first of `plans` that there is memory for, lets `fill` put into it what it is
    /// to have, and makes it the current one. `fill` answers how many entries there are, and how many places
    /// they take.
    pub(super) fn renew(
        &self,
        plans: &[Plan],
        fill: impl FnOnce(Space<'s>) -> Option<(u64, u64)>,
    ) -> Result<(), CollectionError> {
        let store = self.store;
        let old = self.space().ok_or_else(|| store.nonsense())?;
        let (start, plan, len) = self.memory(old, plans)?;
        // SYNC: store.reuse. Before anything is written where old spaces lay, and where their words are.
        fence(Ordering::Release);
        let generation = self.generation().wrapping_add(1);
        let StoreBody { shapes: [shape, odd], .. } = &*store.body;
        let shape = if generation & 1 == 0 { shape } else { odd };
        shape.start.store(start as u64, Ordering::Relaxed);
        shape.places.store(plan.places as u64, Ordering::Relaxed);
        shape.len.store(len as u64, Ordering::Relaxed);
        let space = store.space_of(generation).ok_or_else(|| store.nonsense())?;
        space.progress.tail.store(plan.places as u64, Ordering::Relaxed);
        space.places.iter().for_each(|place| place.store(EMPTY, Ordering::Relaxed));
        let (count, used) = fill(space).ok_or_else(|| store.nonsense())?;
        space.progress.count.store(count, Ordering::Relaxed);
        space.progress.used.store(used, Ordering::Relaxed);
        crash_point("store.built");
        // SYNC: store.moved.
        store.body.generation.store(generation, Ordering::Release);
        crash_point("store.moved");
        Ok(())
    }

    /// Where a space lies, beside the `old` one, that follows the first of `plans` that there is memory for;
    /// the plan, and how many words it has.
    fn memory(&self, old: Space<'_>, plans: &[Plan]) -> Result<(usize, Plan, usize), CollectionError> {
        let mut outcome = Err(self.store.full());
        for &plan in plans {
            let Some(len) = plan.words() else { continue };
            // Before it if it fits there: so the memory that is reserved is used again.
            let start = if len <= old.start { 0 } else { old.start + old.words.len() };
            match self.reserve(start, len) {
                Ok(()) => return Ok((start, plan, len)),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Sees to it that there is memory for a space.
    fn reserve(&self, start: usize, len: usize) -> Result<(), CollectionError> {
        let store = self.store;
        // What is cleared needs a space beside this one, and is to need no new memory then: before it, or,
        // if it lies at the beginning, behind it.
        let behind = if start == 0 { SMALLEST } else { 0 };
        let end = start.checked_add(len).and_then(|end| end.checked_add(behind));
        let end = end.filter(|&end| end <= store.most).ok_or_else(|| store.full())?;
        let backed = &store.body.backed;
        let from = usize::try_from(backed.load(Ordering::Relaxed)).unwrap_or(0);
        if end > from {
            let outcome = store.body.reserve(DATA + 8 * from, 8 * (end - from));
            outcome.map_err(|source| store.no_memory(source))?;
            crash_point("store.reserved");
            backed.store(end as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Throws everything away, by a new space that is empty.
    pub(crate) fn clear(&self) -> Result<(), CollectionError> {
        self.renew(&[Plan { places: super::FEWEST_PLACES, log: 0 }], |_| Some((0, 0)))
    }
}

impl Store {
    #[cold]
    fn full(&self) -> CollectionError {
        CollectionError::Full { object: self.segment().label(), most: self.most_bytes() }
    }

    #[cold]
    fn no_memory(&self, source: procession_shm::OpenError) -> CollectionError {
        CollectionError::NoMemory { object: self.segment().label(), source }
    }
}
