//! The cells that permits are: one word for each permit there can be, so that a dead holder's can be told.
//!
//! | cell (bits 16..32) | meaning |
//! |---|---|
//! | 0 | absent: a permit that was never released into the semaphore |
//! | `FREE` | free for anybody |
//! | `HELD` + owner | held by a process |
//! | `HANDED` | taken out and forgotten: death does not free it, only a release |
//! | `RELEASING` | was absent; part of a release of several |
//! | `RELEASING_HANDED` | was handed; the same |
//!
//! | other word | meaning |
//! |---|---|
//! | `several` | a [`LockWord`]: who releases several now, or wants to know exactly that there is no room |
//! | `decided` | 1: what is being released is released. **Its store is the commit of a release of several** |
//! | `high` | cells from here on are absent. Only grows, and before a cell beyond it ceases to be absent |
//! | `forgotten` | changes after a held cell became a handed one: room that a look at the cells may have missed |
//! | `freed` | eventcount on which those sleep who found too little |
//! | `gathering` | hint: somebody sleeps for several at once, so that everybody is to be woken, not one |
//!
//! # Who may change what
//! Free → held: anybody, by CAS. Held → free or handed: its owner; held → free when the owner is dead:
//! anybody, by CAS from the exact value. Handed → free, absent → free: anybody (`release`). Absent or handed
//! → releasing, and on to free or back to what it was: the holder of `several`, which also stores `decided`.
//! So `several` is what owns the releasing cells: if its holder dies, the next one first finishes what was
//! decided, or undoes what was not.
//!
//! Several are claimed in the order of the cells, once so many were seen free, and given back at the first
//! that somebody else was faster to take. That one gets on, or is stopped by a cell further up: so two that
//! want several never stop each other for ever.
//!
//! That there is no room for a release is said only by who holds `several`, so that nothing is undecided, and
//! has looked at all cells while `forgotten` did not change: nothing else makes room.
//!
//! # Orderings
//! Edge `semaphore.handover`: the Release of whoever frees a cell meets the Acquire of whoever takes it; what
//! a dead process decided reaches the taker through `decided`, from the Release of its store to the Acquire
//! of who finishes it. Edge `eventcount.dekker`: between freeing a cell and the look at the waiters lies a
//! full fence. Edge `semaphore.asked`: the AcqRel by which a cell gets its owner meets the Acquire that loads
//! it before that owner is asked about, so that the answer is about this owner. Edge `semaphore.room`: a held
//! cell becomes a handed one (Release) before `forgotten` changes (Release), and `high` is raised before a
//! cell beyond it is not absent any more; who looks for room (Acquire) and sees the cell sees that, too.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | holding permits, or with some of several | cells of a dead owner | whoever finds too few: CAS to free |
//! | giving several back, in the middle | some free, the others as above | the same: all come back |
//! | forgetting several, in the middle | some handed, the others as above | the same: those come back, and a release brings the handed |
//! | forgetting, before `forgotten` | a handed cell | nothing is wrong: a `Full` of that very moment was said before it |
//! | after freeing a cell, before its wake | a sleeper that missed it | the end of the sleeper's slice |
//! | releasing several, before `decided` | a dead holder of `several`, releasing cells | whoever finds too few or no room: what they were |
//! | releasing several, after `decided` | the same | the same: all are free |
//! | recovering | fewer cells of the dead; or a dead holder of `several` | the next one who finds too few |
//!
//! # Not promised
//! Order among waiters: one that waits for many can be overtaken for ever by those that want one. A process
//! that is stopped within a release of several holds up other releases of several, and those of one that find
//! no room; nobody else.

use crate::eventcount::EventCount;
use crate::fault::Fault;
use crate::hold::Hold;
use crate::lock_word::{Claim, LockWord};
use procession_shm::{HEADER_LEN, OwnerId, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, Mapping, crash_point, interrupt, shm_struct};

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
        several: LockWord,
        decided: AtomicU32,
        high: AtomicU32,
        gathering: AtomicU32,
        forgotten: AtomicU32,
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

/// Leaves a release of several by somebody of another registry to be settled: nobody else is attached.
pub(crate) fn forget_release(body: &SemaphoreBody) {
    body.several.forget_owner();
}

/// Frees all cells from owners of another registry: nobody else is attached.
pub(crate) fn forget_owners(mapping: &Mapping) {
    for cell in (0..MOST).map_while(|index| cell(mapping, index)) {
        if cell.load(Ordering::Relaxed) & STATE == HELD {
            cell.store(FREE, Ordering::Relaxed);
        }
    }
}

#[inline]
fn cell(mapping: &Mapping, index: u32) -> Option<&AtomicU64> {
    mapping.at(CELLS_OFFSET + index as usize * 8)
}

