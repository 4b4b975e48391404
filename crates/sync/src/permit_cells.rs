//! The cells that permits are: one word for each permit there can be, so that a dead holder's can be told.
//!
//! | cell (bits 16..32) | meaning |
//! |---|---|
//! | 0 | absent: a permit that was never released into the semaphore |
//! | `FREE` | free for anybody |
//! | `HELD` + owner | held by a process |
//! | `HANDED` | taken out and forgotten: death does not free it, only a release |
//! | `RELEASING` + owner | was absent; part of a release of several that is being decided |
//! | `RELEASING_HANDED` + owner | was handed; the same |
//!
//! | other word | meaning |
//! |---|---|
//! | `high` | cells from here on are absent. Only grows, and before a cell beyond it ceases to be absent |
//! | `freed` | eventcount on which those sleep who found too little |
//! | `gathering` | hint: somebody sleeps for several at once, so that everybody is to be woken, not one |
//!
//! # Who may change what
//! Free → held: anybody, by CAS. Held → free or handed: its owner. Handed → free, absent → free: anybody (`release`).
//! Absent or handed → releasing: anybody; back, or to free: its owner. Out of held or releasing when the owner is dead:
//! anybody, by CAS from the exact value: held → free, releasing → what it was.
//!
//! Several are claimed one after the other, and given back if there are too few: then somebody else had them in the
//! meantime. Nobody claims one for a bundle unless it has just counted enough for all of it.
//!
//! # Orderings
//! Edge `semaphore.handover`: the Release of whoever frees a cell meets the Acquire of whoever takes it. Edge
//! `eventcount.dekker`: between freeing a cell and the look at the waiters lies a full fence. A cell is loaded with
//! Acquire before its owner is asked about, so that the answer is about this owner.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | holding permits, or with some of several | cells of a dead owner | whoever finds too few: CAS to free |
//! | after freeing a cell, before its wake | a sleeper that missed it | the end of the sleeper's slice |
//! | releasing several, before the first is free | cells of a dead owner | whoever finds too few: what they were |
//! | releasing several, in the middle | some are free, the others as above | the same: a part was released |
//! | recovering | fewer cells of the dead | the next one who finds too few |
//!
//! # Not promised
//! Order among waiters: one that waits for many can be overtaken for ever by those that want one.

use crate::eventcount::EventCount;
use crate::fault::SyncFault;
use procession_shm::{HEADER_LEN, OwnerId, Shared};
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Mapping, crash_point, shm_struct};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

const ABSENT: u64 = 0;
const FREE: u64 = 1 << 16;
const HELD: u64 = 2 << 16;
const HANDED: u64 = 3 << 16;
const RELEASING: u64 = 4 << 16;
const RELEASING_HANDED: u64 = 5 << 16;
const STATE: u64 = !OwnerId::MASK;

/// The most permits that a semaphore can have.
pub(crate) const MOST: u32 = 1 << 16;

shm_struct! {
    #[doc(hidden)]
    pub struct SemaphoreBody {
        pub(crate) freed: EventCount,
        high: AtomicU32,
        gathering: AtomicU32,
        /// To the end of the cache line.
        spare: [AtomicU64; 5],
    }
}

const CELLS_OFFSET: usize = HEADER_LEN + size_of::<SemaphoreBody>();

/// How many bytes the cells take behind the body.
pub(crate) fn cells_len(max: u32) -> u64 {
    u64::from(max) * 8
}

/// Makes the first `permits` cells free, before anybody else sees them.
pub(crate) fn initialise(body: &SemaphoreBody, mapping: &Mapping, permits: u32) {
    body.high.store(permits, Ordering::Relaxed);
    for cell in (0..permits).filter_map(|index| cell(mapping, index)) {
        cell.store(FREE, Ordering::Relaxed);
    }
}

/// Frees all cells from owners of another registry: nobody else is attached.
pub(crate) fn forget_owners(mapping: &Mapping) {
    for cell in (0..MOST).map_while(|index| cell(mapping, index)) {
        let word = cell.load(Ordering::Relaxed);
        if let Some(freed) = without_owner(word) {
            cell.store(freed, Ordering::Relaxed);
        }
    }
}

fn cell(mapping: &Mapping, index: u32) -> Option<&AtomicU64> {
    mapping.at(CELLS_OFFSET + index as usize * 8)
}

/// What becomes of a cell when its owner is dead; `None` for a cell without an owner.
fn without_owner(word: u64) -> Option<u64> {
    match word & STATE {
        HELD => Some(FREE),
        RELEASING => Some(ABSENT),
        RELEASING_HANDED => Some(HANDED),
        _ => None,
    }
}

