//! The memory of a map or list: an index and a log of records in one space, and a new space beside it when it
//! is full.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `lock` | its holder (`lock_word.rs`) | one at a time changes anything |
//! | `generation` | holder of `lock` | how many spaces there have been; its lowest bit says which of the two sets of words is of the current one. **Its store commits a new space** |
//! | `shapes` of the current space | nobody | where it lies, how many places it has, where it ends |
//! | `tail` | holder of `lock` | how far its log is written: what lies behind is nothing |
//! | `count` | holder of `lock` | how many entries there are; of a map also at which place that is about to change |
//! | `used` | holder of `lock` | how many of its places were ever written to, at least |
//! | a place | holder of `lock` | what lies there. **Its store commits** a change of a map, or of an element of a list |
//! | a record before `tail` | nobody | a key and its value, or an element |
//! | the other set of words, and all memory outside the current space | holder of `lock` | what the next space will be |
//! | `rewrites` | holder of `lock` | of a list: how often a place was written to that had been popped |
//! | `backed` | holder of `lock` | from the beginning of the data so many words have memory, at least |
//!
//! How a map uses them is in [`table`], how a list does in [`sequence`]. What the whole is for, and why it is
//! so, says docs/design/0011-maps-and-lists.md.
//!
//! # Orderings
//! Edge `store.moved`: the Release store of `generation` meets the Acquire load of a reader, so that the words
//! of the space and all that lies in it are there. Edge `store.reuse`: the Release fence before the memory of
//! an old space, or its words, are written meets the Acquire fence of a reader behind its copying: a reader
//! that saw one word of a later space sees that `generation` has moved, and begins again. Edge `store.placed`:
//! the Release store of a place meets the Acquire load of it, so that the record is there. What a reader copies
//! is loaded word by word, Relaxed. Edge `store.stamp`: the Release stores of `tail` and `count`, by which a
//! change begins, meet the Acquire loads of a reader that wants to see all entries, or their number, as they were
//! at one instant: so it sees what was committed before. What it sees of a change that began later, by a place
//! that it loads (Acquire), makes it see that `tail` or `count` has moved.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | holding `lock`, before anything is written | a dead owner | any writer, as for every lock |
//! | writing a record, before `tail` is stored | bytes behind the tail | nothing: the next record overwrites them |
//! | after the store of `tail` | a record that no place refers to | the next new space does not copy it |
//! | memory reserved, `backed` not stored | memory that nobody uses | the next reservation finds it there |
//! | building a new space | bytes outside the current one | the next who needs one begins again |
//! | after the store of `generation` | the new space | – |
//!
//! The lock is taken over from the dead without a word, because at every instant all is whole. Readers do not
//! look at it, and so never wait for a dead or a stopped writer. Only a reader that was disturbed again and again
//! takes it: by 64 new spaces in a row, by 64 rewritten places of a list, or, if it wants all entries or their
//! number, by a change during each of eight attempts.

mod held;
mod record;
mod sequence;
mod snapshot;
mod space;
mod table;

pub(crate) use held::Held;
pub(crate) use sequence::Element;
pub(crate) use snapshot::Records;
pub(crate) use table::Key;

use crate::collection_error::CollectionError;
use procession_channel::codec::Codec;
use procession_shm::{Handle, OpenError, Segment, Shared};
use procession_sync::{Fault, Holder, Keeper, LockWord, holder_of};
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::shm_struct;
use space::{Space, Stamp};

/// How many words the smallest space has: 4 KiB.
const SMALLEST: usize = 512;
/// How many places the smallest space has.
const FEWEST_PLACES: usize = 64;
/// A space has a multiple of so many words: a page.
const STEP: usize = 512;
/// How often a reader tries before it keeps the writers out.
const TRIES: u32 = 64;

shm_struct! {
    /// Where a space lies.
    pub struct SpaceShape {
        /// Where it begins, in words from the beginning of the data.
        start: AtomicU64,
        /// How many places it begins with.
        places: AtomicU64,
        /// How many words it has, places included.
        len: AtomicU64,
    }
}

shm_struct! {
    /// How far a space has come.
    pub struct Progress {
        tail: AtomicU64,
        count: AtomicU64,
        used: AtomicU64,
        rewrites: AtomicU64,
        spare: [AtomicU64; 4],
    }
}

shm_struct! {
    /// What stands before the data.
    pub struct StoreBody {
        lock: LockWord,
        spare: [AtomicU64; 4],
        generation: AtomicU64,
        backed: AtomicU64,
        shapes: [SpaceShape; 2],
        progress: [Progress; 2],
    }
}

/// Where the data begin.
const DATA: usize = size_of::<StoreBody>();
/// How many bytes of it a new object has memory for: its first space, and another for what comes after it.
const FIRST: u64 = 2 * 8 * SMALLEST as u64;

impl StoreBody {
    /// How many bytes the body has of an object that may take so many.
    pub(crate) fn len(bytes: u64) -> u64 {
        bytes.saturating_add(DATA as u64)
    }

    /// And how many of them at its end have no memory at first.
    pub(crate) fn later(bytes: u64) -> u64 {
        bytes.saturating_sub(FIRST)
    }