/// The state of a cell before somebody began to release it; `None` for one that nobody releases.
fn before_release(word: u64) -> Option<u64> {
    match word {
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
    /// Which cell it is.
    pub(crate) fn index_of(&self, cell: &AtomicU64) -> Option<u32> {
        (0..self.max).find(|&index| self.cell(index).is_some_and(|found| std::ptr::eq(found, cell)))
    }

    #[inline]
    pub(crate) fn cell(&self, index: u32) -> Option<&AtomicU64> {
        cell(self.body.segment().mapping(), index)
    }

    #[inline]
    fn high(&self) -> u32 {
        // Relaxed: it guards nothing; a cell beyond an old value is found by the next look.
        self.body.high.load(Ordering::Relaxed).min(self.max)
    }

    /// The cells that may not be absent.
    fn used(&self) -> impl Iterator<Item = &AtomicU64> {
        (0..self.high()).filter_map(|index| self.cell(index))
    }

    /// How many are free, each cell looked at once.
    pub(crate) fn count_free(&self) -> u32 {
        // Relaxed: the count is old as soon as it is known.
        self.used().fold(0, |count, cell| count + u32::from(cell.load(Ordering::Relaxed) == FREE))
    }

    /// How many are free or held, each cell looked at once: a permit that changes hands stays in its cell.
    pub(crate) fn count_present(&self) -> u32 {
        // Relaxed: the count is old as soon as it is known.
        let is_present = |cell: &AtomicU64| matches!(cell.load(Ordering::Relaxed) & STATE, FREE | HELD);
        self.used().fold(0, |count, cell| count + u32::from(is_present(cell)))
    }

    /// How many could be released, each cell looked at once: too few only if one was forgotten meanwhile.
    fn room(&self) -> u32 {
        // Once: those that it does not cover are absent now, and count, whatever becomes of them.
        let high = self.high();
        let cells = (0..high).filter_map(|index| self.cell(index));
        // SYNC: semaphore.room. Who sees what was made of a forgotten permit sees that `forgotten` has
        // changed.
        let has_room = |cell: &AtomicU64| matches!(cell.load(Ordering::Acquire), HANDED | ABSENT);
        cells.fold(self.max - high, |room, cell| room + u32::from(has_room(cell)))
    }

    /// Takes one cell if any is free.
    #[inline]
    pub(crate) fn try_take(&self, me: OwnerId) -> Option<&AtomicU64> {
        match self.cell(self.start) {
            Some(cell) if take(cell, me) => Some(cell),
            _ => self.try_take_around(me),
        }
    }

    fn try_take_around(&self, me: OwnerId) -> Option<&AtomicU64> {
        let high = self.high();
        let start = self.start.min(high);
        let around = (start..high).chain(0..start);
        around.filter_map(|index| self.cell(index)).find(|cell| take(cell, me))
    }

    /// Frees a cell that `me` holds, whichever; whether there was one. The caller notifies.
    pub(crate) fn free_one_of(&self, me: OwnerId) -> bool {
        let held = me.to_bits() | HELD;
        let high = self.high();
        // Where this process takes first.
        let start = self.start.min(high);
        let around = (start..high).chain(0..start);
        // SYNC: semaphore.handover.
        around.filter_map(|index| self.cell(index)).any(|cell| exchange(cell, held, FREE))
    }

    /// Takes `count` cells, or none.
    pub(crate) fn try_take_many(&self, me: OwnerId, count: u32) -> Option<Vec<&AtomicU64>> {
        loop {
            let is_free = |cell: &&AtomicU64| cell.load(Ordering::Relaxed) == FREE;
            let chosen: Vec<_> = self.used().filter(is_free).take(count as usize).collect();
            if chosen.len() < count as usize {
                return None;
            }
            let taken = chosen.iter().take_while(|cell| take(cell, me)).count();
            if taken == chosen.len() {
                return Some(chosen);
            }
            // Another was faster. With what it keeps, and this one keeps, neither might have enough.
            for cell in &chosen[..taken] {
                free(cell, me);
            }
            crash_point("semaphore.gave_back");
            self.notify();
            std::thread::yield_now();
        }
    }

    /// Takes a cell that `me` holds out for good: only a release brings it back.
    pub(crate) fn set_handed(&self, cell: &AtomicU64, me: OwnerId) {
        // Failure means that the word is not ours any more.
        let held = me.to_bits() | HELD;
        // SYNC: semaphore.room.
        let _: Result<u64, u64> = cell.compare_exchange(held, HANDED, Ordering::Release, Ordering::Relaxed);
        crash_point("semaphore.handed");
        // SYNC: semaphore.room. Who sees it sees the cell.
        self.body.forgotten.fetch_add(1, Ordering::Release);
        crash_point("semaphore.forgotten");
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
            // Everybody wants one: whoever is woken takes it, or tells the next.
            self.body.freed.notify_one();
        } else {
            // A single wake could go to one that wants several, for which this is not enough. Cleared before
            // the wake: who gathers sets it again before it sleeps again.
            self.body.gathering.store(0, Ordering::Relaxed);
            // SYNC: eventcount.dekker.
            fence(Ordering::SeqCst);
            self.body.freed.notify_all();
        }
    }

    /// A waiter goes on; if it was the only one told of several cells, it tells the next.
    pub(crate) fn arrive(&self) {
        self.body.freed.arrive();
        // SYNC: eventcount.dekker. Who freed a cell and trusted that we are on our way is seen by the next
        // look.
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
    /// Without either there may still be room, of which only [`release`](Self::release) can be sure.
    pub(crate) fn try_release(&self) -> bool {
        let released = self.used().any(|cell| exchange(cell, HANDED, FREE))
            || (0..self.max).any(|index| self.claim_absent(index, FREE).is_some());
        crash_point("semaphore.signalled");
        if released {
            self.notify();
        }
        released
    }

    /// Releases `count` permits, all or none; whether there was room.
    ///
    /// # Errors
    /// [`Fault`], while somebody else releases several.
    pub(crate) fn release(&self, count: u32, me: OwnerId) -> Result<bool, Fault> {
        // At no deadline it is never too late.
        let Some(turn) = self.take_turn(me, Deadline::NEVER)? else { return Ok(false) };
        loop {
            // SYNC: semaphore.room.
            let forgotten = self.body.forgotten.load(Ordering::Acquire);
            if self.room() < count {
                // SYNC: semaphore.room. There was none only if nothing was forgotten while we looked.
                if self.body.forgotten.load(Ordering::Acquire) == forgotten {
                    return Ok(false);
                }
                continue;
            }
            if self.claim_for_release(count) {
                // SYNC: semaphore.handover.
                self.body.decided.store(1, Ordering::Release);
                crash_point("semaphore.decided");
                turn.settle();
                return Ok(true);
            }
            // Others released one at a time, and were faster; or there is no such room.
            turn.settle();
            self.must_be_absent_beyond_high()?;
        }
    }

    /// Marks `count` cells as being released, or as many as there are; whether there were enough. In turn
    /// only.
    fn claim_for_release(&self, count: u32) -> bool {
        let handed = self.used().filter(|cell| exchange(cell, HANDED, RELEASING_HANDED));
        let absent = (0..self.max).filter_map(|index| self.claim_absent(index, RELEASING));
        let claimed = handed.chain(absent).inspect(|_| crash_point("semaphore.releasing"));
        claimed.take(count as usize).count() == count as usize
    }

    /// Checks that the cells beyond `high`, which are counted as room unseen, are absent.
    fn must_be_absent_beyond_high(&self) -> Result<(), Fault> {
        for index in self.high()..self.max {
            // SYNC: semaphore.room. Who sees a cell that is not absent any more sees `high` raised before.
            let is_absent = self.cell(index).is_some_and(|cell| cell.load(Ordering::Acquire) == ABSENT);
            if !is_absent && self.high() <= index {
                return Err(Fault::corrupt(self.body.segment(), "there are more permits than there can be"));
            }
        }
        Ok(())
    }

    /// Makes something of an absent cell, having seen to it that everybody looks at it.
    fn claim_absent(&self, index: u32, to: u64) -> Option<&AtomicU64> {
        let cell = self.cell(index)?;
        if cell.load(Ordering::Relaxed) != ABSENT {
            return None;
        }
        // Raised before the cell is made something of: nobody looks at the cells beyond it.
        if self.body.high.load(Ordering::Relaxed) <= index {
            self.body.high.fetch_max(index + 1, Ordering::Relaxed);
            crash_point("semaphore.raised");
        }
        exchange(cell, ABSENT, to).then_some(cell)
    }

    /// Waits for the turn to release several; `None` at the deadline. What a dead one left is settled then.
    fn take_turn(&self, me: OwnerId, deadline: Deadline) -> Result<Option<Turn<'_>>, Fault> {
        let (segment, several) = (self.body.segment(), &self.body.several);
        let me = Hold::of_this_thread(me);
        if me.names_the_thread() && several.is_held_as(me) {
            return Err(Fault::corrupt(segment, "it says that this thread is releasing, which is not so"));
        }
        // Held for a moment by each, but for one that is stopped in the middle of it.
        let _deferred = interrupt::defer();
        let me = match several.acquire(segment, Claim::Recover, deadline) {
            Ok(me) => me,
            Err(error) => return error.into_fault(segment).map_or(Ok(None), Err),
        };
        let turn = Turn { cells: self, me, has_recovered: several.is_inconsistent() };
        crash_point("semaphore.turn");
        if turn.has_recovered {
            turn.settle();
        } else if self.body.decided.load(Ordering::Relaxed) != 0 {
            return Err(Fault::corrupt(segment, "it says that permits are being released, which is not so"));
        }
        Ok(Some(turn))
    }

    /// Settles what a dead process was releasing; whether one was.
    fn recover_release(&self, me: OwnerId) -> Result<bool, Fault> {
        if !self.body.several.is_owned() && !self.body.several.is_inconsistent() {
            return Ok(false);
        }
        // Without a turn, somebody is alive who does it.
        Ok(self.take_turn(me, Deadline::PASSED)?.is_some_and(|turn| turn.has_recovered))
    }

    /// Takes back what dead processes have; whether there was anything.
    ///
    /// # Errors
    /// [`Fault::RegistryChanged`] when it cannot be found out who is dead, [`Fault::Corrupt`].
    pub(crate) fn recover(&self, me: OwnerId) -> Result<bool, Fault> {
        let segment = self.body.segment();
        let registration = segment.registration();
        let mut recovered = self.recover_release(me)?;
        let mut alive = Vec::new();
        for cell in self.used() {
            // SYNC: semaphore.asked.
            let word = cell.load(Ordering::Acquire);
            if word & STATE != HELD {
                // Nobody has it; what is being released is the business of whoever has the turn.
                if matches!(word, ABSENT | FREE | HANDED) || before_release(word).is_some() {
                    continue;
                }
                return Err(Fault::corrupt(segment, "a permit is in an impossible state"));
            }
            let owner = OwnerId::from_bits(word);
            // One question for each process, however many permits it has.
            if alive.contains(&owner) {
                continue;
            }
            if !registration.is_dead(owner).map_err(|error| Fault::unknowable(segment, error))? {
                alive.push(owner);
                continue;
            }
            crash_point("semaphore.owner_found_dead");
            // From the exact dead value: a second one who recovers, or one who was killed here, does no harm.
            // SYNC: semaphore.handover.
            if cell.compare_exchange(word, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                crash_point("semaphore.recovered");
                recovered = true;
            }
        }
        if recovered {
            self.notify();
        }
        Ok(recovered)
    }

    /// Stores what a damaged file might say.
    #[cfg(test)]
    pub(crate) fn decide_at_random(&self) {
        self.body.decided.store(7, Ordering::Relaxed);
    }

    /// Those whose death gives permits back: who holds some, and who releases several.
    pub(crate) fn owners(&self) -> Vec<OwnerId> {
        // SYNC: semaphore.asked.
        let words = self.used().map(|cell| cell.load(Ordering::Acquire));
        let mut owners: Vec<OwnerId> = self.body.several.owner().into_iter().collect();
        owners.extend(words.filter(|word| word & STATE == HELD).map(OwnerId::from_bits));
        owners.sort_unstable_by_key(|owner| owner.to_bits());
        owners.dedup();
        owners
    }

    /// The owners that hold permits now, and how many each.
    pub(crate) fn holders(&self) -> Vec<(OwnerId, u32)> {
        let mut holders: Vec<(OwnerId, u32)> = Vec::new();
        for cell in self.used() {
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

/// The turn to release several, until it is dropped.
struct Turn<'a> {
    cells: &'a PermitCells,
    me: Hold,
    /// Whether the one before died in its turn.
    has_recovered: bool,
}

impl Turn<'_> {
    /// Releases what was decided, or makes what was not what it was before. Until it is done, whoever comes
    /// next does it all again.
    fn settle(&self) {
        let body = &self.cells.body;
        let is_decided = body.decided.load(Ordering::Acquire) != 0;
        for cell in self.cells.used() {
            let word = cell.load(Ordering::Relaxed);
            if let Some(before) = before_release(word) {
                exchange(cell, word, if is_decided { FREE } else { before });
                crash_point("semaphore.settling");
            }
        }
        body.decided.store(0, Ordering::Release);
        crash_point("semaphore.settled");
        if is_decided {
            self.cells.notify();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.cells.body.several.release(self.me, true);
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

/// Frees a cell that `me` holds; the caller notifies.
#[inline]
pub(crate) fn free(cell: &AtomicU64, me: OwnerId) {
    // SYNC: semaphore.handover. Failure means that the word is not ours any more: nothing that may be freed.
    let _: Result<u64, u64> =
        cell.compare_exchange(me.to_bits() | HELD, FREE, Ordering::Release, Ordering::Relaxed);
    crash_point("semaphore.released");
}

/// Changes a cell that is `from`; whether it was.
fn exchange(cell: &AtomicU64, from: u64, to: u64) -> bool {
    // SYNC: semaphore.handover.
    cell.load(Ordering::Relaxed) == from
        && cell.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
}