/// The cells of one semaphore, as one process uses them.
#[derive(Clone)]
pub(crate) struct PermitCells {
    pub(crate) body: Shared<SemaphoreBody>,
    /// How many there are.
    pub(crate) max: u32,
    /// Where this process looks first.
    pub(crate) start: u32,
}

impl PermitCells {
    #[inline]
    fn cell(&self, index: u32) -> Option<&AtomicU64> {
        cell(self.body.segment().mapping(), index)
    }

    #[inline]
    fn high(&self) -> u32 {
        // Relaxed: it guards nothing; a cell beyond an old value is found by the next look.
        self.body.high.load(Ordering::Relaxed).min(self.max)
    }

    /// The cells that may not be absent, with their numbers.
    fn used(&self) -> impl Iterator<Item = (u32, &AtomicU64)> {
        (0..self.high()).filter_map(|index| Some((index, self.cell(index)?)))
    }

    fn count(&self, matches: impl Fn(u64) -> bool) -> u32 {
        // Relaxed: the count is old as soon as it is known.
        let matching = self.used().filter(|(_, cell)| matches(cell.load(Ordering::Relaxed)));
        matching.fold(0, |count, _| count + 1)
    }

    /// How many are free at some instants during the call.
    pub(crate) fn count_free(&self) -> u32 {
        self.count(|word| word == FREE)
    }

    /// Takes one cell if any is free.
    #[inline]
    pub(crate) fn try_take(&self, me: OwnerId) -> Option<u32> {
        let high = self.high();
        let start = if self.start < high { self.start } else { 0 };
        let around = (start..high).chain(0..start);
        let mut taken = around.filter(|&index| self.cell(index).is_some_and(|cell| take(cell, me)));
        taken.next()
    }

    /// Takes `count` cells, or none.
    pub(crate) fn try_take_many(&self, me: OwnerId, count: u32) -> Option<Vec<u32>> {
        while self.count_free() >= count {
            let mut taken = Vec::with_capacity(count as usize);
            for (index, cell) in self.used() {
                if taken.len() == count as usize {
                    break;
                }
                if take(cell, me) {
                    taken.push(index);
                }
            }
            if taken.len() == count as usize {
                return Some(taken);
            }
            // Others came between. One of us gets enough; here it is found out who.
            for index in taken {
                self.set_free(index, me);
            }
            crash_point("semaphore.gave_back");
            self.notify();
            std::thread::yield_now();
        }
        None
    }

    /// Frees a cell that `me` holds; the caller notifies.
    #[inline]
    pub(crate) fn set_free(&self, index: u32, me: OwnerId) {
        let held = me.to_bits() | HELD;
        // SYNC: semaphore.handover. Failure means that the word is not ours any more: nothing that may be freed.
        let _: Option<Result<u64, u64>> = self
            .cell(index)
            .map(|cell| cell.compare_exchange(held, FREE, Ordering::Release, Ordering::Relaxed));
        crash_point("semaphore.released");
    }

    /// Takes a cell that `me` holds out for good: only a release brings it back.
    pub(crate) fn set_handed(&self, index: u32, me: OwnerId) {
        let held = me.to_bits() | HELD;
        let _: Option<Result<u64, u64>> = self
            .cell(index)
            .map(|cell| cell.compare_exchange(held, HANDED, Ordering::Relaxed, Ordering::Relaxed));
        crash_point("semaphore.handed");
    }

    /// Wakes who can go on because cells were freed by this thread.
    #[inline]
    pub(crate) fn notify(&self) {
        // SYNC: eventcount.dekker.
        fence_after_rmw();
        if self.body.freed.has_waiters() {
            self.notify_waiters();
        }
    }