    /// Makes the first space, which is empty.
    pub(crate) fn initialise(&self) {
        let [shape, _] = &self.shapes;
        shape.places.store(FEWEST_PLACES as u64, Ordering::Relaxed);
        shape.len.store(SMALLEST as u64, Ordering::Relaxed);
        let [progress, _] = &self.progress;
        progress.tail.store(FEWEST_PLACES as u64, Ordering::Relaxed);
        self.backed.store(2 * SMALLEST as u64, Ordering::Relaxed);
    }

    pub(crate) fn forget_owners(&self) {
        self.lock.forget_owner();
    }
}

/// The memory of one map or list, attached.
#[derive(Clone)]
pub(crate) struct Store {
    body: Shared<StoreBody>,
    keeper: Keeper,
    pub(crate) codec: Codec,
    /// How many words the data may take.
    most: usize,
    /// Of a map, what the hashes of its keys are mixed with.
    seed: u64,
    /// Of a map, how many places it may have.
    pub(crate) most_places: usize,
}

impl Store {
    pub(crate) fn attach(body: Shared<StoreBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let bytes = usize::try_from(segment.header().parameters[0]).unwrap_or(usize::MAX);
        // As long as it may ever become; nothing of it is touched.
        if body.slice::<AtomicU64>(DATA, bytes / 8).is_none() || bytes / 8 < 2 * SMALLEST {
            return Err(segment.corrupt("the body is too small for its data"));
        }
        // Who dumps core does not ask for the memory that it has not got yet.
        segment.mapping().leave_out_of_dumps();
        let (codec, seed) = (Codec::of(segment)?, segment.header().instance.low());
        let (keeper, most) = (Keeper::new(segment), bytes / 8);
        Ok(Self { keeper, codec, most, seed, most_places: table::MOST_PLACES, body })
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.body.segment()
    }

    pub(crate) fn handle(&self) -> Handle {
        self.body.handle()
    }

    /// Who is changing it now.
    pub(crate) fn holder(&self) -> Option<Holder> {
        holder_of(&self.body.lock, self.segment())
    }

    /// How many bytes the object may take.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.most as u64 * 8
    }

    /// How many bytes of it have memory.
    pub(crate) fn backed_bytes(&self) -> u64 {
        self.body.backed.load(Ordering::Relaxed).saturating_mul(8)
    }

    #[cold]
    fn corrupt(&self, what: &'static str) -> CollectionError {
        Fault::corrupt(self.segment(), what).into()
    }

    #[cold]
    fn nonsense(&self) -> CollectionError {
        self.corrupt("what stands in its index or its log is impossible")
    }

    /// The space of this generation, as its words say now; `None` if they are nonsense.
    #[inline]
    fn space_of(&self, generation: u64) -> Option<Space<'_>> {
        let StoreBody { shapes: [shape, odd], progress: [progress, odd_progress], .. } = &*self.body;
        let (shape, progress) = if generation & 1 == 0 { (shape, progress) } else { (odd, odd_progress) };
        let word = |word: &AtomicU64| usize::try_from(word.load(Ordering::Relaxed)).ok();
        let (start, places, len) = (word(&shape.start)?, word(&shape.places)?, word(&shape.len)?);
        if start.checked_add(len)? > word(&self.body.backed)? {
            return None;
        }
        let words = self.body.slice::<AtomicU64>(start.checked_mul(8)?.checked_add(DATA)?, len)?;
        Some(Space { start, places: words.get(..places)?, words, progress })
    }

    /// What `look` finds in the current space, for who does not hold the lock. `look` answers `None` for
    /// nonsense, which others may have made by building a new space meanwhile, and is asked again then.
    #[inline]
    fn read<R>(&self, mut look: impl FnMut(Space<'_>) -> Option<R>) -> Result<R, CollectionError> {
        for _ in 0..TRIES {
            // SYNC: store.moved.
            let generation = self.body.generation.load(Ordering::Acquire);
            let found = self.space_of(generation).and_then(&mut look);
            // SYNC: store.reuse.
            fence(Ordering::Acquire);
            if self.body.generation.load(Ordering::Relaxed) == generation {
                return found.ok_or_else(|| self.nonsense());
            }
        }
        self.read_locked(look)
    }

    #[cold]
    fn read_locked<R>(&self, look: impl FnOnce(Space<'_>) -> Option<R>) -> Result<R, CollectionError> {
        let held = self.hold()?;
        held.space().and_then(look).ok_or_else(|| self.nonsense())
    }

    /// What `look` finds, if no commit but one began meanwhile; what it has found is of one instant then.
    /// After a few attempts the writers are kept out.
    fn read_stamped<R>(&self, mut look: impl FnMut(Space<'_>) -> Option<R>) -> Result<R, CollectionError> {
        for _ in 0..TRIES / 8 {
            // SYNC: store.moved.
            let generation = self.body.generation.load(Ordering::Acquire);
            let Some(space) = self.space_of(generation) else { continue };
            let stamp = Stamp::of(space);
            let found = look(space);
            // SYNC: store.reuse; store.stamp.
            fence(Ordering::Acquire);
            if Stamp::of(space) == stamp && self.body.generation.load(Ordering::Relaxed) == generation {
                return found.ok_or_else(|| self.nonsense());
            }
        }
        self.read_locked(look)
    }
}