    #[cold]
    fn notify_waiters(&self) {
        if self.body.gathering.load(Ordering::Relaxed) == 0 {
            self.body.freed.notify_one();
        } else {
            // Before the wake: who gathers sets it again before it sleeps again.
            self.body.gathering.store(0, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.body.freed.notify_all();
        }
    }

    /// A waiter goes on; if it was the only one told of several cells, it tells the next.
    pub(crate) fn arrive(&self) {
        self.body.freed.arrive();
        // SYNC: eventcount.dekker. Who freed a cell and trusted that we are on our way is seen by the next look.
        fence(Ordering::SeqCst);
    }

    /// Tells the next waiter, if there is something left for it.
    pub(crate) fn pass_on(&self) {
        if self.body.freed.has_waiters() && self.count_free() > 0 {
            self.notify_waiters();
        }
    }

    /// Announces a waiter for `count` cells; what [`EventCount::sleep`] is to be given.
    pub(crate) fn listen(&self, count: u32) -> u32 {
        let listened = self.body.freed.listen();
        if count > 1 {
            self.body.gathering.store(1, Ordering::Relaxed);
            // SYNC: eventcount.dekker.
            fence(Ordering::SeqCst);
        }
        listened
    }

    /// Releases one permit into the semaphore: one that was handed out, else one that was never there.
    pub(crate) fn try_release(&self) -> bool {
        // SYNC: semaphore.handover.
        let from = |cell: &AtomicU64, state| {
            cell.load(Ordering::Relaxed) == state
                && cell.compare_exchange(state, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
        };
        let released = self.used().any(|(_, cell)| from(cell, HANDED))
            || (0..self.max).any(|index| {
                let absent = self.cell(index).filter(|cell| cell.load(Ordering::Relaxed) == ABSENT);
                absent.is_some_and(|cell| self.raise(index) && from(cell, ABSENT))
            });
        crash_point("semaphore.signalled");
        if released {
            self.notify();
        }
        released
    }

    /// Releases `count` permits, or none.
    pub(crate) fn try_release_many(&self, me: OwnerId, count: u32) -> bool {
        while self.releasable() >= count {
            let mut claimed = Vec::with_capacity(count as usize);
            for (state, claim) in [(HANDED, RELEASING_HANDED), (ABSENT, RELEASING)] {
                for index in 0..self.max {
                    if claimed.len() == count as usize {
                        break;
                    }
                    let Some(cell) = self.cell(index).filter(|cell| cell.load(Ordering::Relaxed) == state)
                    else {
                        continue;
                    };
                    let claim = me.to_bits() | claim;
                    if self.raise(index)
                        && cell.compare_exchange(state, claim, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                    {
                        crash_point("semaphore.releasing");
                        claimed.push((cell, claim, state));
                    }
                }
            }
            let is_enough = claimed.len() == count as usize;
            for (cell, claim, state) in claimed {
                let to = if is_enough { FREE } else { state };
                // SYNC: semaphore.handover.
                let _: Result<u64, u64> =
                    cell.compare_exchange(claim, to, Ordering::Release, Ordering::Relaxed);
                crash_point("semaphore.released_of_many");
            }
            if is_enough {
                self.notify();
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    fn releasable(&self) -> u32 {
        self.count(|word| word == HANDED || word == ABSENT) + (self.max - self.high())
    }

    /// Sees to it that everybody looks at the cell; always true.
    fn raise(&self, index: u32) -> bool {
        if self.body.high.load(Ordering::Relaxed) <= index {
            self.body.high.fetch_max(index + 1, Ordering::Relaxed);
        }
        true
    }

    /// Takes back what dead processes have; how many cells that were.
    ///
    /// # Errors
    /// [`SyncFault::RegistryChanged`] when it cannot be found out who is dead, [`SyncFault::Corrupt`].
    pub(crate) fn recover(&self) -> Result<u32, SyncFault> {
        let segment = self.body.segment();
        let registration = segment.registration();
        let mut recovered = 0;
        let mut alive = Vec::new();
        for (_, cell) in self.used() {
            // Acquire: see the orderings.
            let word = cell.load(Ordering::Acquire);
            let Some(freed) = without_owner(word) else {
                if matches!(word, ABSENT | FREE | HANDED) {
                    continue;
                }
                return Err(SyncFault::corrupt(segment, "a permit in an impossible state"));
            };
            let owner = OwnerId::from_bits(word);
            if alive.contains(&owner) {
                continue;
            }
            if !registration.is_dead(owner).map_err(|error| SyncFault::unknowable(segment, error))? {
                alive.push(owner);
                continue;
            }
            crash_point("semaphore.owner_found_dead");
            // From the exact dead value: a second one who recovers, or one who was killed here, does no harm.
            if cell.compare_exchange(word, freed, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                crash_point("semaphore.recovered");
                recovered += 1;
            }
        }
        if recovered > 0 {
            self.notify();
        }
        Ok(recovered)
    }

    /// Who holds permits now, and how many.
    pub(crate) fn holders(&self) -> Vec<(OwnerId, u32)> {
        let mut holders: Vec<(OwnerId, u32)> = Vec::new();
        for (_, cell) in self.used() {
            let word = cell.load(Ordering::Acquire);
            if word & STATE == HELD {
                let owner = OwnerId::from_bits(word);
                match holders.iter_mut().find(|(known, _)| *known == owner) {
                    Some((_, count)) => *count += 1,
                    None => holders.push((owner, 1)),
                }
            }
        }
        holders
    }
}

/// Takes a cell if it is free.
#[inline]
fn take(cell: &AtomicU64, me: OwnerId) -> bool {
    if cell.load(Ordering::Relaxed) != FREE {
        return false;
    }
    // SYNC: semaphore.handover.
    let taken =
        cell.compare_exchange(FREE, me.to_bits() | HELD, Ordering::Acquire, Ordering::Relaxed).is_ok();
    crash_point("semaphore.taken");
    taken
}
